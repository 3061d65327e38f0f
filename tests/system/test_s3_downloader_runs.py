"""`s3_downloader` in a real Airflow: triggered by CLI and REST, judged by task states, bytes on disk and report."""

import json
import re
import shutil
import subprocess
from http import HTTPStatus
from pathlib import Path

import pytest

from demo.airflow_stack import DAG_ID, POOL
from demo.sample_files import BUCKET, FOLDER, PAIR, RAW, SAMPLES, differences, strangers
from demo.stand import Stand
from demo.story import rest_lines
from tests.support.airflow_lines import IS_AIRFLOW_2

# On a machine that is busy with other tests too.
pytestmark = pytest.mark.timeout(180)

ALL_SUCCESS = {"validate_parameters": "success", "download_files": "success"}


@pytest.fixture(autouse=True)
def _nothing_restored_yet(stand):
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)


def run_by_rest(stand: Stand, raw_file_id: str) -> tuple[str, str]:
    """Trigger over REST, which is quicker than the CLI; returns the run id and the state at the end."""
    answer = stand.airflow.api.trigger(DAG_ID, {"raw_file_id": raw_file_id})
    assert answer.status == HTTPStatus.OK, answer.body
    run_id = answer.body["dag_run_id"]
    return run_id, stand.airflow.api.wait_for_run(DAG_ID, run_id)


def reports(stand: Stand, raw_file_id: str) -> list[Path]:
    return sorted(
        stand.project_output.glob(f"_download_status_{raw_file_id}_*.txt"), key=lambda file: file.stat().st_mtime_ns
    )


def whole_log(stand: Stand, run_id: str) -> str:
    api = stand.airflow.api
    return "\n".join(json.dumps(record) for task_id in ALL_SUCCESS for record in api.task_log(DAG_ID, run_id, task_id))


def assert_restored(stand: Stand, sample) -> None:
    assert differences(sample, stand.instrument, stand.project_output) == []
    assert strangers(SAMPLES, stand.project_output) == []


def test_cli_trigger_restores_the_file_with_report_and_summary(stand):
    document = stand.document(RAW.raw_file_id)

    run_id = stand.airflow.trigger({"raw_file_id": RAW.raw_file_id})
    state = stand.airflow.api.wait_for_run(DAG_ID, run_id)

    log = whole_log(stand, run_id)
    assert state == "success", log
    assert stand.airflow.api.task_states(DAG_ID, run_id) == ALL_SUCCESS
    assert_restored(stand, RAW)
    assert stand.document(RAW.raw_file_id) == document

    (report,) = reports(stand, RAW.raw_file_id)
    text = report.read_text()
    assert re.fullmatch(
        "S3 Download Status Report\n"
        "=========================\n"
        f"Raw File ID: {RAW.raw_file_id}\n"
        f"Project ID: {RAW.project_id}\n"
        f"S3 Bucket: {BUCKET}\n"
        r"Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        "\n"
        f"Destination: {re.escape(str(stand.project_output))}\n"
        "\n"
        "Files:\n"
        "------\n"
        rf"{RAW.raw_file_id}: OK - Downloaded and verified \(33\.2 MB in \d+\.\ds\)"
        "\n"
        "\n"
        "Summary:\n"
        "--------\n"
        "Total files: 1\n"
        "Successful: 1\n"
        "Failed: 0\n"
        "Status: SUCCESS\n",
        text,
    ), text

    summary = stand.airflow.api.xcom(DAG_ID, run_id, "download_files")
    size = RAW.sizes[RAW.raw_file_id]
    assert summary.pop("seconds") > 0
    assert summary == {
        "status": "SUCCESS",
        "mode": "restore",
        "total_files": 1,
        "successful": 1,
        "failed": 0,
        "downloaded": 1,
        "skipped": 0,
        "healed": 0,
        "verified": 0,
        "bytes_total": size,
        "bytes_fetched": size,
        "report_path": str(report),
    }
    for secret in (stand.s3.secret_key, stand.mongo.reader.password):
        assert secret not in log


def test_second_run_of_a_folder_skips_heals_and_downloads(stand):
    damaged, removed = "20250115_sample.d/analysis.tdf", "20250115_sample.d/1234.m/diagnostics/log.txt"
    run_id, state = run_by_rest(stand, FOLDER.raw_file_id)
    assert state == "success", whole_log(stand, run_id)
    assert_restored(stand, FOLDER)
    (stand.project_output / damaged).write_bytes(b"x" * FOLDER.sizes[damaged])
    (stand.project_output / removed).unlink()

    run_id, state = run_by_rest(stand, FOLDER.raw_file_id)

    assert state == "success", whole_log(stand, run_id)
    assert_restored(stand, FOLDER)
    text = reports(stand, FOLDER.raw_file_id)[-1].read_text()
    assert f"{damaged}: OK - Self-healed (hash mismatch detected, re-downloaded) (1.0 MB in " in text
    assert f"{removed}: OK - Downloaded and verified (0.0 MB in " in text
    for path in set(FOLDER.sizes) - {damaged, removed}:
        assert f"{path}: OK - Skipped (already exists)\n" in text
    summary = stand.airflow.api.xcom(DAG_ID, run_id, "download_files")
    assert {name: summary[name] for name in ("downloaded", "healed", "skipped")} == {
        "downloaded": 1,
        "healed": 1,
        "skipped": 4,
    }


