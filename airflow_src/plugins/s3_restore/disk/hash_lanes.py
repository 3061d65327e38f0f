"""Hashes ranges of files, many at once: a thread fills a buffer from each, and hashes them all in one call.

One MD5 is a chain of steps that leaves most of a processor idle; several fill it (md5_backend). So what is to be hashed
is queued, whatever file it is of, and each thread drives as many ranges as the back end has lanes. Whoever comes while
others are hashed gets a free lane with the next buffer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from s3_restore.disk import hashing, md5_backend
from s3_restore.model.checksums import Hasher
from s3_restore.model.exceptions import StoppedError

LANE_BYTES = 128 * 1024  # so that the buffers of eight lanes stay in the second-level cache between reading and hashing

ReadAt = Callable[[memoryview, int], int]
OnBytes = Callable[[int], None]


@dataclass(eq=False)
class FileRange:
    """A range of a file, to be fed to an MD5.

    Attributes:
        hasher: takes the bytes.
        read_at: fills a buffer from an offset, returns the count, 0 at the end of the file.
        offset: first byte that is not hashed yet.
        end: the byte after the last one.
        on_bytes: called with the count of bytes after each buffer, by another thread; may raise to stop.
        error: what ended it before its end.

    """

    hasher: Hasher
    read_at: ReadAt
    offset: int
    end: int
    on_bytes: OnBytes = lambda _count: None
    error: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def fill(self, buffer: memoryview) -> int:
        """Read on; 0 when there is no more, or when it cannot be read."""
        try:
            return self.read_at(buffer[: min(len(buffer), self.end - self.offset)], self.offset)
        except BaseException as error:  # noqa: BLE001 (for the thread that waits)
            self.error = error
            return 0

    def advance(self, count: int) -> None:
        """Note that so many bytes more are hashed."""
        self.offset += count
        try:
            self.on_bytes(count)
        except BaseException as error:  # noqa: BLE001 (for the thread that waits)
            self.error = error


class HashLanes:
    """Threads that hash ranges of files; they begin with the first work and end with ``close``.

    Args:
        most_threads: of them.

    """

    def __init__(self, most_threads: int) -> None:
        self._most_threads = most_threads
        self._lanes = md5_backend.LANES
        self._queue: deque[FileRange] = deque()
        self._unfinished = 0
        self._threads = 0
        self._closed = False
        self._changed = threading.Condition()

    def run(self, ranges: Sequence[FileRange]) -> None:
        """Hash ranges of files; an empty or shorter one ends earlier.

        Raises:
            BaseException: the first error of any, when all have ended.
            StoppedError: when it is closed.

        """
        with self._changed:
            if self._closed:
                raise StoppedError
            self._start_threads(min(self._most_threads, self._unfinished + len(ranges)))
            self._queue.extend(ranges)
            self._unfinished += len(ranges)
            self._changed.notify_all()
        for each in ranges:
            each.ended.wait()
        for each in ranges:
            if each.error:
                raise each.error

    def close(self) -> None:
        """End the threads that are idle; the others end with their work."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_threads(self, wanted: int) -> None:
        while self._threads < wanted:
            try:  # its buffers too: a thread that ends for want of them would leave ranges in no hands
                threading.Thread(
                    target=self._drive, args=(self._buffers(),), name="s3-restore-hash", daemon=True
                ).start()
            except (RuntimeError, MemoryError):  # out of threads or memory: those that are there do
                if self._threads:
                    return
                raise
            self._threads += 1

    def _buffers(self) -> list[memoryview]:
        size = LANE_BYTES if self._lanes > 1 else hashing.BUFFER_BYTES
        return [memoryview(bytearray(size)) for _ in range(self._lanes)]

    def _drive(self, buffers: Sequence[memoryview]) -> None:
        lanes: list[FileRange] = []
        while True:
            lanes += self._take(len(lanes))
            if not lanes:
                return
            lanes = self._hash_one_buffer_of_each(lanes, buffers)

    def _take(self, have: int) -> list[FileRange]:
        """Take as many as this thread should have; waits when it has none, and gives none at the end."""
        with self._changed:
            while not (self._queue or have or self._closed):
                self._changed.wait()
            share = min(self._lanes, -(-self._unfinished // max(1, self._threads)))  # the same for each thread
            return [self._queue.popleft() for _ in range(min(share - have, len(self._queue)))]

    def _hash_one_buffer_of_each(self, lanes: list[FileRange], buffers: Sequence[memoryview]) -> list[FileRange]:
        """Advance each by a buffer; returns those that are not at their end."""
        filled: list[tuple[FileRange, memoryview]] = []
        try:
            for lane, buffer in zip(lanes, buffers, strict=False):
                if count := lane.fill(buffer):
                    filled.append((lane, buffer[:count]))
            md5_backend.update_many([(lane.hasher, view) for lane, view in filled])
        except BaseException as error:  # noqa: BLE001 (for the threads that wait)
            for lane in lanes:
                lane.error = lane.error or error
        else:
            for lane, view in filled:
                lane.advance(len(view))
        going_on = [lane for lane, _ in filled if not lane.error and lane.offset < lane.end]
        ended = [lane for lane in lanes if lane not in going_on]
        if ended:
            with self._changed:
                self._unfinished -= len(ended)
            for lane in ended:
                lane.ended.set()
        return going_on
