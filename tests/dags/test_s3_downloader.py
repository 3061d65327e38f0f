"""The DAG as Airflow sees it: structure, parameters, and what an operator reads (A1 to A4, A8)."""

import copy
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.airflow_lines import store_and_load


def test_s3_downloader_dag_exists(dag_bag):
    assert dag_bag.import_errors == {}
    assert sorted(dag_bag.dags) == ["s3_batch_downloader", "s3_downloader"], "and nothing else is taken for a DAG"


def test_s3_downloader_dag_structure(dag):
    assert [task.task_id for task in dag.topological_sort()] == ["validate_parameters", "download_files"]
    validate, download = dag.topological_sort()
    assert validate.downstream_task_ids == {"download_files"}
    assert download.downstream_task_ids == set()
    assert validate.python_callable.__qualname__ == "validate_s3_download_parameters"
    assert download.python_callable.__qualname__ == "download_raw_file_from_s3"
    assert {task.python_callable.__module__ for task in dag.tasks} == {"impl.handler_impl"}, "N3"


def test_s3_downloader_dag_params(dag):
    assert list(dag.params) == ["raw_file_id"]
    schema = dag.params.get_param("raw_file_id").schema
    assert schema["type"] == "string"
    assert schema["minLength"] == 3
    description = dag.params.get_param("raw_file_id").description
    assert "extension" in description
    assert "{locations.output}/{project_id}/" in description


def validated(dag, raw_file_id):
    """The parameters of a run, as triggering checks them."""
    params = copy.deepcopy(dag.params)
    params.update({"raw_file_id": raw_file_id})
    return params.validate()


@pytest.mark.parametrize("raw_file_id", ["20250115_sample.raw", "abc", "123-20250115_sample.d", "試料 1"])
def test_good_ids_are_accepted(dag, raw_file_id):
    assert validated(dag, raw_file_id) == {"raw_file_id": raw_file_id}


@pytest.mark.parametrize("raw_file_id", ["", "ab", 5, None, ["abc"], {"$ne": "abc"}])
def test_bad_ids_are_refused(dag, raw_file_id):
    with pytest.raises(Exception, match="raw_file_id"):
        validated(dag, raw_file_id)


def test_no_id_is_refused(dag):
    with pytest.raises(Exception, match="raw_file_id"):
        dag.params.validate()


def test_manual_trigger_only_and_a2_not_paused(dag):
    assert dag.timetable.can_be_scheduled is False
    assert dag.catchup is False
    assert dag.is_paused_upon_creation is False
    assert dag.start_date < datetime.now(tz=UTC) - timedelta(days=30)
    assert dag.start_date.utcoffset() == timedelta(0)


def test_what_the_operator_reads(dag):
    assert dag.description == "Download raw files from S3 to output location (self-healing)"
    assert set(dag.tags) == {"s3", "download", "manual", "restoration"}
    for expected in (
        "{locations.output}/{project_id}/",
        "_download_status_{raw_file_id}_{timestamp}.txt",
        "20250115_sample.raw",
        "skipped",
        "only read",
    ):
        assert expected in dag.doc_md, expected


@pytest.mark.rule("A4")
def test_a4_retries(dag):
    for task in dag.tasks:
        assert task.retries == 2
        assert task.retry_delay == timedelta(minutes=5)
        assert task.depends_on_past is False


def test_queue_pool_and_timeout(dag):
    validate, download = dag.topological_sort()
    assert {task.queue for task in dag.tasks} == {"kraken_queue_s3_download"}
    assert download.pool == "s3_download_pool"
    assert download.pool_slots == 1
    assert download.execution_timeout == timedelta(hours=8)
    assert validate.pool == "default_pool", "a check must not wait for downloads"


@pytest.mark.rule("A8")
def test_a8_callback_on_both_tasks(dag):
    from common.callbacks import on_failure_callback  # noqa: PLC0415

    for task in dag.tasks:
        callbacks = task.on_failure_callback
        assert list(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]) == [on_failure_callback]


def test_it_can_be_stored_as_airflow_stores_dags(dag):
    again = store_and_load(dag)
    assert set(again.task_dict) == {"validate_parameters", "download_files"}
    assert again.doc_md == dag.doc_md
