"""How far a restore is: counted by many threads, logged every few seconds, and read as data at any time (U2).

A file is *in work* from ``begin_file`` to ``end_file``. Of a file in work those bytes count that came, or were proved
to be there; of one that has its result, all of them, whatever came of it: what is left is what is still to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from s3_restore.model.file_specs import FileSpec, total_bytes

_MB = 1024**2
_WINDOW_S = 30.0  # over which the speed is taken that tells how long it still takes


class Phase(StrEnum):
    """What is being done with a file, or mainly with the files of a run."""

    CHECKING = "checking"
    """What is on disk is looked at."""
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    """What was fetched is hashed once more, or what is right is looked at for the last time."""
    DONE = "done"


@dataclass(frozen=True)
class FileInWork:
    """One file in work.

    Attributes:
        path: relative, as in ``file_info``.
        phase: what is being done with it.
        bytes_done: bytes that came, or were proved to be there.
        bytes_total: of the whole file; None where ``file_info`` does not say.

    """

    path: str
    phase: Phase
    bytes_done: int
    bytes_total: int | None


@dataclass(frozen=True)
class Reading:
    """How far a run is at one instant.

    Attributes:
        phase: what it mainly does.
        seconds: since it began.
        files_total: files of the run.
        files_done: those with a result.
        files_failed: those of them that are not right.
        bytes_total: of all files, as far as ``file_info`` says.
        bytes_done: of the files that have a result, and of those in work as far as they are.
        in_work: files in work.

    """

    phase: Phase
    seconds: float
    files_total: int
    files_done: int
    files_failed: int
    bytes_total: int
    bytes_done: int
    in_work: tuple[FileInWork, ...]

    @property
    def bytes_per_s_mean(self) -> float:
        """Since the beginning."""
        return self.bytes_done / self.seconds if self.seconds > 0 else 0.0


class Speedometer:
    """Speed between readings; each reader of a Progress has its own."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque([(0.0, 0)])

    def speeds(self, at_s: float, bytes_done: int) -> tuple[float, float]:
        """Note a point.

        Args:
            at_s: seconds since the beginning.
            bytes_done: until then.

        Returns:
            Bytes per second since the point before, and over the last half minute; 0 at a standstill.

        """
        points = self._points
        points.append((at_s, bytes_done))
        while len(points) > 2 and points[1][0] <= at_s - _WINDOW_S:  # noqa: PLR2004 (it takes two to measure)
            points.popleft()
        return _speed(points[-2], points[-1]), _speed(points[0], points[-1])


class History:
    """Where a run was over its whole time, in a bounded number of points: the longer it runs, the further apart."""

    def __init__(self, most: int = 120) -> None:
        self._most = most
        self._gap_s = 0.0
        self._points: list[tuple[float, int]] = [(0.0, 0)]

    def note(self, at_s: float, bytes_done: int) -> tuple[tuple[float, int], ...]:
        """Note a point, and return all that are kept; the last one is this.

        Args:
            at_s: seconds since the beginning.
            bytes_done: until then.

        """
        points = self._points
        if len(points) > 1 and points[-1][0] - points[-2][0] < self._gap_s:
            points.pop()
        points.append((at_s, bytes_done))
        if len(points) > self._most:
            self._points = [*points[:-1:2], points[-1]]
            self._gap_s = 2 * at_s / self._most
        return tuple(self._points)


def _speed(before: tuple[float, int], after: tuple[float, int]) -> float:
    return max(0.0, (after[1] - before[1]) / max(after[0] - before[0], 1e-6))


def _within(count: int, most: int | None) -> int:
    return max(0, count if most is None else min(count, most))


@dataclass
class _InWork:
    size: int | None
    phase: Phase = Phase.CHECKING
    settled: int = 0


