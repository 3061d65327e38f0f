"""Proves that a local file has the bytes that the expected hash was taken of."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

from s3_restore.expected_hash import ExpectedHash, PartLayout
from s3_restore.hashing import StoppedError, base64_digest, checksum, md5, update_from_file
from s3_restore.local_files import OpenFile
from s3_restore.object_store import PartChecksum

T = TypeVar("T")


class Verdict(Enum):
    """What the hash says of a file."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    """The hash is an ETag of unknown part size, and no usual one gives it: nobody can tell (H3)."""


class Prover:
    """Hashes files, their parts side by side.

    Args:
        in_parallel: runs tasks side by side, results in their order.
        stop: when set, hashing ends with StoppedError.
        file_hash: path -> MD5 of the whole file in hex.

    """

    def __init__(
        self,
        in_parallel: Callable[[Sequence[Callable[[], bytes]]], list[bytes]],
        stop: threading.Event,
        file_hash: Callable[[Path], str],
    ) -> None:
        self._in_parallel = in_parallel
        self._stop = stop
        self._file_hash = file_hash

    def prove(
        self, file: OpenFile, size: int, expected: ExpectedHash, part_size_hint: Callable[[], int | None]
    ) -> Verdict:
        """Decide whether a file of ``size`` bytes is proved by ``expected``; the ETag or the MD5 is enough (H2).

        Args:
            file: the file; whole-file MD5s are read from its path.
            size: its bytes.
            expected: its hash.
            part_size_hint: asks S3 for the part size; called only when the database knows none.

        Raises:
            StoppedError: when the run was asked to stop.
            OSError: if the file cannot be read.

        """
        count = expected.number_of_parts or 0
        hint = part_size_hint() if count > 1 and not expected.part_size else None
        layouts = [PartLayout(size, part_size) for part_size in expected.part_sizes_that_fit(size, hint)]
        for layout in layouts:
            if expected.is_proved_by(self.part_digests(file, layout)):
                return Verdict.PROVED
        if expected.md5 or not expected.number_of_parts:
            proved = expected.is_proved_by([bytes.fromhex(self._file_hash(file.path))])
            return Verdict.PROVED if proved else Verdict.REFUTED
        sure = expected.part_size or count == 1 or (hint and layouts and layouts[0].part_size == hint)
        return Verdict.REFUTED if sure and layouts else Verdict.UNDECIDED

    def part_digests(self, file: OpenFile, layout: PartLayout) -> list[bytes]:
        """MD5 digests (16 bytes) of the parts of a file."""
        return self._in_parallel(
            [partial(self._part_digest, file, *layout.range(index)) for index in range(len(layout))]
        )

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

    def _part_digest(self, file: OpenFile, start: int, end: int) -> bytes:
        hasher = md5()
        update_from_file(hasher, file.read_at, start, end, self._check_stop)
        return hasher.digest()

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
