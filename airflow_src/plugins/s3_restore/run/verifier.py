"""Verifies that a local file has the bytes that the expected hash was taken of."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial

from s3_restore.disk.hash_lanes import OnBytes
from s3_restore.disk.hash_service import HashService
from s3_restore.disk.hashing import update_from_file
from s3_restore.disk.open_file import OpenFile
from s3_restore.model.checksums import base64_digest, checksum
from s3_restore.model.exceptions import StoppedError
from s3_restore.model.expected_hash import ExpectedHash, PartLayout
from s3_restore.model.object_store import PartChecksum


class Verdict(Enum):
    """What the hash says of a file."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    """The hash is an ETag of unknown part size, and no usual one gives it: nobody can tell (H3)."""


class Verifier:
    """Hashes files, their parts side by side.

    Args:
        in_parallel: runs tasks side by side, results in their order.
        stop: when set, hashing ends with StoppedError.
        hashes: computes MD5.

    """

    def __init__(
        self,
        in_parallel: Callable[[Sequence[Callable[[], bytes]]], list[bytes]],
        stop: threading.Event,
        hashes: HashService,
    ) -> None:
        self._in_parallel = in_parallel
        self._stop = stop
        self._hashes = hashes

    def verify(
        self,
        file: OpenFile,
        size: int,
        expected: ExpectedHash,
        part_size_hint: Callable[[], int | None],
        on_bytes: OnBytes = lambda _count: None,
    ) -> Verdict:
        """Decide whether a file of ``size`` bytes is proved by ``expected``; the ETag or the MD5 is enough (H2).

        Args:
            file: the file; what is at its path may be another one meanwhile.
            size: its bytes.
            expected: its hash.
            part_size_hint: asks S3 for the part size; called only when the database knows none.
            on_bytes: told of bytes that were hashed, by several threads.

        Raises:
            StoppedError: when the run was asked to stop.
            OSError: if the file cannot be read.

        """
        count = expected.number_of_parts or 0
        hint = part_size_hint() if count > 1 and not expected.part_size else None
        layouts = [PartLayout(size, part_size) for part_size in expected.part_sizes_that_fit(size, hint)]

        def go_on(more: int) -> None:
            self._check_stop(more)
            on_bytes(more)

        for layout in layouts:
            if expected.is_proved_by(self.part_digests(file, layout, go_on)):
                return Verdict.PROVED
        if expected.md5 or not expected.number_of_parts:
            whole = self._hashes.digests(file.read_at, [(0, sys.maxsize)], go_on)
            proved = expected.is_proved_by(whole)
            return Verdict.PROVED if proved else Verdict.REFUTED
        sure = expected.part_size or count == 1 or (hint and layouts and layouts[0].part_size == hint)
        return Verdict.REFUTED if sure and layouts else Verdict.UNDECIDED

    def part_digests(self, file: OpenFile, layout: PartLayout, on_bytes: OnBytes) -> list[bytes]:
        """MD5 digests (16 bytes) of the parts of a file."""
        return self._hashes.digests(file.read_at, [layout.range(index) for index in range(len(layout))], on_bytes)

    def good_ranges(self, file: OpenFile, parts: Sequence[PartChecksum]) -> list[tuple[int, int]]:
        """Ranges (first byte, byte after the last) of a damaged file that match S3's checksums; adjacent ones joined.

        What matches here is likely right; proof comes from the expected hash of the whole.
        """
        size = file.identity().size
        tasks = [partial(self._checksum, file, part) for part in parts if part.start + part.length <= size]
        good: list[tuple[int, int]] = []
        for part, value in zip(parts, self._in_parallel(tasks) if tasks else [], strict=False):
            if value.decode() != part.value.partition("-")[0]:
                continue
            start, end = part.start, part.start + part.length
            if good and good[-1][1] == start:
                good[-1] = (good[-1][0], end)
            else:
                good.append((start, end))
        return good

    def _checksum(self, file: OpenFile, part: PartChecksum) -> bytes:
        hasher = checksum(part.algorithm)
        try:
            update_from_file(hasher, file.read_at, part.start, part.start + part.length, self._check_stop)
        except OSError as error:  # sectors that cannot be read are often what is wrong with it
            logging.warning("%s cannot be read from byte %d on (%s)", file.path, part.start, error.strerror)
            return b""
        return base64_digest(hasher).encode()

    def _check_stop(self, _count: int) -> None:
        if self._stop.is_set():
            raise StoppedError
