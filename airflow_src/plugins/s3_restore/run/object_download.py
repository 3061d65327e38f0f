"""Downloads a single object by the way of all files: patient, resumable, and its path appears complete or not at all.

There is no hash to prove it with: what is sure of the bytes is their number, and that they are of one version.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path

from s3_restore.disk.destination import Destination
from s3_restore.disk.hash_service import HashService
from s3_restore.disk.heartbeat import Heartbeat
from s3_restore.disk.swap import put_in_place
from s3_restore.disk.temporary_files import TemporaryFiles, remove_quietly
from s3_restore.model.exceptions import ObjectChangedError
from s3_restore.model.expected_hash import PartLayout
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.object_store import ObjectStore, archived_error
from s3_restore.model.settings import RestoreSettings
from s3_restore.run import attempt
from s3_restore.run.progress import Progress
from s3_restore.run.transfer import Transfer


def download_object(  # noqa: PLR0913, PLR0917
    store: ObjectStore, bucket: str, key: str, path: Path, chunk_bytes: int, settings: RestoreSettings
) -> int:
    """Download an object.

    Args:
        store: where from.
        bucket: of the object.
        key: of the object.
        path: final path; its folder must exist. A file there is replaced when all bytes have come.
        chunk_bytes: bytes that one connection fetches.
        settings: how.

    Returns:
        Its bytes.

    Raises:
        ObjectStoreError: if the store does not deliver.
        OSError: if the disk does not take it.

    """
    stop = threading.Event()
    spec = FileSpec(path.name, bucket, key, None, None)
    hashes = HashService(settings.max_concurrency)
    transfer = Transfer(store, settings, stop, Progress((spec,), settings.progress_interval_s), hashes)
    heartbeat = Heartbeat()
    download = _Download(store, transfer, Destination(path.parent, settings.umask), heartbeat, settings)
    try:
        with heartbeat:
            try:
                return download.fetch(spec, path, chunk_bytes, from_scratch=False)
            except ObjectChangedError as error:
                logging.warning("s3://%s/%s: %s; starting over", bucket, key, error)
                return download.fetch(spec, path, chunk_bytes, from_scratch=True)
    finally:
        stop.set()  # its threads end also where the caller was interrupted
        transfer.close()
        hashes.close()


class _Download:
    def __init__(
        self,
        store: ObjectStore,
        transfer: Transfer,
        destination: Destination,
        heartbeat: Heartbeat,
        settings: RestoreSettings,
    ) -> None:
        self._store = store
        self._transfer = transfer
        self._destination = destination
        self._temporaries = TemporaryFiles(destination, settings.stale_after_s, heartbeat)

    def fetch(self, spec: FileSpec, path: Path, chunk_bytes: int, *, from_scratch: bool) -> int:
        version = self._transfer.ask(partial(self._store.head, spec.bucket, spec.key))
        if version.archived:
            raise archived_error(version.storage_class)
        layout = PartLayout(version.size, chunk_bytes)
        journalled = version.size >= attempt.JOURNAL_FROM_BYTES
        temporary, fetch = attempt.begin(
            self._temporaries, path, spec, layout, version, journalled=journalled, from_scratch=from_scratch
        )
        try:
            self._transfer.fetch(fetch)
            put_in_place(temporary, self._destination, overwrites=True)
            if fetch.journal:
                remove_quietly(temporary.journal_path)
        except Exception as error:  # after an interrupt other threads may still write: the next process takes it over
            attempt.end_badly(self._temporaries, temporary, fetch, error)
            raise
        finally:
            if fetch.journal:
                fetch.journal.close()
        return version.size
