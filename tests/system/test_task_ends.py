"""Issue 4, item 2, on a real Airflow: a download that is ended from outside, with a folder of many files in flight.

"Mark failed" and "clear" over REST, a scheduler that stops, dies, or dies alone. After each: what is on disk, the
report of the attempt that was ended (A5), the states of the task, and an attempt that resumes and restores everything
(W1, W3).
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import psutil
import pytest

from demo.airflow_stack import DAG_ID
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import S3StandIn
from tests.support.waiting import wait_for
from tests.system.slow_backup import slow_backup

pytestmark = pytest.mark.timeout(180)

ID = "20250115_in_flight.d"
TASK = "download_files"
PART_MIB = 4
LARGE = {f"{ID}/large_{number}.bin": 24 * MIB for number in range(3)}
SMALL = {f"{ID}/small_{number:03}.bin": 3_000 for number in range(150)}
FILES = {path: raw_bytes(size, path) for path, size in {**LARGE, **SMALL}.items()}
TERMINATED = "The task was terminated (SIGTERM)"

# The same happens with Airflow's own values, after minutes instead of seconds.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
PATIENT = {
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
}


class Restore:
    """One run of the DAG on the folder, from a source that can be slowed down and halted."""

    def __init__(self, stand: Stand, s3: S3StandIn, proxy: FaultProxy) -> None:
        self.stand = stand
        self.api = stand.airflow.api
        self.s3 = s3
        self.proxy = proxy
        self.folder = stand.project_output
        self.run_id = ""

    # --- what is done ------------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """Trigger it, halt it in the middle, and return the process id of the attempt.

        Some small files are in place then, and of a large one at least a part has come and is journalled.
        """
        self.proxy.add(Rule(Throttle(MIB), times=None))  # of each connection
        answer = self.api.trigger(DAG_ID, {"raw_file_id": ID})
        assert answer.status == HTTPStatus.OK, answer.body
        self.run_id = answer.body["dag_run_id"]
        wait_for(lambda: self.checkpoints() and len(self.right_files()) >= 3, "files in flight")
        self.proxy.pause()
        missing = set(FILES) - self.right_files()
        assert missing, "all was done before it could be halted"
        pid = self.task()["pid"]
        assert psutil.pid_exists(pid)
        return pid

    def change_state(self, state: str) -> None:
        path = f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{TASK}"
        answer = self.api.request("PATCH", path, {"new_state": state} | ({"dry_run": False} if IS_AIRFLOW_2 else {}))
        assert answer.status == HTTPStatus.OK, answer.body

    def clear(self) -> None:
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [TASK], "only_failed": False}
        body["reset_dag_runs"] = True  # the default of Airflow 3 only
        answer = self.api.request("POST", f"/dags/{DAG_ID}/clearTaskInstances", body)
        assert answer.status == HTTPStatus.OK, answer.body

    def let_go(self) -> None:
        """Let the source flow again, without limits; from here on its requests are counted anew."""
        self.s3.forget_requests()
        self.proxy.clear()
        self.proxy.resume()

    # --- what came of it ---------------------------------------------------------------------------------------------

    def task(self) -> dict[str, Any]:
        return self.api.get(f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{TASK}")

    def right_files(self) -> set[str]:
        """Which files are in place; one that is there and not right fails the test (W1)."""
        right = set()
        for path, data in FILES.items():
            with contextlib.suppress(FileNotFoundError):
                assert (self.folder / path).read_bytes() == data, f"W1: {path} holds other bytes"
                right.add(path)
        return right

    def checkpoints(self) -> int:
        """How many parts of large files have come and were noted, by attempts that may be dead."""
        count = 0
        for journal in (self.folder / ID).glob(".s3dl.*.journal"):
            with contextlib.suppress(FileNotFoundError):
                count += journal.read_bytes().count(b'"md5"')
        return count

    def reports(self) -> list[str]:
        found = sorted(self.folder.glob("_download_status_*.txt"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_text() for path in found]

    def strangers(self) -> list[str]:
        """Temporary files and whatever else is neither a file of the folder nor a report."""
        known = {self.folder / path for path in FILES} | set(self.folder.glob("_download_status_*.txt"))
        return [str(path) for path in self.folder.rglob("*") if not path.is_dir() and path not in known]

    def log(self) -> str:
        records = []
        for number in range(1, self.api.task_tries(DAG_ID, self.run_id, TASK) + 1):
            records += self.api.task_log(DAG_ID, self.run_id, TASK, number)
        return "\n".join(json.dumps(record) for record in records)


@pytest.fixture(scope="module")
def source(stand: Stand) -> Iterator[tuple[S3StandIn, FaultProxy]]:
    """The backup of the folder, and a scheduler whose tasks reach it through a proxy."""
    with slow_backup(stand, ID, FILES, PART_MIB, IMPATIENT, PATIENT) as backup:
        yield backup


@pytest.fixture
def restore(stand: Stand, source: tuple[S3StandIn, FaultProxy]) -> Iterator[Restore]:
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)
    yield Restore(stand, *source)
    source[1].clear()
    source[1].resume()


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def assert_report_proves(restore: Restore, right: set[str]) -> None:
    """A5: one line for each file, and none of them a lie."""
    (report,) = restore.reports()
    lines = dict(re.findall(r"^(.+?): ((?:OK|FAILURE) - .+)$", report, re.MULTILINE))
    assert set(lines) == set(FILES)
    said = {path for path, line in lines.items() if line.startswith("OK - Downloaded and verified (")}
    assert said
    assert said <= right, "an OK for a file that is not in place"
    assert {line for path, line in lines.items() if path not in said} == {
        f"FAILURE - Not attempted ({TERMINATED})",
        f"FAILURE - Not finished ({TERMINATED}); the next run goes on from here",
    }
    assert f"Total files: {len(FILES)}\nSuccessful: {len(said)}\nFailed: {len(FILES) - len(said)}\n" in report
    assert report.endswith("Status: PARTIAL FAILURE\n")


def assert_next_attempt_finishes(restore: Restore, right: set[str], parts: int | None) -> None:
    """W3: all is restored, and what an earlier attempt had proved is not fetched again."""
    assert restore.api.wait_for_run(DAG_ID, restore.run_id, 90) == "success", restore.log()
    assert restore.right_files() == set(FILES)
    assert restore.strangers() == []
    report = restore.reports()[-1]
    assert report.endswith(f"Successful: {len(FILES)}\nFailed: 0\nStatus: SUCCESS\n")
    assert report.count("OK - Skipped (already exists)") == len(right)
    fetched = [request for request in restore.s3.requests if request.operation == "GetObject"]
    assert {request.key for request in fetched} == set(FILES) - right
    if parts is None:  # two attempts side by side may both have asked for a part
        return
    total = sum(len(data) for data in FILES.values())
    had = sum(len(FILES[path]) for path in right) + parts * PART_MIB * MIB
    # Each range once: what dead attempts had asked for passes the proxy, too, when it lets go.
    ranges = {(request.key, request.range): request.bytes_sent for request in fetched}
    assert sum(ranges.values()) <= total - had


def test_mark_failed_gives_a_report_at_once_and_clearing_resumes(restore: Restore):
    pid = restore.begin()

    restore.change_state("failed")
    wait_for(lambda: is_gone(pid), "the end of the task's process")

    right, parts = restore.right_files(), restore.checkpoints()
    assert_report_proves(restore, right)
    assert restore.task()["state"] == "failed"
    assert restore.api.wait_for_run(DAG_ID, restore.run_id) == "failed"
    restore.let_go()
    restore.clear()
    assert_next_attempt_finishes(restore, right, parts)


def test_clear_gives_a_report_at_once_and_the_task_starts_anew(restore: Restore):
    pid = restore.begin()

    restore.clear()
    wait_for(lambda: is_gone(pid), "the end of the task's process")

    right, parts = restore.right_files(), restore.checkpoints()
    assert_report_proves(restore, right)
    restore.let_go()
    # Nobody has to do anything: cleared is not failed, and the next attempt waits for no `retry_delay`.
    assert_next_attempt_finishes(restore, right, parts)
    assert len(restore.reports()) == 2


@pytest.mark.long
def test_scheduler_that_is_stopped_ends_the_task_with_a_report(restore: Restore):
    pid = restore.begin()

    restore.stand.airflow.scheduler.stop(grace_seconds=30)
    wait_for(lambda: is_gone(pid), "the end of the task's process")

    assert restore.task()["state"] == "up_for_retry", "Airflow tries again by itself, after `retry_delay`"
    right, parts = restore.right_files(), restore.checkpoints()
    assert_report_proves(restore, right)
    restore.let_go()
    restore.stand.airflow.restart_scheduler()
    restore.clear()  # instead of waiting five minutes
    assert_next_attempt_finishes(restore, right, parts)


@pytest.mark.long
def test_scheduler_that_is_killed_with_its_tasks_leaves_what_the_next_attempt_resumes(restore: Restore):
    pid = restore.begin()

    restore.stand.airflow.scheduler.kill()
    wait_for(lambda: is_gone(pid), "the end of the task's process")

    assert restore.reports() == [], "nobody was left to write one"
    right, parts = restore.right_files(), restore.checkpoints()
    restore.let_go()
    restore.stand.airflow.restart_scheduler()
    assert_next_attempt_finishes(restore, right, parts)


@pytest.mark.rule("W6")
@pytest.mark.long
def test_scheduler_that_is_killed_alone_leaves_a_task_that_the_next_one_replaces(restore: Restore):
    """The attempt lives on without a scheduler; Airflow begins a second one and tells the first to end (W6)."""
    pid = restore.begin()
    orphaned = restore.stand.airflow.scheduler
    orphaned.kill(alone=True)
    try:
        assert not is_gone(pid)
        restore.stand.airflow.restart_scheduler()
        wait_for(lambda: is_gone(pid), "the end of the first attempt")
        right = restore.right_files()
        assert_report_proves(restore, right)
        restore.let_go()
        assert_next_attempt_finishes(restore, right, parts=None)
        assert len(restore.reports()) == 2
    finally:
        orphaned.stop()
