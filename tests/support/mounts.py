"""File systems in files, mounted for a test and taken away again whatever happens.

    with Mounts() as mounts:
        disk = mounts.disk("ext4", tmp_path / "output")         made, and mounted there
        disk.again()                                            from here on reads come from the storage
        disk.copy_to(mounts.folder / "cut")                     what a power cut at this instant would leave
        other = mounts.mount(mounts.folder / "cut", elsewhere)

Needs root and loop devices: where they are missing, `why_not` says so in a word for `pytest.skip`. Everything lies in
memory where there is room, so that a sync costs nothing.

The thread that asks first gets a mount namespace of its own, which is that of every process and thread that it starts
from then on; a process that was started earlier may `enter` it. So no other process can keep these mounts alive by
a namespace that it made meanwhile (then a disk that was unmounted here would not be), nobody sees them, and the kernel
takes them away when the last of these processes has ended, however that came.
"""

import atexit
import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
_PREFIX = "s3dl-mounts-"  # then the number of the process that made it
_LIMIT_S = 10
_FICLONE = 0x40049409
_NO_CLONES = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_MKFS = {
    "ext4": ("-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"),
    "ext2": ("-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0"),
    "xfs": ("-q", "-K"),
    "btrfs": ("-q", "-K"),
}
_PACKAGES = {"ext4": "e2fsprogs", "ext2": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
_OPTIONS = {"xfs": ("nouuid",)}  # a copy may be mounted beside its original
_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)
_live: "list[Mounts]" = []
_namespace = ""


def run(*argv: object) -> str:
    """Run a command; what it says when it fails is in the error."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, argv))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def own_namespace() -> str:
    """Give this thread a mount namespace of its own, once; returns where others find it."""
    global _namespace  # noqa: PLW0603 (there is one for each process)
    if not _namespace:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        run("mount", "--make-rslave", "/")  # what is mounted outside still comes in, nothing goes out
        _namespace = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/mnt"
    return _namespace


def enter(namespace: str) -> None:
    """Go over to the namespace of another process; only a process with one thread can."""
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, _CLONE_NEWNS), "setns")
    finally:
        os.close(fd)
    os.chdir("/")


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


@functools.lru_cache(maxsize=1)
def why_not() -> str:
    """Why nothing can be mounted here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        with Mounts() as mounts:
            point = mounts.folder / "point"
            point.mkdir()
            mounts.disk("ext4", point, mib=8)
    except OSError as error:
        return f"no loop device can be mounted: {error}"
    return ""


@dataclass
class Disk:
    """A file system in a file, mounted or not.

    Attributes:
        image: the file.
        kind: such as "ext4".
        point: where it is mounted.
        options: of mount.
        direct_io: whether the loop device goes past the page cache of what holds the file.
        device: such as "/dev/loop3", a new one with each mounting.

    """

    image: Path
    kind: str
    point: Path
    options: tuple[str, ...] = ()
    direct_io: bool = False
    device: str = ""

    def mount(self, *more: str) -> Self:
        """Mount it, with more options than usual for this one time."""
        direct = ("--direct-io=on",) if self.direct_io else ()
        self.device = run("losetup", *direct, "--find", "--show", self.image)
        options = ",".join((*_OPTIONS.get(self.kind, ()), *self.options, *more)) or "defaults"
        try:
            run("mount", "-t", self.kind, "-o", options, self.device, self.point)
        finally:
            run("losetup", "--detach", self.device)  # it goes with the mount, or now
        return self

    @property
    def name(self) -> str:
        """Of the device, such as "loop3"."""
        return Path(self.device).name

    def unmount(self) -> None:
        """As an operator does: everything that can still be brought to the storage is brought there."""
        run("umount", self.point)

    def again(self, *more: str) -> Self:
        """Unmount and mount it: nothing of the page cache is left."""
        self.unmount()
        return self.mount(*more)

    def lose(self) -> None:
        """It vanishes from where it was mounted, although it is in use."""
        run("umount", "--lazy", self.point)

    def repair(self) -> None:
        """What a boot does before it mounts a file system without a journal."""
        done = subprocess.run(["e2fsck", "-f", "-y", str(self.image)], capture_output=True, text=True, check=False)
        assert done.returncode < 4, f"e2fsck: {done.stdout}"

    def copy_to(self, to: Path) -> None:
        """Copy what has reached the device by now."""
        copy_image(self.image, to)