@pytest.mark.skipif(IS_AIRFLOW_2, reason="the demo prints lines for /api/v2")
def test_printed_rest_lines_work_and_restore_from_below_a_prefix(stand):
    if not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    lines = rest_lines(stand.airflow.url, PAIR.raw_file_id)

    answer = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=60, check=True)

    run_id = json.loads(answer.stdout)["dag_run_id"]
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success", whole_log(stand, run_id)
    assert_restored(stand, PAIR)
    assert f"\nS3 Bucket: {BUCKET}\nS3 Prefix: {PAIR.raw_file_id}" in reports(stand, PAIR.raw_file_id)[-1].read_text()


def test_missing_object_fails_its_file_only_and_without_retry(stand):
    sample_file, size = "20250115_sample.wiff", PAIR.sizes["20250115_sample.wiff"]
    document = stand.document(PAIR.raw_file_id)
    raw_file_id, project_id = "20250115_incomplete.wiff", "PRID002"
    lost = "20250115_incomplete.wiff.scan"
    file_info = {sample_file: document["file_info"][sample_file], lost: [7, "0" * 32, f"{'0' * 32}__8"]}
    stand.store({**document, "_id": raw_file_id, "project_id": project_id, "file_info": file_info})

    run_id, state = run_by_rest(stand, raw_file_id)

    assert state == "failed"
    api = stand.airflow.api
    assert api.task_states(DAG_ID, run_id) == {"validate_parameters": "success", "download_files": "failed"}
    assert api.task_tries(DAG_ID, run_id, "download_files") == 1
    folder = stand.output / project_id
    (report,) = folder.glob("_download_status_*.txt")
    text = report.read_text()
    assert f"{sample_file}: OK - Downloaded and verified (0.3 MB in " in text
    assert re.search(f"^{re.escape(lost)}: FAILURE - .+$", text, re.MULTILINE), text
    assert text.endswith("Total files: 2\nSuccessful: 1\nFailed: 1\nStatus: PARTIAL FAILURE\n")
    assert {file.name for file in folder.iterdir()} == {sample_file, report.name}
    assert (folder / sample_file).stat().st_size == size
    assert any(str(report) in error for error in api.task_errors(DAG_ID, run_id, "download_files"))


def test_unknown_id_fails_validation_with_one_line_and_without_retry(stand):
    raw_file_id = "20250115_never_measured.raw"

    run_id, state = run_by_rest(stand, raw_file_id)

    assert state == "failed"
    api = stand.airflow.api
    assert api.task_states(DAG_ID, run_id) == {
        "validate_parameters": "failed",
        "download_files": "upstream_failed",
    }
    assert api.task_tries(DAG_ID, run_id, "validate_parameters") == 1
    errors = [error for error in api.task_errors(DAG_ID, run_id, "validate_parameters") if raw_file_id in error]
    assert errors
    assert all("\n" not in error.strip() for error in errors), errors
    assert list(stand.output.rglob(f"*{raw_file_id}*")) == []


@pytest.mark.parametrize(
    ("conf", "reason"),
    [({}, "No value passed"), ({"raw_file_id": "ab"}, "'ab' is too short")],
    ids=["missing", "short"],
)
def test_bad_id_is_refused_by_cli_and_rest(stand, conf, reason):
    runs = stand.airflow.api.get(f"/dags/{DAG_ID}/dagRuns")["total_entries"]

    answer = stand.airflow.api.trigger(DAG_ID, conf)
    call = stand.airflow.cli("dags", "trigger", DAG_ID, "--conf", json.dumps(conf))

    assert answer.status == HTTPStatus.BAD_REQUEST
    assert f"raw_file_id: {reason}" in answer.body["detail"]
    assert call.returncode == 1
    assert f"raw_file_id: {reason}" in call.stderr
    assert stand.airflow.api.get(f"/dags/{DAG_ID}/dagRuns")["total_entries"] == runs


def test_download_waits_in_its_pool_and_the_dag_runs_from_the_start(stand):
    api = stand.airflow.api
    dag = api.get(f"/dags/{DAG_ID}/details")
    assert not dag["is_paused"]
    tasks = {task["task_id"]: task for task in api.get(f"/dags/{DAG_ID}/tasks")["tasks"]}
    assert tasks["download_files"]["pool"] == POOL
    assert {task["queue"] for task in tasks.values()} == {"kraken_queue_s3_download"}
    assert api.import_errors() == []
