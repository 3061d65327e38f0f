"""The hash that was taken at the instrument, in the forms that the database stores (decisions H1 to H4, H7)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

MIB = 1024**2

_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART_ETAG = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,4})")
_ETAG_WITH_PART_SIZE = re.compile(r"(?P<etag>[0-9a-f]{32}(?:-[1-9][0-9]{0,4})?)__(?P<part_size_mib>[1-9][0-9]{0,4})")

# Part sizes that upload tools are known to use, tried when nobody can say which one it was (H3). MiB.
USUAL_PART_SIZES_MIB = (8, 5, 16, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024)

_UNITS = (MIB, 10**6)  # tools let their users choose part sizes in either
_LARGEST_PART = 5 * 1024**3  # that S3 takes
# How many part sizes are tried of one file beside the usual ones, when nobody knows it: as often the file is hashed.
_FEWEST_TRIES = 2  # also of the largest files: hashing them costs less than what else would be done, fetching them
_MOST_TRIES = 16
_BYTES_OF_SEARCH = 16 * 1024**3  # between those two; about 20 s
_BYTES_OF_ANY_SEARCH = 4 * 1024**3  # about 5 s: many part sizes fit a small file, and all of them are tried


@dataclass(frozen=True)
class ExpectedHash:
    """An expected hash; at least one of ``md5`` and ``etag`` is there.

    Attributes:
        md5: MD5 of the whole file, 32 lower-case hex digits, or None.
        etag: ETag as S3 computes it, ``<hex>`` or ``<hex>-<number of parts>``, or None.
        part_size: bytes per part (the last one may be shorter) that ``etag`` was computed with, or None if unknown.

    Raises:
        ValueError: if neither is there.

    """

    md5: str | None = None
    etag: str | None = None
    part_size: int | None = None

    def __post_init__(self) -> None:
        if not (self.md5 or self.etag):
            raise ValueError("An expected hash needs an MD5 or an ETag, got neither.")

    def __str__(self) -> str:
        """Give the MD5 of the whole file where it is known, else the ETag: what logs and reports name it by."""
        return self.md5 or self.etag or ""

    @property
    def number_of_parts(self) -> int | None:
        """The N of an ETag ``<hex>-<N>``; None when there is no such ETag."""
        match = _MULTIPART_ETAG.fullmatch(self.etag or "")
        return int(match[1]) if match else None

    def part_sizes_that_fit(self, size: int, hint: int | None = None) -> list[int]:
        """Part sizes with which a file of ``size`` bytes can be proved by its parts, the likeliest first.

        Args:
            size: bytes of the whole file.
            hint: part size in bytes that S3 told for an object of this very ETag, used when the database knows none.

        Returns:
            Bytes per part; empty when the parts cannot prove the file (then only a whole MD5 can).

        """
        count = self.number_of_parts
        if count is None:
            return []
        if self.part_size is not None:
            known = [self.part_size]
        elif count == 1:
            return [max(1, size)]  # one part is the whole file, whatever the part size was
        else:
            usual = [mib * MIB for mib in USUAL_PART_SIZES_MIB if len(PartLayout(size, mib * MIB)) == count]
            first = dict.fromkeys([*([hint] if hint else []), *usual])
            others = [part_size for part_size in _whole_part_sizes(size, count) if part_size not in first]
            known = [*first, *others[: most_tries(size)]]
        return [part_size for part_size in known if len(PartLayout(size, part_size)) == count]

    def differs_from_etag(self, etag: str) -> bool:
        """Whether an object's bare ETag can be compared with this hash, and is another: likely other bytes.

        With another number of parts it cannot: the same bytes have another ETag then. A hint and no proof (H5), since
        encrypted objects have ETags of their own.
        """
        if etag in {self.md5, self.etag}:
            return False
        if _MD5.fullmatch(etag):
            return bool(self.md5 or (self.etag and not self.number_of_parts))
        match = _MULTIPART_ETAG.fullmatch(etag)
        return match is not None and int(match[1]) == self.number_of_parts

    def is_proved_by(self, digests: Sequence[bytes]) -> bool:
        """Whether the MD5 digests of consecutive parts (16 bytes each; one part: the whole file) prove the file."""
        if len(digests) == 1 and digests[0].hex() in {self.md5, self.etag}:
            return True
        return self.number_of_parts == len(digests) and fold_etag(digests) == self.etag


@dataclass(frozen=True)
class PartLayout:
    """How a file of ``size`` bytes is cut into parts of ``part_size`` bytes; the last may be shorter.

    An empty file is one empty part.
    """

    size: int
    part_size: int

    def __len__(self) -> int:
        """Count the parts."""
        return max(1, -(-self.size // self.part_size))

    def range(self, index: int) -> tuple[int, int]:
        """First byte and the byte after the last one of part ``index`` (from 0)."""
        start = index * self.part_size
        return start, min(start + self.part_size, self.size)


def most_tries(size: int) -> int:
    """How many part sizes are tried, beside the usual ones, of a file of ``size`` bytes (H8)."""
    by_bytes = min(_MOST_TRIES, max(_FEWEST_TRIES, _BYTES_OF_SEARCH // max(1, size)))
    return max(by_bytes, _BYTES_OF_ANY_SEARCH // max(1, size))


def _whole_part_sizes(size: int, count: int) -> list[int]:
    """Part sizes that cut a file into ``count`` parts and are a whole number of MiB, or of MB of 10^6 bytes.

    Round numbers come first, since people and tools choose them.
    """
    least, most = -(-size // count), min((size - 1) // (count - 1), _LARGEST_PART)
    numbers = [(number, unit) for unit in _UNITS for number in range(-(-least // unit), most // unit + 1)]
    found = [number * unit for number, unit in sorted(numbers, key=lambda each: _odd_factor(each[0]))]
    return list(dict.fromkeys(found))


def _odd_factor(number: int) -> int:
    """What is left of a number without its factors 2 and 5: 1 of the roundest."""
    for factor in (2, 5):
        while number and number % factor == 0:
            number //= factor
    return number


def fold_etag(digests: Sequence[bytes]) -> str:
    """Compute the ETag that S3 gives a multipart upload from the MD5 digests of its parts."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def parse_expected_hash(stored: Sequence[object] | None) -> ExpectedHash | None:
    """Read the hash in a ``file_info`` value: ``[size, md5]``, ``[size, md5, "etag__100"]`` or ``[size, "hex-N"]``.

    Returns:
        None when there is no usable hash in it. A malformed ETag beside a good MD5 is left out.

    """
    if not isinstance(stored, (list, tuple)):
        return None
    texts = [element.strip().strip('"').lower() if isinstance(element, str) else "" for element in stored[1:3]]
    first, second = [*texts, "", ""][:2]
    md5 = first if _MD5.fullmatch(first) else None
    etag: str | None = None
    part_size: int | None = None
    match = _ETAG_WITH_PART_SIZE.fullmatch(second)
    if match:
        etag, part_size = match["etag"], int(match["part_size_mib"]) * MIB
    elif _MULTIPART_ETAG.fullmatch(first):
        etag = first
    return ExpectedHash(md5, etag, part_size) if md5 or etag else None


def parse_file_info_item(item: Sequence[object] | None) -> tuple[object, ExpectedHash | None]:
    """Read one value of ``file_info``: ``[size, md5]``, ``[size, md5, "etag__100"]`` or ``[size, "hex-N"]``.

    Returns:
        Size in bytes as it is stored, and the expected hash; None for what is missing or malformed.

    """
    size = item[0] if isinstance(item, (list, tuple)) and item else None
    return size, parse_expected_hash(item)
