"""A whole Airflow with servers and sample files, once a session: of the line that is installed."""

from collections.abc import Iterator

import pytest

from demo.airflow_stack import AirflowStack
from demo.stand import Stand
from tests.support.airflow2_stack import Airflow2Stack
from tests.support.airflow_lines import IS_AIRFLOW_2


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The stand of `make demo`, started and with its samples uploaded, nothing restored yet; about 35 s.

    - `stand.airflow.cli(...)`, `.trigger(conf)`: the real command line; `stand.airflow.api`: the REST API.
    - `stand.instrument`: the original files; `stand.project_output`: where the DAG restores them to.
    - `stand.document(id)`, `stand.store(document)`: read and write documents in MongoDB.
    """
    line = Airflow2Stack if IS_AIRFLOW_2 else AirflowStack
    with Stand(tmp_path_factory.mktemp("stand"), line, usual_ports=False) as started:
        yield started
