"""All access to the disk below one destination. Everything that writes, renames or removes stands here.

Beside a file ``name`` there may be, in the same folder (so that a rename never crosses a file system)::

    .s3dl.<digest of name>.<owner>.part      what has arrived, preallocated to the full size
    .s3dl.<digest of name>.<owner>.journal   how far it goes (see journal); large files only
    <name>.corrupted                         a version that did not match, until it is healed

The digest keeps temporary names short: ``name`` itself may be as long as the file system allows.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from s3_restore import owners
from s3_restore.file_specs import TEMPORARY_NAME

TEMPORARY_PREFIX = ".s3dl."
ASIDE_SUFFIX = ".corrupted"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EPERM)
_MAX_NAME_BYTES = 255
_STAT_BLOCK_BYTES = 512  # what st_blocks counts in, whatever the file system's own blocks are
_REPORT = "report"  # stands for any report in temporary names, so that one finds what another left that was killed
_REPORT_STALE_AFTER_S = 300.0  # a hundred times what writing one takes
_COPY_BYTES = 1024**2
_PREALLOCATION_STEP_BYTES = 16 * 1024**2  # some milliseconds on a tmpfs, which touches each page
_SIGN_OF_LIFE_S = 30.0


class BlockedPathError(Exception):
    """Something is in the way at a final path or above it. ``str()`` of it is one line for the operator."""


class ChangedMeanwhileError(Exception):
    """Another process changed the file between the look at it and the act on it."""


@dataclass(frozen=True)
class Identity:
    """What tells one state of one file from another, without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Take it from a stat result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class OpenFile:
    """An open file, read and written at offsets by several threads at once."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer from an offset; 0 at the end of the file."""
        return os.preadv(self._fd, [buffer], offset)

    def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of ``data`` at an offset."""
        while data:
            count = os.pwrite(self._fd, data, offset)
            data, offset = data[count:], offset + count

    def identity(self) -> Identity:
        """Its state now."""
        return Identity.of(os.fstat(self._fd))

    def preallocate(self, size: int, before_each_step: Callable[[], None] = lambda: None) -> None:
        """Make it ``size`` bytes long and reserve the space where the file system can.

        In steps, so that others can write to it meanwhile: the kernel locks the file for as long as a step takes.

        Args:
            size: bytes.
            before_each_step: may raise to stop.

        Raises:
            OSError: ENOSPC or EDQUOT when the space is not there.

        """
        if os.fstat(self._fd).st_size != size:
            os.ftruncate(self._fd, size)
        for start in range(0, size, _PREALLOCATION_STEP_BYTES):
            before_each_step()
            if not _fallocate(self._fd, start, min(_PREALLOCATION_STEP_BYTES, size - start)):
                return

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Ranges (first byte, byte after the last) that were written; what is only reserved is left out."""
        size = os.fstat(self._fd).st_size
        end = 0
        while end < size:
            try:
                start = os.lseek(self._fd, end, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole follows
                    return
                if error.errno != errno.EINVAL:
                    raise
                start, end = end, size  # a file system that does not know holes
            yield start, end

    def sync(self) -> None:
        """Bring what was written to the storage."""
        os.fsync(self._fd)

    def drop_cache(self) -> None:
        """Ask the kernel to forget its copy, so that the next read comes from the storage."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def is_still_at(self, path: Path) -> bool:
        """Whether ``path`` still names this file: false when another process took it over."""
        try:
            there = os.lstat(path)
        except OSError:
            return False
        mine = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Close it; twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TemporaryFile(OpenFile):
    """A file of ours on its way to be ``final``."""

    def __init__(self, path: Path, fd: int, final: Path, owner: str) -> None:
        super().__init__(path, fd)
        self.final = final
        self.owner = owner

    @property
    def journal_path(self) -> Path:
        """Where its journal is, if it has one."""
        return self.path.with_suffix(".journal")

    def is_still_mine(self) -> bool:
        """Whether no other process has taken it over."""
        return self.is_still_at(self.path)

    def close(self) -> None:
        """Close it and give it up: the next attempt may take it over."""
        super().close()
        owners.release(self.owner)

    def remove(self) -> None:
        """Close it and remove it and its journal."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)


class LocalFiles:
    """The files below one destination.

    Args:
        destination: folder to restore to; must exist.
        stale_after_s: silence after which a temporary file of another host counts as given up.
        reserved: relative paths that belong to the raw file itself and are never used for anything else.

    """

    def __init__(self, destination: Path, stale_after_s: float, reserved: Iterable[str] = ()) -> None:
        self.destination = destination
        self._real_destination = os.path.realpath(destination)
        self._device = os.stat(destination).st_dev
        self._stale_after_s = stale_after_s
        self._reserved = {destination / path for path in reserved}
        self._safe_folders: dict[Path, tuple[int, int]] = {}
        self._leftovers: dict[Path, dict[str, list[str]]] = {}
        self._lock = threading.Lock()

    def is_gone(self) -> bool:
        """Whether the destination vanished or another file system is there now, as when a mount is lost."""
        try:
            return os.stat(self.destination).st_dev != self._device
        except OSError:
            return True

    def path_of(self, relative_path: str) -> Path:
        """Final path of a file, after a look at the folders above it.

        Raises:
            BlockedPathError: when a folder above it leads out of the destination, or is no folder.

        """
        path = self.destination / relative_path
        self._check_above(path)
        return path

    def _check_above(self, path: Path) -> None:
        """Look at the folders above a final path; again before each step that writes, as they may be others by then.

        Raises:
            BlockedPathError: when one leads out of the destination, or is no folder.

        """
        folder = path.parent
        if folder == self.destination:
            return
        if self._is_checked(folder):
            return
        real_parent = os.path.realpath(folder)
        if os.path.commonpath([real_parent, self._real_destination]) != self._real_destination:
            raise BlockedPathError("Unsafe path (a symbolic link above it leads out of the destination)")
        for parent in path.relative_to(self.destination).parents:
            above = self.destination / parent
            if os.path.lexists(above) and not above.is_dir():
                raise BlockedPathError(f"A file is where the folder {str(parent)!r} belongs; nothing was touched")
        now = _device_and_inode(Path(real_parent))
        if now:
            self._safe_folders[folder] = now

    def _is_checked(self, folder: Path) -> bool:
        """Whether a folder was looked at before and is still the same one: it may have thousands of files."""
        checked = self._safe_folders.get(folder)
        return checked is not None and checked == _device_and_inode(folder)

    def look(self, path: Path) -> Identity | None:
        """What is at a final path; None for nothing.

        Raises:
            BlockedPathError: when it is no regular file.
            OSError: if it cannot be looked at.

        """
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        if stat.S_ISREG(status.st_mode):
            return Identity.of(status)
        if stat.S_ISLNK(status.st_mode):
            raise BlockedPathError("Unsafe path (a symbolic link is where the file belongs); nothing was touched")
        kind = "A folder" if stat.S_ISDIR(status.st_mode) else "Something that is no regular file"
        raise BlockedPathError(f"{kind} is where the file belongs; nothing was touched")

    def open_for_reading(self, path: Path) -> OpenFile:
        """Open an existing regular file.

        Raises:
            OSError: if it cannot be opened; ELOOP for a symbolic link.

        """
        # Without O_NONBLOCK a named pipe that took the file's place would be waited on for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        return OpenFile(path, fd)

    def make_folders(self, path: Path) -> None:
        """Make the folders above a final path, the destination itself excepted.

        Raises:
            OSError: if it cannot; also when the destination is gone. Made anew, it would be on the disk below the mount
                that was lost, and fill it.

        """
        if self._is_checked(path.parent):
            return
        if self.is_gone():
            raise FileNotFoundError(errno.ENOENT, "The destination is gone", str(self.destination))
        for folder in reversed(path.relative_to(self.destination).parents[:-1]):
            (self.destination / folder).mkdir(exist_ok=True)

    # --- temporary files ---------------------------------------------------------------------------------------

    def create_temporary(self, final: Path) -> TemporaryFile:
        """Create an empty temporary file in the folder of ``final``, with the mode that the umask gives.

        Raises:
            OSError: if it cannot.

        """
        self._check_above(final)
        owner = owners.new_owner()
        path = _temporary_path(final, owner)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except BaseException:
            owners.release(owner)
            raise
        return TemporaryFile(path, fd, final, owner)

    def take_over_temporary(self, final: Path) -> TemporaryFile | None:
        """Take over the temporary file that a dead attempt left with a journal; None when there is none.

        Renaming decides between two attempts that want the same one. Further leftovers of dead attempts are removed.
        """
        taken: TemporaryFile | None = None
        leftovers = self.dead_leftovers(final)
        if leftovers:
            self._check_above(final)
        for path in leftovers:
            journal = path.with_suffix(".journal")
            if taken is None and path.suffix == ".part" and journal.exists():
                taken = self._take(path, journal, final)
            elif path.suffix == ".part" or not path.with_suffix(".part").exists():
                _remove(path)
        return taken

    def give_up(self, temporary: TemporaryFile) -> None:
        """Leave a temporary file to the next attempt, be it of this run or of another."""
        temporary.close()
        with self._lock:
            names = self._leftovers.setdefault(temporary.final.parent, {})
            names.setdefault(_digest(temporary.final), []).extend((temporary.path.name, temporary.journal_path.name))

    def remove_leftovers(self, final: Path) -> None:
        """Remove what dead attempts left beside a file that is right now."""
        for path in self.dead_leftovers(final):
            _remove(path)

    def _take(self, path: Path, journal: Path, final: Path) -> TemporaryFile | None:
        owner = owners.new_owner()
        mine = _temporary_path(final, owner)
        try:
            journal.rename(mine.with_suffix(".journal"))
            path.rename(mine)
            if not owners.is_of_this_host(_owner_of(path)):
                _replace_by_copy(mine, final)
            fd = os.open(mine, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # another attempt was faster, or there is no room for a copy
            if not mine.exists():
                mine.with_suffix(".journal").unlink(missing_ok=True)
            owners.release(owner)
            return None
        return TemporaryFile(mine, fd, final, owner)

    def dead_leftovers(self, final: Path) -> list[Path]:
        """Temporary files and journals for ``final`` whose owners are dead."""
        folder = final.parent
        with self._lock:
            if folder not in self._leftovers:
                self._leftovers[folder] = _temporary_names(folder)
            names = self._leftovers[folder].pop(_digest(final), [])
        now = time.time()
        dead = []
        for name in names:
            match = TEMPORARY_NAME.fullmatch(name)
            silent_for_s = now - max(
                (_mtime(folder / name), _mtime((folder / name).with_suffix(".journal"))), default=0.0
            )
            if match and owners.is_dead(match["owner"], silent_for_s, self._stale_after_s):
                dead.append(folder / name)
        return sorted(dead, key=lambda path: (path.suffix != ".part", -_mtime(path)))

    # --- aside and into place ----------------------------------------------------------------------------------

    def find_asides(self, path: Path) -> list[Path]:
        """Versions that earlier runs set aside and could not heal, the newest last."""
        found = []
        for aside in _aside_paths(path):
            if aside in self._reserved:
                continue
            try:
                status = os.lstat(aside)
            except OSError:
                break
            if stat.S_ISREG(status.st_mode) and status.st_size:
                found.append(aside)
        return found

    def set_aside(self, path: Path, seen: Identity) -> Path:
        """Move a corrupted file aside, so that its path is empty (W2).

        Args:
            path: final path.
            seen: the state that was found to be corrupted; any other state is put back.

        Returns:
            Where it is now.

        Raises:
            ChangedMeanwhileError: when another state was there.
            OSError: if it cannot be moved.

        """
        if self.look(path) != seen:
            raise ChangedMeanwhileError(str(path))  # else a file that another run just healed would be moved away
        aside = self._reserve_aside(path)
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            _remove_if_empty(aside)
            raise ChangedMeanwhileError(str(path)) from None
        except OSError:
            _remove_if_empty(aside)
            raise
        if Identity.of(os.lstat(aside)) != seen:
            self._put_back(aside, path)
            raise ChangedMeanwhileError(str(path))
        sync_folder(path.parent)
        return aside

    def _reserve_aside(self, path: Path) -> Path:
        """Create an empty file under a free name: a rename onto it can then overwrite nothing of value."""
        for aside in _aside_paths(path):
            if aside in self._reserved:
                continue
            try:
                os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            except FileExistsError:
                continue
            return aside
        raise AssertionError("unreachable")

    @staticmethod
    def _put_back(aside: Path, path: Path) -> None:
        """Undo a move of the wrong file, without overwriting what may have come to ``path`` since."""
        try:
            os.link(aside, path, follow_symlinks=False)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or os.path.lexists(path):
                raise
            os.rename(aside, path)
            return
        aside.unlink()

    def put_in_place(
        self, temporary: TemporaryFile, asides: Sequence[Path] = (), journal: Path | None = None
    ) -> Identity:
        """Give proved bytes their final path; what was set aside is removed. The temporary file is closed.

        Args:
            temporary: the bytes, proved.
            asides: versions that were set aside, the newest last.
            journal: of the temporary file, where it has one.

        Returns:
            The state of the file in place.

        Raises:
            ChangedMeanwhileError: when another process took the temporary file over.
            OSError: if it cannot.

        """
        temporary.sync()
        if not temporary.is_still_mine():
            raise ChangedMeanwhileError(str(temporary.path))
        self._check_above(temporary.final)
        os.replace(temporary.path, temporary.final)
        sync_folder(temporary.final.parent)
        identity = temporary.identity()
        temporary.close()
        # The newest first: those that a crash leaves are then still found, as their numbers have no gap.
        for done_with in filter(None, (*reversed(asides), journal)):
            _remove(done_with)
        return identity


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the file system of ``folder``.

    Raises:
        OSError: if it cannot be asked.

    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def bytes_held(finals: Iterable[Path]) -> dict[Path, int]:
    """Bytes on disk that temporary files of earlier attempts hold: the next attempt takes them over or frees them."""
    names: dict[Path, dict[str, list[str]]] = {}
    held: dict[Path, int] = {}
    for final in finals:
        folder = final.parent
        with contextlib.suppress(OSError):
            if folder not in names:
                names[folder] = _temporary_names(folder)
            for name in names[folder].get(_digest(final), ()):
                held[final] = held.get(final, 0) + os.lstat(folder / name).st_blocks * _STAT_BLOCK_BYTES
    return held


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the storage; file systems that cannot are left alone."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(fd)


def write_new_file(folder: Path, names: Iterable[str], text: str) -> Path:
    """Write a whole text file under the first of ``names`` that is free; it appears complete or not at all (R3).

    Raises:
        OSError: if it cannot be written.

    """
    owner = owners.new_owner()
    with contextlib.suppress(OSError):
        for dead in LocalFiles(folder, _REPORT_STALE_AFTER_S).dead_leftovers(folder / _REPORT):
            _remove(dead)
    temporary = _temporary_path(folder / _REPORT, owner)
    try:
        _write_synced(temporary, text)
        for name in names:
            path = folder / name
            try:
                try:
                    _link_or_rename(temporary, path)
                except FileNotFoundError:  # a host whose clock is far ahead took it for what a dead run left (W6)
                    _write_synced(temporary, text)
                    _link_or_rename(temporary, path)
            except FileExistsError:
                continue
            sync_folder(folder)
            return path
        raise FileExistsError(errno.EEXIST, "No free name for the report", str(folder))
    finally:
        _remove(temporary)
        owners.release(owner)


def _write_synced(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with open(fd, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _link_or_rename(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # No hard links here (CIFS, FAT): reserve the name, then rename onto the reservation.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        try:
            os.replace(temporary, path)
        except OSError:
            _remove_if_empty(path)
            raise


def _digest(final: Path) -> str:
    return hashlib.sha256(os.fsencode(final.name)).hexdigest()[:12]


def _temporary_path(final: Path, owner: str) -> Path:
    return final.parent / f"{TEMPORARY_PREFIX}{_digest(final)}.{owner}.part"


def _temporary_names(folder: Path) -> dict[str, list[str]]:
    """Names of all temporary files in a folder by the digest of the name that they are for."""
    found: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = TEMPORARY_NAME.fullmatch(entry.name)
                if match and entry.is_file(follow_symlinks=False):
                    found.setdefault(match["digest"], []).append(entry.name)
    except FileNotFoundError:
        pass
    return found


def _aside_paths(path: Path) -> Iterator[Path]:
    """Names for a version that is set aside, in the order in which they are tried."""
    return (_aside_path(path, number) for number in itertools.count(1))


def _aside_path(path: Path, number: int) -> Path:
    suffix = ASIDE_SUFFIX if number == 1 else f"{ASIDE_SUFFIX}_{number}"
    name = path.name
    if len(os.fsencode(name + suffix)) > _MAX_NAME_BYTES:
        keep = _MAX_NAME_BYTES - len(suffix) - 13
        name = f"{os.fsencode(name)[:keep].decode(errors='ignore')}~{_digest(path)}"
    return path.with_name(name + suffix)


def _owner_of(temporary: Path) -> str:
    match = TEMPORARY_NAME.fullmatch(temporary.name)
    return match["owner"] if match else ""


def _replace_by_copy(mine: Path, final: Path) -> None:
    """Give a temporary file that was taken over from another host a body of its own.

    Nobody can tell whether its former owner is dead or only slow. A slow one notices at its next checkpoint, but may
    write until then, and its host may bring to the storage later what it wrote before: into the old body, which is
    nowhere by then, and not into what was proved here (W1, W6).

    Raises:
        OSError: when it cannot be copied.

    """
    journal = mine.with_suffix(".journal")
    owner = owners.new_owner()
    copy = _temporary_path(final, owner)
    try:
        os.utime(journal)  # from here on it is silent on our account
        with OpenFile(mine, os.open(mine, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as source:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with OpenFile(copy, os.open(copy, flags, 0o666)) as target:
                buffer = memoryview(bytearray(_COPY_BYTES))
                signed_at = time.monotonic()
                for start, end in source.data_ranges():
                    offset = start
                    while offset < end and (count := source.read_at(buffer[: min(len(buffer), end - offset)], offset)):
                        target.write_at(buffer[:count], offset)
                        offset += count
                        if time.monotonic() - signed_at > _SIGN_OF_LIFE_S:
                            os.utime(journal)
                            signed_at = time.monotonic()
        os.replace(copy, mine)
    except OSError:
        _remove(copy)
        _remove(mine)
        raise
    finally:
        owners.release(owner)


def _remove(path: Path) -> None:
    """Remove what is no longer needed; that it cannot be is no reason to call what went well a failure."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logging.warning("%s could not be removed (%s)", path, error.strerror)


def _device_and_inode(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_if_empty(path: Path) -> None:
    try:
        if not os.lstat(path).st_size:
            path.unlink()
    except FileNotFoundError:
        pass


def _mtime(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


_libc = ctypes.CDLL(None, use_errno=True)


def _fallocate(fd: int, start: int, length: int) -> bool:
    """Reserve space; false where the file system cannot.

    Not ``os.posix_fallocate``: where a file system cannot, that one writes a zero to every block.

    Raises:
        OSError: when there is no space.

    """
    function = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
    if function is None:
        return False
    number = errno.EINTR
    while number == errno.EINTR:
        if function(fd, 0, ctypes.c_int64(start), ctypes.c_int64(length)) == 0:
            return True
        number = ctypes.get_errno()
    if number not in _NO_PREALLOCATION:
        raise OSError(number, os.strerror(number))
    return False
