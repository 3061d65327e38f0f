"""One log line at most every few seconds: how far the restore is (plan 4.3)."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Self

_MB = 1024**2


@dataclass
class _Reading:
    at: float
    settled: int


class Progress:
    """Counts files and bytes from several threads and logs them from one of its own.

    Args:
        total_files: files of the run.
        total_bytes: their bytes.
        interval_s: seconds between two lines.

    """

    def __init__(self, total_files: int, total_bytes: int, interval_s: float) -> None:
        self._total_files, self._total_bytes, self._interval_s = total_files, total_bytes, interval_s
        self._files = 0
        self._settled = 0
        self._current = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._last = _Reading(time.monotonic(), 0)

    def begin_file(self, relative_path: str) -> None:
        """Name the file that was begun last."""
        self._current = relative_path

    def add(self, count: int) -> None:
        """Count bytes that were received, or proved to be there; negative to take back what a broken try added."""
        with self._lock:
            self._settled += count

    def end_file(self) -> None:
        """Count a file that is done, well or not."""
        with self._lock:
            self._files += 1

    def line(self) -> str:
        """Say how far the restore is and how fast it was since the last call."""
        now = _Reading(time.monotonic(), self._settled)
        rate = max(0.0, (now.settled - self._last.settled) / max(now.at - self._last.at, 1e-6))
        self._last = now
        missing = max(0, self._total_bytes - now.settled)
        percent = 100.0 if not self._total_bytes else min(100.0, 100.0 * now.settled / self._total_bytes)
        eta = f"{missing / rate:.0f}s" if rate else "unknown"
        return (
            f"Progress: {self._files} of {self._total_files} files, "
            f"{now.settled / _MB:.1f} of {self._total_bytes / _MB:.1f} MB ({percent:.0f}%), "
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
