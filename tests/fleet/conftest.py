"""The stage, once a session."""

from collections.abc import Iterator

import pytest

from tests.fleet.stage import Stage, opened


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The fleet and all around it, started."""
    with opened(tmp_path_factory.mktemp("fleet")) as stage:
        yield stage
