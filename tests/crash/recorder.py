"""Stands between the product and a real folder, and notes each system call that changes something below it.

The real folder is what a live process reads, the page cache included. Beside it the recorder keeps the ``Disk``, which
knows what of it is on the storage. Inode numbers are those of the model, so that they stay the same when what a power
cut left is laid out in another folder: the product writes them down, and compares them.
"""


# os.* says which system call is made, and on what.
# ruff: noqa: PTH101, PTH102, PTH115, PTH118, PTH123

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from s3_restore.disk import syscalls
from tests.crash.disk import Attributes, Crashed, CrashedFile, CrashedFolder, Disk, FileNode, FolderNode, Op, load

_ACL = "system.posix_acl_access"
_NUMBERS = 1000  # the first inode number of the model; the root is 1


class Killed(Exception):  # noqa: N818 (no error, but an end)
    """The process is dead: nothing that it tries changes anything."""


class Process:
    """A process of the model: threads that are started in it belong to it."""

    def __init__(self, pid: int, host: str) -> None:
        self.pid, self.host, self.random = pid, host, f"{pid:016x}"
        self.is_dead = False
        self.calls = 0


_current = threading.local()


def current_process() -> Process | None:
    """The process of the model that this thread belongs to."""
    return getattr(_current, "process", None) or getattr(threading.current_thread(), "crash_process", None)


@contextmanager
def within(process: Process) -> Iterator[None]:
    """This thread, and those that it starts, belong to the process meanwhile."""
    _current.process = process
    try:
        yield
    finally:
        _current.process = None


