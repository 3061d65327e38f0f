"""The destination: safe paths below it, looks at what is there, folders, and which names are on the storage."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from s3_restore.disk.open_file import Identity, OpenFile
from s3_restore.disk.syscalls import sync_folder
from s3_restore.model import reasons
from s3_restore.model.exceptions import BlockedPathError, NotOnStorageError

_SETTLED_AFTER_S = 3600.0  # the kernel brings everything to the storage within minutes
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_ANY_MODE = 0o777


class Destination:
    """A folder to restore to.

    Args:
        path: the folder; must exist.
        umask: for new files and folders; None: that of the process.

    """

    def __init__(self, path: Path, umask: int | None = None) -> None:
        self.path = path
        self.umask = umask
        self._real_path = os.path.realpath(path)
        self._device = os.stat(path).st_dev
        self._read_only = _is_read_only(path)
        self._above: dict[str, tuple[Path, ...]] = {}
        self._safe_folders: dict[Path, tuple[int, int]] = {}
        self._named_on_storage: dict[Path, tuple[int, int]] = {}
        self._making = threading.Lock()

    # --- is it there ---------------------------------------------------------------------------------------------

    def is_gone(self) -> bool:
        """Whether the destination vanished or another file system is there now, as when a mount is lost."""
        try:
            return os.stat(self.path).st_dev != self._device
        except OSError:
            return True

    def check_not_gone(self) -> None:
        """Make sure that what is made now is not made on the disk below a mount that was lost (W11).

        Raises:
            FileNotFoundError: when the destination is gone.

        """
        if self.is_gone():
            raise FileNotFoundError(errno.ENOENT, "The destination is gone", str(self.path))

    # --- paths ---------------------------------------------------------------------------------------------------

    def path_of(self, relative_path: str) -> Path:
        """Final path of a file, after a look at the folders above it.

        Raises:
            BlockedPathError: when a folder above it leads out of the destination, or is no folder.

        """
        path = self.path / relative_path
        self.check_above(path)
        return path

    def check_above(self, path: Path) -> None:
        """Look at the folders above a final path; again before each step that writes, as they may be others by then.

        Raises:
            BlockedPathError: when one leads out of the destination, is no folder, or is spelt otherwise on disk.

        """
        if self._is_checked(path):
            return
        real_parent = os.path.realpath(path.parent)
        if os.path.commonpath([real_parent, self._real_path]) != self._real_path:
            raise BlockedPathError(reasons.LINK_ABOVE.of())
        for above in self._folders_above(path):
            if os.path.lexists(above):
                if not above.is_dir():
                    where = str(above.relative_to(self.path))
                    raise BlockedPathError(reasons.FILE_ABOVE.of(repr(where)))
                _check_spelling(above, os.lstat(above))
        for above in self._folders_above(path):
            now = _real_folder(above)
            if now is None:
                return  # a link within the destination is looked at each time: it may lead elsewhere by then
            self._safe_folders[above] = now
            with self._making:
                if self._named_on_storage.get(above, now) != now:
                    del self._named_on_storage[above]  # this is another one, that somebody may have made just now

    def _folders_above(self, path: Path) -> tuple[Path, ...]:
        """Folders between the destination and a path, the outermost first; one of them may have thousands of files."""
        folder = os.path.dirname(path)
        above = self._above.get(folder)
        if above is None:
            above = tuple(self.path / each for each in reversed(path.relative_to(self.path).parents[:-1]))
            self._above[folder] = above
        return above

    def _is_checked(self, path: Path) -> bool:
        """Whether the folders above a path were looked at before and are the same."""
        for above in self._folders_above(path):
            checked = self._safe_folders.get(above)
            if checked is None or checked != _real_folder(above):
                return False
        return True

    # --- looks ---------------------------------------------------------------------------------------------------

    def look(self, path: Path) -> Identity | None:
        """What is at a final path; None for nothing.

        Raises:
            BlockedPathError: when it is no regular file, or one whose name is spelt otherwise.
            OSError: if it cannot be looked at.

        """
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        if stat.S_ISREG(status.st_mode):
            _check_spelling(path, status)
            return Identity.of(status)
        if stat.S_ISLNK(status.st_mode):
            raise BlockedPathError(reasons.LINK_IN_PLACE.of())
        blocking = reasons.FOLDER_IN_PLACE if stat.S_ISDIR(status.st_mode) else reasons.NO_REGULAR_FILE
        raise BlockedPathError(blocking.of())

    def open_for_reading(self, path: Path) -> OpenFile:
        """Open an existing regular file.

        Raises:
            OSError: if it cannot be opened; ELOOP for a symbolic link.

        """
        # Without O_NONBLOCK a named pipe that took the file's place would be waited on for ever.
        return OpenFile(path, os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK))

    # --- folders and the storage -----------------------------------------------------------------------------------

    def make_folders(self, path: Path) -> None:
        """Make the folders above a final path, the destination itself excepted, and bring their names to the storage.

        Raises:
            OSError: if it cannot; also when the destination is gone. Made anew, it would be on the disk below the mount
                that was lost, and fill it.

        """
        if not self._is_checked(path):
            self.check_not_gone()
            for folder in self._folders_above(path):
                self._make(folder)
        self.sync_names_above(path)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise
            return
        with self._making:
            self._named_on_storage.pop(folder, None)  # the one of that name is gone
        if self.umask is not None:
            with contextlib.suppress(OSError):  # as far as the system lets us (W12)
                inherited = os.stat(folder).st_mode & stat.S_ISGID
                os.chmod(folder, (_ANY_MODE & ~self.umask) | inherited)

    def sync_names_above(self, path: Path) -> None:
        """Bring the names of the folders above a final path to the storage, that of the destination too.

        This run made them, or a dead one that came no further. Old ones are there.

        Raises:
            NotOnStorageError: if they are not there.

        """
        for folder in (*self._folders_above(path), self.path):
            with self._making:
                if folder in self._named_on_storage:
                    continue
            status = os.stat(folder)
            if not _is_settled(status):
                sync_folder(folder.parent)
            with self._making:
                self._named_on_storage[folder] = (status.st_dev, status.st_ino)

    def sync_bytes(self, file: OpenFile) -> None:
        """Bring the bytes of somebody else's file to the storage, so that what is read next comes from there.

        Its writer may have been told that they did not get there; nobody else would be told again (W8). What is older
        than an hour is there. A mount that was read-only from the beginning has nothing to bring.

        Raises:
            NotOnStorageError: if they are not there.

        """
        if self._read_only or _is_settled(file.status()):
            return
        try:
            file.sync()
        except NotOnStorageError as error:
            if error.errno not in _NO_SYNC:
                raise
        file.drop_cache()

    def sync_name(self, path: Path, file: OpenFile) -> None:
        """Bring the name of a right file to the storage, and those of the folders above it.

        Raises:
            NotOnStorageError: if they are not there.

        """
        if self._read_only:
            return
        if not _is_settled(file.status()):
            sync_folder(path.parent)
        self.sync_names_above(path)  # an old file may be in a folder that was moved here just now


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the file system of ``folder``.

    Raises:
        OSError: if it cannot be asked.

    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _is_read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_settled(status: os.stat_result) -> bool:
    """Whether nobody changed it for so long that it is on the storage, whatever became of who did."""
    age_s = time.time() - max(status.st_mtime, status.st_ctime)
    return age_s > _SETTLED_AFTER_S


def _real_folder(folder: Path) -> tuple[int, int] | None:
    """Device and inode of a folder; None for a link to one, for nothing, and for something else."""
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _is_like(name: str, other: str) -> bool:
    """Whether two names differ only in case or Unicode form."""
    one, two = (unicodedata.normalize("NFC", unicodedata.normalize("NFC", each).casefold()) for each in (name, other))
    return one == two


def _other_spellings(name: str) -> Iterable[str]:
    """Names that some file systems take for the same."""
    forms = (name.swapcase(), name.casefold(), name.upper(), *(unicodedata.normalize(f, name) for f in ("NFC", "NFD")))
    return {form for form in forms if form != name}


def _check_spelling(path: Path, status: os.stat_result) -> None:
    """Make sure that the entry in the folder has exactly this name (W9).

    Where case or Unicode form of a name do not count, another file, perhaps of another raw file, may answer to it.

    Raises:
        BlockedPathError: that names the entry.

    """
    # Not by inode numbers: some file systems in user space give each spelling one of its own.
    if not any(os.path.lexists(path.with_name(other)) for other in _other_spellings(path.name)):
        return
    with os.scandir(path.parent) as entries:
        names = {entry.name for entry in entries if entry.inode() == status.st_ino or _is_like(entry.name, path.name)}
    if path.name in names:
        return
    there = next(iter(sorted(names, key=lambda name: not _is_like(name, path.name))), path.name)
    raise BlockedPathError(reasons.OTHER_SPELLING.of(repr(there)))