class Progress:
    """Counts files and bytes from several threads and logs them from one of its own.

    Args:
        specs: files of the run.
        interval_s: seconds between two lines.

    """

    def __init__(self, specs: Sequence[FileSpec], interval_s: float) -> None:
        self._total_files, self._total_bytes, self._interval_s = len(specs), total_bytes(specs), interval_s
        self._files = 0
        self._failed = 0
        self._settled = 0  # of all files, those in work included
        self._in_work: dict[str, _InWork] = {}
        self._final: Phase | None = None
        self._current = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._begun = time.monotonic()
        self._of_lines = Speedometer()

    # --- told by those who work ------------------------------------------------------------------------------------

    def begin_file(self, spec: FileSpec) -> None:
        """Note that a file is in work."""
        with self._lock:
            self._in_work[spec.relative_path] = _InWork(spec.size)
        self._current = spec.relative_path

    def enter(self, spec: FileSpec, phase: Phase) -> None:
        """Note what is being done with a file in work; only what was fetched keeps its bytes while it is verified."""
        with self._lock:
            work = self._in_work.get(spec.relative_path)
            if work is None:
                return
            work.phase = phase
            if phase is not Phase.VERIFYING:
                self._settled -= work.settled
                work.settled = 0

    def add(self, spec: FileSpec, count: int) -> None:
        """Count bytes that were received, or proved to be there; negative to take some back."""
        with self._lock:
            work = self._in_work.get(spec.relative_path)
            if work:
                work.settled += count
                self._settled += count

    def end_file(self, spec: FileSpec, *, ok: bool) -> None:
        """Note that a file has its result."""
        with self._lock:
            work = self._in_work.pop(spec.relative_path, None)
            if work and work.size is not None:
                self._settled += work.size - work.settled
            self._files += 1
            self._failed += not ok

    def put_off(self, spec: FileSpec) -> None:
        """Note that a file is no more in work, and will be once more."""
        with self._lock:
            work = self._in_work.pop(spec.relative_path, None)
            self._settled -= work.settled if work else 0

    def refute(self) -> None:
        """Note that a file which had a good result is not right any more."""
        with self._lock:
            self._failed += 1

    def near_end(self, phase: Phase) -> None:
        """Note what is being done when no file is in work any more."""
        self._final = phase

    # --- read -----------------------------------------------------------------------------------------------------

    def read(self) -> Reading:
        """How far the run is."""
        with self._lock:
            in_work = tuple(
                FileInWork(path, work.phase, _within(work.settled, work.size), work.size)
                for path, work in self._in_work.items()
            )
            return Reading(
                phase=self._phase(),
                seconds=time.monotonic() - self._begun,
                files_total=self._total_files,
                files_done=self._files,
                files_failed=self._failed,
                bytes_total=self._total_bytes,
                bytes_done=_within(self._settled, self._total_bytes or None),
                in_work=in_work,
            )

    def _phase(self) -> Phase:
        if self._final:
            return self._final
        phases = {work.phase for work in self._in_work.values()}
        return next((phase for phase in (Phase.DOWNLOADING, Phase.VERIFYING) if phase in phases), Phase.CHECKING)

    def line(self) -> str:
        """Say how far the restore is and how fast it was since the last call."""
        settled, seconds = self._settled, time.monotonic() - self._begun
        rate, _ = self._of_lines.speeds(seconds, settled)
        missing = max(0, self._total_bytes - settled)
        percent = 100.0 if not self._total_bytes else min(100.0, 100.0 * settled / self._total_bytes)
        eta = f"{missing / rate:.0f}s" if rate else "unknown"
        return (
            f"Progress: {self._files} of {self._total_files} files, "
            f"{settled / _MB:.1f} of {self._total_bytes / _MB:.1f} MB ({percent:.0f}%), "
            f"{rate / _MB:.1f} MB/s, ETA {eta}, current file: {self._current}"
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._log, name="s3-restore-progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _log(self) -> None:
        while not self._ended.wait(self._interval_s):
            logging.info(self.line())
