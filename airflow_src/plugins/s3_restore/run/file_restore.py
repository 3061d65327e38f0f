"""The restore of one file: look, decide, act.

1. refuse what cannot be restored whatever is there (unsafe path, no hash);
2. look at the final path and verify what is there: right files are left untouched, and are brought to the storage if
   somebody else has just written them;
3. set a corrupted file aside, so that its path is empty from here on (W2);
4. fetch into a temporary file, from where an earlier attempt got to (W3), verified while it arrives;
5. bring the bytes to the storage, then their name (W1, W8), and only then delete what was set aside.

Whatever another program or run does to the file meanwhile leads to another look, and never to an overwritten file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from s3_restore.disk.open_file import Identity, TemporaryFile
from s3_restore.disk.quarantine import Quarantined
from s3_restore.disk.swap import put_in_place
from s3_restore.disk.syscalls import TAKEN_AWAY
from s3_restore.disk.temporary_files import remove_quietly
from s3_restore.model import reasons, store_reasons
from s3_restore.model.decisions import Action, LocalState, decide
from s3_restore.model.exceptions import ChangedMeanwhileError, HashMismatchError, ObjectChangedError
from s3_restore.model.expected_hash import ExpectedHash
from s3_restore.model.object_store import ObjectVersion, PartsTold
from s3_restore.model.outcomes import FileOutcome, Result
from s3_restore.model.settings import Verify
from s3_restore.run import attempt
from s3_restore.run.fetch import DamagedVersion, Fetch
from s3_restore.run.ledger import RightFile, Work
from s3_restore.run.look import TRIES_WHEN_CHANGED, Look, Parts, look, remove_healed, verify, wait
from s3_restore.run.progress import Phase
from s3_restore.run.verifier import Verdict
from s3_restore.run.versions import AnyVersion

_MB = 1024**2
_WAIT_WHEN_CHANGED_S = 0.05


class FileRestore:
    """One file of a run.

    Args:
        parts: what the files of the run share.
        work: where it notes how far it is.
        take_turn: waits until it may be fetched, if it has to be.

    """

    def __init__(self, parts: Parts, work: Work, take_turn: Callable[[], None]) -> None:
        self._parts = parts
        self._take_turn = take_turn
        self._has_turn = False
        self._work = work
        self._spec = work.spec

    def restore(self) -> tuple[FileOutcome, RightFile | None]:
        """Make the file right.

        Returns:
            What came of it, and the state in which it was proved, if it was.

        Raises:
            Exception: whatever kept it from being right.

        """
        work = self._work
        changed: Exception | None = None
        for _ in range(TRIES_WHEN_CHANGED):
            spec = self._spec  # the part size of its hash may be known by now
            if spec.problem or spec.expected is None:
                return work.failed(spec.problem or reasons.NO_EXPECTED_HASH.of()), None
            self._parts.progress.enter(spec, Phase.CHECKING)
            seen = look(self._parts, spec)
            # What an earlier run set aside and could not heal: then this download is the second half of that healing.
            quarantined = self._parts.quarantine.find(seen.path) if seen.state is LocalState.MISSING else []
            action = decide(seen.state)
            if action is Action.SKIP and seen.identity:
                return self._skipped(RightFile(spec, seen.path, seen.identity, seen.seen_at))
            work.undecided = seen.identity if action is Action.DOWNLOAD_BESIDE else None
            work.quarantined = quarantined
            try:
                if not self._has_turn:
                    self._take_turn()
                    self._has_turn = True
                return self._act(action, seen, spec.expected)
            except (ChangedMeanwhileError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in TAKEN_AWAY:
                    raise
                if self._parts.destination.is_gone():
                    raise
                logging.warning("%s was changed by another process (%s): looking again", spec.relative_path, error)
                changed = error
            wait(self._parts, _WAIT_WHEN_CHANGED_S)
        raise ChangedMeanwhileError(reasons.KEEPS_CHANGING.text) from changed

    def _act(self, action: Action, seen: Look, expected: ExpectedHash) -> tuple[FileOutcome, RightFile]:
        """Set a corrupted file aside, and bring the right one."""
        if action is Action.HEAL and seen.identity:
            self._set_aside(seen.path, seen.identity)
        if self._work.quarantined:
            name = self._work.quarantined[-1].path.name
            logging.warning("%s: corrupted, set aside as %s, self-healing", self._spec.relative_path, name)
        return self._bring(seen, expected)

    def _skipped(self, right: RightFile) -> tuple[FileOutcome, RightFile]:
        name, size = right.spec.relative_path, right.identity.size
        self._parts.temporaries.remove_leftovers(right.path)
        remove_healed(self._parts, right.path, right.identity)
        logging.info("%s: hash correct, skipped (already exists)", name)
        return FileOutcome(name, Result.SKIPPED, size=size, seconds=self._work.seconds), right

    def _set_aside(self, path: Path, seen: Identity) -> None:
        """Move a corrupted version aside, and note that it is."""

        def is_wrong(moved: Path) -> bool:
            with self._parts.destination.open_for_reading(moved) as file:
                return verify(self._parts, file, file.identity().size, self._spec) is Verdict.REFUTED

        version = self._parts.quarantine.set_aside(path, seen, is_wrong)
        self._work.quarantined = [*self._work.quarantined, version]
        self._parts.quarantine.settle(version)

    def _remove_quarantined(self, quarantined: Sequence[Quarantined]) -> None:
        if quarantined:
            self._parts.quarantine.remove(quarantined)

    # --- fetching ----------------------------------------------------------------------------------------------

    def _bring(self, seen: Look, expected: ExpectedHash) -> tuple[FileOutcome, RightFile]:
        """Fetch, verify and put in place."""
        spec, work, store, transfer = self._spec, self._work, self._parts.store, self._parts.transfer
        logging.info("%s: downloading s3://%s/%s", spec.relative_path, spec.bucket, spec.key)
        self._parts.destination.make_folders(seen.path)
        in_passing = partial(transfer.ask_in_passing, otherwise=())
        versions = AnyVersion(store, spec, self._parts.etag_hints, transfer.ask, in_passing)
        right, older = versions.fetch(self._newest, partial(self._fetch_version, seen.path, expected))
        logging.info(
            "%s: hash verified (%s), %.1f MB in %.1fs (%.1f MB/s), %d bytes fetched, %d reused",
            spec.relative_path,
            expected,
            right.identity.size / _MB,
            work.seconds,
            work.fetched / _MB / max(work.seconds, 1e-6),
            work.fetched,
            work.reused,
        )
        outcome = FileOutcome(
            spec.relative_path,
            Result.HEALED if work.quarantined else Result.DOWNLOADED,
            size=right.identity.size,
            bytes_fetched=work.fetched,
            bytes_reused=work.reused,
            seconds=work.seconds,
            older_version_of=older.last_modified if older else None,
        )
        return outcome, right

    def _newest(self) -> ObjectVersion | None:
        return self._parts.layouts.newest(self._spec)

    def _fetch_version(self, path: Path, expected: ExpectedHash, version: ObjectVersion | None) -> RightFile:
        """Fetch a version, None for the newest, and start over once where that may help."""
        try:
            return self._fetch(path, expected, version, from_scratch=False)
        except ObjectChangedError as error:
            logging.warning("%s: %s; starting over", self._spec.relative_path, error)
        except HashMismatchError as error:
            if not self._work.reused:
                raise
            logging.warning("%s: %s with reused bytes; fetching everything", self._spec.relative_path, error)
        again = version if version and version.is_older else self._newest()
        return self._fetch(path, expected, again, from_scratch=True)

    def _fetch(
        self, path: Path, expected: ExpectedHash, version: ObjectVersion | None, *, from_scratch: bool
    ) -> RightFile:
        """Fetch into a temporary file, verify it, and put it in place."""
        spec, work, parts = self._spec, self._work, self._parts
        damaged: DamagedVersion | None = None
        layout = parts.layouts.choose(spec, expected, version)
        temporary, fetch = attempt.begin(
            parts.temporaries,
            path,
            spec,
            layout,
            version,
            journalled=attempt.is_journalled(spec),
            from_scratch=from_scratch,
        )
        work.reused = 0
        try:
            if work.quarantined and not from_scratch and version:
                damaged = self._damaged_version(work.quarantined[-1].path, version)
                fetch.damaged = damaged
            fetched_before = work.fetched
            parts.progress.enter(spec, Phase.DOWNLOADING)
            try:
                digests = parts.transfer.fetch(fetch)
            finally:
                work.fetched = fetched_before + fetch.bytes_fetched
                work.reused = fetch.bytes_reused
            parts.progress.enter(spec, Phase.VERIFYING)
            self._check_proved(temporary, layout.size, expected, digests, fetch.version)
            if work.undecided:
                if expected.is_proved_by(digests):
                    self._check_not_right(expected, layout.part_size)
                self._set_aside(path, work.undecided)  # what gives the hash is another file
                work.undecided = None
            return self._put_in_place(temporary, fetch)
        except BaseException as error:
            attempt.end_badly(parts.temporaries, temporary, fetch, error)
            raise
        finally:
            if fetch.journal:
                fetch.journal.close()
            if damaged:
                damaged.file.close()

    def _check_not_right(self, expected: ExpectedHash, part_size: int) -> None:
        """Verify what is on disk once more, now that the download has shown which part size gives the hash.

        Raises:
            ChangedMeanwhileError: when it is right: it is looked at again, and skipped.

        """
        known = ExpectedHash(expected.md5, expected.etag, part_size)
        self._spec = replace(self._spec, expected=known)
        if look(self._parts, self._spec).state is LocalState.RIGHT:
            raise ChangedMeanwhileError("The part size is known now, and the file on disk is right")

    def _put_in_place(self, temporary: TemporaryFile, fetch: Fetch) -> RightFile:
        parts, work, seen_at = self._parts, self._work, time.time()
        identity = put_in_place(temporary, parts.destination, work.quarantined[-1].path if work.quarantined else None)
        if identity is None:
            again = look(parts, self._spec)
            if again.state is not LocalState.RIGHT or again.identity is None:
                raise ChangedMeanwhileError(f"{temporary.final} is not what was put there")
            identity, seen_at = again.identity, again.seen_at
        self._remove_quarantined(work.quarantined)
        if fetch.journal:
            remove_quietly(temporary.journal_path)
        return RightFile(self._spec, temporary.final, identity, seen_at)

    def _damaged_version(self, local: Path, version: ObjectVersion) -> DamagedVersion | None:
        """Find what of a corrupted file is still good by S3's part checksums; None when S3 does not tell."""
        spec, parts = self._spec, self._parts
        asking = partial(parts.store.part_checksums, spec.bucket, spec.key, version)
        told = parts.transfer.ask_in_passing(asking, PartsTold())
        self._work.fetched += told.bytes_fetched
        checksums = told.checksums
        if len(checksums) < 2:  # noqa: PLR2004 (of one part nothing can be kept)
            return None
        try:
            file = parts.destination.open_for_reading(local)
        except OSError:
            return None
        try:
            good = parts.verifier.good_ranges(file, checksums)
        except BaseException:
            file.close()
            raise
        kept = sum(end - start for start, end in good)
        logging.info("%s: %d of %d bytes are good by S3's part checksums", spec.relative_path, kept, version.size)
        return DamagedVersion(file, good)

    def _check_proved(
        self,
        temporary: TemporaryFile,
        size: int,
        expected: ExpectedHash,
        digests: Sequence[bytes],
        version: ObjectVersion | None,
    ) -> None:
        """Make sure that the temporary file holds the expected bytes, and not one more.

        Raises:
            HashMismatchError: if it does not.

        """
        there = temporary.identity().size
        if there != size:
            raise HashMismatchError(store_reasons.HASH_MISMATCH.of(f"{size} bytes", there))
        proved = expected.is_proved_by(digests)
        if proved and self._parts.settings.verify is Verify.INFLIGHT:
            return
        if proved:
            temporary.sync()
            temporary.drop_cache()
            if verify(self._parts, temporary, size, self._spec, version=version) is Verdict.PROVED:
                return
            raise HashMismatchError(reasons.READ_BACK_MISMATCH.of())
        # The parts did not prove it; the other form of the hash may (H2), or another part size (H3).
        can_differ = len(digests) > 1 and (expected.md5 or not expected.part_size)
        if can_differ and verify(self._parts, temporary, size, self._spec, version=version) is Verdict.PROVED:
            return
        got = digests[0].hex() if len(digests) == 1 else f"other parts ({len(digests)})"
        raise HashMismatchError(store_reasons.HASH_MISMATCH.of(expected, got))
