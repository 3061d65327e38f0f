"""What a restore needs of an object store; how it can fail is in ``exceptions``. The S3 one is ``s3_object_store``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import PermanentStoreError


def archived_error(storage_class: str) -> PermanentStoreError:
    """The error for an object in an archive class, the same wherever it is noticed."""
    code = "InvalidObjectState"
    return PermanentStoreError(store_reasons.ARCHIVED.of(storage_class, code), code)


def bare_etag(etag: str) -> str:
    """An ETag as it is compared: without the mark of a weak one and without quotes, which not every store has."""
    return etag.strip().removeprefix("W/").strip('"')


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object, as the store describes it.

    Attributes:
        size: bytes.
        etag: the store's ETag as it is compared, bare; identifies the version and proves nothing (H5).
        version_id: empty when the bucket has no versions.
        storage_class: empty for the standard class.
        archived: whether the bytes must be restored from an archive class before they can be read.
        coming_back: whether S3 is at it.
        if_match: the ETag as it came, to be sent back; empty where none came, or a weak one.
        last_modified: when it was uploaded; None where the store does not tell.
        is_older: whether it is not the newest, so that it can only be asked for by its name.
        is_etag_of_bytes: False where the store says that it encrypts in a way with which ETags are no MD5.

    """

    size: int
    etag: str
    version_id: str = ""
    storage_class: str = ""
    archived: bool = False
    coming_back: bool = False
    if_match: str = ""
    last_modified: datetime | None = None
    is_older: bool = False
    is_etag_of_bytes: bool = True


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


@dataclass(frozen=True)
class PartsTold:
    """What a store tells of the parts of an object.

    Attributes:
        checksums: of all parts in order; empty when it does not tell them.
        bytes_fetched: bytes of the object itself that a store sent, which does not know the question.

    """

    checksums: Sequence[PartChecksum] = ()
    bytes_fetched: int = 0


class ByteStream(Protocol):
    """Bytes of one object, arriving."""

    version: ObjectVersion
    """What the response's own headers say of the object."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as bytes arrive within a second or so.

        Returns:
            Count of bytes; above 0 until all that were asked for have arrived.

        Raises:
            TransientStoreError: when the connection broke, stalled, or ended too early; what came before that has been
                returned.

        """


class ObjectStore(Protocol):
    """One method a need; all of them only read."""

    def head(self, bucket: str, key: str, size: int | None = None) -> ObjectVersion:
        """Describe the newest version of an object.

        Args:
            bucket: of the object.
            key: of the object.
            size: bytes that it should have; counts where the store does not tell.

        Raises:
            ObjectStoreError: if it cannot.

        """

    def open_range(  # noqa: PLR0913, PLR0917 (one request)
        self,
        bucket: str,
        key: str,
        start: int,
        length: int | None,
        version: ObjectVersion | None,
        size: int | None = None,
    ) -> AbstractContextManager[ByteStream]:
        """Open ``length`` bytes from ``start`` on; None: the whole object, without a range.

        The response is checked: exactly this range, of exactly this ``version`` where one is given. ``size`` is what
        the whole should have, where it is known.

        Raises:
            ObjectStoreError: if it cannot, or if the answer is another range or version.

        """

    def part_size(self, bucket: str, key: str, version: ObjectVersion | None, size: int, etag: str) -> int | None:
        """Bytes of the object's first part, None when it has no parts or the store does not tell.

        Args:
            bucket: of the object.
            key: of the object.
            version: of the object; None for the newest.
            size: bytes of the whole, which the parts must add up to.
            etag: that the object must have, else its parts are those of another upload.

        Raises:
            TransientStoreError: when it may tell on another try.

        """

    def part_checksums(self, bucket: str, key: str, version: ObjectVersion) -> PartsTold:
        """Checksums of the object's parts.

        Raises:
            TransientStoreError: when it may tell on another try.

        """

    def versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """All versions of an object, newest first, without delete markers; none where the store does not tell them.

        Raises:
            TransientStoreError: when it may tell on another try.
            PermanentStoreError: when it would tell with another right, which it names, or for another key.

        """
