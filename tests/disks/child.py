"""The task in a process of its own, with something that happens at a chosen system call.

Forked from a server that has imported everything (tests/chaos), so that it costs a tenth of a second. The product's own
handler runs, with MongoDB and S3 over sockets. What happens at a system call is a `Trigger`: the power is cut (the
file below the disk is copied), the process is killed, the disk turns read-only, its mount goes away.

Only calls below `watched` count; they are noticed at the functions of the module `os`, through which Python code goes,
in whatever module of the product it stands.
"""

import dataclasses
import fcntl
import json
import logging
import os
import re
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.kraken import RecordingTaskInstance
from tests.support.mounts import copy_image, enter

STEPS = ("open", "mkdir", "fsync", "fdatasync", "replace", "rename", "link", "unlink", "truncate", "ftruncate")
"""What changes a file system, or brings a change to the storage; an `open` counts when it creates."""
WRITES = ("pwrite", "write")
_TWO_PATHS = ("replace", "rename", "link")
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, and the same number for XFS and others
_SHUTDOWN_AT_ONCE = struct.pack("I", 2)  # nothing more reaches the storage, as when a cable is pulled


@dataclass(frozen=True)
class Trigger:
    """When, and what.

    Attributes:
        action: name of one of ACTIONS.
        argument: what it needs.
        calls: which system calls count.
        path: a regular expression that is searched in the path; of two paths in the second.
        nth: of these calls which one; 0 for each.
        when: "before" the call, "after" it, or when it has "failed".

    """

    action: str
    argument: tuple[str, ...] = ()
    calls: tuple[str, ...] = STEPS
    path: str = ""
    nth: int = 1
    when: str = "before"


@dataclass(frozen=True)
class Job:
    """What the process needs to know."""

    namespace: str
    raw_file_id: str
    call: str
    environment: Mapping[str, str]
    watched: str
    triggers: tuple[Trigger, ...]
    at_the_end: Trigger | None
    log_file: str
    end_file: str


@dataclass
class End:
    """How a task ended.

    Attributes:
        raised: name of the exception; empty when it returned.
        text: of the exception.
        told: the XCom: what it returned or pushed.
        fired: how often the trigger of each place did something.
        steps: the calls of STEPS and WRITES that were made, one by one, with what was reached by them.

    """

    raised: str = ""
    text: str = ""
    told: dict[str, Any] = field(default_factory=dict)
    fired: list[int] = field(default_factory=list)
    steps: list[list[str]] = field(default_factory=list)

    def count(self, *calls: str) -> int:
        return sum(call in calls for call, _ in self.steps)


def main(job: Job) -> None:
    """Run the task once and tell how it ended."""
    enter(job.namespace)
    log = os.open(job.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.INFO, force=True, format="%(asctime)s %(threadName)s %(message)s")
    os.environ.update(job.environment)
    end = End()
    watch = Watch(job, end)
    task_instance = RecordingTaskInstance()
    from impl import handler_impl  # noqa: PLC0415 (loaded by the server)

    watch.install()
    try:
        call = getattr(handler_impl, job.call)
        end.told = call(task_instance, params={"raw_file_id": job.raw_file_id})
    except BaseException as error:
        logging.exception("The task ends with")
        end.raised, end.text = type(error).__name__, str(error)
        end.told = task_instance.pushed.get("return_value") or {}
    if job.at_the_end:
        ACTIONS[job.at_the_end.action](watch, job.at_the_end.argument)
    watch.on = False
    temporary = Path(job.end_file + ".tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(end)))
    temporary.rename(job.end_file)


class Watch:
    """Stands between the product and the module `os`."""

    def __init__(self, job: Job, end: End) -> None:
        self.on = True
        self._root = job.watched
        self._triggers = job.triggers
        self._seen = [0] * len(job.triggers)
        self._end = end
        end.fired = [0] * len(job.triggers)
        self._lock = threading.Lock()
        self._inside = threading.local()
        self.clones = 0

    def install(self) -> None:
        for name in (*STEPS, *WRITES):
            setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            path = self._counts(name, arguments, options)
            if path is None:
                return real(*arguments, **options)
            with self._lock:
                self._end.steps.append([name, path])
            self._fire("before", name, path)
            try:
                result = real(*arguments, **options)
            except OSError:
                self._fire("failed", name, path)
                raise
            self._fire("after", name, path)
            return result

        return call

    def _counts(self, name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> str | None:
        if not self.on or getattr(self._inside, "action", False):
            return None
        what = arguments[1 if name in _TWO_PATHS else 0]
        directory = options.get("dst_dir_fd" if name in _TWO_PATHS else "dir_fd")
        if name == "open" and not arguments[1] & os.O_CREAT:
            return None
        try:
            path = _path_of(what) if isinstance(what, int) else os.fspath(what)
            if directory is not None:
                path = f"{_path_of(directory)}/{path}"
        except OSError:
            return None
        return path if path == self._root or path.startswith(f"{self._root}/") else None

    def _fire(self, when: str, name: str, path: str) -> None:
        for index, trigger in enumerate(self._triggers):
            if when != trigger.when or name not in trigger.calls or not re.search(trigger.path, path):
                continue
            with self._lock:
                self._seen[index] += 1
                due = trigger.nth in (0, self._seen[index])
            if due:
                self._inside.action = True
                try:
                    ACTIONS[trigger.action](self, trigger.argument)
                finally:
                    self._inside.action = False
                self._end.fired[index] += 1


def _path_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


# --- what can happen -------------------------------------------------------------------------------------------------


def _kill(_watch: Watch, _argument: tuple[str, ...]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _clone(watch: Watch, argument: tuple[str, ...]) -> None:
    """Copy the file below the disk: to a name, or to one of a folder with a number for each."""
    image, to = map(Path, argument)
    with watch._lock:
        watch.clones += 1
        target = to / f"{watch.clones:04}" if to.is_dir() else to
        copy_image(image, target)


def _write(_watch: Watch, argument: tuple[str, ...]) -> None:
    path, text = argument
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


def _shut_down(_watch: Watch, argument: tuple[str, ...]) -> None:
    fd = os.open(argument[0], os.O_RDONLY)
    fcntl.ioctl(fd, _SHUTDOWN, _SHUTDOWN_AT_ONCE)
    os.close(fd)


def _run(_watch: Watch, argument: tuple[str, ...]) -> None:
    done = subprocess.run(argument, capture_output=True, text=True, check=False)
    logging.info("%s: %s %s%s", " ".join(argument), done.returncode, done.stdout, done.stderr)


ACTIONS: dict[str, Callable[[Watch, tuple[str, ...]], None]] = {
    "kill": _kill,
    "clone": _clone,
    "write": _write,
    "shut down": _shut_down,
    "run": _run,
}
