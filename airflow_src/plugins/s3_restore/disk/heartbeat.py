"""The heartbeat of a run: one thread touches all its temporary files, so that a live one is never silent for long.

Whoever cannot ask the kernel about an owner (another host, another container) takes silence for death
(``owners.standing``). A file may be hashed, queued or waited for during minutes without a byte written to it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Self

INTERVAL_S = 10.0


class Heartbeat:
    """Touches files while it is entered."""

    def __init__(self) -> None:
        self._alive: set[Path] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self, path: Path) -> None:
        """Touch this file from now on, every INTERVAL_S seconds."""
        with self._lock:
            self._alive.add(path)

    def end(self, path: Path) -> None:
        """Touch it no more."""
        with self._lock:
            self._alive.discard(path)

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, name="s3-restore-heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            with self._lock:
                paths = tuple(self._alive)
            for path in paths:
                # By its path, which carries this process's token: where another took the file over, there is nothing.
                with contextlib.suppress(OSError):
                    os.utime(path, follow_symlinks=False)
