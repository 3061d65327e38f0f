"""Corrupted versions set aside, until they are healed: which of them are ours, and what may be deleted (W2, W9).

A corrupted ``name`` becomes ``<name>.corrupted`` (or ``.corrupted_2`` …), so that its path is empty even if the worker
dies. Others use such names too: a person's own copy, another raw file, another tool. Only what a record of ours
describes is ever deleted, and only that makes a download a healing. The steps, each on the storage before the next one
begins:

1. a record beside it: which version (inode, size, modification time) will be set aside as what;
2. an empty file reserves the new name, so that the rename can overwrite nothing;
3. the rename;
4. healed: the version goes, if it is still the one of the record, and then the record.

A crash after 1 leaves a record that describes nothing, after 2 also an empty file; both are tidied when their owner is
dead.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s3_restore.disk import owners
from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import Identity, owner_of
from s3_restore.disk.owners import Standing
from s3_restore.disk.swap import place
from s3_restore.disk.syscalls import close_fd, sync_fd, sync_folder, write_all
from s3_restore.disk.temporary_files import CREATE, FILE_MODE, remove_quietly
from s3_restore.model.exceptions import ChangedMeanwhileError
from s3_restore.model.file_specs import why_unsafe
from s3_restore.model.names import ASIDE_RECORD, TEMPORARY_NAME, aside_names, digest_of_name, temporary_name

_CANNOT_OVERWRITE = (errno.EPERM, errno.EEXIST, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # SFTP servers
_GAVE_UP = (errno.EIO, errno.ETIMEDOUT)  # on soft mounts, of a server that may do it yet; the next run tidies
_FORMAT = 1
_MAX_RECORD_BYTES = 16 * 1024  # a name has at most 255 bytes
_FORGOTTEN_AFTER_S = 24 * 3600.0  # a record that describes nothing, and whose owner nobody here knows
_RESERVED_WITHIN_NS = 600 * 10**9  # after its record: both are written in a row, each to the storage
_NEVER_WRONG: Callable[[Path], bool] = lambda _path: False  # noqa: E731 (a default)


@dataclass(frozen=True)
class Quarantined:
    """A version of ours that is set aside.

    Attributes:
        path: where it is.
        record: what makes it ours.
        identity: its state, but for the change time.

    """

    path: Path
    record: Path
    identity: Identity

    @property
    def is_there(self) -> bool:
        """Whether what is at its path is still this version."""
        return _is(self.path, self.identity)


class Quarantine:
    """Versions set aside below one destination.

    Args:
        destination: where they are.
        reserved: relative paths that belong to the raw file itself and are never used for anything else.

    """

    def __init__(self, destination: Destination, reserved: Iterable[str] = ()) -> None:
        self._destination = destination
        paths = {destination.path / path for path in reserved}
        folders = {path.parent for path in paths}  # those above its files belong to it, too
        self._reserved = paths.union(folders, *(folder.parents for folder in folders))
        self._records: dict[Path, dict[str, set[str]]] = {}
        self._lock = threading.Lock()

    def find(self, final: Path) -> list[Quarantined]:
        """Versions of ``final`` that this project set aside and that are still there, the newest last."""
        found: list[tuple[int, Quarantined]] = []
        for record in self._records_of(final):
            version = _read_record(record, final)
            if version is None:
                if _is_torn(record) and _is_forgotten(record):
                    remove_quietly(record)
            elif version.path not in self._reserved:
                if version.is_there:
                    found.append((_mtime_ns(record), version))
                elif _is_forgotten(record):  # and describes nothing
                    _clear(version)
        return [version for _, version in sorted(found, key=lambda each: each[0])]

    def look_afresh(self) -> None:
        """Forget which records were seen: another run may have set something aside since."""
        with self._lock:
            self._records.clear()

    def set_aside(self, final: Path, seen: Identity, is_wrong: Callable[[Path], bool] = _NEVER_WRONG) -> Quarantined:
        """Move a corrupted file aside, so that its path is empty. ``settle`` brings that to the storage.

        Args:
            final: its path.
            seen: the state that was found to be corrupted; any other state stays, or is put back.
            is_wrong: asked where the state differs but the size is the same, as on file systems without stable inode
                numbers: whether what is there is corrupted.

        Raises:
            ChangedMeanwhileError: when another state was there.
            OSError: if it cannot be moved; also when the destination is gone.

        """
        self._destination.check_not_gone()
        now = self._destination.look(final)
        if now != seen and not (now and now.is_same_but_for_inode(seen) and is_wrong(final)):
            raise ChangedMeanwhileError(str(final))  # else a file that another run just healed would be moved away
        owner = owners.new_owner()
        try:
            version = self._reserve(final, seen, owner)
            try:
                self._check_still_there(final, seen)  # the record took its time, and another run may have healed it
                _rename_onto(final, version.path)
            except ChangedMeanwhileError:
                _withdraw(version)
                raise
            except OSError as error:
                # A network file system may have moved it all the same, where an answer was lost and it asked again.
                if not version.is_there:
                    if error.errno in _GAVE_UP:  # moved later, it would be what is removed, or be nobody's
                        raise
                    _withdraw(version)
                    if isinstance(error, FileNotFoundError):
                        raise ChangedMeanwhileError(str(final)) from None
                    raise
            try:
                moved = _as_moved(version, is_wrong)
            except BaseException:  # it is not known to be corrupted, and whoever it is of looks for it at its path
                with contextlib.suppress(OSError):  # then it stays there, and so does the record
                    _put_back(version, final)
                raise
            return moved if moved == version else self._record_anew(moved, final)
        finally:
            owners.release(owner)

    def _check_still_there(self, final: Path, seen: Identity) -> None:
        self._destination.check_not_gone()  # else a file on the disk below a mount that was lost would be moved (W11)
        now = self._destination.look(final)
        if now != seen and not (now and now.is_same_but_for_inode(seen)):
            raise ChangedMeanwhileError(str(final))

    @staticmethod
    def settle(version: Quarantined) -> None:
        """Bring the move to the storage.

        Raises:
            NotOnStorageError: if it is not there.

        """
        sync_folder(version.path.parent)

    @staticmethod
    def remove(quarantined: Sequence[Quarantined]) -> None:
        """Delete versions that are healed; what is no longer the version of its record stays."""
        for version in quarantined:
            if not version.is_there:
                logging.warning("%s is no longer what was set aside, and is left alone", version.path)
                continue
            remove_quietly(version.path)
        with contextlib.suppress(OSError):  # then the records stay for the next run, and nothing is lost
            for folder in {version.path.parent for version in quarantined}:
                sync_folder(folder)
            for version in quarantined:
                if not version.is_there:  # else it could not be removed, and without its record nobody would try again
                    remove_quietly(version.record)

    def _records_of(self, final: Path) -> list[Path]:
        folder, digest = final.parent, digest_of_name(final.name)
        with self._lock:
            if folder not in self._records:
                self._records[folder] = _record_names(folder)
            return [folder / name for name in sorted(self._records[folder].get(digest, ()))]

    def _reserve(self, final: Path, seen: Identity, owner: str) -> Quarantined:
        """Find a free name, write the record, and reserve the name."""
        record = final.with_name(temporary_name(final.name, owner, ASIDE_RECORD))
        for name in aside_names(final.name):
            path = final.with_name(name)
            if path in self._reserved or os.path.lexists(path):
                continue
            version = Quarantined(path, record, seen)
            try:
                _write_record(version, final)
                close_fd(os.open(path, CREATE, FILE_MODE))
            except FileExistsError:  # somebody took the name between the two lines
                remove_quietly(record)
                continue
            except BaseException:
                _clear(version)  # an empty file may be there whatever the call says, and without its record for ever
                raise
            self._note(record, final)
            return version
        raise AssertionError("unreachable")

    def _record_anew(self, moved: Quarantined, final: Path) -> Quarantined:
        """Record what was moved, where it is another state than the one that was seen: later runs must know it."""
        owner = owners.new_owner()
        anew = replace(moved, record=final.with_name(temporary_name(final.name, owner, ASIDE_RECORD)))
        try:
            _write_record(anew, final)
        except OSError:  # then it stays, as what nobody knows
            remove_quietly(anew.record)
            return moved
        finally:
            owners.release(owner)
        self._note(anew.record, final)
        remove_quietly(moved.record)
        return anew

    def _note(self, record: Path, final: Path) -> None:
        with self._lock:
            names = self._records.setdefault(final.parent, _record_names(final.parent))
            names.setdefault(digest_of_name(final.name), set()).add(record.name)


def _write_record(version: Quarantined, final: Path) -> None:
    fields = {
        "format": _FORMAT,
        "name": final.name,
        "aside": version.path.name,
        "inode": version.identity.inode,
        "size": version.identity.size,
        "mtime_ns": version.identity.mtime_ns,
    }
    fd = os.open(version.record, CREATE, FILE_MODE)
    try:
        write_all(fd, json.dumps(fields).encode())
        sync_fd(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            close_fd(fd)
        raise
    close_fd(fd)
    sync_folder(version.record.parent)


def _contents(record: Path) -> tuple[int, bytes] | None:
    """Device and text of a record; None where there is no regular file of a record's size."""
    try:
        fd = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_RECORD_BYTES:
            return None
        return status.st_dev, os.read(fd, _MAX_RECORD_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)


