"""Checksums that S3 keeps of the parts of an object, under its names for them. Pure."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from typing import Any, Protocol


class Hasher(Protocol):
    """What hashlib's objects are."""

    def update(self, data: Any, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """Hash of the bytes taken."""

    def copy(self) -> Hasher:
        """Fork the state."""


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


def _crc_of_awscrt(name: str, width: int) -> Callable[[], Hasher]:
    def begin() -> Hasher:
        # Imported where one is computed, which is rare: the package is large, and is for nothing else here.
        from awscrt import checksums  # noqa: PLC0415

        return _Crc(getattr(checksums, name), width)

    return begin


_CHECKSUMS: dict[str, Callable[[], Hasher]] = {
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "CRC64NVME": _crc_of_awscrt("crc64nvme", 8),
    "CRC32C": _crc_of_awscrt("crc32c", 4),
    "CRC32": lambda: _Crc(zlib.crc32, 4),
}

_OF_AWSCRT = ("CRC64NVME", "CRC32C")


@functools.cache
def known_algorithms() -> tuple[str, ...]:
    """S3's names of the checksums that can be computed here, the most telling first."""
    has_awscrt = importlib.util.find_spec("awscrt") is not None
    return tuple(name for name in _CHECKSUMS if has_awscrt or name not in _OF_AWSCRT)


def checksum(algorithm: str) -> Hasher:
    """Begin a checksum by S3's name of it.

    Raises:
        KeyError: for one that S3 has not.

    """
    return _CHECKSUMS[algorithm]()


def base64_digest(hasher: Hasher) -> str:
    """Digest as S3 writes it."""
    return base64.b64encode(hasher.digest()).decode("ascii")
