"""What an error means: for the operator, and for the run."""

from __future__ import annotations

import errno
import os

from s3_restore.disk.syscalls import DISK_FULL
from s3_restore.model import reasons
from s3_restore.model.exceptions import (
    ChangedMeanwhileError,
    HashMismatchError,
    NotOnStorageError,
    TransientStoreError,
)
from s3_restore.model.reasons import Failure, failure_in

_OF_ERRNO = {errno.EACCES: reasons.NO_PERMISSION, errno.EROFS: reasons.READ_ONLY, errno.EIO: reasons.STORAGE_ERROR}


def failure_of(error: BaseException) -> Failure:
    """Say why a file failed that met this error."""
    if carried := failure_in(error):
        return carried
    if isinstance(error, ChangedMeanwhileError):
        return reasons.KEEPS_CHANGING.of()
    if isinstance(error, MemoryError):
        return reasons.OUT_OF_MEMORY.of()
    if isinstance(error, OSError) and error.errno:
        words = error.strerror or os.strerror(error.errno)
        if reason := _OF_ERRNO.get(error.errno):
            return reason.of(words)
        code = errno.errorcode.get(error.errno, str(error.errno))
        return (reasons.DISK_FULL if error.errno in DISK_FULL else reasons.FILE_SYSTEM_ERROR).of(words, code)
    return reasons.UNEXPECTED.of(type(error).__name__, error)


def is_disk_full(error: BaseException) -> bool:
    """Whether the file system has no more room."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


def is_passing(error: BaseException) -> bool:
    """Whether another try, after the other files, may go well."""
    return isinstance(error, (TransientStoreError, HashMismatchError, ChangedMeanwhileError))


def proves_nothing(error: BaseException) -> bool:
    """Whether the bytes of a temporary file may have been lost, whatever the kernel still shows of them (W8)."""
    return isinstance(error, NotOnStorageError) or (isinstance(error, OSError) and error.errno == errno.EIO)
