"""How many small files are worked on at once: as many as wait for the network or the disk, and no more.

A small file is some twenty calls of the system and one request. Each lets go of the interpreter lock, so that threads
which are never kept waiting only hand it round: on two cores four take half as long again as one. Where S3 or the disk
is far away, each thread mostly waits, and all of them help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SMALL_BYTES = 1024**2  # beyond it, receiving and hashing take most of the time, and these hold no interpreter lock
_FIRST = 2
_LOOK_EVERY_S = 0.03
_LOOK_WHILE_WAITING_S = 0.25
_FULL = 0.95  # of one processor's time that threads with small files spend computing
_FREE = 0.75


class SmallFileTurns:
    """Turns at small files; how many there are follows from how busy they keep one processor.

    Args:
        most: of them at once.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._turns = min(_FIRST, most)
        self._taken = 0
        self._changed = threading.Condition()
        self._computed_s = 0.0
        self._since = time.monotonic()

    @contextmanager
    def turn(self, size: int | None) -> Iterator[None]:
        """Wait for a turn, and hold it; a file of ``size`` bytes that is not small, or may not be, needs none."""
        if size is None or size > SMALL_BYTES:
            yield
            return
        with self._changed:
            while self._taken >= self._turns:
                self._changed.wait(_LOOK_WHILE_WAITING_S)
                self._follow()
            self._taken += 1
        begun = time.thread_time()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._computed_s += time.thread_time() - begun
                self._follow()
                self._changed.notify()

    def _follow(self) -> None:
        """Have more turns where there is time for them, fewer where there is none."""
        seconds = time.monotonic() - self._since
        if seconds < _LOOK_EVERY_S:
            return
        busy = self._computed_s / seconds
        if busy > _FULL:
            self._turns = max(1, self._turns // 2)
        elif busy < _FREE and self._taken >= self._turns - 1:  # else it is not the turns that are missing
            self._turns = min(self._most, 2 * self._turns)
            self._changed.notify_all()
        self._computed_s, self._since = 0.0, time.monotonic()
