"""A file system in user space that is odd on demand: a folder shown through FUSE (Debian's python3-fusepy).

    /usr/bin/python3 odd_fs.py '{"backing": "/folder", "mount": "/mnt", "stale": true, "faults": [...]}'

What it can do that no file system at hand does:

- `fold`: "case" or "unicode" takes names for equal that differ in case, or in Unicode form; the spelling of the first
  one stays. "decompose" stores every name decomposed, as HFS+ does.
- `stale`: a call on an open file that was removed or replaced, through whatever mount, is answered ESTALE, as NFS does.
- `inodes` and `times`: "unstable" gives another inode number or mtime after a rename, as rclone and mergerfs do.
- `faults`: the nth call of an operation on names like a pattern is answered with an errno; each that fired is printed.
- `options`: of libfuse 2, such as `attr_timeout`.
"""

# Run by Debian's own Python, which knows nothing of this repository. Its calls are those that came from the kernel.

import errno
import itertools
import json
import os
import re
import sys
import unicodedata

from fusepy import FUSE, FuseOSError, Operations

_STAT = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_ino")
_STATVFS = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize", "f_namemax")
_TIMES = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")


class OddFs(Operations):
    """See the module."""

    use_ns = True

    def __init__(self, work):
        self._backing = work["backing"]
        self._fold = work.get("fold", "")
        self._stale = work.get("stale", False)
        self._unstable_inodes = work.get("inodes") == "unstable"
        self._unstable_times = work.get("times") == "unstable"
        self._faults = [{**fault, "seen": 0} for fault in work.get("faults", [])]
        self._renamed = {}
        self._number = itertools.count(1 << 40)

    def __call__(self, operation, path, *arguments):
        self._fail(operation, path)
        try:
            return super().__call__(operation, path, *arguments)
        except OSError as error:
            raise FuseOSError(error.errno) from None

    def _fail(self, operation, path):
        for fault in self._faults:
            if operation == fault["operation"] and path and re.search(fault["name"], path):
                fault["seen"] += 1
                if fault["nth"] <= fault["seen"] < fault["nth"] + fault.get("times", 1):
                    name = errno.errorcode[fault["errno"]]
                    print(f"{operation} {os.path.basename(path)} {fault['seen']} {name}", flush=True)
                    raise FuseOSError(fault["errno"])

    def _key(self, name):
        if self._fold == "case":
            return name.casefold()
        return unicodedata.normalize("NFC", name)

    def _real(self, path):
        """Where the backing folder has it, by the names that this file system takes for equal."""
        if not self._fold:
            return self._backing + path
        real = self._backing
        for name in filter(None, path.split("/")):
            wanted = unicodedata.normalize("NFD", name) if self._fold == "decompose" else name
            if not os.path.lexists(f"{real}/{wanted}") and os.path.isdir(real):
                equal = [there for there in os.listdir(real) if self._key(there) == self._key(wanted)]
                wanted = equal[0] if equal else wanted
            real = f"{real}/{wanted}"
        return real

    def _check_stale(self, fd):
        if self._stale and not os.fstat(fd).st_nlink:
            raise FuseOSError(errno.ESTALE)

    def getattr(self, path, fh=None):
        if fh is not None:
            self._check_stale(fh)
        real = self._real(path)
        status = os.lstat(real) if fh is None else os.fstat(fh)
        shown = {name: getattr(status, name) for name in _STAT} | {name[:-3]: getattr(status, name) for name in _TIMES}
        if self._unstable_inodes and real in self._renamed:
            shown["st_ino"] = self._renamed[real]
        return shown

    fgetattr = getattr

    def access(self, path, mode):
        if not os.access(self._real(path), mode):
            raise FuseOSError(errno.EACCES)

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._real(path))]

    def readlink(self, path):
        return os.readlink(self._real(path))

    def mkdir(self, path, mode):
        os.mkdir(self._real(path), mode)

    def rmdir(self, path):
        os.rmdir(self._real(path))

    def unlink(self, path):
        os.unlink(self._real(path))

    def symlink(self, path, target):
        os.symlink(target, self._real(path))

    def link(self, path, old):
        os.link(self._real(old), self._real(path), follow_symlinks=False)

    def rename(self, old, new):
        was, now = self._real(old), self._real(new)
        os.rename(was, now)
        self._renamed[now] = next(self._number)
        if self._unstable_times:
            os.utime(now)

    def chmod(self, path, mode):
        os.chmod(self._real(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self._real(path), uid, gid)

    def truncate(self, path, length, fh=None):
        os.truncate(self._real(path), length)

    ftruncate = truncate

    def utimens(self, path, times=None):
        os.utime(self._real(path), ns=times)

    def statfs(self, path):
        status = os.statvfs(self._real(path))
        return {name: getattr(status, name) for name in _STATVFS}

    def open(self, path, flags):
        return os.open(self._real(path), flags & ~os.O_APPEND)

    def create(self, path, mode, fi=None):
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path, size, offset, fh):
        self._check_stale(fh)
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._check_stale(fh)
        return os.pwrite(fh, data, offset)

    def flush(self, path, fh):
        self._check_stale(fh)

    def fsync(self, path, datasync, fh):
        self._check_stale(fh)
        os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        fd = os.open(self._real(path), os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    def release(self, path, fh):
        os.close(fh)


def main():
    work = json.loads(sys.argv[1])
    os.umask(0)
    options = {"attr_timeout": 0, "entry_timeout": 0} | work.get("options", {})
    FUSE(
        OddFs(work),
        work["mount"],
        foreground=True,
        nothreads=True,
        use_ino=True,
        hard_remove=True,
        big_writes=True,
        default_permissions=True,
        fsname="odd",
        **options,
    )


main()
