"""The process that downloads is ended: SIGTERM, time-out, SIGKILL, each with many files in flight (A5, W1, W3).

Each task runs in a process of its own with the real handler, MongoDB and S3 behind a proxy that can stand still.
An out-of-memory kill is a SIGKILL.
"""

import contextlib
import itertools
import json
import logging
import multiprocessing.process
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from impl import restore_run
from impl.termination import TaskTerminated
from s3_restore.disk.destination import Destination
from s3_restore.model.exceptions import DestinationGoneError
from s3_restore.run.last_look import LastLook
from s3_restore.run.restorer import Restorer
from s3_restore.run.transfer import Transfer
from tests.chaos import child as chaos_child
from tests.support.airflow_lines import task_timeout
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Stall, Throttle
from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import S3StandIn

KILL_FOLLOWS_S = 5.0  # Airflow sends SIGKILL that long after SIGTERM
ID = "20250115_many.d"
LARGE = {f"{ID}/large_{number}.bin": 20 * MIB for number in range(3)}
SMALL = {f"{ID}/small_{number:03}.bin": 3_000 for number in range(200)}
FILES = {path: raw_bytes(size, path) for path, size in {**LARGE, **SMALL}.items()}
NAMES = ("ALPHAKRAKEN_YAML", "AIRFLOW_CONN_AWS_DEFAULT", "MONGO_HOST", "MONGO_PORT", "MONGO_USER", "MONGO_PASSWORD")


@dataclass
class Told:
    """What the process told before it ended."""

    raised: str = ""
    text: str = ""
    notes: list[str] = field(default_factory=list)
    handler_put_back: bool = False
    begun: float = 0.0
    """By the monotonic clock, which is one for all processes of a machine."""


Meddler = Callable[[Any], None]
_task_instance: dict[str, Any] = {}  # in the child, where a meddler puts one


def run_task(
    environment: dict[str, str], told_file: str, log_file: str, timeout_s: float, meddle: Meddler | None = None
) -> None:
    """In the child: the task as Airflow calls it, below its time-out; `meddle` gets the handler's module before."""
    from impl import handler_impl  # noqa: PLC0415

    os.environ.update(environment)
    logging.basicConfig(filename=log_file, level=logging.INFO, force=True)
    if meddle:
        meddle(handler_impl)
    before = signal.getsignal(signal.SIGTERM)
    told = Told()
    begun = time.monotonic()
    try:
        with task_timeout()(timeout_s):
            handler_impl.download_raw_file_from_s3(_task_instance.get("ti"), params={"raw_file_id": ID})
    except BaseException as error:
        told = Told(type(error).__name__, str(error), list(getattr(error, "__notes__", ())))
        raise
    finally:
        told.begun = begun
        told.handler_put_back = signal.getsignal(signal.SIGTERM) is before
        Path(told_file).write_text(json.dumps(asdict(told)))


def _term_while_report_is_written(_handler: Any) -> None:
    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.link" and str(arguments[0]).endswith(".report"):
            os.kill(os.getpid(), signal.SIGTERM)

    sys.addaudithook(audit)


def _term_before_first_file(_handler: Any) -> None:
    from impl import restore_job  # noqa: PLC0415

    make_client = restore_job.get_s3_client

    def terminated(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return make_client(*arguments, **options)

    restore_job.get_s3_client = terminated


class _HangingTaskInstance:
    """Airflow does not answer: a push never comes back, and holds what the next one needs."""

    dag_id = run_id = "any"

    def xcom_push(self, key: str, value: Any) -> None:
        logging.info("A push of %s hangs", key)
        threading.Event().wait()


def _airflow_does_not_answer(_handler: Any) -> None:
    _task_instance["ti"] = _HangingTaskInstance()


def _no_page_more(_handler: Any) -> None:
    """From the 20th temporary file on, as below `ulimit -v`."""
    count = itertools.count(1)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".part") and next(count) == 20:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    sys.addaudithook(audit)