def _read_record(record: Path, final: Path) -> Quarantined | None:
    """Read a record; None when it makes no sense, or is of another file."""
    contents = _contents(record)
    if contents is None:
        return None
    device, text = contents
    try:
        fields = json.loads(text)
        name, aside = fields["name"], fields["aside"]
        if fields["format"] != _FORMAT or name != final.name or aside == name or why_unsafe(aside) or "/" in aside:
            return None
        identity = Identity(device, int(fields["inode"]), int(fields["size"]), int(fields["mtime_ns"]), 0)
        return Quarantined(final.with_name(aside), record, identity)
    except (ValueError, OverflowError, TypeError, KeyError, RecursionError):  # infinity is a number to JSON
        return None


def _is_torn(record: Path) -> bool:
    """Whether a record was never written to its end, so that nothing was set aside on its account."""
    contents = _contents(record)
    try:
        if contents is not None:
            json.loads(contents[1])
    except ValueError:
        return True
    except RecursionError:
        return False
    return False


def _is_forgotten(record: Path) -> bool:
    """Whether the owner of a record is dead, or nobody here knows it and it is old."""
    standing = owners.standing(owner_of(record))
    old = time.time() - _mtime_ns(record) / 1e9 > _FORGOTTEN_AFTER_S
    return standing is Standing.DEAD or (standing is Standing.UNKNOWN and old)


