"""The DAG s3_batch_downloader as Airflow loads it."""

import copy
from types import SimpleNamespace

import pytest


@pytest.fixture
def batch(dag_bag):
    return dag_bag.dags["s3_batch_downloader"]


def params_of(batch, **conf):
    params = copy.deepcopy(batch.params)
    params.update(conf)
    return params.validate()


def test_list_start_wait_summarize(batch):
    assert {task.task_id: sorted(task.downstream_task_ids) for task in batch.tasks} == {
        "list_raw_files": ["start_restores", "summarize"],
        "start_restores": ["wait_for_restores"],
        "wait_for_restores": ["summarize"],
        "summarize": [],
    }
    rules = {task.task_id: task.trigger_rule.value for task in batch.tasks}
    assert rules["wait_for_restores"] == "all_done", "a run that cannot be started keeps no other from the table"
    assert rules["summarize"] == "none_failed"


def test_each_raw_file_gets_a_run_of_the_downloader_of_its_own(batch):
    start = batch.get_task("start_restores")
    assert start.partial_kwargs["trigger_dag_id"] == "s3_downloader"
    assert not start.partial_kwargs.get("wait_for_completion"), "500 waiting tasks would hold all worker slots"


@pytest.mark.parametrize("raw_file_id", ["a.raw", "20250115 one.raw 20250115 two.raw " * 20])
@pytest.mark.rule("U3", fails_when="a long paste that is no id is a label too long for Airflow's database")
def test_its_rows_are_named_by_raw_file(batch, raw_file_id):
    template = batch.get_task("start_restores").partial_kwargs["map_index_template"]
    task = SimpleNamespace(conf={"raw_file_id": raw_file_id})
    label = batch.get_template_env().from_string(template).render({"task": task})
    assert label
    assert raw_file_id.startswith(label)
    assert len(label) <= 250, "rendered_map_index is a VARCHAR(250): PostgreSQL would refuse the task's end"


def test_waiting_holds_no_slot(batch):
    assert batch.get_task("wait_for_restores").reschedule


@pytest.mark.rule("A2")
def test_a2_not_paused_manual_and_on_the_queue_of_the_downloader(batch):
    assert batch.is_paused_upon_creation is False
    assert batch.timetable.can_be_scheduled is False
    queues = {task.partial_kwargs["queue"] if hasattr(task, "partial_kwargs") else task.queue for task in batch.tasks}
    assert queues == {"kraken_queue_s3_download"}


@pytest.mark.parametrize("given", [["a.raw", "b.raw"], "a.raw, b.raw", None, []])
def test_ids_may_be_a_list_or_a_text(batch, given):
    assert params_of(batch, raw_file_ids=given)["raw_file_ids"] == given


def test_params_and_defaults(batch):
    assert dict(params_of(batch)) == {
        "raw_file_ids": [],
        "project_id": None,
        "include": None,
        "verify_only": False,
        "dry_run": False,
    }
    assert "pasted text" in batch.doc_md


def test_a8_a_batch_that_cannot_be_summarized_is_told_of(batch):
    """Its runs post nothing, as the batch does it for them: a wait that failed ended it without a word."""
    from common.callbacks import on_failure_callback  # noqa: PLC0415 (Airflow takes seconds)

    for task_id in ("list_raw_files", "wait_for_restores", "summarize"):
        told_by = batch.get_task(task_id).on_failure_callback
        assert on_failure_callback in (told_by if isinstance(told_by, list | tuple) else [told_by]), task_id
    assert batch.get_task("wait_for_restores").retries > batch.get_task("summarize").retries, "it asks for days"
