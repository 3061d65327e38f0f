"""Open files: read and written at offsets, by several threads at once."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from s3_restore.disk import owners
from s3_restore.disk.heartbeat import Heartbeat
from s3_restore.disk.syscalls import close_fd, fallocate, sync_fd
from s3_restore.model.names import JOURNAL, TEMPORARY_NAME

_ACL = "system.posix_acl_access"
_PREALLOCATION_STEP_BYTES = 16 * 1024**2
_SECOND_NS = 10**9
_CLOCKS_DIFFER_S = 3600.0  # at most, of workers and of file servers
_SLOW_STEP_S = 0.001  # a file system that notes a range takes microseconds, one that touches each page milliseconds


@dataclass(frozen=True)
class Identity:
    """What tells one state of one file from another, without reading it.

    The change time (ctime) is among it, since the modification time can be set back, as ``cp -p`` and ``rsync -t`` do.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Take it from a stat result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_moved(self, before: Identity) -> bool:
        """Whether this is the file ``before`` under another name: a rename changes nothing but the change time."""
        return (self.device, self.inode, self.size, self.mtime_ns) == (
            before.device,
            before.inode,
            before.size,
            before.mtime_ns,
        )

    def is_same_but_for_inode(self, other: Identity) -> bool:
        """Whether only the inode number tells the two apart."""
        return (self.device, self.size, self.mtime_ns, self.ctime_ns) == (
            other.device,
            other.size,
            other.mtime_ns,
            other.ctime_ns,
        )

    def shows_later_changes(self, seen_at: float) -> bool:
        """Whether a file that was seen in this state at ``seen_at``, and is in it still, was not written to since.

        Some file systems count whole seconds (ext4 with small inodes, SFTP, HFS+, FAT): there, what was written to in
        the second in which it was seen looks as before.
        """
        in_whole_seconds = self.ctime_ns % _SECOND_NS == 0
        age_s = seen_at - max(self.mtime_ns, self.ctime_ns) / _SECOND_NS
        return not in_whole_seconds or age_s > _CLOCKS_DIFFER_S


