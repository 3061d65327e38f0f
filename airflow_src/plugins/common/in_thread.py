"""Work that may wait without end, for a file system or a server, is in a thread, so that the task can end (W13)."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_WAIT_S = 0.2  # signal handlers run between two waits


class InThread(Generic[T]):
    """A piece of work in a daemon thread.

    Args:
        work: what to do.
        name: of the thread.

    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._ended = threading.Event()
        self._value: T
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
            self._error = error
        self._ended.set()

    def wait(self, seconds: float = _WAIT_S) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        return self._ended.wait(seconds)

    def result(self) -> T:
        """Wait for its end, and return or raise what came of it."""
        while not self.wait():
            pass
        if self._error is not None:
            raise self._error
        return self._value


def in_thread(work: Callable[[], T], name: str) -> T:
    """Do a piece of work in a thread, and wait for it; whatever ends the waiting leaves the thread to itself."""
    return InThread(work, name).result()
