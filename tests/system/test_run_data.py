"""U2 on a real Airflow: what a run says of itself, read over REST while it runs; and an API server that goes away."""

import shutil
import urllib.parse
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest

from demo.airflow_stack import DAG_ID
from demo.processes import wait_until
from demo.stand import Stand
from tests.support import waiting
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import S3StandIn
from tests.system.slow_backup import slow_backup

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

# As docker-compose.yaml has it: with Airflow's own value, 3, it ends tasks itself when the API server is away for 40 s.
HEARTBEATS = "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS"

ID = "20250115_told.d"
BATCH = "s3_batch_downloader"
PART_MIB = 4
FILES = {f"{ID}/{name}.bin": raw_bytes(24 * MIB, name) for name in ("one", "two")}
ALL = sum(map(len, FILES.values()))

wait_for = partial(waiting.wait_for, seconds=90)


@pytest.fixture(scope="module")
def source(stand: Stand) -> Iterator[tuple[S3StandIn, FaultProxy]]:
    """A backup that can be slowed down and halted."""
    with slow_backup(stand, ID, FILES, PART_MIB, {HEARTBEATS: "12"}, {HEARTBEATS: "3"}, versioning=False) as backup:
        yield backup


@pytest.fixture
def proxy(stand: Stand, source: tuple[S3StandIn, FaultProxy]) -> Iterator[FaultProxy]:
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)
    yield source[1]
    source[1].clear()
    source[1].resume()


def trigger(stand: Stand, dag_id: str, conf: dict[str, Any]) -> str:
    answer = stand.airflow.api.trigger(dag_id, conf)
    assert answer.status == HTTPStatus.OK, answer.body
    return str(answer.body["dag_run_id"])


def xcom(stand: Stand, run_id: str, key: str, task: str = "download_files", dag_id: str = DAG_ID) -> Any:
    """An XCom as REST gives it; None for none."""
    run = urllib.parse.quote(run_id, safe="")
    as_json = "stringify=false" if IS_AIRFLOW_2 else "deserialize=true"
    path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}?{as_json}"
    answer = stand.airflow.api.request("GET", path)
    return answer.body["value"] if answer.status == HTTPStatus.OK else None


