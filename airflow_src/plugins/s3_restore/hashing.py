"""Hashes of local bytes: whole files, ranges, part checksums. Reads only."""

from __future__ import annotations

import base64
import hashlib
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from awscrt import checksums

BUFFER_BYTES = 256 * 1024  # stays in the second-level cache between receiving, hashing and writing


class Hasher(Protocol):
    """What hashlib's objects are."""

    def update(self, data: Any, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """Hash of the bytes taken."""

    def copy(self) -> Hasher:
        """Fork the state."""


class StoppedError(Exception):
    """The run was asked to stop."""


def md5() -> Hasher:
    """Begin an MD5; it identifies bytes here and secures nothing."""
    return hashlib.md5(usedforsecurity=False)


_buffers = threading.local()


def thread_buffer() -> memoryview:
    """One reusable buffer for each thread, so that memory grows with threads and not with files (W7)."""
    if not hasattr(_buffers, "view"):
        _buffers.view = memoryview(bytearray(BUFFER_BYTES))
    view: memoryview = _buffers.view
    return view


def get_file_hash(file_path: Path | str) -> str:
    """MD5 of a whole file, 32 hex digits.

    Raises:
        OSError: if the file cannot be read.

    """
    hasher = hashlib.md5(usedforsecurity=False)
    buffer = thread_buffer()
    with Path(file_path).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


def update_from_file(
    hasher: Hasher,
    read_at: Callable[[memoryview, int], int],
    start: int,
    end: int,
    on_chunk: Callable[[int], None] = lambda _count: None,
) -> int:
    """Feed the bytes from ``start`` to ``end`` of a file to ``hasher``.

    Args:
        hasher: takes the bytes.
        read_at: fills a buffer from an offset, returns the count, 0 at the end of the file.
        start: first byte.
        end: the byte after the last one.
        on_chunk: called with the count of bytes after each chunk; may raise to stop.

    Returns:
        Bytes fed: fewer than asked for when the file ends earlier.

    """
    buffer = thread_buffer()
    offset = start
    while offset < end:
        count = read_at(buffer[: min(len(buffer), end - offset)], offset)
        if not count:
            break
        hasher.update(buffer[:count])
        offset += count
        on_chunk(count)
    return offset - start


class _Crc:
    """A CRC behind hashlib's interface."""

    def __init__(self, function: Callable[[Any, int], int], width: int, value: int = 0) -> None:
        self._function, self._width, self._value = function, width, value

    def update(self, data: Any, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")

    def copy(self) -> Hasher:
        return _Crc(self._function, self._width, self._value)


_CHECKSUMS: dict[str, Callable[[], Hasher]] = {
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "CRC64NVME": lambda: _Crc(checksums.crc64nvme, 8),
    "CRC32C": lambda: _Crc(checksums.crc32c, 4),
    "CRC32": lambda: _Crc(zlib.crc32, 4),
}

CHECKSUM_ALGORITHMS = tuple(_CHECKSUMS)
"""S3's names of the checksums that can be computed here, the most telling first."""


def checksum(algorithm: str) -> Hasher:
    """Begin a checksum by S3's name of it.

    Raises:
        KeyError: for one that is not in CHECKSUM_ALGORITHMS.

    """
    return _CHECKSUMS[algorithm]()


def base64_digest(hasher: Hasher) -> str:
    """Digest as S3 writes it."""
    return base64.b64encode(hasher.digest()).decode("ascii")
