"""One hash of a stream in every way that may prove it: as a whole, and cut into parts of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

from s3_restore.disk.md5_backend import new_md5
from s3_restore.model.checksums import Hasher
from s3_restore.model.expected_hash import ExpectedHash


class EveryWay:
    """Stands where one MD5 does. Its memory grows by 16 bytes with each part, and not with bytes.

    Args:
        expected: what is to be proved.
        part_sizes: to try, in bytes.

    """

    def __init__(self, expected: ExpectedHash, part_sizes: Sequence[int]) -> None:
        self._expected = expected
        self._whole = new_md5()
        self._parted = [_Parted(part_size) for part_size in part_sizes]

    def update(self, data: memoryview, /) -> None:
        """Take more bytes."""
        if self._expected.md5:
            self._whole.update(data)
        for parted in self._parted:
            parted.update(data)

    def digest(self) -> bytes:
        """MD5 of the whole; of nothing where the whole cannot prove it."""
        return self._whole.digest()

    def copy(self) -> Hasher:
        """Nobody journals it."""
        raise AssertionError("a hash of many ways is not journalled")

    def is_proved(self) -> bool:
        """Whether one of the ways proves what was taken."""
        ways = [parted.digests() for parted in self._parted]
        if self._expected.md5:
            ways.append([self._whole.digest()])
        return any(self._expected.is_proved_by(digests) for digests in ways)


class _Parted:
    """MD5 digests of consecutive parts."""

    def __init__(self, part_size: int) -> None:
        self._part_size = part_size
        self._digests: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._hasher = new_md5()
        self._filled = 0

    def update(self, data: memoryview) -> None:
        while len(data):
            some = data[: self._part_size - self._filled]
            self._hasher.update(some)
            self._filled += len(some)
            data = data[len(some) :]
            if self._filled == self._part_size:
                self._digests.append(self._hasher.digest())
                self._begin()

    def digests(self) -> list[bytes]:
        return [*self._digests, *([self._hasher.digest()] if self._filled else [])]
