"""All MD5 of a run goes through here: of what arrives, of what is there, of what is read back.

One service for all files, so that what is hashed at the same time is hashed at once: ranges of files in ``hash_lanes``,
buffers in flight in ``hash_batches``. Where the back end has one lane only (hashlib), the same is done by one thread a
range, and by the thread that receives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from s3_restore.disk import md5_backend
from s3_restore.disk.hash_batches import HashBatches, StreamHash
from s3_restore.disk.hash_lanes import FileRange, HashLanes, OnBytes, ReadAt
from s3_restore.disk.hashing import update_from_file
from s3_restore.model.checksums import Hasher


class HashService:
    """Hashes for all files of a run; safe to use from several threads.

    Args:
        most_threads: that hash ranges of files at once.

    """

    def __init__(self, most_threads: int) -> None:
        self._has_lanes = md5_backend.LANES > 1
        cores = len(os.sched_getaffinity(0))
        self._ranges = HashLanes(min(most_threads, cores) if self._has_lanes else most_threads)
        self._batches = HashBatches()

    def stream(self, hasher: Hasher) -> StreamHash:
        """Begin to hash buffers that arrive."""
        return self._batches.stream(hasher)

    def digests(self, read_at: ReadAt, ranges: Sequence[tuple[int, int]], on_bytes: OnBytes) -> list[bytes]:
        """Hash ranges of a file.

        Args:
            read_at: reads the file: fills a buffer from an offset, returns the count, 0 at the end.
            ranges: first byte and the byte after the last one.
            on_bytes: told of bytes that were hashed, by several threads; may raise to stop.

        Returns:
            MD5 digest (16 bytes) of each.

        Raises:
            OSError: if the file cannot be read.

        """
        works = [FileRange(md5_backend.new_md5(), read_at, start, end, on_bytes) for start, end in ranges]
        self._ranges.run(works)
        return [work.hasher.digest() for work in works]

    def feed(self, hasher: Hasher, read_at: ReadAt, start: int, end: int, on_bytes: OnBytes) -> int:
        """Feed a range of a file to an MD5.

        Returns:
            Bytes fed: fewer than asked for when the file ends earlier.

        """
        if not self._has_lanes:
            return update_from_file(hasher, read_at, start, end, on_bytes)
        work = FileRange(hasher, read_at, start, end, on_bytes)
        self._ranges.run([work])
        return work.offset - start

    def close(self) -> None:
        """End the threads that are idle; the others end with their work."""
        self._ranges.close()
