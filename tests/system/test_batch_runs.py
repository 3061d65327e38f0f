"""Whole batches in a real Airflow: real runs, real XComs, real metrics."""

from http import HTTPStatus

import pytest

from demo.sample_files import FOLDER, PAIR, RAW
from demo.stand import Stand

pytestmark = pytest.mark.timeout(400)

BATCH = "s3_batch_downloader"


def run_batch(stand: Stand, **conf) -> tuple[str, str]:
    answer = stand.airflow.api.trigger(BATCH, conf)
    assert answer.status == HTTPStatus.OK, answer.body
    run_id = answer.body["dag_run_id"]
    return run_id, stand.airflow.api.wait_for_run(BATCH, run_id, timeout_seconds=300)


def log_of(stand: Stand, run_id: str, task_id: str) -> str:
    return "\n".join(str(record.get("event")) for record in stand.airflow.api.task_log(BATCH, run_id, task_id))


def test_batch_restores_each_file_in_a_run_of_its_own_and_one_failure_stops_no_other(stand: Stand):
    pasted = f"{RAW.raw_file_id}, {FOLDER.raw_file_id}\n20250115_never_measured.raw; {RAW.raw_file_id}"

    run_id, state = run_batch(stand, raw_file_ids=pasted)

    api = stand.airflow.api
    log = log_of(stand, run_id, "summarize")
    assert state == "failed", log
    summary = api.xcom(BATCH, run_id, "summarize")
    assert (summary["total"], summary["successful"], summary["failed"]) == (3, 2, 1)
    raw, folder, unknown = summary["files"]
    for row in (raw, folder):
        assert row["status"] == "SUCCESS"
        assert row["report_path"] in log
        assert api.run_state("s3_downloader", row["run_id"]) == "success"
    assert unknown["status"] == "REFUSED"
    assert unknown["reason"].startswith("RawFile not found: '20250115_never_measured.raw'")
    assert api.run_state("s3_downloader", unknown["run_id"]) == "failed"
    assert (stand.project_output / RAW.raw_file_id).is_file()
    assert any(
        error.startswith("AirflowFailException: 2 of 3 raw files restored, 1 failed: 20250115_never_measured.raw: ")
        for error in api.task_errors(BATCH, run_id, "summarize")
    )
    assert api.task_tries(BATCH, run_id, "summarize") == 1


def test_project_with_include_restores_only_files_like_it(stand: Stand):
    run_id, state = run_batch(stand, project_id=PAIR.project_id, include="*.wiff.scan")

    files = {row["raw_file_id"]: row for row in stand.airflow.api.xcom(BATCH, run_id, "summarize")["files"]}
    assert state == "failed", "the other samples have no file like it"
    assert files[PAIR.raw_file_id]["status"] == "SUCCESS"
    assert files[PAIR.raw_file_id]["files"] == "1/1"
    assert "None of the" in files[RAW.raw_file_id]["reason"]


def test_dry_run_starts_nothing(stand: Stand):
    before = stand.airflow.api.get("/dags/s3_downloader/dagRuns")["total_entries"]

    run_id, state = run_batch(stand, raw_file_ids=[RAW.raw_file_id], dry_run=True)

    assert state == "success"
    summary = stand.airflow.api.xcom(BATCH, run_id, "summarize")
    assert [row["status"] for row in summary["files"]] == ["PLANNED"]
    assert "Dry run: nothing was started" in log_of(stand, run_id, "summarize")
    assert stand.airflow.api.get("/dags/s3_downloader/dagRuns")["total_entries"] == before


def test_nothing_asked_for_is_refused_with_one_line(stand: Stand):
    run_id, state = run_batch(stand)
    assert state == "failed"
    errors = stand.airflow.api.task_errors(BATCH, run_id, "list_raw_files")
    assert "AirflowFailException: Nothing to restore: give 'raw_file_ids' or 'project_id'" in errors