def copy_image(image: Path, to: Path) -> None:
    """Copy a file at one instant where the file system can share blocks, else as fast as it can."""
    with image.open("rb") as source, to.open("wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError as error:
            if error.errno not in _NO_CLONES:
                raise
            run("cp", "--sparse=always", image, to)


class Mounts:
    """A folder for images, and everything that was mounted from them.

    Args:
        base: where the folder is made; in memory, if not given and there is room.

    """

    def __init__(self, base: Path | None = None) -> None:
        own_namespace()
        sweep()
        if base is None and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
            base = _MEMORY
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        self._count = 0
        _live.append(self)

    def disk(self, kind: str, point: Path, *options: str, mib: int = 320, mkfs: tuple[str, ...] = ()) -> Disk:
        """Make a file system in a file and mount it; skips the test where this kind cannot be made or mounted."""
        self._count += 1
        image = self.folder / f"{self._count}.{kind}"
        make_image(image, kind, mib, *mkfs)
        return self.mount(image, point, kind, *options)

    def mount(self, image: Path, point: Path, kind: str, *options: str, direct_io: bool = False) -> Disk:
        point.mkdir(parents=True, exist_ok=True)
        try:
            self.newest = Disk(image, kind, point, options, direct_io).mount()
        except OSError as error:
            if "unknown filesystem type" in str(error):
                pytest.skip(f"the kernel does not know {kind}")
            raise
        return self.newest

    @staticmethod
    def unmount(point: Path) -> None:
        """Take away whatever was mounted there last."""
        run("umount", point)

    def close(self) -> None:
        """Take everything away, the newest first, be it in use or not."""
        unmount_all(self.folder)
        until = time.monotonic() + _LIMIT_S
        while leftovers(self.folder) and time.monotonic() < until:
            time.sleep(0.01)  # the kernel lets go of a loop device some time after the last user of it
        shutil.rmtree(self.folder, ignore_errors=True)
        if self in _live:
            _live.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_image(image: Path, kind: str, mib: int, *mkfs: str) -> None:
    program = shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not program:
        pytest.skip(f"needs mkfs.{kind} (Debian: {_PACKAGES.get(kind, kind)})")
    with image.open("wb") as file:
        file.truncate(mib << 20)
    run(program, *_MKFS.get(kind, ()), *mkfs, image)


def mounted_below(folder: Path) -> Iterator[str]:
    """Where file systems are mounted whose images lie in a folder, or that are mounted there; the newest first."""
    lines = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    for line in reversed(lines):
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        device = right.split()[1]
        backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
        image = backing.read_text() if device.startswith("/dev/loop") and backing.exists() else ""
        if point.startswith(f"{folder}/") or image.startswith(f"{folder}/"):
            yield point


def unmount_all(folder: Path) -> None:
    for point in list(mounted_below(folder)):
        with contextlib.suppress(OSError):
            run("umount", "--lazy", point)


def sweep() -> None:
    """Remove the images that a session left when it was killed; its mounts went with it."""
    for folder in (*_MEMORY.glob(f"{_PREFIX}*"), *Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def leftovers(folder: Path) -> list[str]:
    """Mounts and loop devices of images in a folder that are still there."""
    loops = [line for line in run("losetup", "--all").splitlines() if f"{folder}/" in line]
    return [f"{point} is mounted" for point in mounted_below(folder)] + loops


@atexit.register
def _close_all() -> None:
    for mounts in reversed(_live):
        mounts.close()
