"""Any version that proves itself (S7): where the newest version of an object is not the backup, an older one may be.

Looked at only where the newest is a delete marker, has another size or is refuted by the hash, or where its ETag shows
beforehand that it is another upload; so it costs nothing as long as all is well. The hash decides, so nothing wrong can
come of it. Listing and naming versions are extra rights; where S3 refuses them, the reason says which one it takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import (
    HashMismatchError,
    ObjectChangedError,
    ObjectStoreError,
    PermanentStoreError,
    TransientStoreError,
)
from s3_restore.model.expected_hash import ExpectedHash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, ObjectVersion
from s3_restore.model.reasons import Failure

T = TypeVar("T")
Asking = Callable[[Callable[[], Sequence[ObjectVersion]]], Sequence[ObjectVersion]]

MOST_VERSIONS = 20
NO_LAYOUT = "UnknownPartSize"  # another upload has other parts; that of the expected ETag tells its own
# Codes of a newest version that is none.
_NO_BACKUP = {"NoSuchKey", "404", "MethodNotAllowed", "405", "WrongSize", NO_LAYOUT}
_DENIED = {"AccessDenied", "403"}  # without s3:ListBucket also what is said of a delete marker


def check_size(spec: FileSpec, version: ObjectVersion, expected_size: int) -> None:
    """Refuse an object that cannot be the file.

    Raises:
        PermanentStoreError: that gives both sizes.

    """
    if version.size != expected_size:
        reason = store_reasons.WRONG_SIZE if spec.size is not None else store_reasons.SIZE_CHANGED
        raise PermanentStoreError(reason.of(version.size, expected_size), "WrongSize")


def may_have_older(error: Exception) -> bool:
    """Whether an older version may be the backup, after what was met with the newest one."""
    if isinstance(error, PermanentStoreError):
        return error.code in _NO_BACKUP | _DENIED
    return isinstance(error, HashMismatchError)


def candidates(
    versions: Sequence[ObjectVersion], size: int | None, expected: ExpectedHash | None
) -> list[ObjectVersion]:
    """Versions that may be the backup, the likeliest first.

    Args:
        versions: all of the object, newest first.
        size: bytes that it must have; None for unknown.
        expected: hash that it must have.

    """
    hashes = _hashes(expected)
    # The newest is known not to be it, and neither is what has the same ETag, unless that is the expected one: then the
    # newest is damaged in the store.
    refuted = {version.etag for version in versions if not version.is_older and version.etag} - hashes
    fitting = [
        version
        for version in versions
        if version.is_older and version.last_modified and size in (None, version.size) and version.etag not in refuted
    ]
    return sorted(fitting, key=lambda version: version.etag not in hashes)[:MOST_VERSIONS]


def _hashes(expected: ExpectedHash | None) -> set[str | None]:
    return {expected.etag, expected.md5} - {None} if expected else set()


def find_older(
    store: ObjectStore,
    spec: FileSpec,
    of_newest: PermanentStoreError | HashMismatchError,
    ask: Asking = lambda question: question(),
) -> list[ObjectVersion]:
    """List the older versions that may be the backup, the likeliest first.

    Args:
        store: where from.
        spec: of the file.
        of_newest: what was met with the newest version.
        ask: asks the store, patiently for instance.

    Raises:
        TransientStoreError: when it may be known on another try.
        Exception: ``of_newest``, where nothing older can be the backup; it says which right it takes to look at it, if
            that is why.

    """
    is_denied = isinstance(of_newest, PermanentStoreError) and of_newest.code in _DENIED
    try:
        listed = ask(partial(store.versions, spec.bucket, spec.key))
    except TransientStoreError:
        raise
    except ObjectStoreError as error:
        raise (of_newest if is_denied else _with_note(of_newest, error.failure)) from None
    # Where the newest is no delete marker, it is there, and the right to read it is what is missing.
    found = [] if is_denied and not _is_deleted(listed) else candidates(listed, spec.size, spec.expected)
    if not found:
        raise of_newest
    return found


def _is_deleted(listed: Sequence[ObjectVersion]) -> bool:
    return all(version.is_older for version in listed)


class EtagHints:
    """Whether ETags tell uploads apart in this store, as far as a run has seen: those of encrypted objects do not.

    A hint saves fetching a whole object that is not the backup, and decides nothing.
    """

    def __init__(self) -> None:
        self._are_misleading = False

    def show_another_upload(self, newest: ObjectVersion | None, spec: FileSpec) -> bool:
        """Whether the newest version is likely not the backup, and has older ones to look at."""
        if self._are_misleading or newest is None or not newest.version_id or newest.size != spec.size:
            return False
        return spec.expected is not None and spec.expected.differs_from_etag(newest.etag)

    def note_right(self, newest: ObjectVersion | None, spec: FileSpec) -> None:
        """Note that a newest version was the backup."""
        self._are_misleading = self._are_misleading or self.show_another_upload(newest, spec)


class AnyVersion:
    """Fetches the newest version of an object, else the first older one that proves itself.

    Args:
        store: where from.
        spec: of the file.
        hints: of the run.
        ask: asks the store patiently.
        ask_in_passing: asks the store what is not needed; None where it does not tell.

    Attributes:
        newest_may_be_spoilt: whether the hash refuted the newest version, and nothing shows that it is another upload.

    """

    def __init__(
        self,
        store: ObjectStore,
        spec: FileSpec,
        hints: EtagHints,
        ask: Asking,
        ask_in_passing: Asking,
    ) -> None:
        self._store = store
        self._spec = spec
        self._hints = hints
        self._ask = ask
        self._ask_in_passing = ask_in_passing
        self._listed: Sequence[ObjectVersion] = ()
        self.newest_may_be_spoilt = False

    def fetch(
        self, look: Callable[[], ObjectVersion | None], fetch: Callable[[ObjectVersion | None], T]
    ) -> tuple[T, ObjectVersion | None]:
        """Fetch a version that proves itself.

        Args:
            look: describes the newest version; None where that is not worth a request.
            fetch: fetches and proves a version; None for the newest one.

        Returns:
            What ``fetch`` returned, and the older version that it was; None for the newest.

        Raises:
            Exception: what was met with the newest version, where no other is the backup; it says which right it takes
                to look at others, if that is missing.

        """
        refuted: list[ObjectVersion] = []
        try:
            newest = look()
            first = self._likelier(newest)
            if first:
                logging.info("%s: the version of %s has the expected ETag", self._spec.relative_path, shown_date(first))
                try:
                    return fetch(first), first
                except HashMismatchError:
                    refuted.append(first)
                except (PermanentStoreError, ObjectChangedError) as error:
                    logging.warning("%s: %s; taking the newest version", self._spec.relative_path, error)
            fetched = fetch(newest)
            self._hints.note_right(newest, self._spec)
        except (PermanentStoreError, HashMismatchError) as error:
            if not may_have_older(error):
                raise
            of_newest = error
        else:
            return fetched, None
        return self._fetch_older(fetch, of_newest, refuted)

    def _likelier(self, newest: ObjectVersion | None) -> ObjectVersion | None:
        """An older version of the expected ETag, where the newest is likely another upload."""
        if not self._hints.show_another_upload(newest, self._spec):
            return None
        try:
            self._listed = self._ask_in_passing(partial(self._store.versions, self._spec.bucket, self._spec.key))
        except PermanentStoreError:
            return None
        found = candidates(self._listed, self._spec.size, self._spec.expected)
        return found[0] if found and found[0].etag in _hashes(self._spec.expected) else None

    def _fetch_older(
        self,
        fetch: Callable[[ObjectVersion | None], T],
        of_newest: PermanentStoreError | HashMismatchError,
        refuted: list[ObjectVersion],
    ) -> tuple[T, ObjectVersion]:
        found = find_older(self._store, self._spec, of_newest, self._ask_once)
        if isinstance(of_newest, HashMismatchError):
            newest = [version for version in self._listed if not version.is_older]
            self.newest_may_be_spoilt = self._may_be_spoilt(newest)
            refuted += newest
        notes: list[str] = []
        for version in found:
            if version in refuted:
                continue
            logging.warning(
                "%s: %s; trying the version of %s", self._spec.relative_path, of_newest, shown_date(version)
            )
            try:
                return fetch(version), version
            except HashMismatchError:
                refuted.append(version)
            except (PermanentStoreError, ObjectChangedError) as error:
                if error.code in _DENIED:
                    raise _with_note(of_newest, store_reasons.MAY_NOT_READ_VERSIONS.of()) from None
                notes.append(f" (the version of {shown_date(version)}: {error})")
        note = store_reasons.NO_VERSION_FITS.of(len(found)).ending("".join(notes[:1]))
        failure = of_newest.failure.and_also(note)
        if self._may_be_spoilt(refuted):
            raise HashMismatchError(failure) from None
        # Not worth another try: each version had its own.
        raise PermanentStoreError(failure, "NoVersion") from None

    def _ask_once(self, question: Callable[[], Sequence[ObjectVersion]]) -> Sequence[ObjectVersion]:
        self._listed = self._listed or self._ask(question)
        return self._listed

    def _may_be_spoilt(self, refuted: Sequence[ObjectVersion]) -> bool:
        """Whether one may be the backup all the same, whose bytes were spoilt on their way: no ETag says otherwise."""
        expected = self._spec.expected
        return expected is not None and not all(expected.differs_from_etag(version.etag) for version in refuted)


def shown_date(version: ObjectVersion | None) -> str:
    """When a version was uploaded, for a log or a report."""
    return f"{version.last_modified:%Y-%m-%d %H:%M:%S} UTC" if version and version.last_modified else "unknown date"


def _with_note(error: PermanentStoreError | HashMismatchError, note: Failure) -> Exception:
    failure = error.failure.and_also(note)
    if isinstance(error, PermanentStoreError):
        return PermanentStoreError(failure, error.code)
    return HashMismatchError(failure)
