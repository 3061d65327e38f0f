"""The restore: look, decide, act, note the outcome; best effort over all files.

For each file:

1. refuse what cannot be restored whatever is there (unsafe path, no hash);
2. look at the final path and prove what is there: right files are left untouched;
3. set a corrupted file aside, so that its path is empty from here on (W2);
4. fetch into a temporary file, from where an earlier attempt got to (W3), proved while it arrives;
5. prove the whole, fsync, remove what was set aside, rename into place (W1).

Files that failed for a passing reason are tried once more when all others are done (A4). In the end every file that is
reported as right is looked at once more: one that was changed meanwhile is proved again or fails.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from s3_restore.decisions import Action, LocalState, decide
from s3_restore.expected_hash import ExpectedHash, PartLayout
from s3_restore.file_specs import FileSpec, total_bytes
from s3_restore.hashing import StoppedError, get_file_hash
from s3_restore.journal import Journal, JournalHeader, read_journal
from s3_restore.local_files import (
    DISK_FULL,
    BlockedPathError,
    ChangedMeanwhileError,
    Identity,
    LocalFiles,
    OpenFile,
    TemporaryFile,
)
from s3_restore.object_store import (
    ObjectChangedError,
    ObjectStore,
    ObjectStoreError,
    ObjectVersion,
    PermanentStoreError,
    StoreUnreachableError,
    TransientStoreError,
    archived_error,
)
from s3_restore.outcomes import FileOutcome, RestoreSummary, Result, not_attempted
from s3_restore.progress import Progress
from s3_restore.prover import Prover, Verdict
from s3_restore.settings import RestoreSettings, Verify
from s3_restore.transfer import DamagedVersion, Fetch, RetryQuota, Transfer, check_size

_MB = 1024**2
_JOURNAL_FROM_BYTES = 16 * 1024**2  # below this, fetching again costs less than a journal
_MOST_UNREACHED = (
    20  # files in a row that no answer came for: S3 is down, and 10,000 more time-outs would tell nothing new
)
_TAKEN_AWAY = (errno.ENOENT, errno.ESTALE)  # what one gets when another run, or another host on NFS, moves a file
_TRIES_WHEN_CHANGED = 3  # of a file that other processes keep changing under our hands


class DestinationGoneError(Exception):
    """The destination vanished, as when a mount is lost: not about a file, so the run ends and may be tried again."""


class HashMismatchError(Exception):
    """Downloaded bytes are not the expected ones. ``str()`` of it is one line for the operator."""


@dataclass(frozen=True)
class _Right:
    """A file that is proved, and the state it was proved in."""

    path: Path
    identity: Identity


@dataclass
class _Work:
    """One file in work.

    Attributes:
        spec: what should be there.
        begun: when, on the monotonic clock.
        asides: corrupted versions that were set aside.
        undecided: what is at the final path, when nobody can tell whether it is right.
        fetched: bytes received so far.
        reused: bytes kept from an earlier attempt or a corrupted version.
        second_try: whether it failed before in this run.

    """

    spec: FileSpec
    begun: float
    asides: list[Path] = field(default_factory=list)
    undecided: Identity | None = None
    fetched: int = 0
    reused: int = 0
    second_try: bool = False

    def kept(self) -> str:
        """Tell what became of what was there before, for a reason."""
        if self.asides:
            return f"; the corrupted file is kept as {' and '.join(aside.name for aside in self.asides)}"
        if self.undecided:
            return "; the file on disk cannot be verified (ETag of unknown part size) and was not touched"
        return ""


class Restorer:
    """Restores files below one destination. One object is one run.

    Args:
        store: where from.
        destination: folder, must exist.
        settings: how.
        file_hash: path -> MD5 of a whole file in hex.

    """

    def __init__(
        self,
        store: ObjectStore,
        destination: Path,
        settings: RestoreSettings | None = None,
        file_hash: Callable[[Path], str] = get_file_hash,
    ) -> None:
        self._store = store
        self._destination = destination
        self._settings = settings or RestoreSettings()
        self._file_hash = file_hash
        self._stop = threading.Event()
        self._quota = RetryQuota()
        self._stop_reason = ""
        self._fatal: Exception | None = None
        self._specs: Sequence[FileSpec] = ()
        self._outcomes: dict[str, FileOutcome] = {}
        self._in_work: dict[str, _Work] = {}
        self._right: dict[str, _Right] = {}
        self._try_again: dict[FileSpec, FileOutcome] = {}
        self._unreached = 0
        self._begun = time.monotonic()

    def run(self, specs: Sequence[FileSpec]) -> RestoreSummary:
        """Restore all files.

        Returns:
            One outcome for each spec.

        Raises:
            DestinationGoneError: when the destination vanished.
            BaseException: whatever interrupts the calling thread, after the others were told to stop; ``summary`` then
                says how far it got.

        """
        self._specs = specs
        self._begun = time.monotonic()
        settings = self._settings
        self._files = LocalFiles(self._destination, settings.stale_after_s, (spec.relative_path for spec in specs))
        self._progress = Progress(len(specs), total_bytes(specs), settings.progress_interval_s)
        self._transfer = Transfer(self._store, settings, self._stop, self._progress, self._quota)
        self._prover = Prover(self._transfer.in_parallel, self._stop, self._file_hash)
        coordinators = ThreadPool(min(settings.max_concurrency, max(1, len(specs))))
        try:
            with self._progress:
                self._work_through(coordinators, specs)
                if self._try_again and not self._stop.is_set():
                    logging.info("Trying %d file(s) once more that failed for a passing reason", len(self._try_again))
                    self._unreached = 0
                    self._work_through(coordinators, list(self._try_again), second_try=True)
                if not self._stop.is_set():
                    self._look_again(coordinators)
        finally:
            self._stop.set()
            coordinators.close()
            self._transfer.close()
        if self._fatal:
            raise self._fatal
        return self.summary(self._stop_reason)

    def summary(self, why_not_finished: str = "") -> RestoreSummary:
        """Outcomes so far; files without one failed because of ``why_not_finished``."""
        in_work = dict(self._in_work)  # before the outcomes: a file that ends between the two lines has one
        done = dict(self._outcomes)
        outcomes = []
        for spec in self._specs:
            path = spec.relative_path
            if path in done:
                outcomes.append(done[path])
            elif path in in_work:
                work = in_work[path]
                said = f"Not finished ({why_not_finished}); the next run goes on from here{work.kept()}"
                outcomes.append(FileOutcome(path, Result.FAILED, said, bytes_fetched=work.fetched))
            elif spec in self._try_again:
                outcomes.append(self._try_again[spec])
            else:
                outcomes += not_attempted([path], why_not_finished)
        return RestoreSummary(tuple(outcomes), time.monotonic() - self._begun, self._quota.made)

    # --- the run -----------------------------------------------------------------------------------------------

    def _work_through(self, pool: ThreadPool, specs: Sequence[FileSpec], *, second_try: bool = False) -> None:
        for _ in pool.imap_unordered(partial(self._restore_noting, second_try=second_try), specs):
            pass

    def _stop_because(self, reason: str, fatal: Exception | None = None) -> None:
        self._stop_reason = self._stop_reason or reason
        self._fatal = self._fatal or fatal
        self._stop.set()

    def _restore_noting(self, spec: FileSpec, *, second_try: bool) -> None:
        """Restore one file and note its outcome; whatever goes wrong with it stays with it."""
        path = spec.relative_path
        if self._stop.is_set():
            return
        work = _Work(spec, time.monotonic(), second_try=second_try)
        self._in_work[path] = work
        self._progress.begin_file(path)
        outcome: FileOutcome | None
        try:
            outcome = self._restore(work)
        except StoppedError:
            return  # stays among those in work
        except Exception as error:  # noqa: BLE001 (best effort: the other files go on)
            outcome = self._failure(work, error)
        if outcome is None:
            return
        if outcome.ok:
            self._unreached = 0
        self._outcomes[path] = outcome
        del self._in_work[path]
        self._progress.end_file()
        if not outcome.ok:
            logging.error("%s: FAILURE - %s", path, outcome.reason)

    def _failure(self, work: _Work, error: Exception) -> FileOutcome | None:
        """Turn an error into an outcome; None when the file is to be tried again or the run ends."""
        spec = work.spec
        if isinstance(error, (OSError, ChangedMeanwhileError)):
            if self._files.is_gone():
                self._stop_because("the destination vanished", self._gone(str(getattr(error, "strerror", error))))
                return None
            if getattr(error, "errno", None) in DISK_FULL:
                self._stop_because("disk full")
        self._unreached = self._unreached + 1 if isinstance(error, StoreUnreachableError) else 0
        if self._unreached >= _MOST_UNREACHED:
            self._stop_because(f"{self._unreached} files in a row failed: {error}")
        outcome = FileOutcome(
            spec.relative_path,
            Result.FAILED,
            _reason(error) + work.kept(),
            bytes_fetched=work.fetched,
            bytes_reused=work.reused,
            seconds=time.monotonic() - work.begun,
        )
        passing = isinstance(error, (TransientStoreError, HashMismatchError, ChangedMeanwhileError))
        # A part size that nobody knows is the likelier reason then, and stays unknown.
        passing = passing and not (isinstance(error, HashMismatchError) and work.undecided)
        if passing and not work.second_try and not self._stop.is_set():
            logging.warning("%s: %s; it is tried once more after the other files", spec.relative_path, error)
            self._try_again[spec] = outcome
            self._in_work.pop(spec.relative_path, None)
            return None
        return outcome

    def _gone(self, why: str) -> DestinationGoneError:
        return DestinationGoneError(f"Destination {self._destination} vanished ({why})")

    def _look_again(self, pool: ThreadPool) -> None:
        """Make sure that what is reported as right is still there as it was proved."""
        if self._right and self._files.is_gone():
            self._stop_because("the destination vanished", self._gone("it is another file system now, or none"))
            return

        def look(item: tuple[FileSpec, _Right]) -> None:
            spec, right = item
            try:
                if self._files.look(right.path) == right.identity or self._look(spec)[0] is LocalState.RIGHT:
                    return
                changed = "it is missing or different now"
            except StoppedError:
                return
            except (BlockedPathError, OSError, ObjectStoreError) as error:
                changed = _reason(error)
            reason = f"Changed on disk after it was verified ({changed}): another program or run wrote to it"
            self._outcomes[spec.relative_path] = FileOutcome(spec.relative_path, Result.FAILED, reason)
            logging.error("%s: FAILURE - %s", spec.relative_path, reason)

        items = [(spec, self._right[spec.relative_path]) for spec in self._specs if spec.relative_path in self._right]
        for _ in pool.imap_unordered(look, items):
            pass

    # --- one file ----------------------------------------------------------------------------------------------

    def _restore(self, work: _Work) -> FileOutcome:
        spec = work.spec
        if spec.problem or spec.expected is None:
            return FileOutcome(spec.relative_path, Result.FAILED, spec.problem or "")
        for _ in range(_TRIES_WHEN_CHANGED):
            state, identity, path = self._look(spec)
            asides = self._files.find_asides(path) if state is LocalState.MISSING else []
            action = decide(restorable=True, local=state, set_aside_before=bool(asides))
            if action is Action.SKIP and identity:
                return self._skipped(work, path, identity)
            work.undecided = identity if action is Action.DOWNLOAD_BESIDE else None
            try:
                if action is Action.HEAL:
                    work.asides = [self._files.set_aside(path, identity)] if identity else asides
                    logging.warning(
                        "%s: corrupted, set aside as %s, self-healing", spec.relative_path, work.asides[-1].name
                    )
                return self._bring(work, path, spec.expected)
            except ChangedMeanwhileError as error:
                logging.warning("%s was changed by another process (%s): looking again", spec.relative_path, error)
                work.asides = []
        raise ChangedMeanwhileError("Another program or run keeps changing this file")

    def _skipped(self, work: _Work, path: Path, identity: Identity) -> FileOutcome:
        spec = work.spec
        self._files.remove_leftovers(path)
        for aside in self._files.find_asides(path):
            logging.info("%s is right; %s beside it is of an earlier run and may be deleted", path.name, aside.name)
        self._right[spec.relative_path] = _Right(path, identity)
        logging.info("%s: hash correct, skipped (already exists)", spec.relative_path)
        seconds = time.monotonic() - work.begun
        return FileOutcome(spec.relative_path, Result.SKIPPED, size=identity.size, seconds=seconds)

    def _look(self, spec: FileSpec) -> tuple[LocalState, Identity | None, Path]:
        """Find and prove what is at the final path.

        Raises:
            BlockedPathError: when something is in the way.

        """
        path = self._files.path_of(spec.relative_path)
        for _ in range(_TRIES_WHEN_CHANGED):
            identity = self._files.look(path)
            if identity is None:
                return LocalState.MISSING, None, path
            if spec.size is not None and identity.size != spec.size:
                logging.warning(
                    "%s: wrong size on disk: expected %d bytes, got %d", spec.relative_path, spec.size, identity.size
                )
                return LocalState.WRONG, identity, path
            try:
                with self._files.open_for_reading(path) as file:
                    verdict = self._prove(file, identity.size, spec)
                    if file.identity() == identity and file.is_still_at(path):
                        break
            except OSError as error:
                if error.errno not in _TAKEN_AWAY:
                    raise
        else:
            raise ChangedMeanwhileError("Another program or run keeps changing this file")
        if verdict is Verdict.PROVED:
            self._progress.add(identity.size)
            return LocalState.RIGHT, identity, path
        if verdict is Verdict.UNDECIDED:
            return LocalState.UNPROVABLE, identity, path
        logging.warning("%s: hash mismatch on disk, expected %s", spec.relative_path, spec.expected)
        return LocalState.WRONG, identity, path

    def _prove(self, file: OpenFile, size: int, spec: FileSpec, version: ObjectVersion | None = None) -> Verdict:
        """Decide whether a file has the expected bytes.

        Raises:
            ObjectStoreError: when it stays undecided because S3 does not answer.

        """
        if spec.expected is None:
            return Verdict.UNDECIDED
        unanswered: list[ObjectStoreError] = []

        def hint() -> int | None:
            try:
                return self._transfer.ask(partial(self._store.part_size, spec.bucket, spec.key, version, size))
            except ObjectStoreError as error:
                unanswered.append(error)  # often the usual part sizes decide it all the same
                return None

        verdict = self._prover.prove(file, size, spec.expected, hint)
        if verdict is Verdict.UNDECIDED and unanswered:
            raise unanswered[0]
        return verdict

    # --- fetching ----------------------------------------------------------------------------------------------

    def _bring(self, work: _Work, path: Path, expected: ExpectedHash) -> FileOutcome:
        """Fetch, prove and put in place."""
        spec = work.spec
        logging.info("%s: downloading s3://%s/%s", spec.relative_path, spec.bucket, spec.key)
        self._files.make_folders(path)
        for last_try in (False, True):
            try:
                identity = self._fetch_and_prove(work, path, expected, from_scratch=last_try)
                break
            except ObjectChangedError as error:
                if last_try:
                    raise
                logging.warning("%s: %s; starting over", spec.relative_path, error)
            except HashMismatchError as error:
                if last_try or not work.reused:
                    raise
                logging.warning("%s: %s with reused bytes; fetching everything", spec.relative_path, error)
        self._right[spec.relative_path] = _Right(path, identity)
        seconds = time.monotonic() - work.begun
        logging.info(
            "%s: hash verified (%s), %.1f MB in %.1fs (%.1f MB/s), %d bytes fetched, %d reused",
            spec.relative_path,
            expected,
            identity.size / _MB,
            seconds,
            work.fetched / _MB / max(seconds, 1e-6),
            work.fetched,
            work.reused,
        )
        return FileOutcome(
            spec.relative_path,
            Result.HEALED if work.asides else Result.DOWNLOADED,
            size=identity.size,
            bytes_fetched=work.fetched,
            bytes_reused=work.reused,
            seconds=seconds,
        )

    def _fetch_and_prove(self, work: _Work, path: Path, expected: ExpectedHash, *, from_scratch: bool) -> Identity:
        spec = work.spec
        version: ObjectVersion | None = None
        damaged: DamagedVersion | None = None
        journalled = spec.size is None or spec.size >= _JOURNAL_FROM_BYTES
        if journalled or expected.number_of_parts:
            version = self._transfer.ask(partial(self._store.head, spec.bucket, spec.key))
            _check_not_archived(version)
            check_size(spec, version, spec.size if spec.size is not None else version.size)
        size = spec.size if spec.size is not None else version.size if version else 0
        layout = self._layout(spec, expected, size, version)
        temporary, fetch = self._begin(path, spec, layout, version, from_scratch=from_scratch, journalled=journalled)
        work.reused = 0
        fetched_before = work.fetched
        try:
            if work.asides and not from_scratch and version:
                damaged = self._damaged_version(work.asides[-1], spec, version)
                fetch.damaged = damaged
            try:
                digests = self._transfer.fetch(fetch)
            finally:
                work.fetched = fetched_before + fetch.bytes_fetched
                work.reused = fetch.bytes_reused
            self._check_proved(temporary, spec, expected, digests, fetch.version)
            if work.undecided:  # what gives the hash is another file, so the one on disk is corrupted
                work.asides = [self._files.set_aside(path, work.undecided)]
            return self._files.put_in_place(temporary, work.asides, temporary.journal_path if fetch.journal else None)
        except BaseException as error:
            self._end_badly(temporary, fetch, error)
            raise
        finally:
            if fetch.journal:
                fetch.journal.close()
            if damaged:
                damaged.file.close()

    def _layout(self, spec: FileSpec, expected: ExpectedHash, size: int, version: ObjectVersion | None) -> PartLayout:
        """Cut the file as its hash wants it: by parts where it can be, else as a whole."""
        hint = None
        if expected.number_of_parts and not expected.part_size:
            hint = self._transfer.ask(partial(self._store.part_size, spec.bucket, spec.key, version, size))
        fitting = expected.part_sizes_that_fit(size, hint)
        if fitting:
            return PartLayout(size, fitting[0])
        if not expected.md5 and expected.number_of_parts:
            raise PermanentStoreError(
                f"Cannot be verified: no known part size cuts {size} bytes into the {expected.number_of_parts} parts "
                f"of the ETag in file_info"
            )
        return PartLayout(size, max(1, size))

    def _begin(  # noqa: PLR0913
        self,
        path: Path,
        spec: FileSpec,
        layout: PartLayout,
        version: ObjectVersion | None,
        *,
        from_scratch: bool,
        journalled: bool,
    ) -> tuple[TemporaryFile, Fetch]:
        """Take over what a dead attempt left, or begin a new temporary file."""
        temporary = self._files.take_over_temporary(path)
        checkpoints = None
        header = None
        if version and journalled:
            header = JournalHeader(
                spec.bucket, spec.key, version.etag, version.version_id, layout.size, layout.part_size
            )
        if temporary:
            checkpoints = read_journal(temporary.journal_path, header) if header and not from_scratch else None
            if checkpoints is None:
                temporary.remove()
                temporary = None
            else:
                logging.info("%s: resuming what an earlier attempt left", spec.relative_path)
        if temporary is None:
            temporary = self._files.create_temporary(path)
        fetch = Fetch(spec, layout, temporary, version, checkpoints=checkpoints or {})
        try:
            if header:
                fetch.journal = Journal(temporary.journal_path, None if checkpoints is not None else header)
        except BaseException:
            if checkpoints is None:  # nothing in it yet, and without a journal it cannot be resumed
                temporary.remove()
            temporary.close()
            raise
        return temporary, fetch

    def _damaged_version(self, aside: Path, spec: FileSpec, version: ObjectVersion) -> DamagedVersion | None:
        """Find what of a corrupted file is still good by S3's part checksums; None when S3 does not tell."""
        try:
            parts = self._transfer.ask(partial(self._store.part_checksums, spec.bucket, spec.key, version))
        except ObjectStoreError as error:
            logging.info("%s: S3 does not tell part checksums (%s)", spec.relative_path, error)
            return None
        if len(parts) < 2:  # noqa: PLR2004 (of one part nothing can be kept)
            return None
        try:
            file = self._files.open_for_reading(aside)
        except OSError:
            return None
        try:
            good = self._prover.good_ranges(file, parts)
        except BaseException:
            file.close()
            raise
        kept = sum(end - start for start, end in good)
        logging.info("%s: %d of %d bytes are good by S3's part checksums", spec.relative_path, kept, version.size)
        return DamagedVersion(file, good)

    def _check_proved(
        self,
        temporary: TemporaryFile,
        spec: FileSpec,
        expected: ExpectedHash,
        digests: Sequence[bytes],
        version: ObjectVersion | None,
    ) -> None:
        """Make sure that the temporary file holds the expected bytes.

        Raises:
            HashMismatchError: if it does not.

        """
        proved = expected.is_proved_by(digests)
        if proved and self._settings.verify is Verify.INFLIGHT:
            return
        size = temporary.identity().size
        if proved:
            temporary.sync()
            temporary.drop_cache()
            proved = self._prove(temporary, size, spec, version) is Verdict.PROVED
            if not proved:
                raise HashMismatchError("Storage gave back other bytes than were written (hash mismatch on read-back)")
        if proved:
            return
        # The parts did not prove it; the other form of the hash may (H2), or another part size (H3).
        can_differ = len(digests) > 1 and (expected.md5 or not expected.part_size)
        if can_differ and self._prove(temporary, size, spec, version) is Verdict.PROVED:
            return
        got = digests[0].hex() if len(digests) == 1 else f"other parts ({len(digests)})"
        raise HashMismatchError(
            f"Hash mismatch after download: expected {expected}, got {got}; the download was deleted"
        )

    def _end_badly(self, temporary: TemporaryFile, fetch: Fetch, error: BaseException) -> None:
        """Keep a temporary file that the next attempt can go on with; remove any other."""
        # Storage that failed (EIO) may have lost bytes that the kernel still shows: only fetching again is sure then.
        lost = isinstance(error, OSError) and error.errno == errno.EIO
        wrong = lost or isinstance(error, (HashMismatchError, ObjectChangedError))
        can_resume = fetch.journal is not None and not wrong
        # Checkpoints count although nothing was kept yet: hashing them again takes minutes, and may be interrupted.
        has_bytes = fetch.bytes_fetched + fetch.bytes_reused > 0 or bool(fetch.checkpoints)
        try:
            if can_resume and has_bytes:
                self._files.give_up(temporary)
            elif temporary.is_still_mine():
                temporary.remove()
            else:
                temporary.close()
        except OSError as also:
            logging.warning("%s: temporary file %s is left (%s)", fetch.spec.relative_path, temporary.path.name, also)
            temporary.close()


def _check_not_archived(version: ObjectVersion) -> None:
    if version.archived:
        raise archived_error(version.storage_class)


def _reason(error: BaseException) -> str:
    """Say an error in one line for an operator."""
    if isinstance(error, OSError) and error.errno:
        code = _errno_name(error.errno)
        kind = "Disk full" if error.errno in DISK_FULL else "Local file system error"
        return f"{kind}: {error.strerror or os.strerror(error.errno)} ({code})"
    if isinstance(error, (ObjectStoreError, BlockedPathError, HashMismatchError, ChangedMeanwhileError)):
        return str(error)
    if isinstance(error, MemoryError):
        return "Out of memory on the worker (MemoryError)"
    return f"Unexpected {type(error).__name__}: {error}"


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number))