def _no_memory_for_every_ninth(_handler: Any) -> None:
    """In whatever thread opens, renames or removes a temporary file of the folder."""
    count = itertools.count(1)

    def audit(_event: str, arguments: tuple[Any, ...]) -> None:
        if arguments and f"/{ID}/.s3dl." in str(arguments[0]) and next(count) % 9 == 0:
            raise MemoryError

    sys.addaudithook(audit)


MEDDLERS: dict[str, Meddler] = {
    "no page more": _no_page_more,
    "no memory for every ninth": _no_memory_for_every_ninth,
    "SIGTERM while the report is written": _term_while_report_is_written,
    "SIGTERM before the first file": _term_before_first_file,
    "Airflow does not answer": _airflow_does_not_answer,
}


class Task:
    """One attempt in a process of its own."""

    def __init__(self, folder: Path, *, timeout_s: float = 1000, meddle: Meddler | None = None) -> None:
        self._told_file = folder / "told.json"
        self._told_file.unlink(missing_ok=True)
        self._log_file = folder / "task.log"
        environment = {name: os.environ[name] for name in NAMES}
        arguments = (environment, str(self._told_file), str(self._log_file), timeout_s, meddle)
        self.process: multiprocessing.process.BaseProcess = chaos_child.server().Process(
            target=run_task, args=arguments
        )
        self.process.start()

    def send(self, number: signal.Signals) -> float:
        """Send a signal, wait for the end of the process, return the seconds between."""
        begun = time.monotonic()
        os.kill(self.process.pid, number)
        return self.ended_after(begun)

    def ended_after(self, begun: float) -> float:
        self.process.join(30)
        seconds = time.monotonic() - begun
        assert self.process.exitcode is not None, self.log
        return seconds

    @property
    def told(self) -> Told:
        return Told(**json.loads(self._told_file.read_text()))

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class Backup:
    """The folder of many files in S3, behind a proxy."""

    def __init__(self, kraken: Kraken, proxy: FaultProxy, folder: Path) -> None:
        self.kraken = kraken
        self.proxy = proxy
        self._folder = folder
        self._tasks: list[Task] = []
        kraken.settings["s3_download"] |= {"max_concurrency": 4, "stall_timeout_s": 60}
        kraken.write_yaml()
        kraken.connect_s3(proxy.url)
        self.put(FILES)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Back these files up instead of any others."""
        self.files = files
        self.kraken.back_up(files, ID)

    def begin(self, **options: Any) -> Task:
        self._tasks.append(Task(self._folder, **options))
        return self._tasks[-1]

    def lines(self) -> dict[str, str]:
        return {path: self.kraken.line(path) for path in self.files}

    def right_files(self) -> set[str]:
        """Which files are in place; one that is there and not right fails the test (W1)."""
        right = set()
        for path, data in self.files.items():
            file = self.kraken.destination / path
            if file.exists():
                assert file.read_bytes() == data, f"W1: {path} holds other bytes"
                right.add(path)
        return right

    def close(self) -> None:
        for task in self._tasks:
            task.close()


@pytest.fixture
def backup(kraken: Kraken, s3: S3StandIn, tmp_path: Path) -> Iterator[Backup]:
    with FaultProxy(s3.url) as proxy:
        made = Backup(kraken, proxy, tmp_path)
        yield made
        made.close()


@pytest.fixture
def nth_get(s3: S3StandIn) -> Callable[[int], threading.Event]:
    """An event that is set when S3 has been asked for so many objects or ranges."""

    def after(count: int) -> threading.Event:
        arrived = threading.Event()

        def look(_request: object) -> None:
            if s3.count("GetObject") >= count:
                arrived.set()

        s3.on_request = look
        return arrived

    return after


def assert_report_proves(backup: Backup, why: str) -> None:
    """One line for each file, and none of them a lie."""
    lines = backup.lines()
    right = backup.right_files()
    reported = {path for path, line in lines.items() if line.startswith("OK - ")}
    assert reported <= right
    for path in backup.files.keys() - reported:
        assert re.match(rf"FAILURE - Not (attempted|finished) \({re.escape(why)}", lines[path]), lines[path]
    assert any(line.startswith(f"FAILURE - Not attempted ({why}") for line in lines.values())
    assert re.search(
        r"Total files: 203\nSuccessful: \d+\nFailed: \d+\nStatus: (PARTIAL|COMPLETE) FAILURE\n", backup.kraken.report
    )


def assert_next_attempt_finishes(backup: Backup, *, resumed: bool) -> None:
    """W3: the next attempt restores everything, without fetching again what was fetched and proved."""
    backup.proxy.resume()
    backup.proxy.clear()
    had = sum(len(backup.files[path]) for path in backup.right_files())
    backup.kraken.s3.forget_requests()
    task = backup.begin()
    task.ended_after(time.monotonic())
    assert task.process.exitcode == 0, task.log
    number = len(backup.files)
    assert backup.right_files() == set(backup.files)
    assert backup.kraken.report.endswith(f"Total files: {number}\nSuccessful: {number}\nFailed: 0\nStatus: SUCCESS\n")
    assert backup.kraken.others(*backup.files) == [], "W5: no temporary file is left"
    fetched = backup.kraken.s3.bytes_sent()
    total = sum(len(data) for data in backup.files.values())
    if resumed:
        assert fetched <= total - had - MIB, "W3: what the first attempt had fetched was fetched again"


@pytest.mark.rule("A5", fails_when="SIGTERM is not caught")
@pytest.mark.parametrize("stalled", [False, True], ids=["flowing", "stalled"])
def test_sigterm_with_many_files_in_flight_gives_a_report_at_once(backup, nth_get, stalled):
    """A5: "mark failed", "clear" and a stopping executor send SIGTERM, and SIGKILL five seconds later."""
    backup.proxy.add(Rule(Throttle(6 * MIB), times=None))
    arrived = nth_get(12)
    task = backup.begin()
    assert arrived.wait(60), task.log
    if stalled:
        backup.proxy.pause()

    seconds = task.send(signal.SIGTERM)

    assert seconds < KILL_FOLLOWS_S - 2, "well under five seconds, stalled connections or not"
    assert task.told.raised == "TaskTerminated"
    assert task.told.handler_put_back
    (report,) = backup.kraken.reports
    assert task.told.notes == [f"Report: {report}"]
    assert_report_proves(backup, "The task was terminated (SIGTERM)")
    assert_next_attempt_finishes(backup, resumed=False)


@pytest.mark.rule("U2")
def test_u2_a_push_that_hangs_costs_a_task_that_is_ended_nothing_of_its_time(backup, nth_get):
    backup.proxy.add(Rule(Throttle(6 * MIB), times=None))
    arrived = nth_get(12)
    task = backup.begin(meddle=MEDDLERS["Airflow does not answer"])
    assert arrived.wait(60), task.log
    backup.proxy.pause()
    wait_for(lambda: "A push of progress hangs" in task.log, task)

    seconds = task.send(signal.SIGTERM)

    assert seconds < KILL_FOLLOWS_S - 2
    assert task.told.raised == "TaskTerminated"
    (report,) = backup.kraken.reports
    assert task.told.notes == [f"Report: {report}"]
    assert_report_proves(backup, "The task was terminated (SIGTERM)")


@pytest.mark.rule("W3", fails_when="journals are not read")
@pytest.mark.rule("A5")
def test_what_sigterm_left_of_a_large_file_is_resumed(backup):
    """A5, W3: S3 stands still between the first checkpoint and the end, so that SIGTERM comes there on any machine."""
    path = f"{ID}/large.bin"
    backup.put({path: raw_bytes(48 * MIB, path), **{name: FILES[name] for name in list(SMALL)[:10]}})
    backup.proxy.add(Rule(Stall(after=40 * MIB, in_object=True), key=path, times=None))
    task = backup.begin()
    folder = backup.kraken.destination / ID

    def checkpoints() -> list[int]:
        """Bytes from the start of the file that were noted as hashed and written."""
        journals = [file.read_text() for file in folder.glob(".s3dl.*.journal")]
        return [int(count) for text in journals for count in re.findall(r'"n": (\d+)', text)]

    wait_for(checkpoints, task)
    task.send(signal.SIGTERM)

    kept = max(checkpoints())
    assert 16 * MIB <= kept < 48 * MIB
    assert backup.lines()[path] == (
        "FAILURE - Not finished (The task was terminated (SIGTERM)); the next run goes on from here"
    )
    assert path not in backup.right_files()
    assert_next_attempt_finishes(backup, resumed=True)
    assert backup.kraken.s3.bytes_sent(path) == 48 * MIB - kept, "to the byte"


@pytest.mark.rule("A5", fails_when="only an Exception gets a report")
def test_time_out_with_a_stalled_s3_gives_a_report_at_once(backup, nth_get):
    """A5: AirflowTaskTimeout is a BaseException in the main thread; stalled threads must not hold up the end."""
    arrived = nth_get(12)
    task = backup.begin(timeout_s=3)
    assert arrived.wait(60), task.log
    backup.proxy.pause()

    task.ended_after(time.monotonic())

    assert time.monotonic() - task.told.begun < 3 + KILL_FOLLOWS_S - 1, "stalled connections or not"
    assert task.told.raised == "AirflowTaskTimeout"
    assert task.told.handler_put_back
    lines = backup.lines()
    assert {line.partition(" (")[0] for line in lines.values() if line.startswith("FAILURE")} <= {
        "FAILURE - Not attempted",
        "FAILURE - Not finished",
    }
    assert task.told.notes == [f"Report: {backup.kraken.reports[-1]}"]
    assert_next_attempt_finishes(backup, resumed=False)


@pytest.mark.rule("W3", fails_when="leftovers are not taken over")
@pytest.mark.rule("W1")
@pytest.mark.parametrize("round_", range(2))
def test_sigkill_leaves_right_files_or_none_and_the_next_attempt_resumes(backup, round_):
    """W1, W3: nothing runs after SIGKILL (out of memory, power); what is on disk must speak for itself."""
    backup.proxy.add(Rule(Throttle(24 * MIB), times=None))
    task = backup.begin()
    folder = backup.kraken.destination / ID

    def fetched_a_good_part() -> bool:
        journals = [file.read_bytes().count(b'"md5"') for file in folder.glob(".s3dl.*.journal")]
        return sum(journals) > round_

    wait_for(fetched_a_good_part, task)
    task.send(signal.SIGKILL)

    assert task.process.exitcode == -signal.SIGKILL
    assert backup.kraken.reports == [], "nobody was left to write one"
    assert backup.kraken.others(*FILES), "something to resume from"
    backup.right_files()
    assert_next_attempt_finishes(backup, resumed=True)


@pytest.mark.rule("W1", fails_when="a MemoryError ends the run instead of its file")
@pytest.mark.rule("W3")
@pytest.mark.parametrize("meddle", ["no page more", "no memory for every ninth"])
def test_worker_out_of_memory_tells_no_lie_and_the_next_attempt_finishes(backup, meddle):
    """W1, W3: requests for memory are refused. (The kernel's own killer sends SIGKILL: see above.)"""
    task = backup.begin(meddle=MEDDLERS[meddle])

    task.ended_after(time.monotonic())

    right = backup.right_files()
    for line in (lines := backup.lines()).values():
        assert line.startswith("OK - ") or line == "FAILURE - Out of memory on the worker (MemoryError)", line
    assert {path for path, line in lines.items() if line.startswith("OK - ")} <= right
    assert (len(right) < len(FILES)) == (meddle == "no memory for every ninth"), "else it tests nothing"
    assert_next_attempt_finishes(backup, resumed=False)


@pytest.mark.rule("A5")
@pytest.mark.parametrize("meddle", [name for name in MEDDLERS if name.startswith("SIGTERM")])
def test_signal_at_an_awkward_moment_costs_no_report(backup, meddle):
    """A5: found by the chaos suite."""
    task = backup.begin(meddle=MEDDLERS[meddle])

    task.ended_after(time.monotonic())

    (report,) = backup.kraken.reports
    lines = set(backup.lines().values())
    if meddle == "SIGTERM before the first file":
        assert task.told.raised == "TaskTerminated", task.log
        assert task.told.notes == [f"Report: {report}"]
        assert lines == {"FAILURE - Not attempted (The task was terminated (SIGTERM))"}
        assert backup.kraken.s3.requests == []
    else:
        assert all(line.startswith("OK - ") for line in lines), "all was done, and the report says so"
        assert task.told.raised == "", "W10: so the task does not end by an exception"
    assert not list(backup.kraken.destination.rglob(".s3dl.*"))


@pytest.mark.rule("R3", "W5")
def test_report_writer_that_was_killed_leaves_no_temporary_file_for_good(backup):
    """R3, W5: found by the chaos suite."""
    folder = backup.kraken.destination
    folder.mkdir()
    dead = folder / ".s3dl.845e91831319.0123abcd-1-1-1.report"
    dead.write_text("S3 Download Status Report, as far as it")
    long_ago = time.time() - 3600
    os.utime(dead, (long_ago, long_ago))

    task = backup.begin()
    task.ended_after(time.monotonic())

    assert task.process.exitcode == 0, task.log
    assert backup.kraken.others(*FILES) == []


@pytest.mark.rule("A5")
def test_sigterm_handler_of_airflow_is_called_first_and_put_back(kraken, s3):
    """A5: Airflow 2.11 raises an exception of its own from its handler."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    came = threading.Event()
    called: list[int] = []

    def terminate(_request: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(30), "the answer comes after the signal"

    s3.on_request = terminate

    class TerminatedByAirflowError(BaseException):
        pass

    def handler(number: int, _frame: object) -> None:
        called.append(number)
        came.set()
        raise TerminatedByAirflowError("Task received SIGTERM signal")

    with sigterm_handler(handler):
        with pytest.raises(TerminatedByAirflowError):
            kraken.download("a.raw")

        assert signal.getsignal(signal.SIGTERM) is handler
    assert called == [signal.SIGTERM], "a second SIGTERM does not cut the report short"
    assert kraken.line("a.raw").startswith("FAILURE - Not ")


@pytest.mark.rule("R5")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_end_while_a_former_handler_runs_does_not_wait_for_the_first(kraken, s3, second):
    """R5: Airflow's handler of a time-out logs, with a lock that its own thread cannot take twice."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    lock, came = threading.Lock(), threading.Event()

    def terminate(_request: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(30), "the answer comes after the signals"

    s3.on_request = terminate

    def handler(_number: int, _frame: object) -> None:
        assert lock.acquire(timeout=5), "waited for itself"
        if not came.is_set():
            came.set()
            os.kill(os.getpid(), second)
        lock.release()

    before = signal.signal(signal.SIGINT, handler)
    try:
        with sigterm_handler(handler), pytest.raises(TaskTerminated):
            kraken.download("a.raw")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(kraken.reports) == 1
    assert kraken.line("a.raw").startswith("FAILURE - Not ")


@pytest.mark.rule("A5", fails_when="the handler stays")
@pytest.mark.parametrize("former", [signal.SIG_DFL, signal.SIG_IGN])
def test_sigterm_handler_is_put_back_after_a_good_run(kraken, former):
    """Whoever handled SIGTERM before the download does so again after it (A5)."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    with sigterm_handler(former):
        kraken.download("a.raw")

        assert signal.getsignal(signal.SIGTERM) is former


@pytest.fixture
def no_thread_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_others(thread: threading.Thread) -> None:
        if thread.name == "s3-restore-report":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_others)


@pytest.mark.rule("R5", fails_when="no thread for the report leaves none, be it in the log")
@pytest.mark.usefixtures("no_thread_for_a_report")
def test_report_of_a_check_is_in_the_log_where_no_thread_can_be_started(kraken, caplog):
    """As many threads as the system gives are there already."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    kraken.destination.mkdir()
    assert kraken.download("a.raw", verify_only=True)["status"] == "SUCCESS"
    assert "\nStatus: SUCCESS" in caplog.text


@pytest.mark.rule("R5", fails_when="no thread for the report leaves none, be it in the log")
@pytest.mark.usefixtures("no_thread_for_a_report")
def test_report_of_a_run_that_hangs_is_in_the_log_where_no_thread_can_be_started(kraken, caplog, monkeypatch):
    """The run is told to end, and its own thread waits for a file system."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    hangs = threading.Event()

    def make(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        hangs.wait()

    monkeypatch.setattr(restore_run, "make_destination", make)
    with sigterm_handler(signal.SIG_DFL), pytest.raises(TaskTerminated):
        kraken.download("a.raw")
    hangs.set()
    assert caplog.text.count("\nStatus: COMPLETE FAILURE") == 1


@pytest.mark.rule("W11", fails_when="whoever reports in the stead of a run that hangs does not ask for the mount")
def test_report_of_a_run_that_hangs_is_not_made_below_a_mount_that_was_lost(kraken, caplog, monkeypatch):
    """The folder below the mount has the same name, and takes writes."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    hangs = threading.Event()

    def hang(*_: object) -> None:
        monkeypatch.setattr(Destination, "is_gone", lambda _destination: True)
        os.kill(os.getpid(), signal.SIGTERM)
        hangs.wait()

    monkeypatch.setattr(LastLook, "take", hang)
    with sigterm_handler(signal.SIG_DFL), pytest.raises(TaskTerminated):
        kraken.download("a.raw")
    hangs.set()
    assert [path.name for path in kraken.destination.iterdir()] == ["a.raw"]
    assert caplog.text.count("(the output location vanished). It says:\nS3 Download Status Report") == 1


@pytest.mark.rule("W11", fails_when="a mount that is lost after the last file is a success without a report")
@pytest.mark.parametrize("when", ["in the last look", "after it"])
def test_mount_that_is_lost_after_the_last_file_is_no_success(kraken, caplog, monkeypatch, when):
    """Airflow tries again (A4)."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    owner, name = (LastLook, "take") if when == "in the last look" else (Restorer, "run")
    real = getattr(owner, name)

    def lose(*arguments: Any) -> Any:
        result = real(*arguments)
        kraken.destination.rename(f"{kraken.destination}.lost")
        return result

    monkeypatch.setattr(owner, name, lose)
    with pytest.raises(DestinationGoneError):
        kraken.download("a.raw")
    assert caplog.text.count("(the output location vanished). It says:\nS3 Download Status Report") == 1
    assert "\nStatus: COMPLETE FAILURE" in caplog.text


@pytest.mark.rule("W10", fails_when="an exception after the last file leaves SUCCESS in a report")
@pytest.mark.parametrize("verify_only", [False, True])
def test_error_after_the_last_file_is_no_success(kraken, monkeypatch, verify_only):
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    kraken.destination.mkdir()

    close = Transfer.close

    def fail(transfer: Transfer) -> None:
        close(transfer)
        raise MemoryError

    monkeypatch.setattr(Transfer, "close", fail)
    with pytest.raises(MemoryError):
        kraken.download("a.raw", verify_only=verify_only)
    [report] = kraken.reports
    assert report.read_text().endswith("\nStatus: COMPLETE FAILURE\n")


@pytest.mark.rule("A5")
def test_download_works_in_a_thread_where_no_handler_can_be_set(kraken):
    """A5: as `airflow dags test` of some tools does."""
    kraken.back_up({"a.raw": raw_bytes(100, "a")}, "a.raw")
    before = signal.getsignal(signal.SIGTERM)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(kraken.download("a.raw")))
    thread.start()
    thread.join()

    assert results[0]["status"] == "SUCCESS"
    assert signal.getsignal(signal.SIGTERM) is before


@contextlib.contextmanager
def sigterm_handler(handler: Any) -> Iterator[None]:
    former = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def wait_for(condition: Callable[[], object], task: Task, timeout_s: float = 60) -> None:
    """Look often until something has happened on disk; a task that ended before fails the test."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert task.process.is_alive(), task.log
        assert time.monotonic() < end, task.log
        task.process.join(0.01)
