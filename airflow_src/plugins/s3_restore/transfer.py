"""Ranged, parallel, resumable download of one object into one temporary file, hashed while it arrives.

A file is cut into *streams*, each hashed in order: the parts of its ETag where the expected hash has one (so that parts
are fetched and hashed side by side), else the whole file. For each stream:

1. what an earlier attempt journalled is hashed again from disk; up to the last checkpoint that matches, it is kept;
2. bytes of a damaged local version that S3's part checksums vouch for are copied; the rest is fetched in ranges of the
   version that was begun with;
3. each buffer is received, hashed and written while it is still in the cache; checkpoints go to the journal.

A stream that is a whole large file is fetched in segments by several connections, and the hash follows the write front,
reading back what was just written. A request that breaks is continued from the byte where it broke.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from s3_restore.expected_hash import PartLayout
from s3_restore.file_specs import FileSpec
from s3_restore.hashing import BUFFER_BYTES, Hasher, StoppedError, md5, thread_buffer, update_from_file
from s3_restore.journal import CHECKPOINT_BYTES, MAX_SILENCE_S, Checkpoint, Journal
from s3_restore.local_files import ChangedMeanwhileError, OpenFile, TemporaryFile
from s3_restore.object_store import ObjectStore, ObjectVersion, PermanentStoreError, TransientStoreError
from s3_restore.progress import Progress
from s3_restore.settings import RestoreSettings

T = TypeVar("T")

SEGMENT_BYTES = 8 * 1024**2
_GOOD_PROGRESS_BYTES = 64 * 1024  # a broken request that brought less than this counts as a try
_RETRY_TOKENS = 200  # for the whole run, so that an S3 that is down ends 10,000 files in minutes and not in days


class RetryQuota:
    """Retries that a run has left; a request that went well gives one back. ``made`` counts all."""

    def __init__(self, tokens: int = _RETRY_TOKENS) -> None:
        self.made = 0
        self._most = self._tokens = tokens
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one; false when there is none."""
        with self._lock:
            self._tokens -= self._tokens > 0
            return self._tokens > 0

    def count(self) -> None:
        """Count a retry that is made."""
        with self._lock:
            self.made += 1

    def give_back(self) -> None:
        """Return one."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + 1)


@dataclass(frozen=True)
class DamagedVersion:
    """A local version of the file that is not right as a whole, and the ranges of it that are good."""

    file: OpenFile
    good: Sequence[tuple[int, int]]


@dataclass
class Fetch:
    """One file being fetched, shared by the threads that fetch its streams.

    Attributes:
        spec: what to fetch.
        layout: how it is cut into streams.
        temporary: where it goes; preallocated.
        version: which version of the object; None until the first answer told.
        journal: where checkpoints go; None for files too small to be worth one.
        checkpoints: what an earlier attempt had journalled.
        damaged: a local version to take good ranges from.
        bytes_fetched: bytes received so far, those of broken tries included.
        bytes_reused: bytes kept from an earlier attempt or a damaged version so far.
        failure: the first error of any of its threads; the others end then.

    """

    spec: FileSpec
    layout: PartLayout
    temporary: TemporaryFile
    version: ObjectVersion | None = None
    journal: Journal | None = None
    checkpoints: dict[int, list[Checkpoint]] = field(default_factory=dict)
    damaged: DamagedVersion | None = None
    bytes_fetched: int = 0
    bytes_reused: int = 0
    failure: Exception | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, fetched: int = 0, reused: int = 0) -> None:
        """Add bytes."""
        with self.lock:
            self.bytes_fetched += fetched
            self.bytes_reused += reused


@dataclass
class _Stream:
    """One stream of a fetch, while its bytes are hashed in order."""

    index: int
    start: int
    end: int
    offset: int
    hasher: Hasher
    journalled_at: int = 0
    journalled_when: float = field(default_factory=time.monotonic)


@dataclass
class _Front:
    """How far a range has been received, over all requests that it took."""

    offset: int


class Transfer:
    """Fetches files with one budget of connections.

    Args:
        store: where from.
        settings: how.
        stop: when set, all work ends with StoppedError.
        progress: is told of bytes.
        quota: of retries.

    """

    def __init__(
        self,
        store: ObjectStore,
        settings: RestoreSettings,
        stop: threading.Event,
        progress: Progress,
        quota: RetryQuota | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._stop = stop
        self._progress = progress
        self._connections = threading.BoundedSemaphore(settings.max_concurrency)
        self._pool = ThreadPool(settings.max_concurrency)  # its threads are daemons: a stalled one holds up no exit
        self._quota = quota or RetryQuota()

    def close(self) -> None:
        """End the threads that are idle; the others end with their work."""
        self._pool.close()

    def in_parallel(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run tasks side by side; results in their order. The first error is raised after all have ended."""
        if len(tasks) == 1:
            return [tasks[0]()]
        pending = [self._pool.apply_async(task) for task in tasks]
        for result in pending:
            result.wait()
        return [result.get() for result in pending]

    def ask(self, question: Callable[[], T]) -> T:
        """Make a small request, with retries and within the budget of connections."""
        for attempt in self._retrying():
            with attempt, self._connections:
                answer = question()
        self._quota.give_back()
        return answer

    def fetch(self, fetch: Fetch) -> list[bytes]:
        """Fetch all streams of a file into its temporary file.

        Returns:
            MD5 digest (16 bytes) of each stream in order.

        Raises:
            ObjectStoreError: when S3 does not deliver.
            ChangedMeanwhileError: when another process took the temporary file over.
            StoppedError: when the run was asked to stop.
            OSError: when the disk does not take it.

        """
        try:
            if fetch.layout.size <= 2 * SEGMENT_BYTES:
                if fetch.layout.size > BUFFER_BYTES:  # else the first write tells as much
                    fetch.temporary.preallocate(fetch.layout.size)
                return self._fetch_streams(fetch)
            # Beside the streams: where every page is touched (tmpfs), it takes as long as half of the writing.
            preallocate = partial(fetch.temporary.preallocate, fetch.layout.size, partial(self._check_stop, fetch))
            preallocated = self._pool.apply_async(self._cancelling, (fetch, preallocate))
            try:
                return self._fetch_streams(fetch)
            finally:
                preallocated.get()
        except StoppedError:
            if fetch.failure:  # the others were stopped because of it
                raise fetch.failure from None
            raise

    def _cancelling(self, fetch: Fetch, work: Callable[..., T], *arguments: object) -> T:
        """Do a piece of work; when it fails, the file's other pieces need not go on."""
        if fetch.failure:
            raise StoppedError
        try:
            return work(*arguments)
        except Exception as error:
            with fetch.lock:
                fetch.failure = fetch.failure or error
            raise

    # --- streams -----------------------------------------------------------------------------------------------

    def _fetch_streams(self, fetch: Fetch) -> list[bytes]:
        count = len(fetch.layout)
        if count == 1:
            return [self._fetch_single(fetch)]
        return self.in_parallel(
            [partial(self._cancelling, fetch, self._fetch_stream, fetch, index) for index in range(count)]
        )

    def _fetch_stream(self, fetch: Fetch, index: int) -> bytes:
        """Fetch one stream with one connection; hash it while it arrives."""
        stream = self._resume(fetch, index)
        for start, end, is_good in _pieces(stream.offset, stream.end, fetch.damaged, stream.end - stream.start):
            if is_good:
                self._copy(fetch, start, end, stream)
            else:
                self._receive(fetch, start, end, stream)
        self._checkpoint(fetch, stream, at_end=True)
        return stream.hasher.digest()

    def _fetch_single(self, fetch: Fetch) -> bytes:
        """Fetch a file that is one stream: small ones at once, large ones in segments with the hash behind them."""
        size = fetch.layout.size
        if size <= 2 * SEGMENT_BYTES or self._settings.max_concurrency == 1:
            return self._fetch_stream(fetch, 0)
        stream = self._resume(fetch, 0)
        under_way: deque[tuple[int, AsyncResult[None]]] = deque()
        try:
            for start, end, is_good in _pieces(stream.offset, size, fetch.damaged, SEGMENT_BYTES):
                work: Callable[..., None] = self._copy if is_good else self._receive
                under_way.append((end, self._pool.apply_async(self._cancelling, (fetch, work, fetch, start, end))))
                if len(under_way) > self._settings.max_concurrency + 2:
                    self._follow(fetch, stream, *under_way.popleft())
            while under_way:
                self._follow(fetch, stream, *under_way.popleft())
        except Exception as error:
            fetch.failure = fetch.failure or error
            for _, result in under_way:
                result.wait()
            raise
        self._checkpoint(fetch, stream, at_end=True)
        return stream.hasher.digest()

    def _follow(self, fetch: Fetch, stream: _Stream, end: int, arrived: AsyncResult[None]) -> None:
        """Hash a segment as soon as it and all before it have arrived."""
        arrived.get()

        def advance(count: int) -> None:
            stream.offset += count
            self._checkpoint(fetch, stream)

        update_from_file(stream.hasher, fetch.temporary.read_at, stream.offset, end, advance)
        if stream.offset != end:
            raise ChangedMeanwhileError("The temporary file became shorter while it was written")

    def _resume(self, fetch: Fetch, index: int) -> _Stream:
        """Hash what an earlier attempt left of a stream, up to the last checkpoint that matches."""
        start, end = fetch.layout.range(index)
        stream = _Stream(index, start, end, start, md5())
        hasher = md5()
        offset = start
        for checkpoint in fetch.checkpoints.get(index, []):
            until = start + checkpoint.count
            if until > end:
                break
            update_from_file(hasher, fetch.temporary.read_at, offset, until, lambda _count: self._check_stop(fetch))
            if hasher.digest().hex() != checkpoint.md5:
                break
            offset = until
            stream.offset, stream.hasher = offset, hasher.copy()
        stream.journalled_at = stream.offset
        if kept := stream.offset - start:
            fetch.count(reused=kept)
            self._progress.add(kept)
        return stream

    def _checkpoint(self, fetch: Fetch, stream: _Stream, *, at_end: bool = False) -> None:
        new_bytes = stream.offset - stream.journalled_at
        due = new_bytes >= CHECKPOINT_BYTES or time.monotonic() - stream.journalled_when > MAX_SILENCE_S
        if not fetch.journal or not (due or (at_end and new_bytes)):
            return
        if not fetch.temporary.is_still_mine():
            raise ChangedMeanwhileError("Another attempt took the temporary file over")
        fetch.journal.checkpoint(stream.index, stream.offset - stream.start, stream.hasher.copy().digest().hex())
        stream.journalled_at, stream.journalled_when = stream.offset, time.monotonic()

    # --- bytes -------------------------------------------------------------------------------------------------

    def _copy(self, fetch: Fetch, start: int, end: int, stream: _Stream | None = None) -> None:
        """Copy a good range of a damaged version; hash it when a stream is given."""
        if not fetch.damaged:
            raise AssertionError("a range is good only in a damaged version")
        buffer = thread_buffer()
        offset = start
        while offset < end:
            self._check_stop(fetch)
            count = fetch.damaged.file.read_at(buffer[: min(len(buffer), end - offset)], offset)
            if not count:
                raise ChangedMeanwhileError("The damaged file became shorter while it was read")
            self._take(fetch, buffer[:count], offset, stream)
            offset += count
            fetch.count(reused=count)
            self._progress.add(count)

    def _receive(self, fetch: Fetch, start: int, end: int, stream: _Stream | None = None) -> None:
        """Receive a range, over as many requests as it needs; hash it when a stream is given."""
        front = _Front(start)
        while True:
            for attempt in self._retrying():
                with attempt:
                    self._receive_once(fetch, front, end, stream)
            self._quota.give_back()
            if front.offset >= end:
                return

    def _receive_once(self, fetch: Fetch, front: _Front, end: int, stream: _Stream | None) -> None:
        """Receive from ``front`` on in one request, and move it; the next request goes on from there.

        Short of ``end`` without an error: the connection broke after good progress.

        Raises:
            TransientStoreError: when it broke before that.

        """
        self._check_stop(fetch)
        spec, size, start = fetch.spec, fetch.layout.size, front.offset
        whole_at_once = start == 0 and end == size and fetch.version is None
        length = None if whole_at_once or not size else end - start
        try:
            with (
                self._connections,
                self._store.open_range(spec.bucket, spec.key, start, length, fetch.version) as body,
            ):
                check_size(spec, body.version, size)
                # The version that was begun with stays: a later answer may tell less of it, such as no ETag.
                fetch.version = fetch.version or body.version
                buffer = thread_buffer()
                while front.offset < end:
                    count = body.readinto(buffer[: min(len(buffer), end - front.offset)])
                    self._take(fetch, buffer[:count], front.offset, stream)
                    front.offset += count
                    fetch.count(fetched=count)
                    self._progress.add(count)
                    self._check_stop(fetch)
        except TransientStoreError as error:
            if front.offset - start < _GOOD_PROGRESS_BYTES:
                raise
            self._quota.count()
            logging.warning("%s: %s; going on from byte %d", spec.relative_path, error, front.offset)

    def _take(self, fetch: Fetch, data: memoryview, offset: int, stream: _Stream | None) -> None:
        """Hash and write a buffer while it is in the cache."""
        if stream:
            stream.hasher.update(data)
            stream.offset = offset + len(data)
        fetch.temporary.write_at(data, offset)
        if stream:
            self._checkpoint(fetch, stream)

    # --- retries and stopping ----------------------------------------------------------------------------------

    def _retrying(self) -> Retrying:
        """Retry what is transient, with growing random waits, while the run's quota lasts and nobody stops it."""
        wait_s = self._settings.retry_wait_s
        return Retrying(
            retry=retry_if_exception(self._is_worth_another_try),
            stop=stop_after_attempt(self._settings.request_attempts),
            wait=wait_random_exponential(multiplier=wait_s, max=40 * wait_s),
            sleep=self._sleep,
            before_sleep=self._before_retry,
            reraise=True,
        )

    def _before_retry(self, state: RetryCallState) -> None:
        self._quota.count()
        error = state.outcome.exception() if state.outcome else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        logging.warning("%s; try %d follows in %.1fs", error, state.attempt_number + 1, wait_s)

    def _is_worth_another_try(self, error: BaseException) -> bool:
        return isinstance(error, TransientStoreError) and self._quota.take()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds * random.uniform(0.9, 1.1)):  # noqa: S311 (jitter)
            raise StoppedError

    def _check_stop(self, fetch: Fetch) -> None:
        if self._stop.is_set() or fetch.failure:
            raise StoppedError


def check_size(spec: FileSpec, version: ObjectVersion, expected_size: int) -> None:
    """Refuse an object that cannot be the file.

    Raises:
        PermanentStoreError: that gives both sizes.

    """
    if version.size != expected_size:
        said = "file_info says" if spec.size is not None else "it was"
        reason = f"Object in S3 has {version.size} bytes, {said} {expected_size} (wrong size)"
        raise PermanentStoreError(reason, "WrongSize")


def _pieces(start: int, end: int, damaged: DamagedVersion | None, most: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a range into consecutive pieces of at most ``most`` bytes, each good in the damaged version or not.

    An empty range gives one empty piece, as an empty object has to be asked for too.
    """
    if start >= end:
        if start == 0:
            yield 0, 0, False
        return
    good = damaged.good if damaged else ()
    offset = start
    while offset < end:
        inside = next(((a, b) for a, b in good if a <= offset < b), None)
        following = min((a for a, _ in good if a > offset), default=end)
        until = min(end, inside[1] if inside else following, offset + most)
        yield offset, until, inside is not None
        offset = until
