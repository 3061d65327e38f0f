"""Writes a small text file that appears complete or not at all, under a name that is free (R3)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from s3_restore.disk import owners
from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import Identity
from s3_restore.disk.owners import Standing
from s3_restore.disk.swap import rename_to_free
from s3_restore.disk.syscalls import TAKEN_AWAY, close_fd, sync_fd, sync_folder, write_all
from s3_restore.disk.temporary_files import CREATE, FILE_MODE, remove_quietly
from s3_restore.model.exceptions import NotOnStorageError
from s3_restore.model.names import REPORT, TEMPORARY_NAME, temporary_name

_TRIES = 5  # to write a report that others take for a leftover
_STANDS_FOR_ANY = "any report"  # in temporary names: the final one is not known before it is free
_STALE_AFTER_S = 300.0  # a hundred times what writing one takes


def write_new_file(folder: Path, names: Iterable[str], text: str, umask: int | None = None) -> Path:
    """Write a whole text file under the first of ``names`` that is free.

    First to a temporary file, which is linked to its name; where there are no hard links, it is renamed. Where no
    rename spares what is there, the name is reserved and renamed onto: after a kill in between it is an empty file.
    Where that does not work either, the file is created under its name, and removed if it cannot be written whole.

    Args:
        folder: where.
        names: tried in this order.
        text: what.
        umask: for its mode; None: that of the process.

    Raises:
        OSError: if it cannot be written.

    """
    owner = owners.new_owner()
    temporary = folder / temporary_name(_STANDS_FOR_ANY, owner, REPORT)
    try:
        path = _publish(temporary, (folder / name for name in names), text, umask)
    finally:
        remove_quietly(temporary)
        owners.release(owner)
    try:
        sync_folder(folder)
        Destination(folder).sync_names_above(path)  # a run that failed may have made the folder, and come no further
    except OSError as error:
        logging.warning("The name of %s could not be brought to the storage (%s)", path, error.strerror)
    return path


def _publish(temporary: Path, paths: Iterable[Path], text: str, umask: int | None) -> Path:
    """Write the temporary file, and give it the first name that is free."""
    made = [_write_temporary(temporary, text, umask)]
    with contextlib.suppress(FileNotFoundError):  # taken away already: no clock to ask, nothing is tidied
        _tidy(temporary.parent, os.lstat(temporary).st_mtime)
    for path in paths:
        for give_name in (os.link, rename_to_free, _rename_onto_reservation):
            try:
                if not os.path.lexists(temporary):  # a host whose clock is far ahead took it for a dead run's (W6)
                    made.append(_write_temporary(temporary, text, umask))
                give_name(temporary, path)
            except OSError as error:
                # A soft mount may give the name although it says otherwise, then or later: else a second report.
                if _is_any_of(path, made):
                    return path
                if isinstance(error, FileExistsError):
                    break  # the next name
                logging.info("%s cannot be named by %s here (%s)", path.name, give_name.__name__, error.strerror)
            else:
                return path
        else:
            try:
                _write(path, text, umask)
            except FileExistsError:
                if not _is_any_of(path, made):
                    continue
            return path
    raise FileExistsError(errno.EEXIST, "No free name", str(temporary.parent))


def _is_any_of(path: Path, made: Sequence[Identity | None]) -> bool:
    with contextlib.suppress(OSError):
        there = Identity.of(os.lstat(path))
        return any(each and there.is_moved(each) for each in made)
    return False


def _rename_onto_reservation(temporary: Path, path: Path) -> None:
    """For file systems that have neither hard links nor a rename to a free name (many on FUSE)."""
    with contextlib.suppress(NotOnStorageError):  # nothing was written
        close_fd(os.open(path, CREATE, FILE_MODE))
    try:
        os.replace(temporary, path)
    except OSError:
        remove_quietly(path)
        raise


def _write_temporary(path: Path, text: str, umask: int | None) -> Identity | None:
    """Write it; again where the system says that it is gone, which is no reason to have no report (W13).

    Or that its name is taken: no other process makes this name, so it is of a try whose answer was lost.

    Returns:
        Its state; None where it is taken away already.

    """
    for tries_left in reversed(range(_TRIES)):
        try:
            _write(path, text, umask)
        except OSError as error:
            if error.errno not in {*TAKEN_AWAY, errno.EEXIST} or not tries_left:
                raise
            remove_quietly(path)
        else:
            break
    try:
        return Identity.of(os.lstat(path))
    except OSError:
        return None


def _write(path: Path, text: str, umask: int | None) -> None:
    """Create a file with all of a text, on the storage; remove it if that does not work.

    Raises:
        FileExistsError: when something is there.
        OSError: if it cannot be written.

    """
    fd = os.open(path, CREATE, FILE_MODE)
    try:
        try:
            if umask is not None:
                with contextlib.suppress(OSError):
                    os.fchmod(fd, FILE_MODE & ~umask)
            write_all(fd, text.encode())
            sync_fd(fd)
        finally:
            close_fd(fd)
    except BaseException:
        remove_quietly(path)
        raise


def _tidy(folder: Path, now: float) -> None:
    """Remove what writers of reports left that were killed; ``now`` by the clock of the file system."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = TEMPORARY_NAME.fullmatch(entry.name)
            if match and match["kind"] == REPORT:
                standing = owners.standing(match["owner"])
                is_stale = now - entry.stat(follow_symlinks=False).st_mtime > _STALE_AFTER_S
                if standing is Standing.DEAD or (standing is Standing.UNKNOWN and is_stale):
                    remove_quietly(folder / entry.name)
