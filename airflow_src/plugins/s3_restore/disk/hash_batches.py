"""Hashes buffers that have just been received, those of several streams at once, while they are in the cache.

A stream has two buffers, and goes on receiving into one while the other, full, waits for company. The last of those
that are expected hashes one buffer of each, in one call. Who has no free buffer left waits for that a few milliseconds,
and then hashes with whoever is there: what stalls holds up nobody for longer, and is expected again when it comes.

A buffer is filled again only after it was hashed; that it was written before it is handed in is up to who does so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from s3_restore.disk import hashing, md5_backend
from s3_restore.model.checksums import Hasher

BUFFERS_OF_STREAM = 2  # one is being received into while the other waits for company
_GOES_ON_WITH = 1  # full ones at most, after it had no free one: each wait costs a switch of threads
_WAIT_FOR_COMPANY_S = 0.01
_TOO_FEW = 2  # streams: each by a thread of its own is faster than both at once


class HashBatches:
    """What the streams of one run share: buffers, and which of them wait to be hashed."""

    def __init__(self) -> None:
        self.lanes = md5_backend.LANES
        self.lock = threading.Lock()
        self._waiting: dict[StreamHash, None] = {}  # with a full buffer and in no batch; the longest waiting first
        self._expected: set[StreamHash] = set()  # those that will soon have a full buffer
        self._buffers: list[memoryview] = []  # of no stream

    def stream(self, hasher: Hasher) -> StreamHash:
        """Begin a stream; its buffers are given back with ``close``."""
        wanted = BUFFERS_OF_STREAM if self.lanes > 1 else 1
        with self.lock:
            buffers = [self._buffers.pop() for _ in range(min(wanted, len(self._buffers)))]
        try:
            while len(buffers) < wanted:
                buffers.append(memoryview(bytearray(hashing.BUFFER_BYTES)))
        except MemoryError:
            with self.lock:
                self._buffers.extend(buffers)
            raise
        return StreamHash(self, hasher, buffers)

    def enter(self, stream: StreamHash, view: memoryview) -> None:
        """Let a full buffer of a stream wait; hash it where it is the last that the others wait for."""
        with self.lock:
            stream.full.append(view)
            self._expected.add(stream)
            if stream.in_batch:
                return
            self._waiting[stream] = None
            batch = self._whole_company()
        self._hash(batch)

    def hash_until(self, stream: StreamHash, most_full: int, patience_s: float) -> None:
        """Have full buffers of a stream hashed.

        Args:
            stream: of the calling thread.
            most_full: how many may be left.
            patience_s: how long to wait for others whose buffers could be hashed at once with those of this one.

        """

        def is_enough() -> bool:
            return len(stream.full) <= most_full

        while True:
            with self.lock:
                if patience_s and not stream.wait_for(is_enough, patience_s):
                    # Those that are slower come in again when they come.
                    self._expected = {each for each in self._expected if each.in_batch or each in self._waiting}
                    patience_s = 0.0
                stream.wait_for(lambda: is_enough() or not stream.in_batch)
                if is_enough():
                    return
                batch = self._begin(stream)
            self._hash(batch)

    def forget(self, stream: StreamHash) -> None:
        """Drop what waits of a stream, and take its buffers back."""
        with self.lock:
            stream.wait_for(lambda: not stream.in_batch)
            self._waiting.pop(stream, None)
            self._expected.discard(stream)
            self._buffers.extend(stream.all_buffers)
            batch = self._whole_company()  # it may be the one that the others waited for
        self._hash(batch)

    def _whole_company(self) -> list[StreamHash]:
        """Begin a batch if nobody is missing; else none."""
        wanted = min(self.lanes, len(self._expected)) if len(self._expected) > _TOO_FEW else 1
        if len(self._waiting) < wanted:
            return []
        return self._begin(next(iter(self._waiting)))

    def _begin(self, stream: StreamHash) -> list[StreamHash]:
        """Take a stream and those that have waited longest out of the waiting."""
        del self._waiting[stream]
        batch = [stream, *list(self._waiting)[: self.lanes - 1]]
        for each in batch:
            self._waiting.pop(each, None)
            each.in_batch = True
        return batch

    def _hash(self, batch: list[StreamHash]) -> None:
        """Hash the first full buffer of each, and go on while nobody is missing."""
        while batch:
            error: BaseException | None = None
            try:
                md5_backend.update_many([(each.hasher, each.full[0]) for each in batch])
            except BaseException as caught:  # noqa: BLE001 (for all whose bytes it had)
                error = caught
            with self.lock:
                for each in batch:
                    each.end_batch(error)
                    if each.full:
                        self._waiting[each] = None
                batch = self._whole_company()


class StreamHash:
    """The MD5 of one stream, whose buffers are hashed in their order; used by one thread.

    Attributes:
        hasher: of the bytes that were hashed so far.
        all_buffers: that it may fill.
        full: bytes that wait; the first may be in a batch.
        in_batch: whether a thread is at it.

    """

    def __init__(self, batches: HashBatches, hasher: Hasher, buffers: list[memoryview]) -> None:
        self.hasher = hasher
        self.all_buffers = buffers
        self.full: deque[memoryview] = deque()
        self.in_batch = False
        self._batches = batches
        self._next = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition(batches.lock)
        self._at_once = batches.lanes == 1 or not md5_backend.is_native(hasher)
        self._wanted: Callable[[], bool] | None = None

    def buffer(self) -> memoryview:
        """The buffer to fill next: whatever it held is hashed."""
        if len(self.full) == len(self.all_buffers):
            self._batches.hash_until(self, _GOES_ON_WITH, _WAIT_FOR_COMPANY_S)
        return self.all_buffers[self._next]

    def take(self, count: int) -> None:
        """Hash the first bytes of that buffer, now or later; from here on they must stay as they are."""
        view = self.all_buffers[self._next][:count]
        if self._at_once:
            self.hasher.update(view)
            return
        self._next = (self._next + 1) % len(self.all_buffers)
        self._batches.enter(self, view)

    def settle(self) -> Hasher:
        """Hash all that was taken.

        Returns:
            The MD5 of all bytes so far.

        Raises:
            BaseException: what kept bytes from being hashed.

        """
        if self.full:
            self._batches.hash_until(self, 0, 0.0)
        if self._error:
            raise self._error
        return self.hasher

    def close(self) -> None:
        """Give the buffers back; what was not hashed yet never is."""
        self._batches.forget(self)

    # --- with the lock of the batches held -----------------------------------------------------------------------

    def wait_for(self, wanted: Callable[[], bool], patience_s: float | None = None) -> bool:
        """Wait until the end of a batch makes it so; whether it is."""
        self._wanted = wanted
        try:
            return self._changed.wait_for(wanted, patience_s)
        finally:
            self._wanted = None

    def end_batch(self, error: BaseException | None) -> None:
        """Note that the first full buffer is hashed, or that it could not be."""
        self._error = self._error or error  # first: whoever sees that nothing is left looks for it
        self.full.popleft()
        self.in_batch = False
        if self._wanted and self._wanted():  # nobody is woken for nothing
            self._changed.notify()
