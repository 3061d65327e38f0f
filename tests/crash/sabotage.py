"""Ways to break the product, to see that the checks notice. That a sync is left out is the recorder's (``Stage``)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from s3_restore.disk import quarantine, swap, temporary_files
from s3_restore.disk.open_file import Identity, OpenFile, TemporaryFile
from s3_restore.disk.quarantine import Quarantine, Quarantined
from s3_restore.disk.temporary_files import remove_quietly
from s3_restore.run import attempt, file_restore
from s3_restore.run.file_restore import FileRestore


@contextmanager
def deletes_the_aside_before_the_name_is_given() -> Iterator[None]:
    """The last copy goes before what replaces it is there (W2)."""
    put_in_place = FileRestore._put_in_place

    def wrong_order(self: FileRestore, *arguments: Any) -> Identity:
        self._remove_quarantined(self._work.quarantined)
        return put_in_place(self, *arguments)

    with patch.object(FileRestore, "_put_in_place", wrong_order):
        yield


@contextmanager
def forgets_the_record_before_the_version() -> Iterator[None]:
    """After a cut in between nobody knows whose the version is (W9)."""

    def remove(quarantined: Sequence[Quarantined]) -> None:
        for version in quarantined:
            remove_quietly(version.record)
            remove_quietly(version.path)

    with patch.object(Quarantine, "remove", staticmethod(remove)):
        yield


@contextmanager
def records_after_the_rename() -> Iterator[None]:
    """The version has its new name before a record says so (W9)."""

    def reserve(self: Quarantine, final: Path, seen: Identity, owner: str) -> Quarantined:
        with patch.object(quarantine, "_write_record", lambda *_: None):
            return real_reserve(self, final, seen, owner)

    def set_aside(self: Quarantine, final: Path, *arguments: Any) -> Quarantined:
        version = real_set_aside(self, final, *arguments)
        quarantine._write_record(version, final)
        return version

    real_reserve, real_set_aside = Quarantine._reserve, Quarantine.set_aside
    with patch.object(Quarantine, "_reserve", reserve), patch.object(Quarantine, "set_aside", set_aside):
        yield


@contextmanager
def names_before_bytes() -> Iterator[None]:
    """The final name is given before the bytes are on the storage (W1, W8)."""
    real_place, real_put_in_place = swap.place, file_restore.put_in_place

    def put_in_place(temporary: TemporaryFile, *arguments: Any) -> Identity | None:
        real_place(temporary.path, temporary.final)
        with patch.object(temporary, "is_still_mine", lambda: True), patch.object(swap, "place", lambda *_: None):
            return real_put_in_place(temporary, *arguments)

    with patch.object(file_restore, "put_in_place", put_in_place):
        yield


@contextmanager
def believes_the_cache() -> Iterator[None]:
    """A failed sync is no reason to begin anew, and what is taken over is hashed from the cache (W8)."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(attempt, "proves_nothing", lambda _error: False))
        patches.enter_context(patch.object(OpenFile, "drop_cache", lambda _self: None))
        yield


@contextmanager
def takes_any_aside_for_its_own() -> Iterator[None]:
    """Whatever is called ``.corrupted`` is healed, and deleted (W9)."""

    def find(_self: Quarantine, final: Path) -> list[Quarantined]:
        path = final.with_name(f"{final.name}.corrupted")
        return [Quarantined(path, path, Identity.of(os.lstat(path)))] if path.exists() else []

    with patch.object(Quarantine, "find", find):
        yield


@contextmanager
def never_removes_leftovers() -> Iterator[None]:
    """What dead attempts left stays."""
    with patch.object(temporary_files.TemporaryFiles, "_dead_leftovers", lambda _self, _final: []):
        yield


SABOTAGES = {
    each.__name__: each
    for each in (
        deletes_the_aside_before_the_name_is_given,
        forgets_the_record_before_the_version,
        records_after_the_rename,
        names_before_bytes,
        believes_the_cache,
        takes_any_aside_for_its_own,
        never_removes_leftovers,
    )
}
