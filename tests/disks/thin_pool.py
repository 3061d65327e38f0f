"""A file system on a pool that runs full, as a thin pool or a sparse image does.

The file system says that it has 400 MB; the pool below has room for about 40. Writes are accepted into the page cache,
and fail when they are brought to the storage: fsync says ENOSPC or EIO, once, and from then on the kernel shows bytes
that the storage never got.
"""

import os
import re
import subprocess
from pathlib import Path

from tests.support.mounts import Disk, Mounts, make_image, run
from tests.support.raw_files import MIB

_POOL_MIB = 130
_SAID_MIB = 400
_BALLAST_MIB = 60
_BLOCK = 4096
_MKFS = ("-b", str(_BLOCK), "-J", "size=4")


class ThinPool:
    """The pool, and the disk on it.

    Args:
        mounts: takes it away.
        point: where the disk is mounted.

    """

    def __init__(self, mounts: Mounts, point: Path) -> None:
        self._pool = mounts.disk("ext4", mounts.folder / "pool", mib=_POOL_MIB, mkfs=("-O", "^has_journal"))
        image = self._pool.point / "disk.img"
        make_image(image, "ext4", _SAID_MIB, *_MKFS)
        _give_room_to_its_own_records(image)
        # Past the page cache of the pool, or its own lack of room would show only later.
        self.disk: Disk = mounts.mount(image, point, "ext4", direct_io=True)
        self._ballast = self._pool.point / "ballast"
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _BALLAST_MIB * MIB)

    def make_room(self) -> None:
        """Somebody tidies up, or the pool is made larger."""
        self._ballast.unlink()
        run("sync", "--file-system", self._pool.point)


def _give_room_to_its_own_records(image: Path) -> None:
    """Let the pool give these blocks a place, so that what fails is the bytes of files and never the file system."""
    journal = subprocess.run(
        ["debugfs", "-R", "stat <8>", str(image)], capture_output=True, text=True, check=True
    ).stdout.rpartition("EXTENTS")[2]
    fd = os.open(image, os.O_RDWR)
    try:
        _touch(fd, 0, 10 * MIB)
        for first, last, at in re.findall(r"\((\d+)(?:-(\d+))?\):(\d+)", journal):
            _touch(fd, int(at) * _BLOCK, (int(last or first) - int(first) + 1) * _BLOCK)
        os.fsync(fd)
    finally:
        os.close(fd)


def _touch(fd: int, start: int, count: int) -> None:
    for at in range(start, start + count, MIB):
        length = min(MIB, start + count - at)
        os.pwrite(fd, os.pread(fd, length, at), at)
