"""What a restore needs of an object store, and how it can fail. The S3 one is in ``s3_object_store``.

Errors::

    ObjectStoreError          reason: words for the operator; code: the store's error code, if any
    ├── TransientStoreError   worth another try: reset, short body, 5xx, SlowDown
    │   └── StoreUnreachableError   nothing answered: refused, no route, time-out
    ├── ObjectChangedError    the object is no longer the version that was begun with (HTTP 412)
    └── PermanentStoreError   another try gives the same: missing, denied, archived, unusable answer
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class ObjectStoreError(Exception):
    """The store did not deliver. ``str()`` of it is one line for the operator."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TransientStoreError(ObjectStoreError):
    """Worth another try."""


class StoreUnreachableError(TransientStoreError):
    """Worth another try, but where many files meet it the store is down."""


class ObjectChangedError(ObjectStoreError):
    """The object was replaced since the download began."""


class PermanentStoreError(ObjectStoreError):
    """Another try gives the same."""


def archived_error(storage_class: str) -> PermanentStoreError:
    """The error for an object in an archive class, the same wherever it is noticed."""
    said = f"Object is archived in class {storage_class} and must be restored in S3 first (InvalidObjectState)"
    return PermanentStoreError(said, "InvalidObjectState")


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object, as the store describes it.

    Attributes:
        size: bytes.
        etag: the store's ETag without quotes; identifies the version and proves nothing (H5).
        version_id: empty when the bucket has no versions.
        storage_class: empty for the standard class.
        archived: whether the bytes must be restored from an archive class before they can be read.
        coming_back: whether S3 is at it.

    """

    size: int
    etag: str
    version_id: str = ""
    storage_class: str = ""
    archived: bool = False
    coming_back: bool = False


@dataclass(frozen=True)
class PartChecksum:
    """The store's checksum of one part of an object.

    Attributes:
        start: first byte.
        length: bytes.
        algorithm: ``CRC32``, ``CRC32C``, ``CRC64NVME``, ``SHA1`` or ``SHA256``.
        value: base64, as the store gives it.

    """

    start: int
    length: int
    algorithm: str
    value: str


class ByteStream(Protocol):
    """Bytes of one object, arriving."""

    version: ObjectVersion
    """What the response's own headers say of the object."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as bytes arrive.

        Returns:
            Count of bytes; above 0 until all that were asked for have arrived.

        Raises:
            TransientStoreError: when the connection broke, stalled, or ended too early.

        """


class ObjectStore(Protocol):
    """One method a need; all of them only read."""

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Describe the newest version of an object.

        Raises:
            ObjectStoreError: if it cannot.

        """

    def open_range(
        self, bucket: str, key: str, start: int, length: int | None, version: ObjectVersion | None
    ) -> AbstractContextManager[ByteStream]:
        """Open ``length`` bytes from ``start`` on; None: the whole object, without a range.

        The response is checked: exactly this range, of exactly this ``version`` where one is given.

        Raises:
            ObjectStoreError: if it cannot, or if the answer is another range or version.

        """

    def part_size(self, bucket: str, key: str, version: ObjectVersion | None, size: int) -> int | None:
        """Bytes of the object's first part, None when it has no parts or the store does not tell.

        Args:
            bucket: of the object.
            key: of the object.
            version: of the object; None for the newest.
            size: bytes of the whole, which the parts must add up to.

        Raises:
            TransientStoreError: when they do not.

        """

    def part_checksums(self, bucket: str, key: str, version: ObjectVersion) -> Sequence[PartChecksum]:
        """Checksums of the object's parts in order; empty when the store does not tell them.

        Raises:
            TransientStoreError: when it may tell on another try.

        """
