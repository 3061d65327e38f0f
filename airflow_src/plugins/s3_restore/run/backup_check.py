"""The check of a backup (V1): every byte of it is fetched and verified, and nothing is written.

For whoever is about to delete the original. Files come side by side, and so do the parts of a file's ETag; each is
hashed in order while it arrives, so memory is flat and no disk is needed. Where the parts do not prove a file, its
bytes come once more, in order, and are hashed in every other way that may (H2, H3): as a whole, and by the other part
sizes.

Older versions (S7): a restore would take an older version that proves itself, but S3 may be told to delete those, and
this check is asked whether nothing else is needed any more. So it is no OK; the failure says which version it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from s3_restore.disk.hash_service import HashService
from s3_restore.model import reasons, store_reasons
from s3_restore.model.exceptions import HashMismatchError, ObjectChangedError
from s3_restore.model.expected_hash import ExpectedHash, PartLayout
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, ObjectVersion
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.best_effort import BestEffortRun
from s3_restore.run.every_way import EveryWay
from s3_restore.run.fetch import Fetch
from s3_restore.run.ledger import Work
from s3_restore.run.nowhere import Nowhere
from s3_restore.run.object_layout import ObjectLayouts
from s3_restore.run.progress import Phase, Progress
from s3_restore.run.transfer import Transfer
from s3_restore.run.versions import AnyVersion, EtagHints, shown_date


class BackupCheck(BestEffortRun):
    """Verifies the backup of a raw file. One object is one run.

    Args:
        store: where from.
        settings: how.

    """

    def __init__(self, store: ObjectStore, settings: RestoreSettings) -> None:
        super().__init__(settings)
        self._store = store

    def run(self, specs: Sequence[FileSpec]) -> RestoreSummary:
        """Verify the backup of all files.

        Returns:
            One outcome for each spec.

        """
        workers = self._begin(specs)
        hashes = HashService(self._settings.max_concurrency)
        transfer = Transfer(self._store, self._settings, self._stop, self._progress, hashes, self._patience)
        layouts = ObjectLayouts(self._store, transfer)
        try:
            with self._progress:
                self._work_on_all(lambda work, _take_turn: (self._check(transfer, layouts, work), None), workers, specs)
        except BaseException:
            self.stop(reasons.ENDED.of())
            raise
        finally:
            self._progress.near_end(Phase.DONE)
            self._stop.set()
            workers.close()
            transfer.close()
            hashes.close()
        return self.summary(self._stopped_because)

    def _check(self, transfer: Transfer, layouts: ObjectLayouts, work: Work) -> FileOutcome:
        spec = work.spec
        if spec.problem or spec.expected is None:
            return work.failed(spec.problem or reasons.NO_EXPECTED_HASH.of())
        one = _OneFile(transfer, layouts, self._progress, work, spec.expected)
        in_passing = partial(transfer.ask_in_passing, otherwise=())
        versions = AnyVersion(self._store, spec, EtagHints(), transfer.ask, in_passing)
        size, older = versions.fetch(lambda: None, one.verify)  # the newest is verified first, whatever its ETag says
        if older:
            failure = store_reasons.ONLY_OLDER_VERSION.of(shown_date(older))
            if versions.newest_may_be_spoilt:  # on its way: worth another try
                raise HashMismatchError(failure)
            return work.failed(failure)
        logging.info("%s: backup verified (%s), %d bytes", spec.relative_path, spec.expected, size)
        return FileOutcome(
            spec.relative_path, Result.VERIFIED, size=size, bytes_fetched=work.fetched, seconds=work.seconds
        )


class _OneFile:
    """One file of a check.

    Args:
        transfer: fetches.
        layouts: of its object.
        progress: of the run.
        work: where it notes how far it is.
        expected: its hash.

    """

    def __init__(
        self, transfer: Transfer, layouts: ObjectLayouts, progress: Progress, work: Work, expected: ExpectedHash
    ) -> None:
        self._transfer = transfer
        self._layouts = layouts
        self._progress = progress
        self._work = work
        self._expected = expected

    def verify(self, older: ObjectVersion | None) -> int:
        """Verify a version, None for the newest, and start over once where it was replaced meanwhile.

        Returns:
            Its bytes.

        Raises:
            ObjectStoreError: when S3 does not deliver it.
            HashMismatchError: when it is not the file.
            StoppedError: when the run was asked to stop.

        """
        try:
            return self._verify(older)
        except ObjectChangedError as error:
            logging.warning("%s: %s; starting over", self._work.spec.relative_path, error)
        return self._verify(older)

    def _verify(self, version: ObjectVersion | None) -> int:
        spec, expected = self._work.spec, self._expected
        version = version or self._layouts.newest(spec)
        layout = self._layouts.choose(spec, expected, version)
        fetch = Fetch(spec, layout, Nowhere(), version)
        digests = self._fetch(fetch)
        if expected.is_proved_by(digests):
            return layout.size
        # The parts did not prove it; the other form of the hash may (H2), or another part size (H3).
        can_differ = len(digests) > 1 and (expected.md5 or not expected.part_size)
        if can_differ and self._is_proved_in_another_way(layout, fetch.version):
            return layout.size
        got = digests[0].hex() if len(digests) == 1 else f"other parts ({len(digests)})"
        raise HashMismatchError(store_reasons.BACKUP_MISMATCH.of(expected, got))

    def _is_proved_in_another_way(self, layout: PartLayout, version: ObjectVersion | None) -> bool:
        spec, expected, size = self._work.spec, self._expected, layout.size
        logging.info("%s: the parts of its object do not prove it; every other way is tried", spec.relative_path)
        tried = layout.part_size
        others = EveryWay(expected, [each for each in expected.part_sizes_that_fit(size) if each != tried])
        self._fetch(Fetch(spec, PartLayout(size, size), Nowhere(), version, new_hasher=lambda: others))
        return others.is_proved()

    def _fetch(self, fetch: Fetch) -> list[bytes]:
        before = self._work.fetched
        self._progress.enter(fetch.spec, Phase.DOWNLOADING)
        try:
            return self._transfer.fetch(fetch)
        finally:
            self._work.fetched = before + fetch.bytes_fetched
