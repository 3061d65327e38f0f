"""What a run learns of requests, and forms of requests, that a store need not know: each is asked once (S4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3_restore.model.exceptions import TransientStoreError

_WAIT_FOR_FIRST_S = 5.0  # for what another thread learns: its request may stall
_FAILURES_OF_UNKNOWN = 3


class OptionalRequest:
    """A request that helps and that a store need not know: whether it is still worth asking in this run.

    Until the first answer has come one thread asks, and the others wait for what it learns; else each connection would
    ask at once for the same refusal.

    Args:
        most_failures: passing errors in a row after which it is not asked any more.

    """

    def __init__(self, most_failures: int) -> None:
        self.is_told = True
        self._most_failures = most_failures
        self._failures = 0
        self._is_known = False
        self._first = threading.Lock()

    @contextmanager
    def asked(self, is_store_well: Callable[[], bool] = lambda: True) -> Iterator[bool]:
        """Ask, where it is worth it: yields whether it is.

        Args:
            is_store_well: whether the store answers other requests; called before passing errors end the asking.

        """
        is_first = not self._is_known and self._first.acquire(timeout=_WAIT_FOR_FIRST_S)
        if is_first and self._is_known:  # it was another, that has ended meanwhile
            self._first.release()
            is_first = False
        try:
            yield self.is_told
            self._failures, self._is_known = 0, True
        except TransientStoreError:
            self._failures += 1
            if self._failures >= self._most_failures and is_store_well():
                self.is_told, self._is_known = False, True
            raise
        finally:
            if is_first:
                self._first.release()


class UnknownForm:
    """A form of request that never went well so far, while another form may: a store refuses some in passing words."""

    def __init__(self) -> None:
        self._went_well = False
        self._failures = 0

    def went_well(self) -> None:
        """Note that the store knows it: errors are passing ones from here on."""
        self._went_well = True

    def failed(self) -> bool:
        """Note a passing error.

        Returns:
            Whether the other form is worth a try.

        """
        self._failures += 1
        return not self._went_well and self._failures >= _FAILURES_OF_UNKNOWN
