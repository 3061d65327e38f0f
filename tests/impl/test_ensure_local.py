"""ensure_local, the automatic fallback for other DAGs (issue 5)."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import raw_bytes

ID = "20250115_sample.d"
FILES = {f"{ID}/analysis.tdf": raw_bytes(200_000, 1), f"{ID}/1234.m/m.method": raw_bytes(70_000, 2)}
EXAMPLE = Path(__file__).parents[2] / "airflow_src/dags/examples/ensure_local_example.py"


def test_restores_what_is_missing_and_returns_where_it_is(kraken: Kraken):
    from impl.ensure_local import ensure_local  # noqa: PLC0415

    kraken.back_up(FILES, ID)

    paths = ensure_local(ID)

    assert {path: path.read_bytes() for path in paths} == {kraken.destination / path: FILES[path] for path in FILES}
    assert kraken.report.endswith("Status: SUCCESS\n")
    sent = kraken.s3.bytes_sent()
    assert ensure_local(ID) == paths
    assert kraken.s3.bytes_sent() == sent, "what is right is kept"


def test_restores_only_what_is_wanted(kraken: Kraken):
    from impl.ensure_local import ensure_local  # noqa: PLC0415

    kraken.back_up(FILES, ID)
    assert ensure_local(ID, include="*.tdf") == [kraken.destination / ID / "analysis.tdf"]
    assert kraken.others(f"{ID}/analysis.tdf") == []


def test_says_why_it_cannot(kraken: Kraken):
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from impl.ensure_local import ensure_local  # noqa: PLC0415

    kraken.back_up(FILES, ID)
    kraken.s3.versioning = False  # else an older version would be found (S7)
    kraken.s3.delete(kraken.bucket, f"{ID}/analysis.tdf")
    with pytest.raises(AirflowFailException, match=r"1/2 files failed\. See: .*_download_status_.*NoSuchKey"):
        ensure_local(ID)


@pytest.mark.parametrize("given", [None, "", 7, Path(ID), [ID], ID.encode(), "\ud800.raw"], ids=repr)
def test_what_is_no_id_is_one_clear_line(kraken: Kraken, given):
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from impl.ensure_local import ensure_local  # noqa: PLC0415

    with pytest.raises(AirflowFailException) as caught:
        ensure_local(given)
    assert str(caught.value) == f"Parameter 'raw_file_id': expected the id of a raw file, got {given!r}"


@pytest.mark.parametrize("given", [7, ["*.tdf"], Path("*.tdf")], ids=repr)
def test_what_is_no_glob_is_one_clear_line(kraken: Kraken, given):
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from impl.ensure_local import ensure_local  # noqa: PLC0415

    kraken.back_up(FILES, ID)
    with pytest.raises(AirflowFailException) as caught:
        ensure_local(ID, given)
    assert str(caught.value) == f"'include': expected a glob such as '*.tdf*', got {given!r}"


def test_example_dag_loads_and_restores_its_missing_input(kraken: Kraken):
    spec = importlib.util.spec_from_file_location("ensure_local_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    raw_file_id, data = "20250115_sample.raw", raw_bytes(123_456, 3)
    kraken.back_up({raw_file_id: data})
    task = module.dag.get_task("process")

    assert task.python_callable(params={"raw_file_id": raw_file_id}) == len(data)
    assert (kraken.destination / raw_file_id).read_bytes() == data
    assert task.pool == "s3_download_pool"


def test_example_is_not_shown_in_production():
    ignored = (EXAMPLE.parents[1] / ".airflowignore").read_text().splitlines()
    assert "examples/" in ignored