class OpenFile:
    """An open file."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def fileno(self) -> int:
        """Its number."""
        return self._fd

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer from an offset; 0 at the end of the file."""
        return os.preadv(self._fd, [buffer], offset)

    def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of ``data`` at an offset."""
        while data:
            count = os.pwrite(self._fd, data, offset)
            data, offset = data[count:], offset + count

    def status(self) -> os.stat_result:
        """Everything that the system says of it now."""
        return os.fstat(self._fd)

    def identity(self) -> Identity:
        """Its state now."""
        return Identity.of(self.status())

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Ranges (first byte, byte after the last) that were written; what is only reserved is left out."""
        size = self.status().st_size
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
        """Bring what was written to the storage.

        Raises:
            NotOnStorageError: if it is not there.

        """
        sync_fd(self._fd)

    def drop_cache(self) -> None:
        """Ask the kernel to forget its copy, so that the next read comes from the storage."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def is_still_at(self, path: Path) -> bool:
        """Whether ``path`` still names this file: false when another process took it over."""
        try:
            there = os.lstat(path)
        except OSError:
            return False
        mine = self.status()
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Close it; twice is fine. Nothing was written, so an error of it tells nothing."""
        with contextlib.suppress(OSError):
            self._give_back()

    def _give_back(self) -> None:
        """Give the file number back, once: after an error it may already be that of another thread's new file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_fd(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TemporaryFile(OpenFile):
    """A file of ours on its way to be ``final``; alive, as others see it, until it is closed."""

    def __init__(self, path: Path, fd: int, final: Path, owner: str, heartbeat: Heartbeat) -> None:
        super().__init__(path, fd)
        self.final = final
        self.owner = owner
        self._heartbeat = heartbeat
        self._writing = threading.Lock()
        heartbeat.begin(path)

    @property
    def journal_path(self) -> Path:
        """Where its journal is, if it has one."""
        return journal_of(self.path)

    def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of ``data`` at an offset.

        One thread at a time: the kernel lets no two write to one file, and a thread that waits there spins on its core.
        """
        with self._writing:
            super().write_at(data, offset)

    def is_still_mine(self) -> bool:
        """Whether no other process has taken it over."""
        return self.is_still_at(self.path)

    def preallocate(self, size: int, before_each_step: Callable[[], None] = lambda: None) -> None:
        """Make it ``size`` bytes long and reserve the space where the file system can.

        In steps, so that others can write to it meanwhile: the kernel locks the file for as long as a step takes. Where
        a step takes as long as writing its bytes would (tmpfs), it ends: the writing finds out as soon.

        Args:
            size: bytes.
            before_each_step: may raise to stop.

        Raises:
            OSError: ENOSPC or EDQUOT when the space is not there.

        """
        self.cut_to(size)
        for start in range(0, size, _PREALLOCATION_STEP_BYTES):
            before_each_step()
            begun = time.thread_time()
            if not fallocate(self._fd, start, min(_PREALLOCATION_STEP_BYTES, size - start)):
                return
            if time.thread_time() - begun > _SLOW_STEP_S:
                return

    def cut_to(self, size: int) -> None:
        """Make it ``size`` bytes long: a tail that somebody left there would be part of the restored file."""
        if self.status().st_size != size:
            os.ftruncate(self._fd, size)

    def take_access_of(self, other: Path) -> None:
        """Take over group, mode and ACL of the file that this one replaces, as far as the system lets us (W12)."""
        with contextlib.suppress(OSError):
            status = os.lstat(other)
            with contextlib.suppress(OSError):  # a group that this user is not in is no reason to lose the mode too
                if self.status().st_gid != status.st_gid:
                    os.fchown(self._fd, -1, status.st_gid)
            with contextlib.suppress(OSError):
                self._take_acl_of(other)
            os.fchmod(self._fd, stat.S_IMODE(status.st_mode))  # after the ACL, which makes another thing of its bits

    def _take_acl_of(self, other: Path) -> None:
        try:
            acl = os.getxattr(other, _ACL, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENODATA:  # it has none, and this one may have that of its folder (default ACL)
                os.removexattr(self._fd, _ACL)
        else:
            os.setxattr(self._fd, _ACL, acl)

    def set_mode(self, mode: int) -> None:
        """Set its permission bits, as far as the system lets us."""
        with contextlib.suppress(OSError):
            os.fchmod(self._fd, mode)

    def end_writing(self) -> Identity:
        """Close it, and keep it alive: nobody takes it over before ``close``.

        Returns:
            Its last state.

        Raises:
            NotOnStorageError: when closing says that bytes were lost.

        """
        self._heartbeat.end(self.path)
        identity = self.identity()
        self._give_back()
        return identity

    def close(self) -> None:
        """Close it and give it up: the next attempt may take it over.

        Raises:
            NotOnStorageError: when closing says that bytes were lost.

        """
        self._heartbeat.end(self.path)
        owners.release(self.owner)
        self._give_back()

    def remove(self) -> None:
        """Close it and remove it and its journal."""
        with contextlib.suppress(OSError):
            self.close()
        self.path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)


def is_one_file(path: Path, other: Path) -> bool:
    """Whether two names are of one file; false where that cannot be asked.

    A network file system may have given a file its new name although the call says otherwise: an answer was lost, and
    the server, asked again, said that the name is taken; or nobody asked again.
    """
    try:
        return Identity.of(os.lstat(path)).is_moved(Identity.of(os.lstat(other)))
    except OSError:
        return False


def journal_of(path: Path) -> Path:
    """Path of the journal that belongs to a temporary file."""
    return path.with_suffix(f".{JOURNAL}")


def owner_of(path: Path) -> str:
    """Token of the owner in a temporary name; empty for another name."""
    match = TEMPORARY_NAME.fullmatch(path.name)
    return match["owner"] if match else ""
