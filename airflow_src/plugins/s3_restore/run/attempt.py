"""How an attempt to fetch an object begins and ends: from what a dead one left, and with what the next can go on."""

from __future__ import annotations

import logging
from pathlib import Path

from s3_restore.disk.journal import Journal, JournalHeader, read_journal
from s3_restore.disk.open_file import TemporaryFile
from s3_restore.disk.temporary_files import TemporaryFiles
from s3_restore.model.exceptions import ChangedMeanwhileError, HashMismatchError, ObjectChangedError
from s3_restore.model.expected_hash import PartLayout
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectVersion
from s3_restore.run.failures import proves_nothing
from s3_restore.run.fetch import Fetch

JOURNAL_FROM_BYTES = 16 * 1024**2  # below this, fetching again costs less than a journal


def is_journalled(spec: FileSpec) -> bool:
    """Whether a file is worth a journal."""
    return spec.size is None or spec.size >= JOURNAL_FROM_BYTES


def begin(  # noqa: PLR0913
    temporaries: TemporaryFiles,
    path: Path,
    spec: FileSpec,
    layout: PartLayout,
    version: ObjectVersion | None,
    *,
    journalled: bool,
    from_scratch: bool = False,
) -> tuple[TemporaryFile, Fetch]:
    """Take over what a dead attempt left, or begin a new temporary file.

    Args:
        temporaries: of the destination.
        path: final path.
        spec: what to fetch.
        layout: how it is cut into streams.
        version: of the object; None where it is not known yet.
        journalled: whether it is worth a journal.
        from_scratch: whether what an earlier attempt left is not to be used.

    """
    temporary = temporaries.take_over(path)
    checkpoints = None
    header = None
    if version and journalled:
        header = JournalHeader(spec.bucket, spec.key, version.etag, version.version_id, layout.size, layout.part_size)
    if temporary:
        checkpoints = read_journal(temporary.journal_path, header) if header and not from_scratch else None
        if checkpoints is None:
            temporary.remove()
            temporary = None
        else:
            logging.info("%s: resuming what an earlier attempt left", spec.relative_path)
    if temporary is None:
        temporary = temporaries.create(path)
    fetch = Fetch(spec, layout, temporary, version, checkpoints=checkpoints or {})
    try:
        if checkpoints is not None:
            temporary.cut_to(layout.size)
        if header:
            fetch.journal = Journal(temporary.journal_path, None if checkpoints is not None else header)
    except BaseException as error:
        if checkpoints is None:  # nothing in it yet, and without a journal it cannot be resumed
            temporary.remove()
        temporary.close()
        if isinstance(error, FileExistsError):  # no other process makes this name: the kernel asked twice after ESTALE
            raise ChangedMeanwhileError(str(temporary.journal_path)) from None
        raise
    return temporary, fetch


def end_badly(temporaries: TemporaryFiles, temporary: TemporaryFile, fetch: Fetch, error: BaseException) -> None:
    """Keep a temporary file that the next attempt can go on with; remove any other."""
    wrong = proves_nothing(error) or isinstance(error, (HashMismatchError, ObjectChangedError))
    # Checkpoints count although nothing was kept yet: hashing them again takes minutes, and may be interrupted.
    has_bytes = fetch.bytes_fetched + fetch.bytes_reused > 0 or bool(fetch.checkpoints)
    try:
        if fetch.journal and has_bytes and not wrong:
            temporaries.give_up(temporary)
        else:
            temporary.remove()
    except OSError as also:
        logging.warning("%s: temporary file %s is left (%s)", fetch.spec.relative_path, temporary.path.name, also)
