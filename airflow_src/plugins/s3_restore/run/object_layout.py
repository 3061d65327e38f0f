"""Which version of an object is fetched, and how it is cut so that its hash can prove it."""

from __future__ import annotations

import logging
from functools import partial

from s3_restore.model import reasons
from s3_restore.model.exceptions import PermanentStoreError
from s3_restore.model.expected_hash import ExpectedHash, PartLayout
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, ObjectVersion, archived_error
from s3_restore.run.attempt import is_journalled
from s3_restore.run.transfer import Transfer
from s3_restore.run.versions import NO_LAYOUT, check_size


class ObjectLayouts:
    """Asks the store for what a download has to know beforehand.

    Args:
        store: where from.
        transfer: asks patiently, and within the budget of connections.

    """

    def __init__(self, store: ObjectStore, transfer: Transfer) -> None:
        self._store = store
        self._transfer = transfer

    def newest(self, spec: FileSpec) -> ObjectVersion | None:
        """Describe the newest version of an object; None for a small file, whose one answer tells as much.

        Raises:
            ObjectStoreError: when it cannot.

        """
        if not (is_journalled(spec) or (spec.expected and spec.expected.number_of_parts)):
            return None
        return self._transfer.ask(partial(self._store.head, spec.bucket, spec.key, spec.size))

    def choose(self, spec: FileSpec, expected: ExpectedHash, version: ObjectVersion | None) -> PartLayout:
        """Find out how a version is to be fetched.

        Args:
            spec: of the file.
            expected: its hash.
            version: of the object; None where the first bytes will tell it.

        Raises:
            ObjectStoreError: when it cannot be fetched, or never be verified.

        """
        if version:
            if version.archived:
                raise archived_error(version.storage_class)
            check_size(spec, version, spec.size if spec.size is not None else version.size)
        size = spec.size if spec.size is not None else version.size if version else 0
        return self._layout(spec, expected, size, version)

    def part_size_hint(self, spec: FileSpec, version: ObjectVersion | None, size: int) -> int | None:
        """Ask S3 for the part size that the database does not know; None where the object is another, or nobody tells.

        Often the usual part sizes decide without it, so that it is no reason to wait long (H3).
        """
        etag = spec.expected.etag if spec.expected else None
        if not etag:
            return None
        asking = partial(self._store.part_size, spec.bucket, spec.key, version, size, etag)
        try:
            return self._transfer.ask_in_passing(asking, None)
        except PermanentStoreError as error:  # what only S3 can decide is asked of it again, and fails with this
            logging.info("%s; the usual part sizes are tried", error)
            return None

    def _layout(self, spec: FileSpec, expected: ExpectedHash, size: int, version: ObjectVersion | None) -> PartLayout:
        """Cut the file as its hash wants it: by parts where it can be, else as a whole."""
        hint = None
        if expected.number_of_parts and not expected.part_size:
            hint = self.part_size_hint(spec, version, size)
        fitting = expected.part_sizes_that_fit(size, hint)
        if fitting:
            return PartLayout(size, fitting[0])
        if not expected.md5 and expected.number_of_parts:
            raise PermanentStoreError(reasons.UNKNOWN_PART_SIZE.of(size, expected.number_of_parts), NO_LAYOUT)
        return PartLayout(size, max(1, size))
