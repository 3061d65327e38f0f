"""Issue 6: restores on Celery with Redis and PostgreSQL, two workers that share the output folder.

Judged by what an operator sees: states, hosts and times of tasks over REST, Airflow's audit log, bytes on disk,
reports, notifications; and by the requests that reached S3. In this order: each leaves the fleet as the next needs it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from demo.airflow_stack import DAG_ID
from s3_restore.model.settings import RestoreSettings
from tests.fleet.fleet import IMPATIENT_WITH_QUEUES, QUEUE, WORKERS
from tests.fleet.stage import PART_MIB, PROJECT_ID, Stage
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, raw_bytes

# On a machine that is busy with other tests too; the first one starts the fleet.
pytestmark = pytest.mark.timeout(600)

VALIDATE, DOWNLOAD = "validate_parameters", "download_files"
POOL, SLOTS = "s3_download_pool", 2
PATIENCE_S = 120


def wait_for(look: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)  # each look is work for an API server that shares two cores with all others
    return found


class Run:
    """One run of the DAG."""

    def __init__(self, stage: Stage, raw_file_id: str) -> None:
        self.api = stage.fleet.api
        self.raw_file_id = raw_file_id
        answer = self.api.trigger(DAG_ID, {"raw_file_id": raw_file_id})
        assert answer.status == HTTPStatus.OK, answer.body
        self.run_id = answer.body["dag_run_id"]
        self.path = f"/dags/{DAG_ID}/dagRuns/{quote(self.run_id)}"

    def task(self, task_id: str) -> dict[str, Any]:
        return self.api.get(f"{self.path}/taskInstances/{task_id}")

    def state(self, task_id: str) -> str | None:
        return self.task(task_id)["state"]

    def span(self, task_id: str) -> tuple[datetime, datetime]:
        """When it started and when it ended."""
        task = self.task(task_id)
        return datetime.fromisoformat(task["start_date"]), datetime.fromisoformat(task["end_date"])

    def tries(self, task_id: str) -> list[dict[str, Any]]:
        return self.api.get(f"{self.path}/taskInstances/{task_id}/tries")["task_instances"]

    def events(self) -> list[str]:
        """What Airflow's audit log says of this run, the oldest first."""
        # A run id holds a `+`, which means a blank in a query.
        query = f"dag_id={DAG_ID}&run_id={quote(self.run_id)}&order_by=event_log_id"
        return [event["event"] for event in self.api.get(f"/eventLogs?{query}")["event_logs"]]

    def end(self) -> str:
        return self.api.wait_for_run(DAG_ID, self.run_id, PATIENCE_S)

    def clear(self) -> None:
        body = {"dry_run": False, "dag_run_id": self.run_id, "only_failed": False}
        answer = self.api.request("POST", f"/dags/{DAG_ID}/clearTaskInstances", body)
        assert answer.status == HTTPStatus.OK, answer.body


def report_of(stage: Stage, raw_file_id: str) -> str:
    (file,) = (stage.fleet.output / PROJECT_ID).glob(f"_download_status_{raw_file_id}_*.txt")
    return file.read_text()


def restored(stage: Stage, paths: Iterable[str]) -> bool:
    return all((stage.fleet.output / PROJECT_ID / path).read_bytes() == stage.files[path] for path in paths)


def strangers(stage: Stage) -> list[str]:
    """Temporary files, and whatever else is neither restored nor a report."""
    folder = stage.fleet.output / PROJECT_ID
    known = {folder / path for path in stage.files} | set(folder.glob("_download_status_*.txt"))
    return [str(path) for path in folder.rglob("*") if path.is_file() and path not in known]


def journalled(folder: Path) -> int:
    """How many parts have come and were noted."""
    return sum(journal.read_bytes().count(b'"md5"') for journal in folder.rglob(".s3dl.*.journal"))


def most_at_once(spans: list[tuple[datetime, datetime]]) -> int:
    """How many of the spans of time overlap at most."""
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


@pytest.fixture
def gate(stage: Stage) -> Iterator[threading.Event]:
    """While this is not set, S3 keeps whoever asks for an object waiting."""
    is_open = threading.Event()
    stage.s3.on_request = lambda request: request.operation == "GetObject" and is_open.wait(PATIENCE_S)
    yield is_open
    is_open.set()
    stage.s3.on_request = None


def test_the_health_checks_of_the_compose_file_find_all_services_well(stage: Stage):
    for service in ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-worker"):
        assert stage.fleet.unhealthy(service) == ""
    assert "triggerer" in stage.fleet.unhealthy("airflow-triggerer"), "not started here, and the check knows it"


