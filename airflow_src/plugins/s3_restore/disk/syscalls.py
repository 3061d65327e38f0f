"""System calls that Python's ``os`` lacks, and what the errors of the others mean here.

Everything that writes below a destination goes through functions of ``os`` and through this module, and nothing else:
the crash tests record these calls, and play what a power cut after each of them could leave (``tests/crash``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from s3_restore.model.exceptions import NotOnStorageError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
TAKEN_AWAY = (errno.ENOENT, errno.ESTALE)
"""What one gets when another run, or another host on NFS, moved or removed a file that one has or just saw (W13)."""
NO_HARD_LINKS = (
    *(errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL),
    errno.EIO,  # what rclone's mount says; where the storage failed, what is tried instead fails too
)

RENAME_NOREPLACE = 1
_NO_PREALLOCATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EPERM)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # file systems that have no such call
_libc = ctypes.CDLL(None, use_errno=True)
_RELATIVE_TO_CWD = -100  # AT_FDCWD


def close_fd(fd: int) -> None:
    """Give a file number back, once, whatever the call says: after an error it may be another thread's already.

    Raises:
        NotOnStorageError: when the system says that bytes were lost, as network file systems do here.

    """
    try:
        os.close(fd)
    except OSError as error:
        raise NotOnStorageError(error.errno, error.strerror) from None


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, also where the system takes less at once than it is given.

    Raises:
        OSError: if it cannot.

    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_fd(fd: int) -> None:
    """Bring what was written to the storage.

    Raises:
        NotOnStorageError: if it is not there, for whatever reason.

    """
    try:
        os.fsync(fd)
    except OSError as error:
        raise NotOnStorageError(error.errno, error.strerror) from None


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the storage; file systems that have no such call are left alone.

    Raises:
        NotOnStorageError: if they are not there.

    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        os.sync()  # one may make files in a folder that one may not read: then everything is synced
        return
    try:
        sync_fd(fd)
    except NotOnStorageError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)


def fallocate(fd: int, start: int, length: int) -> bool:
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


def renameat2(source: Path, target: Path, flags: int) -> None:
    """Make the call of that name; to those who audit it is a rename.

    Raises:
        OSError: what the call says; ENOSYS where the C library has none.

    """
    sys.audit("os.rename", source, target, -1, -1)
    function = getattr(_libc, "renameat2", None)
    number = errno.ENOSYS if function is None else errno.EINTR
    while number == errno.EINTR:
        paths = os.fsencode(source), os.fsencode(target)
        done = function(_RELATIVE_TO_CWD, paths[0], _RELATIVE_TO_CWD, paths[1], flags) == 0  # type: ignore[misc]
        number = 0 if done else ctypes.get_errno()
    if number:
        raise OSError(number, os.strerror(number), str(source), None, str(target))
