"""An object store in memory, which gives what the product's ``ObjectStore`` promises."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import PermanentStoreError, TransientStoreError
from s3_restore.model.object_store import ObjectVersion, PartChecksum, PartsTold

_PIECE = 16 * 1024  # what arrives at once


class _Body:
    def __init__(self, version: ObjectVersion, data: bytes, store: MemoryStore) -> None:
        self.version = version
        self._left = memoryview(data)
        self._store = store

    def readinto(self, buffer: memoryview) -> int:
        self._store.count_piece()
        count = min(len(buffer), len(self._left), _PIECE)
        if not count:
            raise TransientStoreError(store_reasons.ENDED_EARLY.of())
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


@dataclass
class MemoryStore:
    """Objects by key.

    Attributes:
        objects: their bytes.
        part_bytes: they were uploaded in parts of that many bytes; 0: as a whole.
        tells_checksums: whether it tells those of the parts.
        fails_after: pieces of 16 KiB after which it refuses everything for good; None: never.

    """

    objects: Mapping[str, bytes]
    part_bytes: int = 0
    tells_checksums: bool = False
    fails_after: int | None = None
    pieces: int = field(default=0)

    def count_piece(self) -> None:
        self.pieces += 1
        if self.fails_after is not None and self.pieces > self.fails_after:
            raise PermanentStoreError(store_reasons.ACCESS_DENIED.of("AccessDenied"), "AccessDenied")

    def head(self, _bucket: str, key: str, _size: int | None = None) -> ObjectVersion:
        self.count_piece()
        if key not in self.objects:
            raise PermanentStoreError(store_reasons.MISSING.of("NoSuchKey"), "NoSuchKey")
        data = self.objects[key]
        return ObjectVersion(size=len(data), etag=hashlib.md5(data).hexdigest())

    @contextmanager
    def open_range(
        self,
        bucket: str,
        key: str,
        start: int,
        length: int | None,
        _version: ObjectVersion | None,
        _size: int | None = None,
    ) -> Iterator[_Body]:
        version = self.head(bucket, key)
        data = self.objects[key]
        yield _Body(version, data[start : len(data) if length is None else start + length], self)

    def part_size(self, _bucket: str, _key: str, _version: ObjectVersion | None, _size: int, _etag: str) -> int | None:
        return self.part_bytes or None

    def part_checksums(self, _bucket: str, key: str, _version: ObjectVersion) -> PartsTold:
        if not self.tells_checksums or not self.part_bytes:
            return PartsTold()
        data = self.objects[key]
        parts = [(at, data[at : at + self.part_bytes]) for at in range(0, len(data), self.part_bytes)]
        return PartsTold(
            [
                PartChecksum(at, len(part), "CRC32", base64.b64encode(zlib.crc32(part).to_bytes(4, "big")).decode())
                for at, part in parts
            ]
        )

    def versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        return [self.head(bucket, key)]
