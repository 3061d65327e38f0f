"""Stopping a batch: its runs end with their reports, and nothing starts anew (O7)."""

import json
import os
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from demo.airflow_stack import DAG_ID, DAGS_FOLDER
from demo.processes import environment
from demo.sample_files import BUCKET, PROJECT_ID
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.documented_commands import the_command
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, file_info, raw_bytes
from tests.support.s3_stand_in import S3StandIn
from tests.system.test_documented_commands import (
    BINARIES,
    CURL,
    PYTHON,
    asked,
    filled_in,
    on_the_stand,
    run_block,
    run_ids,
    shell,
    users,  # noqa: F401 (a fixture)
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="the documents are about Airflow 3"),
]

BATCH = "s3_batch_downloader"
IDS = [f"20250115_stopped_{number}.raw" for number in range(4)]  # two more than the pool has slots
DATA = {raw_file_id: raw_bytes(24 * MIB, raw_file_id) for raw_file_id in IDS}


@pytest.fixture(scope="module")
def held(stand: Stand) -> Iterator[FaultProxy]:
    """A way to S3 that is slow, so that downloads are going on when the batch is stopped."""
    with S3StandIn() as s3, FaultProxy(s3.url) as proxy:
        for raw_file_id, data in DATA.items():
            s3.upload(BUCKET, raw_file_id, data)
            stand.store(
                {
                    "_id": raw_file_id,
                    "project_id": PROJECT_ID,
                    "backup_status": "upload_done",
                    "s3_upload_path": f"s3://{BUCKET}",
                    "file_info": file_info({raw_file_id: data}),
                }
            )
        usual = stand.s3.airflow_connection()
        connection = {**usual, "extra": {**usual["extra"], "endpoint_url": proxy.url}}
        stand.airflow.restart_scheduler({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)})
        proxy.add(Rule(Throttle(MIB // 4), times=None))
        yield proxy
        stand.airflow.restart_scheduler({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(usual)})


def wait_for(condition: Callable[[], object], what: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.2)


class Going:
    """A batch with two downloads in work, of which no byte comes any more, and two runs that wait for the pool."""

    def __init__(self, stand: Stand, proxy: FaultProxy) -> None:
        proxy.resume()
        self.api = stand.airflow.api
        self.output = stand.project_output
        shutil.rmtree(self.output, ignore_errors=True)
        answer = self.api.trigger(BATCH, {"raw_file_ids": IDS})
        assert answer.status == HTTPStatus.OK, answer.body
        self.run_id = answer.body["dag_run_id"]
        wait_for(lambda: len(list(self.output.rglob(".s3dl.*.part"))) == 2, "two downloads in work")
        proxy.pause()
        wait_for(lambda: len(self.children()) == len(IDS), "all runs are started")

    def children(self) -> dict[str, str]:
        """Raw file id -> state of its run."""
        runs = self.api.get(f"/dags/{DAG_ID}/dagRuns?limit=200&order_by=-start_date")["dag_runs"]
        return {run["conf"]["raw_file_id"]: run["state"] for run in runs if run["conf"].get("batch") == self.run_id}

    def reports(self) -> list[Path]:
        return list(self.output.glob("_download_status_*.txt"))

    def reason(self, raw_file_id: str) -> str:
        runs = self.api.get(f"/dags/{DAG_ID}/dagRuns?limit=200&order_by=-start_date")["dag_runs"]
        of_it = (run["dag_run_id"] for run in runs if run["conf"].get("batch") == self.run_id)
        (run_id,) = [run_id for run_id in of_it if run_id.endswith(raw_file_id)]
        errors = self.api.task_errors(DAG_ID, run_id, "download_files")
        return errors[0] if errors else ""

    def assert_stopped(self, *reasons: str) -> None:
        wait_for(lambda: set(self.children().values()) == {"failed"}, self.children, 240)
        assert self.api.run_state(BATCH, self.run_id) == "failed"
        # With "mark failed" a run has ended before its task knows.
        wait_for(lambda: len(self.reports()) == 2, "those that had begun report", 30)
        for report in self.reports():
            text = report.read_text()
            assert any(f"FAILURE - Not finished ({why}" in text for why in reasons), text
        assert len(self.reports()) == 2, "and no other does"
        assert len(self.children()) == len(IDS), "nothing was started anew"
        assert not [raw_file_id for raw_file_id in IDS if (self.output / raw_file_id).exists()]


def test_by_rest(stand: Stand, held: FaultProxy, users, tmp_path):  # noqa: F811
    """The runs see it for themselves, and no signal reaches them."""
    batch = Going(stand, held)
    url, passwords = users
    script = filled_in(the_command("BATCH=RUN_ID", "design_docs/REST.md"), url, "operator", passwords["operator"])

    call = shell(script.replace("RUN_ID", batch.run_id), tmp_path, environment({}))

    assert call.stdout == "failed\n", call.stderr
    batch.assert_stopped(f"Its batch was stopped (run {batch.run_id})")
    waited = [raw_file_id for raw_file_id in IDS if "Its batch was stopped" in batch.reason(raw_file_id)]
    assert waited == IDS


def test_by_command(stand: Stand, held: FaultProxy, tmp_path):
    """It ends all of them at once, also those that wait."""
    batch = Going(stand, held)
    assert batch.run_id in on_the_stand(the_command("airflow dags list-runs s3_batch_downloader"), stand)
    command = the_command('python "$DAGS/impl/stop_batch.py"', "design_docs/OPERATING.md")

    path = f"{BINARIES}:{os.environ['PATH']}"
    variables = {**stand.airflow._environment, "DAGS": str(DAGS_FOLDER), "PATH": path}
    call = shell(command.replace("RUN_ID", f"'{batch.run_id}'"), tmp_path, variables)

    assert call.stdout.endswith(f"Stopped {batch.run_id}, and 4 runs that it had started\n"), call.stdout + call.stderr
    # A run that looks at its batch just then may see it for itself.
    batch.assert_stopped("The task was terminated (SIGTERM)", f"Its batch was stopped (run {batch.run_id})")


@pytest.mark.parametrize("how", [CURL, PYTHON], ids=["curl", "python"])
def test_rest_blocks_say_that_a_restore_was_stopped(stand: Stand, held: FaultProxy, users, tmp_path, how):  # noqa: F811
    held.resume()
    shutil.rmtree(stand.project_output, ignore_errors=True)
    before = run_ids(DAG_ID, stand)
    with ThreadPoolExecutor() as threads:
        call = threads.submit(run_block, how, asked(users, how, IDS[0]), tmp_path)
        wait_for(lambda: list(stand.project_output.rglob(".s3dl.*.part")), "a download in work")
        held.pause()
        (run_id,) = run_ids(DAG_ID, stand) - before
        path = f"/dags/{DAG_ID}/dagRuns/{urllib.parse.quote(run_id)}"
        assert stand.airflow.api.request("PATCH", path, {"state": "failed"}).status == HTTPStatus.OK
        ended = call.result(60)

    assert ended.returncode == 1
    assert "download_files failed: The task was terminated (SIGTERM)" in ended.stdout + ended.stderr
