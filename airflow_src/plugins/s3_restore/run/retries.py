"""Patience by time: how long S3 is tried again, for one file and for the whole run (S5).

What may pass is tried again for ``patience_s`` since the last byte that came for that file; each byte counts, and so
does no time in which nothing was asked for it, as it waited behind others for its turn. Three things end it earlier:

- nothing ever answered in this run: a wrong endpoint is told after ``NEVER_ANSWERED_S``, and no file is tried then;
- the patience of a file ran out and no byte came for any file since: the store is down, and each further file is asked
  once only, so that 10,000 files end in minutes and not in days;
- the run is to stop: a wait ends at once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import (
    ObjectStoreError,
    PermanentStoreError,
    StoppedError,
    StoreUnreachableError,
    TransientStoreError,
)

T = TypeVar("T")

NEVER_ANSWERED_S = 30.0
_FEWEST_TRIES = 3
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0
_WAITS = 15  # at least so many fit into the patience, however short it is
_OPTIONAL_TRIES = 2


class RunPatience:
    """What all files of a run know of the store: whether it lives, and how often it was asked again.

    Args:
        patience_s: since the last byte of a file.
        stop: when set, waits end with StoppedError.

    """

    def __init__(self, patience_s: float, stop: threading.Event) -> None:
        self.patience_s = patience_s
        self.made = 0
        self._stop = stop
        self._lock = threading.Lock()
        self._answered = False
        self._given_up: ObjectStoreError | None = None

    def for_file(self, connections: AbstractContextManager[Any] | None = None) -> FilePatience:
        """Patience for one file, or for one question about it, which takes one of so many connections."""
        return FilePatience(self, connections)

    def answered(self) -> None:
        """Note that somebody is there, whatever it answers."""
        self._answered = True

    def lives(self) -> None:
        """Note that bytes came."""
        self._answered = True
        self._given_up = None

    def limit_s(self) -> float:
        """How long a file may wait without progress now."""
        if self._given_up:
            return 0.0
        return self.patience_s if self._answered else min(NEVER_ANSWERED_S, self.patience_s)

    def fewest_tries(self) -> int:
        """How often a request is made at least: a disk that hung for long is no fault of the store."""
        return _FEWEST_TRIES if self._answered and not self._given_up else 1

    def give_up(self, error: ObjectStoreError) -> None:
        """Note that the patience of a file ran out."""
        self._given_up = error

    def refuse_if_down(self) -> None:
        """Ask no more where nothing ever answered.

        Raises:
            StoreUnreachableError: the one that was given up with.

        """
        given_up = self._given_up
        if given_up and not self._answered:
            raise StoreUnreachableError(given_up.failure, given_up.code)

    @property
    def is_given_up(self) -> bool:
        """Whether the patience of a file ran out, and no byte came for any since."""
        return self._given_up is not None

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            StoppedError: when the run is to stop.

        """
        if self._stop.wait(seconds):
            raise StoppedError

    def count_retry(self) -> None:
        """Count a request that is made again."""
        with self._lock:
            self.made += 1


class FilePatience:
    """Patience with one file, shared by the threads that fetch it.

    Args:
        run: what is known of the store.
        connections: held by each request, and not while one waits for the next.

    """

    def __init__(self, run: RunPatience, connections: AbstractContextManager[Any] | None = None) -> None:
        self._run = run
        self._connections = connections or nullcontext()
        self._since = 0.0
        self._under_way = 0
        self._lock = threading.Lock()

    def progressed(self) -> None:
        """Note that bytes of this file came."""
        self._since = time.monotonic()
        self._run.lives()

    def until_done(self, work: Callable[[], T]) -> T:
        """Do a piece of work, again and again while what it meets may pass.

        Args:
            work: makes a request and goes on from where it got to; says by ``progressed`` that bytes came.

        Raises:
            TransientStoreError: the last one, when the patience is over.
            ObjectStoreError: what does not pass, at once.
            StoppedError: when the run is to stop.

        """
        tries = 0
        is_under_way = False
        begun = 0.0
        try:
            while True:
                self._run.refuse_if_down()
                try:
                    with self._connections:
                        is_under_way = is_under_way or self._begin()
                        begun = time.monotonic()
                        done = work()
                except TransientStoreError as error:
                    tries = 1 if self._since > begun else tries + 1
                    if not isinstance(error, StoreUnreachableError):
                        self._run.answered()
                    self._wait_or_raise(tries, error)
                except PermanentStoreError:
                    self._run.answered()
                    raise
                else:
                    self._run.answered()
                    return done
        finally:
            if is_under_way:
                self._end()

    def _begin(self) -> bool:
        """Begin to ask: where nothing else is asked for this file, what came last says nothing of the store."""
        with self._lock:
            if not self._under_way:
                self._since = time.monotonic()
            self._under_way += 1
        return True

    def _end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _wait_or_raise(self, tries: int, error: TransientStoreError) -> None:
        waited = time.monotonic() - self._since
        limit = self._run.limit_s()
        if waited >= limit and tries >= self._run.fewest_tries():
            if self._run.is_given_up:  # one of many: the store is down
                raise StoreUnreachableError(error.failure, error.code) from None
            self._run.give_up(error)
            raise error
        self._run.count_retry()
        seconds = self._next_wait(tries)
        logging.warning("%s; tried again in %.1fs (no byte for %.0fs of %.0fs)", error, seconds, waited, limit)
        self._run.sleep(seconds)

    def _next_wait(self, tries: int) -> float:
        longest = min(_LONGEST_WAIT_S, self._run.patience_s / _WAITS)
        first = min(_FIRST_WAIT_S, longest / 8)
        return min(longest, first * 2.0 ** min(tries - 1, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)


def ask_in_passing(question: Callable[[], T], otherwise: T) -> T:
    """Ask what helps and is not needed: a passing error is met once more, and then it is done without."""
    for tries in range(1, _OPTIONAL_TRIES + 1):
        try:
            return question()
        except TransientStoreError as error:
            logging.info("%s; %s", error, "asking once more" if tries < _OPTIONAL_TRIES else "going on without")
    return otherwise


class SpeedFloor:
    """Cuts a connection that drips: slower than a limit over a window, though never silent for long.

    Only the time that is spent waiting for S3 counts, and not that of the disk.

    Args:
        bytes_per_s: the limit; 0 for none.
        window_s: over which it is measured.

    """

    def __init__(self, bytes_per_s: float, window_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._window_s = window_s
        self._seconds = 0.0
        self._count = 0

    def waited(self, seconds: float, count: int) -> bool:
        """Note a read.

        Returns:
            Whether it is fast enough so far; what drips in is no progress, or a file could take for ever.

        Raises:
            TransientStoreError: when a window is over in which too little came.

        """
        self._seconds += seconds
        self._count += count
        enough = self._count >= self._bytes_per_s * self._seconds
        if self._seconds < self._window_s:
            return enough
        if not enough:
            failure = store_reasons.TOO_SLOW.of(self._count, f"{self._seconds:.0f}", f"{self._bytes_per_s:g}")
            raise TransientStoreError(failure, "TooSlow")
        self._seconds, self._count = 0.0, 0
        return True
