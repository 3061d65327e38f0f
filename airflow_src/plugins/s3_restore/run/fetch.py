"""One file being fetched: what the threads at it share, and how it is cut into streams and pieces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from s3_restore.disk.hash_batches import StreamHash
from s3_restore.disk.journal import Checkpoint, Journal
from s3_restore.disk.md5_backend import new_md5
from s3_restore.disk.open_file import OpenFile, TemporaryFile
from s3_restore.model.checksums import Hasher
from s3_restore.model.expected_hash import PartLayout
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectVersion
from s3_restore.run.nowhere import Nowhere
from s3_restore.run.retries import FilePatience
from s3_restore.run.workers import Group


@dataclass(frozen=True)
class DamagedVersion:
    """A local version of the file that is not right as a whole, and the ranges of it that are good."""

    file: OpenFile
    good: Sequence[tuple[int, int]]


@dataclass
class Fetch:
    """One file being fetched, shared by the threads that fetch its streams.

    Attributes:
        spec: what to fetch.
        layout: how it is cut into streams.
        temporary: where it goes; preallocated.
        version: which version of the object; None until the first answer told.
        journal: where checkpoints go; None for files too small to be worth one.
        checkpoints: what an earlier attempt had journalled.
        damaged: a local version to take good ranges from.
        bytes_fetched: bytes received so far, those of broken tries included.
        bytes_reused: bytes kept from an earlier attempt or a damaged version so far.
        group: the pieces of work that fetch it: the first error ends the others; None until it is fetched.
        new_hasher: begins the hash of a stream.
        patience: with this file; None until it is fetched.

    """

    spec: FileSpec
    layout: PartLayout
    temporary: TemporaryFile | Nowhere
    version: ObjectVersion | None = None
    journal: Journal | None = None
    checkpoints: dict[int, list[Checkpoint]] = field(default_factory=dict)
    damaged: DamagedVersion | None = None
    bytes_fetched: int = 0
    bytes_reused: int = 0
    group: Group | None = None
    patience: FilePatience | None = None
    new_hasher: Callable[[], Hasher] = new_md5
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, fetched: int = 0, reused: int = 0) -> None:
        """Add bytes."""
        with self.lock:
            self.bytes_fetched += fetched
            self.bytes_reused += reused


@dataclass
class Stream:
    """One stream of a fetch, while its bytes are hashed in order.

    Attributes:
        index: which of the layout.
        start: first byte.
        end: the byte after the last one.
        offset: byte after the last one that is written, and hashed or handed in to be.
        hashed: its MD5 in the making.
        journalled_at: offset of the last checkpoint.
        journalled_when: time of it.

    """

    index: int
    start: int
    end: int
    offset: int
    hashed: StreamHash
    journalled_at: int = 0
    journalled_when: float = field(default_factory=time.monotonic)


@dataclass
class Front:
    """How far a range has been received, over all requests that it took."""

    offset: int


def pieces(start: int, end: int, damaged: DamagedVersion | None, most: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a range into consecutive pieces of at most ``most`` bytes, each good in the damaged version or not.

    An empty range gives one empty piece, as an empty object has to be asked for too.
    """
    if start >= end:
        if start == 0:
            yield 0, 0, False
        return
    good = damaged.good if damaged else ()
    offset = start
    while offset < end:
        inside = next(((a, b) for a, b in good if a <= offset < b), None)
        following = min((a for a, _ in good if a > offset), default=end)
        until = min(end, inside[1] if inside else following, offset + most)
        yield offset, until, inside is not None
        offset = until
