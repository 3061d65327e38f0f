"""What a restore will do, seen from sizes on disk and HEAD requests: before a byte moves, and proving nothing.

Files whose size is right are not asked for: whether their bytes are right is found out by the restore. One HEAD request
goes out for each of the others; an answer that says nothing about the file but something about S3 ends the asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from s3_restore.disk.temporary_files import bytes_held
from s3_restore.model.exceptions import ObjectStoreError, PermanentStoreError, StoppedError, TransientStoreError
from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, ObjectVersion, archived_error
from s3_restore.model.reasons import Failure
from s3_restore.run.versions import check_size, find_older, may_have_older
from s3_restore.run.workers import Piece, Workers

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
        older: the likeliest older version, where the newest is not the backup.
        trouble: why its restore would fail now; None for nothing known.
        doubt: why the object may have other bytes than the backup, one line; only a download can tell.

    """

    spec: FileSpec
    is_there: bool = False
    archived: ObjectVersion | None = None
    older: ObjectVersion | None = None
    trouble: Failure | None = None
    doubt: str = ""


@dataclass(frozen=True)
class RestorePlan:
    """What is known of a restore beforehand.

    Attributes:
        files: one for each spec, in its order.
        unasked_because: why S3 was not asked for every file; None when it was.
        is_passing: whether that is likely to be gone soon.

    """

    files: tuple[PlannedFile, ...]
    unasked_because: Failure | None = None
    is_passing: bool = False

    @property
    def to_download(self) -> tuple[PlannedFile, ...]:
        """Files that are missing or have another size, and can be restored at all."""
        return tuple(file for file in self.files if not file.is_there and not file.spec.problem)

    @property
    def archived(self) -> tuple[PlannedFile, ...]:
        """Files whose objects are in an archive class."""
        return tuple(file for file in self.files if file.archived)

    @property
    def from_older(self) -> tuple[PlannedFile, ...]:
        """Files that may come from an older version, as the newest is not the backup."""
        return tuple(file for file in self.files if file.older)

    @property
    def in_trouble(self) -> tuple[PlannedFile, ...]:
        """Files whose restore would fail now."""
        return tuple(file for file in self.files if file.trouble)

    @property
    def in_doubt(self) -> tuple[PlannedFile, ...]:
        """Files whose objects may have other bytes than the backup."""
        return tuple(file for file in self.files if file.doubt)


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


def plan_restore(
    store: ObjectStore, destination: Path | None, specs: Sequence[FileSpec], max_concurrency: int
) -> RestorePlan:
    """Ask S3 for what is not there yet.

    Args:
        store: where from.
        destination: folder, need not exist; None to ask for every file, whatever is there.
        specs: what should be there.
        max_concurrency: requests at once.

    """
    workers = Workers(min(max_concurrency, len(specs)))
    try:
        with workers.group() as looks:
            here = looks.all_of(partial(_look_here, destination, spec) for spec in specs)
        asks = workers.group()
        try:
            pieces = [
                None if known else asks.go(partial(_ask, store, spec)) for spec, known in zip(specs, here, strict=True)
            ]
            files = tuple(known or _answer(spec, piece) for spec, known, piece in zip(specs, here, pieces, strict=True))
        except BaseException:
            asks.cancel(StoppedError())
            raise
    finally:
        workers.close()
    first = asks.error if isinstance(asks.error, ObjectStoreError) else None
    return RestorePlan(files, first.failure if first else None, isinstance(first, TransientStoreError))


def _look_here(destination: Path | None, spec: FileSpec) -> PlannedFile | None:
    """What is known of a file without S3; None when S3 is to be asked."""
    if spec.problem:
        return PlannedFile(spec, trouble=spec.problem)
    is_there = destination is not None and is_there_by_size(destination, spec)
    return PlannedFile(spec, is_there=True) if is_there else None


def _answer(spec: FileSpec, piece: Piece[PlannedFile] | None) -> PlannedFile:
    """What S3 said of a file; nothing where it is not to be asked any more."""
    try:
        return piece.result() if piece else PlannedFile(spec)
    except ObjectStoreError:
        return PlannedFile(spec)


def _ask(store: ObjectStore, spec: FileSpec) -> PlannedFile:
    """Ask S3 for one file.

    Raises:
        ObjectStoreError: that says something about S3 and not about the file, so that the others need not be asked for.

    """
    try:
        return _ask_for_versions(store, spec)
    except PermanentStoreError as error:
        if error.code in _CODES_OF_ONE_OBJECT:
            return PlannedFile(spec, trouble=error.failure)
        raise


def _ask_for_versions(store: ObjectStore, spec: FileSpec) -> PlannedFile:
    try:
        version = store.head(spec.bucket, spec.key, spec.size)
        check_size(spec, version, spec.size if spec.size is not None else version.size)
    except PermanentStoreError as error:
        if not may_have_older(error):
            raise
        return _planned_older(store, spec, error)
    if version.archived:
        return PlannedFile(spec, archived=version, trouble=archived_error(version.storage_class).failure)
    return PlannedFile(spec, doubt=_doubt(spec, version))


def _doubt(spec: FileSpec, version: ObjectVersion) -> str:
    """Compare the ETag with the stored hash; they prove nothing, but most often they differ for a reason (H5).

    Compared are only those that would be equal had the bytes been uploaded in the same way: the ETag of a plain upload
    with the MD5, that of a multipart upload with an ETag of as many parts.
    """
    expected, etag = spec.expected, version.etag.lower()
    if expected is None or not version.is_etag_of_bytes or etag in {expected.etag, expected.md5}:
        return ""
    told = parse_expected_hash([None, etag])
    if told is None:
        return ""
    stored = expected.etag if told.number_of_parts else expected.md5
    if not stored or told.number_of_parts != (expected.number_of_parts if told.number_of_parts else None):
        return ""
    return f"The object may have other bytes than the backup: its ETag is {etag}, the database has {stored}"


def _planned_older(store: ObjectStore, spec: FileSpec, of_newest: PermanentStoreError) -> PlannedFile:
    """What is to be expected of a file whose newest version is not the backup."""
    try:
        older = find_older(store, spec, of_newest)
    except PermanentStoreError as error:
        return PlannedFile(spec, trouble=error.failure)
    if older[0].archived:
        trouble = archived_error(older[0].storage_class).failure
        return PlannedFile(spec, archived=older[0], older=older[0], trouble=trouble)
    return PlannedFile(spec, older=older[0])
