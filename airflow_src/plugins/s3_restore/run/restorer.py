"""The restore of all files of a raw file, with a last look at the end.

What is done with one file is in ``file_restore``. Whatever ends the run, every file that is reported as right is looked
at once more just before: one that was changed meanwhile is verified again, or fails (W10).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from s3_restore.disk import md5_backend
from s3_restore.disk.destination import Destination
from s3_restore.disk.hash_service import HashService
from s3_restore.disk.heartbeat import Heartbeat
from s3_restore.disk.quarantine import Quarantine
from s3_restore.disk.temporary_files import TemporaryFiles
from s3_restore.model import reasons
from s3_restore.model.exceptions import BlockedPathError, ChangedMeanwhileError, DestinationGoneError
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore
from s3_restore.model.outcomes import RestoreSummary
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.best_effort import BestEffortRun
from s3_restore.run.failures import is_disk_full
from s3_restore.run.file_restore import FileRestore
from s3_restore.run.last_look import LastLook
from s3_restore.run.look import Parts, remove_healed
from s3_restore.run.object_layout import ObjectLayouts
from s3_restore.run.old_news import OldNews
from s3_restore.run.progress import Phase
from s3_restore.run.transfer import Transfer
from s3_restore.run.verifier import Verifier
from s3_restore.run.versions import EtagHints


class Restorer(BestEffortRun):
    """Restores files below one destination. One object is one run.

    Args:
        store: where from.
        destination: folder, must exist.
        settings: how.
        reserved: relative paths of the raw file that are not among the specs of the run, but are its own all the same.

    """

    def __init__(
        self,
        store: ObjectStore,
        destination: Path,
        settings: RestoreSettings | None = None,
        reserved: Iterable[str] = (),
    ) -> None:
        super().__init__(settings or RestoreSettings())
        self._store = store
        self._path = destination
        self._reserved = tuple(reserved)
        self._fatal: Exception | None = None
        self._parts: Parts | None = None

    def run(self, specs: Sequence[FileSpec]) -> RestoreSummary:
        """Restore all files.

        Returns:
            One outcome for each spec.

        Raises:
            DestinationGoneError: when the destination vanished.
            BaseException: whatever interrupts the calling thread, after the others were told to stop; ``summary`` then
                says how far it got.

        """
        workers = self._begin(specs)
        parts = self._parts = self._make_parts(specs)
        try:
            with parts.progress, parts.heartbeat:
                self._work_on_all(lambda work, turn: FileRestore(parts, work, turn).restore(), workers, specs)
                if not self._stop.is_set():
                    self._tidy(parts)
        except BaseException:
            self.stop(reasons.ENDED.of())
            raise
        finally:
            self._look_again(parts)
            parts.progress.near_end(Phase.DONE)
            self._stop.set()
            workers.close()
            parts.transfer.close()
            parts.hashes.close()
        if self._fatal:
            raise self._fatal
        return self.summary(self._stopped_because)

    def has_lost_its_place(self) -> bool:
        """Whether another file system is at the destination now, or none; from any thread."""
        return self._parts is not None and self._parts.destination.is_gone()

    def _side_by_side(self) -> int:
        """More than may be fetched: where only the MD5 of the whole is known, each file fills one lane of the hash."""
        most = super()._side_by_side()
        return max(most, md5_backend.LANES) if most > 1 else 1

    def _make_parts(self, specs: Sequence[FileSpec]) -> Parts:
        settings = self._settings
        destination = Destination(self._path, settings.umask)
        heartbeat = Heartbeat()
        hashes = HashService(settings.max_concurrency)
        transfer = Transfer(self._store, settings, self._stop, self._progress, hashes, self._patience)
        return Parts(
            store=self._store,
            settings=settings,
            destination=destination,
            temporaries=TemporaryFiles(destination, settings.stale_after_s, heartbeat),
            heartbeat=heartbeat,
            quarantine=Quarantine(destination, [*self._reserved, *(spec.relative_path for spec in specs)]),
            transfer=transfer,
            hashes=hashes,
            layouts=ObjectLayouts(self._store, transfer),
            verifier=Verifier(transfer.in_parallel, self._stop, hashes),
            etag_hints=EtagHints(),
            old_news=OldNews(),
            progress=self._progress,
            stop=self._stop,
        )

    def _ends_the_run(self, error: Exception) -> bool:
        parts = self._parts
        if parts and isinstance(error, (OSError, ChangedMeanwhileError)) and parts.destination.is_gone():
            self._end_gone(str(getattr(error, "strerror", None) or error))
            return True
        if is_disk_full(error):
            self._end(reasons.ENDED_DISK_FULL.of())
        return False

    def _end_gone(self, why: str) -> None:
        self._fatal = self._fatal or DestinationGoneError(reasons.DESTINATION_GONE.of(self._path, why))
        self._end(reasons.DESTINATION_VANISHED.of())

    # --- the end -------------------------------------------------------------------------------------------------

    def _tidy(self, parts: Parts) -> None:
        """Look once more for what dead attempts left beside right files: their owners may have died meanwhile."""
        parts.temporaries.look_afresh()
        parts.quarantine.look_afresh()
        for right in self._ledger.right_files:
            try:
                parts.temporaries.remove_leftovers(right.path)
                remove_healed(parts, right.path, right.identity)
            except (OSError, BlockedPathError) as error:  # the last look says what that means for the file
                logging.warning("%s: not tidied (%s)", right.spec.relative_path, error)

    def _look_again(self, parts: Parts) -> None:
        """Make sure that what is reported as right is still there as it was proved."""
        parts.progress.near_end(Phase.VERIFYING)
        if parts.destination.is_gone():  # also with no right file: the report of failures would be made there too
            self._end_gone("it is another file system now, or none")
            return
        LastLook(parts, self._ledger, lambda: self._stopped_because or reasons.ENDED.of()).take()
        if parts.destination.is_gone():  # what was hashed meanwhile may have taken long
            self._end_gone("it was lost at the end")
