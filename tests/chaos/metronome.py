"""Tells when the machine stood still, so that what it could not do in that time is not held against the product.

A thread of the process that plays the scenarios beats many times a second. Where a beat comes late, nothing of the
machine may have run: others use it, or its host paused it. The processes that run the task are no part of this one, so
nothing that the product does or waits for makes a beat late.
"""

import threading
import time
from collections.abc import Callable
from typing import Self

BEAT_S = 0.02
LATE_S = 0.1  # a beat that comes later than this is no beat


class Metronome:
    """Beats by itself while it is entered.

    Args:
        now: the clock, the same in all processes.

    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last = now()
        self._stalls: list[tuple[float, float]] = []
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="metronome", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def beat(self) -> None:
        """Note that the machine runs."""
        with self._lock:
            now = self._now()
            if now - self._last > LATE_S:
                self._stalls.append((self._last + BEAT_S, now))
            self._last = now

    def stalled_s(self, begin: float, end: float) -> float:
        """Seconds of a span of time in which the machine stood still."""
        self.beat()  # it may have stood still since the last one
        with self._lock:
            return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in self._stalls)

    def _beat_on(self) -> None:
        while not self._ends.wait(BEAT_S):
            self.beat()