def _record_names(folder: Path) -> dict[str, set[str]]:
    """Names of the records in a folder, by the digest of the name that they are for."""
    found: dict[str, set[str]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = TEMPORARY_NAME.fullmatch(entry.name)
            if match and match["kind"] == ASIDE_RECORD:
                found.setdefault(match["digest"], set()).add(entry.name)
    return found


def _is(path: Path, identity: Identity) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and Identity.of(status).is_moved(identity)


def _clear(version: Quarantined) -> None:
    """Remove a record, and the empty file that may have reserved its name, where nothing was set aside."""
    # What was there before, or was made long after, is no reservation of ours.
    if 0 <= _mtime_ns(version.path) - _mtime_ns(version.record) <= _RESERVED_WITHIN_NS:
        _withdraw(version)
    else:
        remove_quietly(version.record)


def _withdraw(version: Quarantined) -> None:
    """Remove the empty file that reserved a name, and then the record: without it nobody knows whose the file is."""
    with contextlib.suppress(OSError):  # then the record stays, and the next run tidies
        if _remove_if_empty(version.path):
            sync_folder(version.path.parent)
        remove_quietly(version.record)


def _rename_onto(final: Path, reservation: Path) -> None:
    """Rename onto the empty file that reserves a name."""
    try:
        os.rename(final, reservation)
    except OSError as error:
        if error.errno not in _CANNOT_OVERWRITE:
            raise
        # A server that cannot rename onto another file overwrites nothing at a name that is free either.
        _remove_if_empty(reservation)
        os.rename(final, reservation)


def _as_moved(version: Quarantined, is_wrong: Callable[[Path], bool]) -> Quarantined:
    """Look at what was moved.

    Raises:
        ChangedMeanwhileError: when it is not the version of the record, and not corrupted either.
        OSError: if it cannot be looked at.

    """
    now, seen = Identity.of(os.lstat(version.path)), version.identity
    if now.is_moved(seen):
        return version
    if now.size != seen.size or not is_wrong(version.path):
        raise ChangedMeanwhileError(str(version.path))
    return Quarantined(version.path, version.record, now)


def _put_back(version: Quarantined, final: Path) -> None:
    """Undo a move, without overwriting what may have come to ``final`` since."""
    try:
        place(version.path, final)
    except FileExistsError:
        logging.warning("%s was moved to %s, and another file is there now", final, version.path)
    remove_quietly(version.record)


def _remove_if_empty(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and not status.st_size:
            path.unlink()
            return True
    return False


def _mtime_ns(path: Path) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0