class Recorder:
    """See the module.

    Attributes:
        log: what was done, as ``Disk.apply`` takes it.
        before_call: called with (process, name of the call) before each call that changes something; may raise.
        sync_fails: (process, what is synced) -> errno and seed of what reaches the storage all the same, or None.
        ignored_sync: a place in the product (module.function) whose syncs do nothing and say that all is well.
        sync_places: those seen.
        failed_place: where the last sync was wanted that failed.
        has_links: whether there are hard links.
        has_free_rename: whether there is a rename that overwrites nothing.

    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.disk = Disk()
        self.log: list[Op] = []
        self.before_call: Callable[[Process | None, str], None] = lambda _process, _name: None
        self.sync_fails: Callable[[Process | None, FileNode | FolderNode], tuple[int, int] | None] = lambda *_: None
        self.ignored_sync = ""
        self.sync_places: set[str] = set()
        self.failed_place = ""
        self.has_links = self.has_free_rename = True
        self._numbers: dict[int, int] = {}  # of the real inode -> of the model's
        self._open: dict[int, tuple[int, int]] = {}  # file number -> (inode of the model, flags)
        self._next = _NUMBERS
        self._keeps_numbers = False
        self.lock = threading.RLock()
        self._real: dict[str, Any] = {}

    # --- the folder ------------------------------------------------------------------------------------------------

    def lay_out(self, crashed: Crashed) -> Disk:
        """Make the real folder what a power cut left; nothing of it is recorded."""
        made: dict[int, str] = {}
        for path, entry in crashed.items():
            real = os.path.join(self.root, path)
            if isinstance(entry, CrashedFolder):
                os.mkdir(real)
                os.chmod(real, entry.mode)
            elif entry.number in made:
                os.link(made[entry.number], real)
            else:
                made[entry.number] = real
                with open(real, "wb") as file:
                    file.write(entry.data)
                os.chmod(real, entry.attributes.mode)
                if entry.attributes.acl:
                    os.setxattr(real, _ACL, entry.attributes.acl)
                os.utime(real, ns=(entry.attributes.mtime_ns, entry.attributes.mtime_ns))
            self._numbers[os.lstat(real).st_ino] = entry.number
            self._next = max(self._next, entry.number + 1)
        self.disk = load(crashed)
        self._numbers[os.lstat(self.root).st_ino] = 1
        return load(crashed)

    def adopt(self) -> None:
        """Take what is in the real folder for stored, with its inode numbers; symbolic links are left out."""
        found: Crashed = {}
        for above, folders, files in os.walk(self.root):
            for name in [*folders, *files]:
                real = os.path.join(above, name)
                status = os.lstat(real)
                path = os.path.relpath(real, self.root)
                if stat.S_ISDIR(status.st_mode):
                    found[path] = CrashedFolder(status.st_ino, stat.S_IMODE(status.st_mode))
                elif stat.S_ISREG(status.st_mode):
                    attributes = Attributes(stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime_ns)
                    found[path] = CrashedFile(status.st_ino, Path(real).read_bytes(), attributes)
        self.disk = load(found)
        self._numbers = {number: number for number in self.disk.nodes if number != 1}
        self._numbers[os.lstat(self.root).st_ino] = 1
        self._keeps_numbers = True
        self._next = 1 << 60

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Record what this process does below the folder."""
        names = [name.removeprefix("_call_") for name in dir(self) if name.startswith("_call_")]
        self._real = {name: getattr(os, name) for name in names}
        starting = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            thread.crash_process = current_process()  # type: ignore[attr-defined]
            starting(thread)

        self._real["renameat2"] = syscalls.renameat2
        threading.Thread.start = start  # type: ignore[method-assign]
        for name in names:
            setattr(os, name, getattr(self, f"_call_{name}"))
        syscalls.renameat2 = self._renameat2
        try:
            yield
        finally:
            syscalls.renameat2 = self._real.pop("renameat2")
            threading.Thread.start = starting  # type: ignore[method-assign]
            for name, function in self._real.items():
                setattr(os, name, function)

    def say(self, *said: object) -> None:
        """Note what the product said."""
        with self.lock:
            self._note("say", *said)

    # --- between ---------------------------------------------------------------------------------------------------

    def _note(self, *op: Any) -> None:
        self.disk.apply(op)
        self.log.append(op)

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        process = current_process()
        if process and process.is_dead:
            raise Killed
        self.before_call(process, name)
        with self.lock:
            if process:
                if process.is_dead:
                    raise Killed
                process.calls += 1
            yield

    def _inside(self, path: Any, dir_fd: int | None = None) -> tuple[FolderNode, str] | None:
        """The folder of the model and the name in it; None for what is elsewhere."""
        if isinstance(path, int):
            return None
        text = os.path.normpath(os.fsdecode(path))
        if dir_fd is not None:
            text = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)
        if not text.startswith(self.root + "/"):
            return None
        *above, name = text[len(self.root) + 1 :].split("/")
        folder = self.disk.root
        for component in above:
            node = folder.cache.get(component)
            if not isinstance(node, FolderNode):
                return None
            folder = node
        return folder, name

    def _node(self, path: Any, dir_fd: int | None = None) -> FileNode | FolderNode | None:
        if isinstance(path, int):
            opened = self._open.get(path)
            return self.disk.nodes[opened[0]] if opened else None
        if os.fsdecode(path) == self.root:
            return self.disk.root
        inside = self._inside(path, dir_fd)
        return inside[0].cache.get(inside[1]) if inside else None

    def _new_number(self, status: os.stat_result) -> int:
        number = status.st_ino
        if (
            not self._keeps_numbers or number in self.disk.nodes
        ):  # the second: it is used again, the first one's disk not
            self._next += 1
            number = self._next
        self._numbers[status.st_ino] = number
        return number

    def _attributes(self, target: Any) -> Attributes:
        status = self._real["stat"](target)
        acl = b""
        with suppress(OSError):
            acl = os.getxattr(target, _ACL)
        return Attributes(stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime_ns, acl)

    def _catch_up(self, node: FileNode, target: Any) -> None:
        """Note what was written past us, as buffered files of Python do."""
        target = f"/proc/self/fd/{target}" if isinstance(target, int) else target
        fd = self._real["open"](target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = self._real["fstat"](fd).st_size
            data = os.pread(fd, size, 0) if size else b""
            if len(data) != len(node.cache):
                self._note("truncate", node.number, len(data), self._attributes(fd))
            if data != node.cache:
                self._note("write", node.number, 0, data, self._attributes(fd))
        finally:
            self._real["close"](fd)

    # --- calls: files ----------------------------------------------------------------------------------------------

    def _call_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        inside = self._inside(path, dir_fd)
        if inside is None:
            fd = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            if os.fsdecode(path) == self.root:
                self._open[fd] = (1, flags)
            return fd
        folder, name = inside
        if flags & os.O_CREAT and name not in folder.cache:
            with self._turn("open"):
                fd = self._real["open"](path, flags, mode, dir_fd=dir_fd)
                number = self._new_number(self._real["fstat"](fd))
                self._note("create", folder.number, name, number, self._attributes(fd))
                self._open[fd] = (number, flags)
                return fd
        with self.lock:
            fd = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            node = folder.cache.get(name)
            if node is None:
                return fd
            self._open[fd] = (node.number, flags)
            if flags & os.O_TRUNC and isinstance(node, FileNode):
                self._note("truncate", node.number, 0, self._attributes(fd))
            return fd

    def _call_close(self, fd: int) -> None:
        with self.lock:
            self._open.pop(fd, None)
            self._real["close"](fd)

    def _call_write(self, fd: int, data: Any) -> int:
        opened = self._open.get(fd)
        if opened is None:
            return self._real["write"](fd, data)
        with self._turn("write"):
            number, flags = opened
            at = len(self.disk.file(number).cache) if flags & os.O_APPEND else os.lseek(fd, 0, os.SEEK_CUR)
            count = self._real["write"](fd, data)
            self._note("write", number, at, bytes(memoryview(data)[:count]), self._attributes(fd))
            return count

    def _call_pwrite(self, fd: int, data: Any, offset: int) -> int:
        opened = self._open.get(fd)
        if opened is None:
            return self._real["pwrite"](fd, data, offset)
        with self._turn("write"):
            count = self._real["pwrite"](fd, data, offset)
            self._note("write", opened[0], offset, bytes(memoryview(data)[:count]), self._attributes(fd))
            return count

    def _call_pwritev(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        if fd not in self._open:
            return self._real["pwritev"](fd, buffers, offset, flags)
        return self._call_pwrite(fd, b"".join(bytes(each) for each in buffers), offset)

    def _call_ftruncate(self, fd: int, size: int) -> None:
        opened = self._open.get(fd)
        if opened is None:
            self._real["ftruncate"](fd, size)
            return
        with self._turn("truncate"):
            self._real["ftruncate"](fd, size)
            self._note("truncate", opened[0], size, self._attributes(fd))

    def _call_truncate(self, path: Any, size: int) -> None:
        node = self._node(path)
        if node is None:
            self._real["truncate"](path, size)
            return
        with self._turn("truncate"):
            self._real["truncate"](path, size)
            self._note("truncate", node.number, size, self._attributes(path))

    def _call_fsync(self, fd: int) -> None:
        node = self._node(fd)
        if node is None:
            self._real["fsync"](fd)
            return
        with self._turn("fsync"):
            if isinstance(node, FileNode):
                self._catch_up(node, fd)
            place = _place_in_the_product()
            self.sync_places.add(place)
            if place == self.ignored_sync:
                return
            fails = self.sync_fails(current_process(), node)
            if fails:
                self.failed_place = place
                self.lose(node.number, fails[1])
                raise OSError(fails[0], os.strerror(fails[0]))
            self._note("sync", node.number)  # the real one would only cost time

    def _call_fdatasync(self, fd: int) -> None:
        self._call_fsync(fd)

    def _call_sync(self) -> None:
        with self._turn("sync"):
            self._note("sync_all")

    def _call_posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        node = self._node(fd)
        if not isinstance(node, FileNode) or advice != os.POSIX_FADV_DONTNEED:
            self._real["posix_fadvise"](fd, offset, length, advice)
            return
        with self._turn("fadvise"):
            before = bytes(node.cache)
            self._note("drop", node.number)
            if before != node.cache:
                self._show(node, fd)

    def lose(self, number: int, seed: int) -> None:
        """What is dirty of a file does not reach the storage, and the kernel takes it for clean."""
        self._note("fail", number, seed)

    def _show(self, node: FileNode, fd: int) -> None:
        """Make the real file what the model's cache has."""
        status = self._real["fstat"](fd)
        writable = self._real["open"](f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._real["pwrite"](writable, bytes(node.cache), 0)
        finally:
            self._real["close"](writable)
        self._real["utime"](fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    # --- calls: names ----------------------------------------------------------------------------------------------

    def _call_mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        if inside is None:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            return
        folder, name = inside
        if name in folder.cache:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)  # says so
            return
        with self._turn("mkdir"):
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            status = self._real["lstat"](path, dir_fd=dir_fd)
            self._note("mkdir", folder.number, name, self._new_number(status), stat.S_IMODE(status.st_mode))

    def _call_link(
        self,
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        node, inside = self._node(source, src_dir_fd), self._inside(target, dst_dir_fd)
        options = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd, "follow_symlinks": follow_symlinks}
        if node is None or inside is None or inside[1] in inside[0].cache:
            self._real["link"](source, target, **options)
            return
        if not self.has_links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        with self._turn("link"):
            if isinstance(node, FileNode):
                self._catch_up(node, source)
            self._real["link"](source, target, **options)
            self._note("link", inside[0].number, inside[1], node.number)

    def _call_rename(
        self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        self._rename("rename", source, target, src_dir_fd, dst_dir_fd)

    def _call_replace(
        self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        self._rename("replace", source, target, src_dir_fd, dst_dir_fd)

    def _rename(self, how: str, source: Any, target: Any, src_dir_fd: int | None, dst_dir_fd: int | None) -> None:
        self._do_rename(
            self._inside(source, src_dir_fd),
            self._inside(target, dst_dir_fd),
            source,
            lambda: self._real[how](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd),
        )

    def _renameat2(self, source: Path, target: Path, flags: int) -> None:
        here, there = self._inside(source), self._inside(target)
        if here and there and not self.has_free_rename:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._do_rename(here, there, source, lambda: self._real["renameat2"](source, target, flags))

    def _do_rename(
        self,
        here: tuple[FolderNode, str] | None,
        there: tuple[FolderNode, str] | None,
        source: Any,
        rename: Callable[[], None],
    ) -> None:
        if here is None or there is None or here[1] not in here[0].cache:
            rename()
            return
        with self._turn("rename"):
            node = here[0].cache.get(here[1])
            if isinstance(node, FileNode):
                self._catch_up(node, source)
            rename()
            self._note("rename", here[0].number, here[1], there[0].number, there[1])

    def _call_unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        if inside is None or inside[1] not in inside[0].cache:
            self._real["unlink"](path, dir_fd=dir_fd)
            return
        with self._turn("unlink"):
            self._real["unlink"](path, dir_fd=dir_fd)
            self._note("unlink", inside[0].number, inside[1])

    def _call_remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._call_unlink(path, dir_fd=dir_fd)

    def _call_rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        self._real["rmdir"](path, dir_fd=dir_fd)
        if inside:
            self._note("unlink", inside[0].number, inside[1])

    def _call_symlink(self, *arguments: Any, **options: Any) -> None:
        inside = self._inside(arguments[1])
        assert inside is None, "symbolic links are not in the model"
        self._real["symlink"](*arguments, **options)

    # --- calls: attributes -----------------------------------------------------------------------------------------

    def _change(self, name: str, target: Any, *arguments: Any, **options: Any) -> None:
        node = self._node(target)
        if node is None:
            self._real[name](target, *arguments, **options)
            return
        with self._turn("attributes"):
            self._real[name](target, *arguments, **options)
            if isinstance(node, FileNode):
                self._note("attributes", node.number, self._attributes(target))
            else:
                self._note("folder_mode", node.number, stat.S_IMODE(self._real["stat"](target).st_mode))

    def _call_utime(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("utime", target, *arguments, **options)

    def _call_chmod(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("chmod", target, *arguments, **options)

    def _call_fchmod(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("fchmod", target, *arguments, **options)

    def _call_chown(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("chown", target, *arguments, **options)

    def _call_fchown(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("fchown", target, *arguments, **options)

    def _call_setxattr(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("setxattr", target, *arguments, **options)

    def _call_removexattr(self, target: Any, *arguments: Any, **options: Any) -> None:
        self._change("removexattr", target, *arguments, **options)

    # --- calls: looks ----------------------------------------------------------------------------------------------

    def _call_stat(self, target: Any, **options: Any) -> os.stat_result:
        return self._virtual(self._real["stat"](target, **options))

    def _call_lstat(self, target: Any, **options: Any) -> os.stat_result:
        return self._virtual(self._real["lstat"](target, **options))

    def _call_fstat(self, fd: int) -> os.stat_result:
        return self._virtual(self._real["fstat"](fd))

    def _virtual(self, status: os.stat_result) -> os.stat_result:
        """The same with the inode number of the model."""
        number = self._numbers.get(status.st_ino)
        if number is None or status.st_dev != self._device:
            return status
        named = {name: getattr(status, name) for name in _NAMED}
        return os.stat_result((status.st_mode, number, *tuple(status)[2:]), named)

    @property
    def _device(self) -> int:
        if not hasattr(self, "_device_of_root"):
            self._device_of_root = self._real["lstat"](self.root).st_dev
        return self._device_of_root


_NAMED = (
    "st_atime",
    "st_mtime",
    "st_ctime",
    "st_atime_ns",
    "st_mtime_ns",
    "st_ctime_ns",
    "st_blksize",
    "st_blocks",
    "st_rdev",
)
_THIN = ("sync", "sync_fd", "sync_folder")  # they only hand the call on


def _place_in_the_product() -> str:
    """Which function of the product wants this, as module.function of what."""
    frame: FrameType | None = sys._getframe(1)
    thin = ""
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("s3_restore."):
            name = frame.f_code.co_name
            if name not in _THIN:
                return f"{module.rpartition('.')[2]}.{name}{thin}"
            thin = " of a folder" if name == "sync_folder" else thin
        frame = frame.f_back
    return "elsewhere"
