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
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from s3_restore.disk import md5_backend
from s3_restore.disk.hash_service import HashService
from s3_restore.disk.hashing import BUFFER_BYTES, thread_buffer
from s3_restore.disk.journal import CHECKPOINT_BYTES, CHECKPOINT_EVERY_S
from s3_restore.model.exceptions import ChangedMeanwhileError, TransientStoreError
from s3_restore.model.object_store import ObjectStore
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.fetch import Fetch, Front, Stream, pieces
from s3_restore.run.nowhere import Nowhere
from s3_restore.run.progress import Progress
from s3_restore.run.receive_turns import FAST_BYTES_S, ReceiveTurns
from s3_restore.run.retries import FilePatience, RunPatience, SpeedFloor, ask_in_passing
from s3_restore.run.versions import check_size
from s3_restore.run.workers import Group, Piece, Workers

T = TypeVar("T")

SEGMENT_BYTES = 8 * 1024**2
_GOOD_PROGRESS_BYTES = 4096  # a broken connection that brought as much is continued at once


class Transfer:
    """Fetches files with one budget of connections.

    Args:
        store: where from.
        settings: how.
        stop: when set, all work ends with StoppedError.
        progress: is told of bytes.
        hashes: computes MD5.
        patience: of the run.

    """

    def __init__(  # noqa: PLR0913, PLR0917 (what the files of a run share)
        self,
        store: ObjectStore,
        settings: RestoreSettings,
        stop: threading.Event,
        progress: Progress,
        hashes: HashService,
        patience: RunPatience | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._stop = stop
        self._progress = progress
        self._hashes = hashes
        self._connections = threading.BoundedSemaphore(settings.max_concurrency)
        self._receive_turns = ReceiveTurns()
        self._workers = Workers(settings.max_concurrency)
        self._patience = patience or RunPatience(settings.patience_s, stop)

    def close(self) -> None:
        """End the threads that are idle; the others end with their work."""
        self._workers.close()

    def in_parallel(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run tasks side by side; results in their order. The first error is raised after all have ended."""
        with self._workers.group(self._stop) as group:
            return group.all_of(tasks)

    def ask(self, question: Callable[[], T]) -> T:
        """Make a small request, patiently and within the budget of connections."""
        return self._patience.for_file(self._connections).until_done(question)

    def ask_in_passing(self, question: Callable[[], T], otherwise: T) -> T:
        """Make a small request that helps and is not needed."""
        with self._connections:
            return ask_in_passing(question, otherwise)

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
        fetch.patience = self._patience.for_file(self._connections)
        with self._workers.group(self._stop) as group:
            fetch.group = group
            if fetch.layout.size > 2 * SEGMENT_BYTES:
                # Beside the streams: over a network each of its steps is a round trip, and 100 GB have thousands.
                group.go(partial(fetch.temporary.preallocate, fetch.layout.size, group.check))
            elif fetch.layout.size > BUFFER_BYTES:  # else the first write tells as much
                fetch.temporary.preallocate(fetch.layout.size)
            return self._fetch_streams(fetch, group)

    # --- streams -----------------------------------------------------------------------------------------------

    def _fetch_streams(self, fetch: Fetch, group: Group) -> list[bytes]:
        count = len(fetch.layout)
        if count == 1:
            return [self._fetch_single(fetch, group)]
        return group.all_of(partial(self._fetch_stream, fetch, index) for index in range(count))

    def _fetch_stream(self, fetch: Fetch, index: int) -> bytes:
        """Fetch one stream with one connection; hash it while it arrives."""
        stream = self._resume(fetch, index)
        try:
            for start, end, is_good in pieces(stream.offset, stream.end, fetch.damaged, stream.end - stream.start):
                if is_good:
                    self._copy(fetch, start, end, stream)
                else:
                    self._receive(fetch, start, end, stream)
            self._checkpoint(fetch, stream, at_end=True)
            return stream.hashed.settle().digest()
        finally:
            stream.hashed.close()

    def _fetch_single(self, fetch: Fetch, group: Group) -> bytes:
        """Fetch a file that is one stream: small ones at once, large ones in segments with the hash behind them."""
        size = fetch.layout.size
        if size <= 2 * SEGMENT_BYTES or isinstance(fetch.temporary, Nowhere) or self._settings.max_concurrency == 1:
            return self._fetch_stream(fetch, 0)
        stream = self._resume(fetch, 0)
        under_way: deque[tuple[int, Piece[None]]] = deque()
        try:
            for start, end, is_good in pieces(stream.offset, size, fetch.damaged, SEGMENT_BYTES):
                work: Callable[..., None] = self._copy if is_good else self._receive
                under_way.append((end, group.go(partial(work, fetch, start, end))))
                if len(under_way) > self._settings.max_concurrency + 2:
                    self._follow(fetch, stream, *under_way.popleft())
            while under_way:
                self._follow(fetch, stream, *under_way.popleft())
        finally:
            stream.hashed.close()
        self._checkpoint(fetch, stream, at_end=True)
        return stream.hashed.settle().digest()

    def _follow(self, fetch: Fetch, stream: Stream, end: int, arrived: Piece[None]) -> None:
        """Hash a segment as soon as it and all before it have arrived."""
        arrived.result()

        def advance(count: int) -> None:
            stream.offset += count
            self._checkpoint(fetch, stream)

        self._hashes.feed(stream.hashed.hasher, fetch.temporary.read_at, stream.offset, end, advance)
        if stream.offset != end:
            raise ChangedMeanwhileError("The temporary file became shorter while it was written")

    def _resume(self, fetch: Fetch, index: int) -> Stream:
        """Hash what an earlier attempt left of a stream, up to the last checkpoint that matches."""
        start, end = fetch.layout.range(index)
        kept = fetch.new_hasher()
        hasher = md5_backend.new_md5()
        offset = kept_until = start
        for checkpoint in fetch.checkpoints.get(index, []):
            until = start + checkpoint.count
            if until > end:
                break
            self._hashes.feed(hasher, fetch.temporary.read_at, offset, until, lambda _count: self._check_stop(fetch))
            if hasher.digest().hex() != checkpoint.md5:
                break
            fetch.count(reused=until - offset)
            self._progress.add(fetch.spec, until - offset)
            offset = kept_until = until
            kept = hasher.copy()
        return Stream(index, start, end, kept_until, self._hashes.stream(kept), kept_until)

    def _checkpoint(self, fetch: Fetch, stream: Stream, *, at_end: bool = False) -> None:
        new_bytes = stream.offset - stream.journalled_at
        due = new_bytes >= CHECKPOINT_BYTES or time.monotonic() - stream.journalled_when > CHECKPOINT_EVERY_S
        if not fetch.journal or not (due or (at_end and new_bytes)):
            return
        if not fetch.temporary.is_still_mine():
            raise ChangedMeanwhileError("Another attempt took the temporary file over")
        hashed = stream.hashed.settle().copy()
        fetch.journal.checkpoint(stream.index, stream.offset - stream.start, hashed.digest().hex())
        stream.journalled_at, stream.journalled_when = stream.offset, time.monotonic()

    # --- bytes -------------------------------------------------------------------------------------------------

    def _copy(self, fetch: Fetch, start: int, end: int, stream: Stream | None = None) -> None:
        """Copy a good range of a damaged version, or receive what of it can be read no more; hash it for a stream."""
        if not fetch.damaged:
            raise AssertionError("a range is good only in a damaged version")
        offset = start
        while offset < end:
            self._check_stop(fetch)
            buffer = stream.hashed.buffer() if stream else thread_buffer()
            try:
                count = fetch.damaged.file.read_at(buffer[: min(len(buffer), end - offset)], offset)
            except OSError as error:  # a sector that goes bad: it was read before, to compare it with S3's checksum
                path, words = fetch.damaged.file.path, error.strerror
                logging.warning("%s cannot be read from byte %d on (%s): it is fetched", path, offset, words)
                self._receive(fetch, offset, end, stream)
                return
            if not count:
                raise ChangedMeanwhileError("The damaged file became shorter while it was read")
            fetch.temporary.write_at(buffer[:count], offset)
            self._hash(fetch, count, offset, stream)
            offset += count
            fetch.count(reused=count)
            self._progress.add(fetch.spec, count)

    def _receive(self, fetch: Fetch, start: int, end: int, stream: Stream | None = None) -> None:
        """Receive a range, over as many requests as it needs; hash it when a stream is given."""
        if fetch.patience is None:
            raise AssertionError("a file that is not being fetched")
        front = Front(start)
        while True:
            fetch.patience.until_done(partial(self._receive_once, fetch, fetch.patience, front, end, stream))
            if front.offset >= end:
                return

    def _receive_once(
        self, fetch: Fetch, patience: FilePatience, front: Front, end: int, stream: Stream | None
    ) -> None:
        """Receive from ``front`` on in one request, and move it; the next request goes on from there.

        Short of ``end`` without an error: the connection broke after good progress.

        Raises:
            TransientStoreError: when it broke before that.

        """
        self._check_stop(fetch)
        spec, size, start = fetch.spec, fetch.layout.size, front.offset
        whole_at_once = start == 0 and end == size and fetch.version is None
        length = None if whole_at_once or not size else end - start
        floor = SpeedFloor(self._settings.min_speed_bytes_s, self._settings.stall_timeout_s)
        try:
            with self._store.open_range(spec.bucket, spec.key, start, length, fetch.version, size) as body:
                check_size(spec, body.version, size)
                # The version that was begun with stays: a later answer may tell less of it, such as no ETag.
                fetch.version = fetch.version or body.version
                is_fast = False
                while front.offset < end:
                    buffer = stream.hashed.buffer() if stream else thread_buffer()
                    with self._receive_turns.turn(is_fast=is_fast):
                        begun = time.monotonic()
                        count = body.readinto(buffer[: min(len(buffer), end - front.offset)])
                        waited = time.monotonic() - begun
                        fetch.temporary.write_at(buffer[:count], front.offset)
                    self._hash(fetch, count, front.offset, stream)
                    is_fast = count > waited * FAST_BYTES_S
                    front.offset += count
                    fetch.count(fetched=count)
                    self._progress.add(spec, count)
                    if floor.waited(waited, count):
                        patience.progressed()
                    self._check_stop(fetch)
        except TransientStoreError as error:
            if front.offset - start < _GOOD_PROGRESS_BYTES or error.code == "TooSlow":
                raise
            self._patience.count_retry()
            logging.warning("%s: %s; going on from byte %d", spec.relative_path, error, front.offset)

    def _hash(self, fetch: Fetch, count: int, offset: int, stream: Stream | None) -> None:
        """Hash what was just written of a stream's buffer, while it is in the cache."""
        if stream:
            stream.hashed.take(count)
            stream.offset = offset + count
            self._checkpoint(fetch, stream)

    def _check_stop(self, fetch: Fetch) -> None:
        if fetch.group is None:
            raise AssertionError("a file that is not being fetched")
        fetch.group.check()