def begin_slowly(stand: Stand, proxy: FaultProxy, **conf: Any) -> tuple[str, dict[str, Any]]:
    """Start a restore, and halt its source in the middle, when its progress has been seen to move."""
    proxy.add(Rule(Throttle(MIB // 4), times=None))
    run_id = trigger(stand, DAG_ID, {"raw_file_id": ID, **conf})

    def moving() -> Any:
        progress = xcom(stand, run_id, "progress")
        return progress if progress and 0 < progress["bytes_done"] < ALL else None

    seen = wait_for(moving, "progress that moves")
    proxy.pause()
    return run_id, seen


def let_go(proxy: FaultProxy) -> None:
    proxy.clear()
    proxy.resume()


@pytest.mark.rule("U2")
def test_u2_progress_is_read_while_it_runs_and_outcomes_and_report_at_the_end(stand: Stand, proxy: FaultProxy):
    run_id, seen = begin_slowly(stand, proxy)
    assert (seen["phase"], seen["files_total"], seen["bytes_total"]) == ("downloading", 2, ALL)
    assert {file["path"] for file in seen["current"]} <= set(FILES)
    plan = xcom(stand, run_id, "plan", "validate_parameters")
    assert [file["action"] for file in plan["files"]] == ["download", "download"]

    let_go(proxy)
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success"

    progress = xcom(stand, run_id, "progress")
    assert (progress["phase"], progress["files_done"], progress["bytes_done"]) == ("done", 2, ALL)
    files = xcom(stand, run_id, "files")
    assert files["complete"]
    assert [file["result"] for file in files["files"]] == ["downloaded", "downloaded"]
    (report,) = stand.project_output.glob(f"_download_status_{ID}_*.txt")
    assert xcom(stand, run_id, "report") == report.read_text()
    assert xcom(stand, run_id, "return_value")["report_path"] == str(report)


@pytest.mark.rule("V1")
def test_v1_verify_only_proves_the_backup_and_writes_nothing(stand: Stand, proxy: FaultProxy):
    run_id = trigger(stand, DAG_ID, {"raw_file_id": ID, "verify_only": True})
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert list(stand.output.iterdir()) == []
    result = xcom(stand, run_id, "return_value")
    assert (result["mode"], result["verified"], result["report_path"]) == ("verify_only", 2, None)
    assert f"{ID}/one.bin: OK - Backup verified (24.0 MB in " in xcom(stand, run_id, "report")


@pytest.mark.rule("U2")
def test_u2_a_run_that_is_marked_as_failed_leaves_its_outcomes(stand: Stand, proxy: FaultProxy):
    """They are pushed within the five seconds that Airflow gives it, after the report."""
    run_id, _ = begin_slowly(stand, proxy)
    path = f"/dags/{DAG_ID}/dagRuns/{urllib.parse.quote(run_id, safe='')}"
    body = {"state": "failed"}
    assert stand.airflow.api.request("PATCH", path, body).status == HTTPStatus.OK
    files = wait_for(lambda: (told := xcom(stand, run_id, "files")) and told["complete"] and told, "outcomes")
    failed = [file for file in files["files"] if file["result"] == "failed"]
    assert failed
    assert all("SIGTERM" in file["reason"] for file in failed)
    assert xcom(stand, run_id, "return_value")["failed"] == len(failed)


@pytest.mark.rule("U2")
@pytest.mark.skipif(IS_AIRFLOW_2, reason="its tasks need no API server")
def test_u2_an_api_server_that_is_away_midway_and_at_the_end_costs_a_restore_nothing(stand: Stand, proxy: FaultProxy):
    run_id, _ = begin_slowly(stand, proxy)
    (api_server,) = [process for process in stand.airflow.processes if "api-server" in process.name]
    logs = stand.airflow.home / "logs"

    def said(text: str) -> bool:
        return any(text in file.read_text() for file in logs.rglob("*.log"))

    api_server.stop()
    try:
        wait_for(lambda: said("XCom progress could not be pushed"), "a push that failed while it ran")
        let_go(proxy)
        wait_for(lambda: list(stand.project_output.glob("_download_status_*.txt")), "the report")
        wait_for(
            lambda: said("XCom return_value could not be pushed") or said("XCom files could not be pushed"),
            "a push that failed at the end",
        )
    finally:
        api_server.start()
    wait_until(stand.airflow.api.is_healthy, stand.airflow.processes, "Airflow", 180)

    assert stand.airflow.api.wait_for_run(DAG_ID, run_id, timeout_seconds=180) == "success"
    assert stand.airflow.api.task_tries(DAG_ID, run_id, "download_files") == 1
    assert xcom(stand, run_id, "return_value")["status"] == "SUCCESS"
    assert xcom(stand, run_id, "files")["complete"]
    assert xcom(stand, run_id, "progress")["phase"] == "done"
    for path, data in FILES.items():
        assert (stand.project_output / path).read_bytes() == data


def test_a_batch_says_how_far_it_is_and_its_rows_are_named_and_lead_to_its_runs(stand: Stand, proxy: FaultProxy):
    proxy.add(Rule(Throttle(MIB // 8), times=None))
    api = stand.airflow.api
    batch = trigger(stand, BATCH, {"raw_file_ids": [ID, "20250115_never_measured.raw"]})

    def halfway() -> Any:
        progress = xcom(stand, batch, "progress", "wait_for_restores", BATCH)
        return progress if progress and progress["bytes_done"] else None

    seen = wait_for(halfway, "progress of the batch", seconds=180)
    let_go(proxy)
    assert (seen["runs_total"], seen["bytes_total"], seen["files_total"]) == (2, ALL, 2)
    assert 0 < seen["bytes_done"] <= ALL
    assert api.wait_for_run(BATCH, batch, timeout_seconds=300) == "failed"

    run = urllib.parse.quote(batch, safe="")
    rows = api.get(f"/dags/{BATCH}/dagRuns/{run}/taskInstances/start_restores/listMapped")["task_instances"]
    assert {row["rendered_map_index"] for row in rows} == {ID, "20250115_never_measured.raw"}
    listed = xcom(stand, batch, "raw_files", "list_raw_files", BATCH)["raw_files"]
    if not IS_AIRFLOW_2:
        for row in rows:
            links = api.get(
                f"/dags/{BATCH}/dagRuns/{run}/taskInstances/start_restores/links?map_index={row['map_index']}"
            )
            (of_run,) = [each["run_id"] for each in listed if each["raw_file_id"] == row["rendered_map_index"]]
            assert links["extra_links"]["Triggered DAG"].endswith(f"/dags/{DAG_ID}/runs/{of_run}")
    errors = [str(each["event"]) for each in api.task_log(BATCH, batch, "summarize") if each.get("level") == "error"]
    at = errors.index("20250115_never_measured.raw: REFUSED")
    assert errors[at + 1].startswith("    why: RawFile not found: '20250115_never_measured.raw'")
