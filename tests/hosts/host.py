"""Several hosts on one machine: namespaces in which file systems are mounted and tasks run.

    with Host("worker-1") as host:
        host.mount(sshfs(share, output))
        task = host.begin(kraken)
        ...
        assert task.end().raised == ""

A host is a PID, mount and UTS namespace whose first process ends when this one does, however that may come. Then the
kernel kills everything in it and takes its mounts away: nothing can be left. The network is shared, so that the servers
of the tests are at 127.0.0.1 for all hosts. Processes have numbers outside too, by which tests signal and watch them.
"""

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

LIMIT_S = 60
_NAMESPACES = (("mnt", 0x20000), ("uts", 0x4000000), ("pid", 0x20000000))
# The first process ends with its standard input, that is when the test's process ends, be it killed.
_FIRST_PROCESS = 'hostname "$1" && eval "$2" && echo up && exec cat'
_UNSHARE = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child")
# Killed with this process, even where it stands still with its child.
_ENTER = ("setpriv", "--pdeathsig", "KILL", "nsenter", "--mount", "--uts", "--pid", "--target")
PROC = {
    "own": "mount -t proc proc /proc",
    "hidden": "mount -t proc -o hidepid=2,gid=65534 proc /proc",
    "foreign": ":",  # /proc of the machine outside, whose numbers name other processes
    "none": "umount --lazy /proc",
}


@functools.lru_cache(maxsize=1)
def why_not() -> str:
    """Why there can be no hosts here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"unshare: {tried.stderr.decode().strip()}"


@dataclass(frozen=True)
class Mounting:
    """How to mount something: what to run in the host, in the foreground.

    Attributes:
        argv: the daemon.
        point: where it will be mounted.
        serves: another process that the daemon talks to over its standard input and output.
        after: run once it is mounted, or could not be.

    """

    argv: Sequence[str]
    point: Path
    serves: Sequence[str] = ()
    after: Sequence[str] = ()


@dataclass
class Mounted:
    """A mounted file system and its processes, by their numbers outside of the host."""

    point: Path
    daemon: int
    server: int = 0
    log: Path = field(default_factory=Path)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Host:
    """See the module."""

    def __init__(self, name: str, folder: Path, *, proc: str = "own") -> None:
        self.name = name
        self._folder = folder / f"host-{name}"
        self._folder.mkdir()
        self._running: list[subprocess.Popen] = []
        self._first = subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _FIRST_PROCESS, "sh", name, PROC[proc]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._first.stdout.readline() != b"up\n":
            raise OSError(f"no host {name}: {self._first.stderr.read().decode()}")
        (self.pid,) = _children(self._first.pid)
        self._enter = [*_ENTER, str(self.pid)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all that runs in it; its mounts go with it."""
        # In this order: a namespace ends when all its dead are buried, by nsenter, which stands still with its child.
        for process in self._running:
            process.kill()
            process.wait()
        if self._first.poll() is None:  # else the number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._first.communicate()

    def seen(self, path: Path) -> Path:
        """A path in the host, to be looked at from here. Never on a file system that hangs."""
        return Path(f"/proc/{self.pid}/root{path}")

    def spawn(self, argv: Sequence[str], **options) -> int:
        """Start a process in the host; returns its number outside."""
        self._running.append(subprocess.Popen([*self._enter, *argv], **options))
        return wait_for(lambda: next(iter(_children(self._running[-1].pid)), 0), f"{argv[0]} in {self.name}")

    def next_number(self, number: int) -> None:
        """The next process of the host gets this number, if it is free."""
        self.run("sh", "-c", f"echo {number - 1} > /proc/sys/kernel/ns_last_pid")

    def start_with_number(self, number: int) -> None:
        """Start a process of somebody else that gets this number."""
        script = f"echo {number - 1} > /proc/sys/kernel/ns_last_pid; sleep 1000 & test $! = {number} && echo up && wait"
        self.spawn(["sh", "-c", script], stdout=subprocess.PIPE)
        with self._running[-1].stdout as said:
            assert said.readline() == b"up\n", f"number {number} is not to be had"

    def run(self, *argv: str) -> str:
        done = subprocess.run([*self._enter, *argv], capture_output=True, check=False, timeout=LIMIT_S, text=True)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def mount(self, mounting: Mounting) -> Mounted:
        log = self._folder / f"{Path(mounting.argv[0]).name}-{len(self._running)}.log"
        mounted = Mounted(mounting.point, 0, log=log)
        with log.open("wb") as output, contextlib.ExitStack() as stack:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            if mounting.serves:
                to_server, from_daemon = os.pipe()
                to_daemon, from_server = os.pipe()
                for fd in (to_server, from_daemon, to_daemon, from_server):
                    stack.callback(os.close, fd)
                mounted.server = self.spawn(mounting.serves, stdin=to_server, stdout=from_server, stderr=output)
                pipes = {"stdin": to_daemon, "stdout": from_daemon, "stderr": output}
            mounted.daemon = self.spawn(mounting.argv, **pipes)
        daemon = self._running[-1]
        try:
            wait_for(lambda: self.is_mounted(mounting.point) or daemon.poll() is not None, f"{mounting.point}", log)
        finally:
            if mounting.after:
                self.run(*mounting.after)
        assert self.is_mounted(mounting.point), f"{mounting.argv} ended: {log.read_text()}"
        return mounted

    def is_mounted(self, point: Path) -> bool:
        return f" {point} " in Path(f"/proc/{self.pid}/mountinfo").read_text()

    def unmount(self, mounted: Mounted) -> None:
        """As an operator does: with all that was written brought to where it belongs."""
        self.run("umount", str(mounted.point))
        wait_for(lambda: not Path(f"/proc/{mounted.daemon}").exists(), f"the end of {mounted.point}")


# --- in the child ----------------------------------------------------------------------------------------------------


def enter(host_pid: int) -> None:
    """Become a process of a host: this one and its threads for mounts and name, the children for process numbers."""
    libc = ctypes.CDLL(None, use_errno=True)
    fds = [(os.open(f"/proc/{host_pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in _NAMESPACES]
    for fd, kind in fds:
        if libc.setns(fd, kind):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)
    os.chdir("/")


# --- processes -------------------------------------------------------------------------------------------------------


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_for(look: Callable[[], T], what: str, log: Path | None = None, within_s: float = LIMIT_S) -> T:
    """Look until there is something; a process that starts, mounts or ends tells nobody."""
    until = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"waited in vain for {what}" + (f": {log.read_text()}" if log else ""))
        time.sleep(0.01)
    return found