def test_six_at_once_share_two_workers_and_never_more_than_two_download(stage: Stage, gate: threading.Event):
    files = {f"2025011{number}_six.raw": raw_bytes(6 * MIB + number, number) for number in range(6)}
    for path, data in files.items():
        stage.store(path, {path: data})
    # Slow enough that downloads would overlap wherever they may.
    stage.proxy.add(Rule(Throttle(MIB), method="GET", times=None))

    with ThreadPoolExecutor(len(files)) as pool:
        runs = list(pool.map(lambda path: Run(stage, path), files))

    def states(task_id: str) -> list[str]:
        found = stage.fleet.api.get(f"/dags/{DAG_ID}/dagRuns/~/taskInstances?task_id={task_id}")["task_instances"]
        return sorted(str(task["state"]) for task in found)

    wait_for(lambda: states(VALIDATE) == ["success"] * len(runs), "all six are validated")
    wait_for(lambda: len({request.key for request in stage.s3.requests if is_get(request)}) == SLOTS, "two downloads")
    wait_for(
        lambda: states(DOWNLOAD) == ["running"] * SLOTS + ["scheduled"] * (len(runs) - SLOTS),
        "two run, four wait for the pool",
    )
    slots = stage.fleet.api.get(f"/pools/{POOL}")
    assert (slots["slots"], slots["running_slots"], slots["open_slots"]) == (SLOTS, SLOTS, 0)
    gate.set()
    assert [run.end() for run in runs] == ["success"] * len(runs)

    stage.proxy.clear()
    assert most_at_once([run.span(DOWNLOAD) for run in runs]) == SLOTS
    assert {run.task(task)["hostname"] for run in runs for task in (VALIDATE, DOWNLOAD)} == set(WORKERS)
    assert restored(stage, files)
    assert strangers(stage) == []
    for run in runs:
        assert report_of(stage, run.raw_file_id).endswith("Successful: 1\nFailed: 0\nStatus: SUCCESS\n")


def is_get(request: Any) -> bool:
    return request.operation == "GetObject"


def test_a_worker_that_is_killed_is_replaced_by_the_other_which_resumes(stage: Stage):
    path = "20250115_killed.raw"
    size = 3 * RestoreSettings().max_concurrency * PART_MIB * MIB  # three parts for each connection
    stage.store(path, {path: raw_bytes(size, path)})
    stage.proxy.add(Rule(Throttle(2 * MIB // 3), method="GET", times=None))  # of each connection
    run = Run(stage, path)
    wait_for(lambda: journalled(stage.fleet.output) >= 3, "parts that are proved and noted")
    killed = run.task(DOWNLOAD)["hostname"]
    (other,) = set(WORKERS) - {killed}

    stage.fleet.workers.pop(killed).kill()

    stage.proxy.pause()
    proved = journalled(stage.fleet.output) * PART_MIB * MIB
    assert 0 < proved < size
    assert run.state(DOWNLOAD) == "running", "nobody has noticed yet"
    stage.s3.forget_requests()
    stage.proxy.clear()
    stage.proxy.resume()
    assert run.end() == "success"

    first, second = run.tries(DOWNLOAD)
    assert (first["state"], first["hostname"]) == ("failed", killed)
    assert (second["state"], second["hostname"]) == ("success", other)
    assert "heartbeat timeout" in run.events()
    assert restored(stage, [path])
    assert strangers(stage) == []
    # What the killed one had asked for may pass once more when the proxy lets go; each range counts once.
    ranges = {request.range: request.bytes_sent for request in stage.s3.requests if is_get(request)}
    assert 0 < sum(ranges.values()) <= size - proved
    assert report_of(stage, path).endswith("Successful: 1\nFailed: 0\nStatus: SUCCESS\n")

    # A day later, Redis hands the message that the dead worker had taken to another one: no task may run twice.
    stage.s3.forget_requests()
    redis = stage.fleet.redis
    wait_for(lambda: redis.unacknowledged() == 1, "the other worker has acknowledged its own")
    redis.redeliver(QUEUE)
    wait_for(lambda: redis.waiting(QUEUE) == redis.unacknowledged() == 0, "the old message is dealt with")
    assert run.task(DOWNLOAD)["try_number"] == 2
    assert run.state(DOWNLOAD) == "success"
    assert stage.s3.requests == []


def test_without_a_worker_the_task_waits_then_fails_and_a_worker_makes_it_good(stage: Stage):
    path = "20250115_nobody.raw"
    stage.store(path, {path: raw_bytes(MIB, path)})
    fleet = stage.fleet
    fleet.stop_workers()
    assert "no answer to a ping" in fleet.unhealthy("airflow-worker")
    fleet.start_service("airflow-scheduler", IMPATIENT_WITH_QUEUES)

    run = Run(stage, path)

    wait_for(lambda: run.state(VALIDATE) == "queued", "queued")
    wait_for(lambda: fleet.redis.waiting(QUEUE) > 0, "a message for a worker")
    assert run.end() == "failed"
    assert run.state(VALIDATE) == "failed"
    assert [event for event in run.events() if "stuck" in event] == [
        "stuck in queued reschedule",
        "stuck in queued reschedule",
        "stuck in queued tries exceeded",
    ]
    (post,) = stage.webhook.wait_for(1, PATIENCE_S)
    assert f"{DAG_ID}.{VALIDATE} failed for raw file" in post.json()["text"]
    assert path in post.json()["text"]

    # Back to usual, and the messages that nobody took are no harm: they are for a task that is over.
    fleet.start_service("airflow-scheduler")
    fleet.start_worker(WORKERS[0])
    wait_for(lambda: fleet.redis.waiting(QUEUE) == 0, "old messages taken")
    assert run.state(VALIDATE) == "failed"
    assert not (fleet.output / PROJECT_ID / path).exists()
    run.clear()
    assert run.end() == "success"
    assert restored(stage, [path])
