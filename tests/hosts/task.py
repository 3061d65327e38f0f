"""The task in a process of its own on a host: the product's own handler, with MongoDB and S3 over the network.

Forked from a server that has imported everything (tests/chaos), so that it costs a tenth of a second. What a test may
see of it is what Airflow would see, and the log.
"""

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import child as chaos_child
from tests.hosts.host import LIMIT_S, Host, enter, wait_for
from tests.support.engine_child import _give_up_capabilities

_ENVIRONMENT = (
    "ALPHAKRAKEN_YAML",
    "AIRFLOW_CONN_AWS_DEFAULT",
    "MONGO_HOST",
    "MONGO_PORT",
    "MONGO_USER",
    "MONGO_PASSWORD",
)


@dataclass(frozen=True)
class Job:
    """What the process needs to know.

    Attributes:
        host_pid: a process of the host to run on.
        raw_file_id: what to restore.
        folder: where the log is, and what it tells in the end.
        environment: of the worker.
        timeout_s: Airflow's `execution_timeout`.
        clock_ahead_s: how far the clock of this worker is ahead.
        unprivileged: whether file modes and `hidepid` count for it.

    """

    host_pid: int
    raw_file_id: str
    folder: str
    environment: Mapping[str, str]
    timeout_s: float = 1000.0
    clock_ahead_s: float = 0.0
    unprivileged: bool = False


@dataclass
class End:
    """How a task ended.

    Attributes:
        raised: name of the exception; empty when it returned.
        text: of the exception.
        notes: of the exception.
        returned: the XCom of a task that returned.
        closed_twice: numbers of files that were closed although they were not open: another thread's file may have had
            the number.
        seconds: from the call of the task to its return; until its process has ended more may pass.

    """

    raised: str = ""
    text: str = ""
    notes: list[str] = field(default_factory=list)
    returned: dict[str, Any] = field(default_factory=dict)
    closed_twice: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def assert_success(self, log: str = "") -> None:
        assert (self.raised, self.returned.get("status")) == ("", "SUCCESS"), f"{self}\n{log}"


class Task:
    """One attempt, as a test sees it. Numbers of processes are those outside of the host."""

    def __init__(self, host: Host, raw_file_id: str, folder: Path, **options: Any) -> None:
        folder.mkdir()
        self._folder = folder
        environment = {name: os.environ[name] for name in _ENVIRONMENT}
        job = Job(host.pid, raw_file_id, str(folder), environment, **options)
        self._process = chaos_child.server().Process(target=run_task, args=(job,), daemon=True)
        self._process.start()
        self._told = folder / "end.json"
        wait_for((folder / "pid").exists, f"the start of a task on {host.name}")
        self.pid = int((folder / "pid").read_text())

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Every thread of it stands still from here on, as on a host that is suspended."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: _state_of(self.pid) in "TZ", f"{self.pid} to stop")

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.is_alive():  # else its number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._process.join(LIMIT_S)
        assert self._process.exitcode is not None

    def is_alive(self) -> bool:
        return self._process.exitcode is None

    @property
    def number_inside(self) -> int:
        """Its number as its own host counts."""
        line = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "NSpid" in line)
        return int(line.split()[-1])

    def ends_within(self, seconds: float) -> bool:
        self._process.join(seconds)
        return not self.is_alive()

    def end(self, within_s: float = LIMIT_S) -> End:
        """Wait for the end of its process."""
        assert self.ends_within(within_s), f"still running after {within_s} s:\n{self.log}"
        assert self._told.exists(), f"died with {self._process.exitcode}:\n{self.log}"
        return End(**json.loads(self._told.read_text()))

    def end_on_a_share_that_hangs(self, within_s: float) -> End:
        """Wait for all that a process can do to end there.

        Who waits for an answer that a FUSE daemon has to give is held by the kernel, even by a process that is killed.
        """
        wait_for(self._told.exists, f"the end of the task within {within_s} s:\n{self.log}", within_s=within_s)
        wait_for(lambda: not self.is_alive() or self._states() <= set("DZX"), f"its exit: {self._states()}")
        return End(**json.loads(self._told.read_text()))

    def _states(self) -> set[str]:
        """Of its threads, as the kernel has them."""
        states = set()
        for thread in Path(f"/proc/{self.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                states.add(_state_of(int(thread.name)))
        return states

    def writes_into(self, folder: Path) -> set[tuple[int, int]]:
        """Device and inode of every file of a folder that it has open for writing now, be it under no name any more.

        Journals are left out: what two say in one is merely hashed again.
        """
        found = set()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError, ValueError):
                flags = (entry.parent.parent / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0]
                target = str(entry.readlink())
                if int(flags, 8) & os.O_ACCMODE and target.startswith(f"{folder}/") and ".journal" not in target:
                    status = entry.stat()
                    found.add((status.st_dev, status.st_ino))
        return found

    def close(self) -> None:
        self.kill()
        self._process.close()


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# --- in the child ----------------------------------------------------------------------------------------------------


def run_task(job: Job) -> None:
    """Enter the host, and run the task in a child that is a process of it."""
    enter(job.host_pid)
    folder = Path(job.folder)
    if pid := os.fork():
        (folder / "pid.tmp").write_text(str(pid))
        (folder / "pid.tmp").rename(folder / "pid")
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO, force=True, format="%(asctime)s %(threadName)s %(message)s")
    os.environ.update(job.environment)
    if job.clock_ahead_s:
        _set_clock_ahead(job.clock_ahead_s)
    end = End(closed_twice=_watch_close())
    if job.unprivileged:
        _give_up_capabilities()
    _call(job, end)
    temporary = folder / "end.tmp"
    temporary.write_text(json.dumps(asdict(end)))
    temporary.rename(folder / "end.json")


def _call(job: Job, end: End) -> None:
    from impl import handler_impl  # noqa: PLC0415 (loaded by the server)
    from tests.support.airflow_lines import task_timeout  # noqa: PLC0415

    begun = time.monotonic()
    try:
        with task_timeout()(job.timeout_s):
            end.returned = handler_impl.download_raw_file_from_s3(None, params={"raw_file_id": job.raw_file_id})
    except BaseException as error:
        logging.exception("The task ends with")
        end.raised, end.text, end.notes = type(error).__name__, str(error), list(getattr(error, "__notes__", ()))
    end.seconds = time.monotonic() - begun


def _set_clock_ahead(seconds: float) -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)


def _watch_close() -> list[int]:
    """Notes each number that is closed although it is not open."""
    close, closed_twice = os.close, []

    def watched(fd: int) -> None:
        try:
            close(fd)
        except OSError as error:
            if error.errno == 9:
                closed_twice.append(fd)
            raise

    os.close = watched
    return closed_twice
