"""Turns at receiving bytes that are there already: as many as there are processors.

By TLS each 16 KiB are a call that lets go of the interpreter lock and takes it again, so that a dozen threads which
never wait for the network mostly wake each other. Where bytes come slower than they are taken, each thread waits for
its own, and needs no turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FAST_BYTES_S = 10e6  # of one connection; one that is slower needs no turn
_MOST = 4  # beyond it they wait for the interpreter lock, whatever the number of processors
_WAIT_S = 0.05  # then one goes on without: whoever has the turn may wait for the network by now


class ReceiveTurns:
    """Turns of the threads of one run."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(min(_MOST, len(os.sched_getaffinity(0))))

    @contextmanager
    def turn(self, *, is_fast: bool) -> Iterator[None]:
        """Wait a little for a turn, and hold it."""
        has_turn = is_fast and self._free.acquire(timeout=_WAIT_S)
        try:
            yield
        finally:
            if has_turn:
                self._free.release()
