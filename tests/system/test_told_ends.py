"""How often and in which words the end of a run is posted, in a whole Airflow with real kills (O1).

The DAG is a copy without retries, so that each end is the last one.
"""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import psutil
import pytest
import yaml

from demo.airflow_stack import DAG_ID, DAGS_FOLDER, AirflowStack
from demo.sample_files import BUCKET, PROJECT_ID
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, file_info, raw_bytes
from tests.support.s3_stand_in import S3StandIn
from tests.support.waiting import wait_for
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2.11 hands the callback words of its own"),
]

ID = "20250115_told.raw"
DATA = raw_bytes(24 * MIB, ID)


class Told:
    """A stand whose downloads can be held, and what is posted of them."""

    def __init__(self, stand: Stand, proxy: FaultProxy, hook: WebhookReceiver) -> None:
        self.stand = stand
        self.api = stand.airflow.api
        self.proxy = proxy
        self.hook = hook
        self.run_id = ""

    def begin(self) -> int:
        """Start a restore, hold it in its download, and return the process id of the task."""
        self.proxy.add(Rule(Throttle(MIB // 2), times=None))
        answer = self.api.trigger(DAG_ID, {"raw_file_id": ID})
        assert answer.status == HTTPStatus.OK, answer.body
        self.run_id = answer.body["dag_run_id"]
        wait_for(lambda: list(self.stand.output.rglob(".s3dl.*.part")), "a download in work")
        self.proxy.pause()
        return int(self.task("download_files")["pid"])

    def task(self, task_id: str) -> dict[str, Any]:
        return self.api.get(f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task_id}")

    def wait_until_failed(self) -> None:
        assert self.api.wait_for_run(DAG_ID, self.run_id, 120) == "failed"

    def the_post(self) -> str:
        """The one text that is posted of this run, once the last callback of it has been called."""
        wait_for(lambda: f"Told of: Run {self.run_id} of " in self.callbacks(), "the callback of the DAG", 90)
        texts = [text for text in (post.json()["text"] for post in self.hook.posts) if self.run_id in text]
        assert len(texts) == 1, texts
        return texts[0]

    def callbacks(self) -> str:
        logs = self.stand.airflow.home.rglob("logs/dag_processor/**/*.log")
        return "\n".join(path.read_text(errors="replace") for path in logs)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    home = tmp_path_factory.mktemp("told")
    dags = home / "dags"
    dags.mkdir()
    text = (DAGS_FOLDER / f"{DAG_ID}.py").read_text()
    assert text.count('"retries": 2') == 1
    (dags / f"{DAG_ID}.py").write_text(text.replace('"retries": 2', '"retries": 0'))

    class WithoutRetries(AirflowStack):
        def _settings_of_this_line(self) -> dict[str, str]:
            return super()._settings_of_this_line() | {
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            }

    with contextlib.ExitStack() as stack:
        s3 = stack.enter_context(S3StandIn())
        proxy = stack.enter_context(FaultProxy(s3.url))
        hook = stack.enter_context(WebhookReceiver())
        stand = stack.enter_context(Stand(home, WithoutRetries, usual_ports=False))
        s3.upload(BUCKET, ID, DATA, part_size=8 * MIB)
        stand.store(
            {
                "_id": ID,
                "project_id": PROJECT_ID,
                "backup_status": "upload_done",
                "s3_upload_path": f"s3://{BUCKET}",
                "file_info": file_info({ID: DATA}, "H2", 8),
            }
        )
        settings = yaml.safe_load(stand.settings_file.read_text())
        settings["general"]["notifications"] |= {"ops_alerts_webhook_url": hook.url, "ops_alerts_on_success": True}
        stand.settings_file.write_text(yaml.safe_dump(settings))
        usual = stand.s3.airflow_connection()
        connection = {**usual, "extra": {**usual["extra"], "endpoint_url": proxy.url}}
        stand.airflow.restart_scheduler({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)})
        yield Told(stand, proxy, hook)


@pytest.fixture(autouse=True)
def _as_new(told: Told) -> None:
    told.proxy.clear()
    told.proxy.resume()
    told.hook.forget()
    for folder in told.stand.output.iterdir():
        shutil.rmtree(folder)


def test_a_download_whose_process_is_killed_is_told_of_once(told: Told):
    os.kill(told.begin(), signal.SIGKILL)
    told.wait_until_failed()
    said = told.the_post()
    assert said.startswith(f"Run {told.run_id} of {DAG_ID} for raw file '{ID}' failed, and no task could say why: it ")


def test_a_download_whose_worker_is_killed_is_told_of_once(told: Told):
    task = psutil.Process(told.begin())
    for process in (task.parent(), task):  # the first is of the executor, and would say how the second ended
        process.kill()
    told.wait_until_failed()
    said = told.the_post()
    assert said.startswith(f"Task {DAG_ID}.download_files failed for raw file '{ID}' (run {told.run_id}): it ended on ")
    assert "NoneType" not in said


def test_a_download_that_is_marked_as_failed_tells_itself_and_names_its_report(told: Told):
    told.begin()
    path = f"/dags/{DAG_ID}/dagRuns/{told.run_id}/taskInstances/download_files"
    assert told.api.request("PATCH", path, {"new_state": "failed"}).status == HTTPStatus.OK
    told.wait_until_failed()
    (report,) = wait_for(lambda: list(told.stand.output.rglob("_download_status_*.txt")), "the report")
    assert str(report) in told.the_post()


def test_a_validation_that_refuses_is_told_of_once_with_its_reason(told: Told):
    told.run_id = told.api.trigger(DAG_ID, {"raw_file_id": "20250115_none.raw"}).body["dag_run_id"]
    told.wait_until_failed()
    assert "AirflowFailException: RawFile not found: '20250115_none.raw'. " in told.the_post()


def test_success_is_told_of_where_it_is_wanted(told: Told):
    told.run_id = told.api.trigger(DAG_ID, {"raw_file_id": ID}).body["dag_run_id"]
    assert told.api.wait_for_run(DAG_ID, told.run_id, 120) == "success"
    (post,) = told.hook.wait_for(1, timeout_s=30)
    (report,) = told.stand.output.rglob("_download_status_*.txt")
    assert post.json()["text"] == (
        f"Run {told.run_id} of {DAG_ID} for raw file '{ID}' is done: 1 of 1 files are right. See: {report}"
    )
