"""What the S3 stand-in stores: objects, their parts, ETags and checksums as AWS computes them."""

import base64
import hashlib
import itertools
import os
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from awscrt import checksums as crt

_PIECE = 1 << 20
ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


@dataclass(frozen=True)
class StoredPart:
    """One part of a multipart upload. `checksum` is base64, or None."""

    number: int
    offset: int
    size: int
    checksum: str | None


@dataclass(frozen=True)
class StoredObject:
    """One version of an object. `etag` has no quotes; `parts` is empty for a single PUT.

    `checksum` is the object's, base64, without the `-N` that HEAD appends to a composite one.
    """

    bucket: str
    key: str
    data: bytes | Path
    size: int
    etag: str
    version_id: str | None
    last_modified: datetime
    parts: tuple[StoredPart, ...] = ()
    algorithm: str | None = None
    checksum: str | None = None
    checksum_type: str | None = None
    storage_class: str = "STANDARD"
    encryption: str = "AES256"
    is_delete_marker: bool = False

    @property
    def archived(self) -> bool:
        return self.storage_class in ARCHIVED

    def checksum_header(self) -> str | None:
        """The checksum as HEAD and GET of the whole object show it."""
        if self.checksum and self.checksum_type == "COMPOSITE":
            return f"{self.checksum}-{len(self.parts)}"
        return self.checksum

    def part_checksum(self, number: int) -> str | None:
        """What GET and HEAD with PartNumber show: a part's checksum is kept for composite ones only."""
        if not self.parts or self.checksum_type == "FULL_OBJECT":
            return self.checksum if len(self.parts) <= 1 else None
        return self.parts[number - 1].checksum

    def send(self, sock: socket.socket, offset: int, size: int) -> Iterator[int]:
        """Send these bytes; yields how many went out after each piece, stops early when a file is too short."""
        if isinstance(self.data, Path):
            with self.data.open("rb") as file:
                end = offset + size
                while offset < end:
                    sent = os.sendfile(sock.fileno(), file.fileno(), offset, min(end - offset, 4 * _PIECE))
                    if not sent:
                        return
                    offset += sent
                    yield sent
        else:
            view = memoryview(self.data)[offset : offset + size]
            for at in range(0, size, _PIECE):
                piece = view[at : at + _PIECE]
                sock.sendall(piece)
                yield len(piece)


@dataclass(frozen=True)
class Sums:
    """What one pass over the data gives."""

    etag: str
    parts: tuple[StoredPart, ...]
    checksum: str | None
    checksum_type: str | None


def compute(
    data: bytes | Path,
    part_size: int | Sequence[int] | None,
    algorithm: str | None,
    checksum_type: str | None,
    *,
    need_etag: bool = True,
) -> Sums:
    """ETag, parts and checksums as AWS gives them; `part_size` None is a single PUT, a sequence irregular parts."""
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    checksum_type = _checked_type(algorithm, checksum_type, multipart=part_size is not None)
    whole, composite, md5s = _running(algorithm), _running(algorithm), hashlib.md5()
    parts: list[StoredPart] = []
    for number, (offset, length) in enumerate(_layout(size, part_size), start=1):
        digest, part = hashlib.md5(), _running(algorithm)
        if need_etag or algorithm:
            for piece in _pieces(data, offset, length):
                if need_etag:
                    digest.update(piece)
                if algorithm:
                    part.update(piece)
                    whole.update(piece)
        md5s.update(digest.digest())
        composite.update(part.digest())
        parts.append(StoredPart(number, offset, length, _base64(part) if algorithm else None))
    if part_size is None:
        etag, kept = digest.hexdigest(), ()
    else:
        etag, kept = f"{md5s.hexdigest()}-{len(parts)}", tuple(parts)
    chosen = composite if checksum_type == "COMPOSITE" else whole
    return Sums(etag, kept, _base64(chosen) if algorithm else None, checksum_type)


def _checked_type(algorithm: str | None, checksum_type: str | None, *, multipart: bool) -> str | None:
    if algorithm is None:
        return None
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no such checksum: {algorithm!r}, there are {', '.join(ALGORITHMS)}")
    only = {"CRC64NVME": "FULL_OBJECT", "SHA1": "COMPOSITE", "SHA256": "COMPOSITE"}.get(algorithm)
    if not multipart:
        only = "FULL_OBJECT"
    chosen = checksum_type or only or "COMPOSITE"
    if only not in (None, chosen):
        raise ValueError(f"S3 has no {checksum_type} {algorithm} for this kind of upload")
    return chosen


def _layout(size: int, part_size: int | Sequence[int] | None) -> list[tuple[int, int]]:
    if part_size is None or not size:
        return [(0, size)]
    if isinstance(part_size, int):
        return [(at, min(part_size, size - at)) for at in range(0, size, part_size)]
    if sum(part_size) != size:
        raise ValueError(f"parts of {sum(part_size)} bytes for an object of {size}")
    return list(zip(itertools.accumulate([0, *part_size[:-1]]), part_size, strict=True))


class _Crc:
    """A CRC with hashlib's interface."""

    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function, self._size, self._value = function, size, 0

    def update(self, piece: bytes) -> None:
        self._value = self._function(piece, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _running(algorithm: str | None):
    if algorithm in ("SHA1", "SHA256"):
        return hashlib.new(algorithm)
    if algorithm == "CRC32C":
        return _Crc(crt.crc32c, 4)
    if algorithm == "CRC64NVME":
        return _Crc(crt.crc64nvme, 8)
    return _Crc(zlib.crc32, 4)


def _base64(running) -> str:
    return base64.b64encode(running.digest()).decode()


def _pieces(data: bytes | Path, offset: int, size: int) -> Iterator[bytes]:
    if isinstance(data, Path):
        with data.open("rb") as file:
            file.seek(offset)
            while size and (piece := file.read(min(_PIECE, size))):
                size -= len(piece)
                yield piece
    else:
        view = memoryview(data)[offset : offset + size]
        for at in range(0, size, _PIECE):
            yield bytes(view[at : at + _PIECE])
