"""Threads, and work that is cut into pieces for them: the first error ends the other pieces (an errgroup).

All threads of a run but the two that tick (``heartbeat``, ``progress``) are made here. They are daemons: one that waits
for a byte or a disk without end holds up no exit of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from s3_restore.model.exceptions import StoppedError

T = TypeVar("T")


class Workers:
    """Threads that do one piece of work after the other; each is begun when a piece finds none idle.

    Neither pool of the standard library will do: an executor's threads hold up the exit of the process, and a
    ``multiprocessing.pool.ThreadPool`` hands each piece from thread to thread, which small files feel.

    Args:
        count: of threads at most.

    """

    def __init__(self, count: int) -> None:
        self._most = max(1, count)
        self._count = 0
        self._idle = threading.Semaphore(0)
        self._works: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False

    def group(self, stop: threading.Event | None = None) -> Group:
        """Begin a group; ``stop`` ends it from outside."""
        return Group(self, stop or threading.Event())

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Hand a piece of work to the next idle thread.

        Raises:
            RuntimeError: if the system gives no thread at all.
            StoppedError: after ``close``, since nobody would do it.

        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoppedError
            if not self._idle.acquire(blocking=False):
                self._begin_thread()
            self._works.put((future, work))
        return future

    def close(self) -> None:
        """End the threads that are idle; the others end with their work."""
        with self._lock:
            self._closed = True
            self._works.put(None)

    def _begin_thread(self) -> None:
        if self._count == self._most:
            return
        try:
            threading.Thread(target=self._work, name="s3-restore", daemon=True).start()
        except RuntimeError:  # out of threads or memory: those that are there do
            if not self._count:
                raise
            return
        self._count += 1

    def _work(self) -> None:
        while True:
            each = self._works.get()
            if each is None:
                self._works.put(None)  # for the next
                return
            future, work = each
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 (for whoever asks what came of it)
                future.set_exception(error)
            del each, future, work
            self._idle.release()


class Piece(Generic[T]):
    """A piece of work that was handed to a group."""

    def __init__(self, group: Group, future: Future[T]) -> None:
        self._group = group
        self._future = future

    def result(self) -> T:
        """Wait for its end, and return what came of it.

        Raises:
            Exception: the first error of its group, be it of this piece or of another that ended it.

        """
        try:
            return self._future.result()
        except StoppedError:
            raise self._group.error or StoppedError from None


class Group:
    """Pieces of work of one whole. Use it as a context: at its end all have ended, and the first error is raised.

    Where the context is left by an interrupt of the calling thread, the pieces are told to end and not waited for.
    """

    def __init__(self, workers: Workers, stop: threading.Event) -> None:
        self.error: Exception | None = None
        """The first one; None as long as all goes well."""
        self._workers = workers
        self._stop = stop
        self._unfinished = 0
        self._changed = threading.Condition()

    def go(self, work: Callable[[], T]) -> Piece[T]:
        """Hand a piece of work to the next idle thread.

        Raises:
            RuntimeError: if the system gives no thread at all.
            StoppedError: when the workers are closed.

        """
        with self._changed:
            self._unfinished += 1
        try:
            future = self._workers.submit(partial(self._run, work))
        except BaseException:  # nobody has it, and nobody may wait for it
            self._end_one()
            raise
        return Piece(self, future)

    def all_of(self, pieces: Iterable[Callable[[], T]]) -> list[T]:
        """Do pieces of work side by side, and return what came of them in their order; a single one right here."""
        works: Sequence[Callable[[], T]] = tuple(pieces)
        if len(works) == 1:
            return [works[0]()]
        return [piece.result() for piece in [self.go(work) for work in works]]

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all pieces have ended, at most so long; whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unfinished == 0, seconds)

    def check(self) -> None:
        """Go on only while there is reason to; long pieces ask now and then.

        Raises:
            StoppedError: when another piece failed, or the stop is set.

        """
        if self._stop.is_set() or self.error:
            raise StoppedError

    def cancel(self, error: Exception) -> None:
        """Let the others end because of an error; only the first one counts."""
        with self._changed:
            self.error = self.error or error

    def _run(self, work: Callable[[], T]) -> T:
        try:
            self.check()
            return work()
        except Exception as error:
            self.cancel(error)
            raise
        finally:
            self._end_one()

    def _end_one(self) -> None:
        with self._changed:
            self._unfinished -= 1
            if not self._unfinished:
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self.cancel(error if isinstance(error, Exception) else StoppedError())
            if not isinstance(error, Exception):
                return
        self.wait()
        if self.error and self.error is not error:
            raise self.error from None
