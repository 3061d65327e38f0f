"""What a restore will do, seen from sizes on disk and HEAD requests: before a byte moves, and proving nothing.

Files whose size is right are not asked for: whether their bytes are right is found out by the restore. One HEAD request
goes out for each of the others; an answer that says nothing about the file but something about S3 ends the asking.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from s3_restore.file_specs import FileSpec
from s3_restore.local_files import bytes_held
from s3_restore.object_store import ObjectStore, ObjectStoreError, ObjectVersion, PermanentStoreError, archived_error
from s3_restore.transfer import check_size

# Codes that concern one object; after any other permanent answer, the next HEAD would only bring the same again.
_CODES_OF_ONE_OBJECT = {
    "NoSuchKey",
    "404",
    "AccessDenied",
    "403",
    "MethodNotAllowed",
    "KeyTooLongError",
    "400",
    "WrongSize",
}


@dataclass(frozen=True)
class PlannedFile:
    """What is known of one file beforehand.

    Attributes:
        spec: what should be there.
        is_there: whether a file of the right size is.
        archived: the object, where S3 must bring it back from an archive class first.
        trouble: why its restore would fail now, one line; empty for nothing known.

    """

    spec: FileSpec
    is_there: bool = False
    archived: ObjectVersion | None = None
    trouble: str = ""


@dataclass(frozen=True)
class RestorePlan:
    """What is known of a restore beforehand.

    Attributes:
        files: one for each spec, in its order.
        unasked_because: why S3 was not asked for every file, one line; empty when it was.

    """

    files: tuple[PlannedFile, ...]
    unasked_because: str = ""

    @property
    def to_download(self) -> tuple[PlannedFile, ...]:
        """Files that are missing or have another size, and can be restored at all."""
        return tuple(file for file in self.files if not file.is_there and not file.spec.problem)

    @property
    def archived(self) -> tuple[PlannedFile, ...]:
        """Files whose objects are in an archive class."""
        return tuple(file for file in self.files if file.archived)

    @property
    def in_trouble(self) -> tuple[PlannedFile, ...]:
        """Files whose restore would fail now."""
        return tuple(file for file in self.files if file.trouble)


def is_there_by_size(destination: Path, spec: FileSpec) -> bool:
    """Whether a file of the right size is at the final path; its bytes are not looked at."""
    if spec.problem or spec.size is None:
        return False
    try:
        return (destination / spec.relative_path).lstat().st_size == spec.size
    except OSError:
        return False


def missing_bytes(destination: Path, specs: Sequence[FileSpec]) -> int:
    """Bytes that are still needed on disk, by sizes alone; what an interrupted attempt holds is there already."""
    needed = {
        destination / spec.relative_path: spec.size
        for spec in specs
        if spec.size and not spec.problem and not is_there_by_size(destination, spec)
    }
    held = bytes_held(needed)
    return sum(max(0, size - held.get(path, 0)) for path, size in needed.items())


def look_ahead(store: ObjectStore, destination: Path, specs: Sequence[FileSpec], max_concurrency: int) -> RestorePlan:
    """Ask S3 for what is not there yet.

    Args:
        store: where from.
        destination: folder, need not exist.
        specs: what should be there.
        max_concurrency: requests at once.

    """
    enough = threading.Event()
    reasons: list[str] = []

    def look(spec: FileSpec) -> PlannedFile:
        if spec.problem:
            return PlannedFile(spec, trouble=spec.problem)
        if is_there_by_size(destination, spec):
            return PlannedFile(spec, is_there=True)
        if not enough.is_set():
            try:
                return _ask(store, spec)
            except ObjectStoreError as error:
                if isinstance(error, PermanentStoreError) and error.code in _CODES_OF_ONE_OBJECT:
                    return PlannedFile(spec, trouble=str(error))
                reasons.append(str(error))
                enough.set()
        return PlannedFile(spec)

    pool = ThreadPool(max(1, min(max_concurrency, len(specs))))
    try:
        files = tuple(pool.imap(look, specs))
    finally:
        enough.set()
        pool.close()
    return RestorePlan(files, reasons[0] if reasons else "")


def _ask(store: ObjectStore, spec: FileSpec) -> PlannedFile:
    version = store.head(spec.bucket, spec.key)
    check_size(spec, version, spec.size if spec.size is not None else version.size)
    if version.archived:
        return PlannedFile(spec, archived=version, trouble=str(archived_error(version.storage_class)))
    return PlannedFile(spec)
