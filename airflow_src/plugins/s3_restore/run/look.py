"""What is at the final path of a file, and whether it is right."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from s3_restore.disk.destination import Destination
from s3_restore.disk.hash_service import HashService
from s3_restore.disk.heartbeat import Heartbeat
from s3_restore.disk.open_file import Identity, OpenFile
from s3_restore.disk.quarantine import Quarantine
from s3_restore.disk.syscalls import TAKEN_AWAY
from s3_restore.disk.temporary_files import TemporaryFiles
from s3_restore.model import reasons
from s3_restore.model.decisions import LocalState
from s3_restore.model.exceptions import ChangedMeanwhileError, ObjectStoreError, StoppedError
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, ObjectVersion
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.object_layout import ObjectLayouts
from s3_restore.run.old_news import OldNews
from s3_restore.run.progress import Progress
from s3_restore.run.transfer import Transfer
from s3_restore.run.verifier import Verdict, Verifier
from s3_restore.run.versions import EtagHints

TRIES_WHEN_CHANGED = 3  # of a file that other processes keep changing under our hands


@dataclass(frozen=True)
class Parts:
    """What the files of one run share."""

    store: ObjectStore
    settings: RestoreSettings
    destination: Destination
    temporaries: TemporaryFiles
    heartbeat: Heartbeat
    quarantine: Quarantine
    transfer: Transfer
    hashes: HashService
    layouts: ObjectLayouts
    verifier: Verifier
    etag_hints: EtagHints
    old_news: OldNews
    progress: Progress
    stop: threading.Event


@dataclass(frozen=True)
class Look:
    """What is at a final path.

    Attributes:
        state: what its bytes say.
        path: of it.
        identity: its state on the disk; None for nothing.
        seen_at: when it was seen in it, before its bytes were read, on the worker's clock.

    """

    state: LocalState
    path: Path
    identity: Identity | None = None
    seen_at: float = 0.0


def look(parts: Parts, spec: FileSpec) -> Look:
    """Find and verify what is at the final path of a file.

    Raises:
        BlockedPathError: when something is in the way.
        ChangedMeanwhileError: when others keep changing it.
        NotOnStorageError: when it is right, but could not be brought to the storage.
        ObjectStoreError: when only S3 could tell, and does not.
        OSError: when it cannot be read.

    """
    path = parts.destination.path_of(spec.relative_path)
    changes = 0
    before: Verdict | None = None
    old_news, has_waited = parts.old_news.waits(), False
    while changes < TRIES_WHEN_CHANGED:
        seen_at = time.time()
        identity = parts.destination.look(path)
        if identity is None:
            return Look(LocalState.MISSING, path)
        if spec.size not in (None, identity.size) and _is_wrong_by_size(parts, spec, identity):
            return Look(LocalState.WRONG, path, identity, seen_at)
        try:
            with parts.destination.open_for_reading(path) as file:
                opened = file.identity()
                parts.destination.sync_bytes(file)
                verdict = _verify_counting(parts, file, opened.size, spec)
                if verdict is Verdict.PROVED:
                    parts.destination.sync_name(path, file)
                after = parts.destination.look(path)
                settled = after == identity == opened == file.identity()
        except OSError as error:
            if error.errno not in TAKEN_AWAY:
                raise
            # Seen, and then not there: removed just now, or a network file system tells what it saw a while ago.
            wait_s = next(old_news, None)
            if wait_s is None:
                raise
            wait(parts, wait_s)
            has_waited = True
            continue
        if has_waited:
            parts.old_news.passed()
        # Where inode numbers or times are not stable, they say nothing: bytes that were right twice are right (W10),
        # and those that were wrong twice are wrong if nobody wrote to the file.
        same_times = after is not None and after.is_same_but_for_inode(identity)
        if settled or (verdict is before and (verdict is Verdict.PROVED or same_times)):
            return Look(_STATES[verdict], path, opened, seen_at)
        before = verdict
        changes += 1
    raise ChangedMeanwhileError(reasons.KEEPS_CHANGING.text)


_STATES = {
    Verdict.PROVED: LocalState.RIGHT,
    Verdict.REFUTED: LocalState.WRONG,
    Verdict.UNDECIDED: LocalState.UNPROVABLE,
}


def _is_wrong_by_size(parts: Parts, spec: FileSpec, identity: Identity) -> bool:
    """Whether a file of another size than ``file_info`` says is wrong without a look at its bytes.

    It is, where S3's object has the size that ``file_info`` says. Else that size may be what is wrong, and the hash
    decides.
    """
    logging.warning("%s: wrong size on disk: expected %s bytes, got %d", spec.relative_path, spec.size, identity.size)
    try:
        # Without the size of ``file_info``: a store whose answer tells none would be taken to say the same.
        return parts.transfer.ask(partial(parts.store.head, spec.bucket, spec.key)).size == spec.size
    except ObjectStoreError:
        return False


def _verify_counting(parts: Parts, file: OpenFile, size: int, spec: FileSpec) -> Verdict:
    """Verify a file, and let the progress move meanwhile."""
    counted = 0

    def count(more: int) -> None:
        nonlocal counted
        more = min(more, size - counted)  # it may be hashed in several ways
        counted += more
        parts.progress.add(spec, more)

    verdict = Verdict.UNDECIDED
    try:
        verdict = verify(parts, file, size, spec, on_bytes=count)
    finally:
        parts.progress.add(spec, size - counted if verdict is Verdict.PROVED else -counted)
    if verdict is Verdict.REFUTED:
        logging.warning("%s: hash mismatch on disk, expected %s", spec.relative_path, spec.expected)
    return verdict


def verify(  # noqa: PLR0913 (two of them are options)
    parts: Parts,
    file: OpenFile,
    size: int,
    spec: FileSpec,
    *,
    version: ObjectVersion | None = None,
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> Verdict:
    """Decide whether a file has the expected bytes."""
    if spec.expected is None:
        return Verdict.UNDECIDED
    return parts.verifier.verify(
        file, size, spec.expected, partial(parts.layouts.part_size_hint, spec, version, size), on_bytes
    )


def remove_healed(parts: Parts, path: Path, proved: Identity) -> None:
    """Delete what was set aside of a file that is right.

    Looked for first, and then at the file: where another run has set it aside since it was proved here, its path is
    empty, and what is set aside may be the only copy (W2).

    Raises:
        BlockedPathError: when something else is at its path by now.
        OSError: when it cannot be looked at.

    """
    found = parts.quarantine.find(path)
    now = parts.destination.look(path) if found else None
    # Removing another name of it changes its change time, and some file systems have no stable inode numbers.
    if now and (now.is_moved(proved) or now.is_same_but_for_inode(proved)):
        parts.quarantine.remove(found)


def wait(parts: Parts, seconds: float) -> None:
    """Wait, unless the run is asked to end meanwhile.

    Raises:
        StoppedError: if it is.

    """
    if parts.stop.wait(seconds):
        raise StoppedError
