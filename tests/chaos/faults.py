"""Faults of disk and process, from within the process that runs the task.

Nothing of the product is changed. Operations that Python audits (open, rename, remove, link, mkdir) fail in an audit
hook; reads, writes and fsyncs fail in stand-ins for the functions of ``os``.
"""

import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.chaos.intruders import Intruders
from tests.chaos.scenarios import Attempt

_REPORT = re.compile(r"/_download_status_[^/]*$|/\.s3dl\.[^/]*\.report$")
_AUDITED = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.link": "link",
    "os.mkdir": "mkdir",
    "os.truncate": "truncate",
}


class Faults:
    """Counts the operations below a folder, and does what an attempt asks for at some of them."""

    def __init__(
        self, root: str, attempt: Attempt, intruders: Intruders | None = None, power: Callable[[], None] | None = None
    ) -> None:
        self._root = root
        self._intruders = intruders
        self._cut_power = power
        self._mine = threading.local()  # set while it is us who use the disk
        self._attempt = attempt
        self._counts: Counter[str] = Counter()
        self._operations = 0
        self._writes = 0
        self._lock = threading.Lock()
        self._reports = False  # whether a report was begun
        self.on = True
        self.injected: Counter[str] = Counter()
        self.signalled_at: float | None = None  # when the task was asked to end, by the monotonic clock

    def install(self) -> None:
        """From here on; there is no way back, so only in a process that ends soon."""
        sys.addaudithook(self._audit)
        os.pwrite = self._wrap_write(os.pwrite)  # type: ignore[assignment]
        os.preadv = self._wrap_read(os.preadv)  # type: ignore[assignment]
        os.fsync = self._wrap("fsync", os.fsync)  # type: ignore[assignment]
        from s3_restore.disk import open_file  # noqa: PLC0415 (only where it runs)

        open_file.fallocate = self._wrap("preallocate", open_file.fallocate)  # type: ignore[assignment]

    def _audit(self, event: str, arguments: Sequence[Any]) -> None:
        kind = _AUDITED.get(event)
        if (
            kind
            and self.on
            and not getattr(self._mine, "busy", False)
            and any(self._is_ours(argument) for argument in arguments[:2])
        ):
            self._meet(kind, [os.fsdecode(each) for each in arguments[:2] if self._is_ours(each)])

    def _is_ours(self, argument: object) -> bool:
        return isinstance(argument, (str, bytes, os.PathLike)) and os.fsdecode(argument).startswith(self._root)

    def _meet(self, kind: str, paths: Sequence[str] = ()) -> None:
        """Count an operation; die or fail if it is its turn."""
        with self._lock:
            self._operations += 1
            self._counts[kind] += 1
            operations, count = self._operations, self._counts[kind]
            self._reports = self._reports or any(_REPORT.search(path) for path in paths)
        if self._intruders and self._intruders.are_due(operations):
            # Between the last look at a file with two names and the removal of the other one, nobody can tell.
            if kind == "unlink" and any(path.endswith(".part") for path in paths):
                self._intruders.postpone(operations)
            else:
                self._intrude(operations)
        death = self._attempt.death
        if death and death.at == operations:
            self._die(death.how)
        for fault in self._attempt.disk:
            if fault.operation == kind and fault.nth <= count < fault.nth + fault.times:
                self.injected[f"disk {kind}"] += 1
                raise OSError(fault.error, os.strerror(fault.error))

    def _intrude(self, operation: int) -> None:
        self._mine.busy = True
        try:
            if self._intruders:
                self._intruders.act(operation, after_the_looks=self._reports)
        finally:
            self._mine.busy = False

    def _die(self, how: str) -> None:
        self.injected[how] += 1
        if how == "power cut" and self._cut_power:
            self._mine.busy = True
            self._cut_power()
        if how in ("SIGKILL", "power cut"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.signalled_at = time.monotonic()
        if how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            # The timer of Airflow's own time-out, which raises in the main thread, goes off early.
            signal.setitimer(signal.ITIMER_REAL, 0.0001)

    def _wrap(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.on:
                self._meet(kind)
            return function(*arguments)

        return call

    def _wrap_read(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(fd: int, buffers: list[memoryview], offset: int) -> int:
            if self.on:
                self._meet("read")
                if self._attempt.short_io:
                    buffers = [memoryview(buffers[0])[: max(1, len(buffers[0]) // 3)]]
            return function(fd, buffers, offset)

        return call

    def _wrap_write(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(fd: int, data: memoryview, offset: int) -> int:
            if not self.on:
                return function(fd, data, offset)
            self._meet("write")
            with self._lock:
                self._writes += 1
                lies = self._writes in self._attempt.lying_writes
            if lies:
                self.injected["disk lies"] += 1
                wrong = bytearray(data)
                wrong[len(wrong) // 2] ^= 1
                return function(fd, wrong, offset)
            if self._attempt.short_io:
                data = data[: max(1, len(data) // 3)]
            return function(fd, data, offset)

        return call
