"""Child processes that never outlive us, the ports they listen on, and waiting for them.

Every child gets a session of its own, so that Ctrl-C in the terminal reaches only us and we can stop the children in
order. A child that ignores SIGTERM is killed together with everything in its session. Should we be killed outright
(SIGKILL), the Linux kernel sends SIGTERM to the children; for that, start them from the main thread.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

LOCALHOST = "127.0.0.1"

_POLL_SECONDS = 0.1
_TAIL_LINES = 25
_KILLED_SECONDS = 5
_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec nothing may allocate more than it must.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class StartError(RuntimeError):
    """A process ended or did not get ready in time. The text ends with the last lines of its log."""


class ChildProcess:
    """One program in its own session, its output in a log file.

    Args:
        name: what messages call it.
        command: program and arguments.
        log_file: gets stdout and stderr, appended.
        env: the whole environment; ours when None.
        cwd: working directory; ours when None.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._command = [str(part) for part in command]
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def listening_ports(self) -> list[int]:
        """Return the ports that it listens on, for a server that was told to take any."""
        if self._popen is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = psutil.Process(self._popen.pid).net_connections("tcp")
            return [found.laddr.port for found in sockets if found.status == psutil.CONN_LISTEN]
        return []

    def start(self) -> None:
        """Start it and return at once; `wait_until` says when it is ready."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - takes no lock that a thread could hold
            )

    def error(self, problem: str) -> StartError:
        """Return an error that says what happened and shows the end of the log."""
        return StartError(f"{self.name} {problem}\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of its log, each marked as a quotation."""
        with contextlib.suppress(FileNotFoundError), self.log_file.open(errors="replace") as log:
            lines = [f"  | {line.rstrip()}" for line in deque(log, maxlen=_TAIL_LINES)]
            if lines:
                return "\n".join([f"The end of {self.log_file}:", *lines])
        return f"Its log {self.log_file} is empty."

    def check(self) -> None:
        """Raise StartError if it is not running any more."""
        if self._popen is not None and (code := self._popen.poll()) is not None:
            raise self.error(f"ended by itself, exit code {code}.")

    def stop(self, grace_seconds: float = 10) -> None:
        """End it and everything it started: SIGTERM, then SIGKILL after `grace_seconds`. Repeating this is harmless."""
        stop_all([self], grace_seconds)

    def kill(self, *, alone: bool = False) -> None:
        """End it and everything it started at once, as when a machine fails: SIGKILL, with no warning before.

        Args:
            alone: what it started lives on, as when only this process fails; `stop` still ends that.
        """
        if alone:
            if self._popen is not None:
                self._popen.kill()
                self._popen.wait()
            return
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._reap()

    def _signal_group(self, number: signal.Signals) -> None:
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)

    def _family(self) -> list[psutil.Process]:
        """Return every living process of the session, and descendants that left it."""
        if self._popen is None:
            return []
        family: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self._popen.pid and _is_alive(process):
                    family[process.pid] = process
        for process in list(family.values()):
            with contextlib.suppress(psutil.Error):
                family.update({child.pid: child for child in process.children(recursive=True)})
        return list(family.values())

    def _reap(self) -> None:
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=5)
            self._popen = None


class Startable:
    """Something with `start` and `stop`, for `with`; what is half started is stopped too."""

    def start(self) -> None:
        """Start it."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait until it is ready, where `start` does not."""

    def stop(self) -> None:
        """Stop it, started or not."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_all(children: Iterable[ChildProcess], grace_seconds: float = 10) -> None:
    """End several children side by side, with everything they started.

    Signals that would interrupt us wait until this is done: it takes `grace_seconds` at most and a little more.
    """
    with _interrupts_held():
        children = [child for child in children if child._popen is not None]  # noqa: SLF001 - same module
        family = [process for child in children for process in child._family()]  # noqa: SLF001
        for child in children:
            child._signal_group(signal.SIGTERM)  # noqa: SLF001
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(child._family() for child in children):  # noqa: SLF001
            time.sleep(_POLL_SECONDS)
            for child in children:
                child._popen.poll()  # type: ignore[union-attr] # noqa: SLF001 - reaps, so that no zombie counts as alive
        family += [process for child in children for process in child._family()]  # noqa: SLF001
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for child in children:
            child._reap()  # noqa: SLF001
        # Killed is not gone: only afterwards are ports and files free.
        deadline = time.monotonic() + _KILLED_SECONDS
        while time.monotonic() < deadline and any(_is_alive(process) for process in family):
            time.sleep(_POLL_SECONDS)


def run_to_end(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command in its own session and return its exit code, stdout and stderr as text.

    Whatever ends the wait (timeout, Ctrl-C), the command ends with it.
    """
    popen = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - takes no lock that a thread could hold
    )
    with popen:
        try:
            stdout, stderr = popen.communicate(timeout=timeout_seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(popen.args, popen.returncode, stdout, stderr)


def wait_until(
    ready: Callable[[], bool],
    children: Sequence[ChildProcess],
    what: str,
    timeout_seconds: float,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Wait until `ready()` is true.

    Args:
        ready: asked about ten times a second; an OSError means "not yet".
        children: whoever it depends on; one that ends meanwhile ends the wait.
        what: what is waited for, to be read after "did not get ready: ".
        timeout_seconds: how long at most.
        tick: called at every turn, to show progress.

    Raises:
        StartError: a child ended, or the time is over. Ends with the log of the child.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        for child in children:
            child.check()
        with contextlib.suppress(OSError):
            if ready():
                return
        if time.monotonic() > deadline:
            logs = "\n".join(child.log_tail() for child in children)
            raise StartError(f"{what} did not get ready in {timeout_seconds:.0f} s.\n{logs}")
        tick()
        time.sleep(_POLL_SECONDS)


def accepts_connections(port: int) -> bool:
    """Say whether something listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOCALHOST, port)) == 0


def pick_port(preferred: int | None = None) -> int:
    """Return a free port of the loopback interface: `preferred` if it is free, else any other."""
    for candidate in (preferred or 0, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As servers do: a port in TIME_WAIT from our own last run is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOCALHOST, candidate))
            return int(probe.getsockname()[1])
    raise StartError(f"No free port on {LOCALHOST}.")


def environment(additional: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without what would redirect the stack, plus `additional`.

    A developer's own AWS profile, Airflow settings or MongoDB must not leak into the stack, nor a proxy between its
    parts.
    """
    foreign = ("AIRFLOW_", "AWS_", "MONGO_", "ALPHAKRAKEN_", "_AIRFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(part for part in (kept.get(name, ""), LOCALHOST, "localhost") if part)
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", **additional}


def _is_alive(process: psutil.Process) -> bool:
    """Say whether a process can still do something; an orphan may stay a zombie for as long as init likes."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Note signals that would interrupt us, and raise them afterwards.

    A mask would not hold them: it is of one thread, and Python runs a handler for what any other thread was sent.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs in another one
        yield
        return
    arrived: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _frame: arrived.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: of another library
        for arrived_number in dict.fromkeys(arrived):
            signal.raise_signal(arrived_number)
