"""Proved bytes get their final name."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from s3_restore.disk import syscalls
from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import Identity, TemporaryFile, is_one_file
from s3_restore.disk.syscalls import NO_HARD_LINKS, RENAME_NOREPLACE, sync_folder
from s3_restore.disk.temporary_files import FILE_MODE, remove_quietly
from s3_restore.model.exceptions import ChangedMeanwhileError


def put_in_place(
    temporary: TemporaryFile, destination: Destination, replaces: Path | None = None, *, overwrites: bool = False
) -> Identity | None:
    """Give proved bytes their final name, on the storage: first the bytes, then the name (W1, W8).

    The temporary file is closed.

    Args:
        temporary: the bytes, proved.
        destination: where it is.
        replaces: the version that was set aside for it, whose mode, group and ACL it takes over (W12).
        overwrites: whether what is at its final path goes, in one step: there is always the one file or the other.

    Returns:
        The state of the file in place; None where it is not that of the temporary file, so that only another look can
        tell what is there: file systems without stable inode numbers or times, or somebody was very quick.

    Raises:
        ChangedMeanwhileError: when another process took the temporary file over, or a file appeared at the final path.
        NotOnStorageError: when bytes or names could not be brought to the storage.
        OSError: if it cannot.

    """
    final = temporary.final
    if replaces:
        temporary.take_access_of(replaces)
    elif destination.umask is not None:
        temporary.set_mode(FILE_MODE & ~destination.umask)
    temporary.sync()
    if not temporary.is_still_mine():
        raise ChangedMeanwhileError(str(temporary.path))
    destination.check_not_gone()
    destination.check_above(final)
    proved = temporary.end_writing()
    try:
        identity = place_over(temporary.path, final) if overwrites else place(temporary.path, final)
    except FileExistsError:
        raise ChangedMeanwhileError(f"{final} appeared meanwhile") from None
    destination.sync_names_above(final)
    temporary.close()
    return identity if identity and identity.is_moved(proved) else None


def place(source: Path, final: Path) -> Identity | None:
    """Give a file its final name, which must be free: what appeared there meanwhile is never overwritten (W9).

    The new name is on the storage before the old one goes, in whatever order the file system writes names.

    Returns:
        Its state, in which nothing but its name has changed: where it was written to while names were brought to the
        storage (which may take long, and times can be set back), None.

    Raises:
        FileExistsError: when something is there.
        NotOnStorageError: when the new name could not be brought to the storage; the old one is there still, if it can
        be. OSError: if it cannot be named so.

    """
    try:
        os.link(source, final, follow_symlinks=False)
    except OSError as error:
        if not is_one_file(source, final):
            if error.errno not in NO_HARD_LINKS:
                raise
            _rename(source, final)
            named = Identity.of(os.lstat(final))
            sync_folder(final.parent)
            return named
    named = Identity.of(os.lstat(final))
    sync_folder(final.parent)
    is_same = Identity.of(os.lstat(final)) == named
    remove_quietly(source)  # the file has its name by now, and is there once under another one at worst
    return Identity.of(os.lstat(final)) if is_same else None


def _rename(source: Path, final: Path) -> None:
    """Rename to a name that must be free, where there are no hard links."""
    try:
        rename_to_free(source, final)
    except OSError as error:
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "Something is there", str(final)) from None
        logging.info("%s cannot be named in one step here (%s)", final, error.strerror)
        os.rename(source, final)


def rename_to_free(source: Path, target: Path) -> None:
    """Rename to a name that must be free, in one step: nothing that appears there meanwhile is overwritten.

    Linux has such a call, and local file systems, FAT and CIFS follow it; NFS and many on FUSE do not.

    Raises:
        FileExistsError: when something is there.
        OSError: if it cannot be named so, or not in one step.

    """
    before = Identity.of(os.lstat(source))
    try:
        syscalls.renameat2(source, target, RENAME_NOREPLACE)
    except OSError as error:
        try:
            is_done = Identity.of(os.lstat(target)).is_moved(before)  # whatever the call says (soft mounts)
        except OSError:
            raise error from None
        if not is_done:
            raise


def place_over(source: Path, final: Path) -> Identity:
    """Give a file its final name, whatever file has it now.

    Returns:
        Its state.

    Raises:
        NotOnStorageError: when the new name could not be brought to the storage.
        OSError: if it cannot be named so.

    """
    moved = Identity.of(os.lstat(source))
    try:
        os.replace(source, final)
    except FileNotFoundError:
        # NFS asks again where an answer was lost, and is told that the source is gone: to where it should go.
        if not Identity.of(os.lstat(final)).is_moved(moved):
            raise
    named = Identity.of(os.lstat(final))
    sync_folder(final.parent)
    return named
