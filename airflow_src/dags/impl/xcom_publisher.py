"""Data of a running task as XComs, pushed by a thread of its own, so that they cost the task nothing (U2).

With the API server away, a push blocks for 8 to 20 seconds or raises, and holds a lock that the push of the task's
return value needs; on Airflow 2.11 it is the database that may be away. So no push is made by a thread that has other
work, what a push raises is dropped, and after one that failed the next waits longer. At its end the task waits, within
limits, until the last values are there: the return value, which Airflow pushes after that and which fails the task when
it cannot, then finds a server that answers. A task that is being ended waits for nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

Values = Mapping[str, Any]

INTERVAL_S = 5.0
_FIRST_PAUSE_S = 10.0  # after a push that failed; the supervisor of the task tries hard, and beats no heart meanwhile
_LONGEST_PAUSE_S = 60.0
_LAST_PAUSE_S = 1.0  # when the task has ended and waits
_WAIT_FOR_SERVER_S = 300.0
_UNTIL_SOMETHING_S = 0.2  # when there is nothing to push yet
_TICK_S = 0.2  # signal handlers run between two waits


class XComPublisher:
    """Pushes XComs of a task at intervals, and their last values at its end.

    Args:
        ti: the task instance; None pushes nothing.
        read: gives XComs by their keys; called by the thread.
        interval_s: seconds between two pushes.

    """

    def __init__(self, ti: Any, read: Callable[[], Values] = dict, interval_s: float = INTERVAL_S) -> None:
        self._ti = ti
        self._read = read
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._is_done = threading.Event()
        self._last: dict[str, Any] = {}
        self._is_ending = False
        self._is_abandoned = False

    def __enter__(self) -> Self:
        """Begin."""
        if self._ti is None:
            self._is_done.set()
            return self
        try:
            threading.Thread(target=self._run, name="s3-restore-xcoms", daemon=True).start()
        except RuntimeError as error:  # out of threads: a restore must not suffer from what is told of it
            logging.warning("No XComs are pushed (%s)", error)
            self._is_done.set()
        return self

    def __exit__(self, *_: object) -> None:
        """End without a wait, where ``finish`` has not ended it."""
        self._is_abandoned = True
        self._wake.set()

    def finish(
        self,
        read: Callable[[], Values],
        *,
        within_s: float = _WAIT_FOR_SERVER_S,
        is_in_a_hurry: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Push the last values, and wait until they are there.

        Args:
            read: gives them by their keys; the first, which must be small, tells whether the server answers.
            within_s: how long to wait for a server that is away.
            is_in_a_hurry: asked several times a second; once it says so, nothing is waited for any more.

        Returns:
            Whether the server has answered. If not, they may still come while the process lives.

        """
        self._last = dict(_quietly(read))
        self._is_ending = True
        self._wake.set()
        deadline = time.monotonic() + within_s
        while not self._is_done.wait(_TICK_S):
            if is_in_a_hurry() or time.monotonic() > deadline:
                self._is_abandoned = True
                return False
        return True

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._push_until_ending()
            if self._is_ending:
                self._push_last(dict(self._last))
        finally:
            self._is_done.set()

    def _push_until_ending(self) -> None:
        pause_s = 0.0
        while not (self._is_ending or self._is_abandoned):
            values = _quietly(self._read)
            if all(self._is_ending or self._push(key, value) for key, value in values.items()):
                pause_s = 0.0
            else:
                pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s))
            self._wake.wait(max(self._interval_s if values else _UNTIL_SOMETHING_S, pause_s))

    def _push_last(self, values: dict[str, Any]) -> None:
        """Push the last values until they are there; one that is refused by a server that answers is left out."""
        if not values:
            return
        first = next(iter(values))
        probe = values.pop(first)
        refused: set[str] = set()
        while not self._is_abandoned:
            key = next(iter(values), None)
            if key is None:
                if self._push(first, probe):
                    return
            elif self._push(key, values[key]):
                del values[key]
                continue
            elif self._push(first, probe):
                if key in refused:
                    del values[key]
                refused.add(key)
                continue
            time.sleep(_LAST_PAUSE_S)

    def _push(self, key: str, value: Any) -> bool:
        try:
            self._ti.xcom_push(key=key, value=value)
        except Exception as error:  # noqa: BLE001 (as above)
            logging.info("XCom %s could not be pushed (%s)", key, type(error).__name__)
            return False
        return True


def push_quietly(ti: Any, read: Callable[[], Values], within_s: float = 60.0) -> None:
    """Push XComs of a task that has nothing else to do; where nobody takes them, there are none."""
    with XComPublisher(ti) as publisher:
        publisher.finish(read, within_s=within_s)


def _quietly(read: Callable[[], Values]) -> Values:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 (a restore must not suffer from what is told of it)
        logging.warning("What a run says of itself could not be made (%s: %s)", type(error).__name__, error)
        return {}
