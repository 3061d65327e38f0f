"""A disk, as it is after each system call, and everything that a power cut could leave of it then.

What a live process reads is the *cache*; what a power cut leaves is the *storage*. The rules that say how far the one
may be behind the other are in the docstring of this package.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

BLOCK = 4096
SECTOR = 512
LOST_AND_FOUND = "lost+found"
_LOST_AND_FOUND = 11  # its number on ext2
Op = tuple  # (name, arguments …), as ``Disk.apply`` takes them


@dataclass(frozen=True)
class Attributes:
    """What a file has beside its bytes."""

    mode: int = 0o644
    group: int = 0
    mtime_ns: int = 0
    acl: bytes = b""


@dataclass
class FileNode:
    """A file, by whatever names."""

    number: int
    attributes: Attributes
    cache: bytearray = field(default_factory=bytearray)
    stored: bytes = b""
    stored_attributes: Attributes = field(default_factory=Attributes)
    versions: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)  # block -> (step, bytes) since the sync
    sizes: list[tuple[int, int]] = field(default_factory=list)
    is_cut: bool = False  # it was made shorter since the sync: blocks of before may be free and new

    def write(self, step: int, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.cache):
            self.cache.extend(bytes(end - len(self.cache)))
            self.sizes.append((step, end))
        self.cache[offset:end] = data
        for block in range(offset // BLOCK, -(-end // BLOCK)):
            self.versions.setdefault(block, []).append((step, _block(self.cache, block)))

    def truncate(self, step: int, size: int) -> None:
        before = len(self.cache)
        if size > before:
            self.cache.extend(bytes(size - before))
        else:
            del self.cache[size:]
            self.is_cut = True
            for block in range(size // BLOCK, -(-before // BLOCK)):
                self.versions.setdefault(block, []).append((step, _block(self.cache, block)))
        self.sizes.append((step, size))

    def sync(self) -> None:
        """What is dirty gets to the storage; what the kernel takes for clean stays as it is there."""
        blocks = range(-(-len(self.cache) // BLOCK))
        stored = b"".join(_block(self.cache if block in self.versions else self.stored, block) for block in blocks)
        self.stored, self.stored_attributes = stored[: len(self.cache)], self.attributes
        self._is_clean()

    def fail_to_sync(self, rng: random.Random) -> None:
        """The kernel could not write what is dirty, and takes it for clean: reads still show it (W8)."""
        self.stored = self.draw_bytes(rng, Style("each", "lost" if rng.random() < 0.5 else "each"))
        self._is_clean()

    def drop_cache(self) -> bool:
        """Forget what is clean; whether a read gives other bytes from now on."""
        before = bytes(self.cache)
        for block in range(-(-len(self.cache) // BLOCK)):
            if block not in self.versions:
                start = block * BLOCK
                length = min(BLOCK, len(self.cache) - start)
                self.cache[start : start + length] = _block(self.stored, block)[:length]
        return before != self.cache

    def draw_bytes(self, rng: random.Random, style: Style) -> bytes:
        if not self.versions and not self.sizes:
            return self.stored
        sizes = [size for step, size in self.sizes if step <= style.until]
        size = style.choose(rng, style.data, [len(self.stored), *sizes], zero=None)
        blocks = []
        for block in range(-(-size // BLOCK)):
            old = _block(self.stored, block)
            versions = [data for step, data in self.versions.get(block, ()) if step <= style.until]
            is_new = self.is_cut or block * BLOCK >= len(self.stored)
            blocks.append(_draw_block(rng, style, [old, *versions], is_new=is_new))
        return b"".join(blocks)[:size]

    def draw_attributes(self, rng: random.Random, style: Style) -> Attributes:
        if self.attributes == self.stored_attributes or style.until < style.now:
            return self.stored_attributes
        old, new = self.stored_attributes, self.attributes
        pick: Callable[[str], object] = lambda name: getattr(rng.choice([old, new]), name)  # noqa: E731
        if style.data in ("kept", "lost"):
            return new if style.data == "kept" else old
        return replace(new, **{name: pick(name) for name in ("mode", "group", "mtime_ns", "acl")})

    def _is_clean(self) -> None:
        self.versions.clear()
        self.sizes.clear()
        self.is_cut = False


@dataclass
class FolderNode:
    """A folder: names, and what they lead to."""

    number: int
    mode: int = 0o755
    cache: dict[str, FileNode | FolderNode] = field(default_factory=dict)
    stored: dict[str, FileNode | FolderNode] = field(default_factory=dict)
    changes: dict[str, list[tuple[int, FileNode | FolderNode | None]]] = field(default_factory=dict)

    def set(self, step: int, name: str, node: FileNode | FolderNode | None) -> None:
        if node is None:
            self.cache.pop(name, None)
        else:
            self.cache[name] = node
        self.changes.setdefault(name, []).append((step, node))

    def sync(self) -> None:
        self.stored = dict(self.cache)
        self.changes.clear()

    def draw_names(self, rng: random.Random, style: Style) -> dict[str, FileNode | FolderNode]:
        found = dict(self.stored)
        for name, changes in self.changes.items():
            nodes = [node for step, node in changes if step <= style.until]
            node = style.choose(rng, style.names, [self.stored.get(name), *nodes], zero=None)
            found.pop(name, None)
            if node is not None:
                found[name] = node
        return found


@dataclass(frozen=True)
class Style:
    """How one power cut deals with what was not synced.

    Attributes:
        names: "kept", "lost", or "each" name for itself.
        data: "kept", "lost", "zero" (new blocks are allocated, and nothing is in them), or "each" block for itself.
        loses_renamed: whether a file can lose both names when its rename was not synced, as on ext2, where the two
            changes may be in two blocks; its fsck puts the file to lost+found. Elsewhere a rename that is half on the
            storage leaves at least one.
        until: what was done after this step never left the memory, as file systems with a journal have it.
        now: the step after which the power is cut.

    """

    names: str
    data: str
    loses_renamed: bool = False
    until: int = 1 << 60
    now: int = 0

    @staticmethod
    def choose(rng, how, versions, *, zero):
        """Choose one of the versions of a name, a size or a block; the first is the one on the storage."""
        if how == "kept" or len(versions) == 1:
            return versions[-1]
        if how == "lost":
            return versions[0]
        if how == "zero":
            return versions[-1] if zero is None else zero
        return rng.choice([versions[0], versions[-1], rng.choice(versions)])


@dataclass(frozen=True)
class CrashedFile:
    """A file that a power cut left."""

    number: int
    data: bytes
    attributes: Attributes


@dataclass(frozen=True)
class CrashedFolder:
    """A folder that a power cut left."""

    number: int
    mode: int


Crashed = dict[str, CrashedFile | CrashedFolder]
"""Relative path -> what is there."""


class Disk:
    """See the module. Number 1 is the root."""

    def __init__(self) -> None:
        self.root = FolderNode(1)
        self.nodes: dict[int, FileNode | FolderNode] = {1: self.root}
        self.step = 0
        self._renames: list[tuple[FolderNode, str, FolderNode, str, FileNode | FolderNode]] = []  # not synced yet

    def file(self, number: int) -> FileNode:
        node = self.nodes[number]
        assert isinstance(node, FileNode)
        return node

    def folder(self, number: int) -> FolderNode:
        node = self.nodes[number]
        assert isinstance(node, FolderNode)
        return node

    def apply(self, op: Op) -> None:
        """Do what one system call did."""
        self.step += 1
        name, *arguments = op
        getattr(self, f"_do_{name}")(*arguments)

    # --- operations ------------------------------------------------------------------------------------------------

    def _do_create(self, parent: int, name: str, number: int, attributes: Attributes) -> None:
        node = FileNode(number, attributes, stored_attributes=attributes)
        self.nodes[number] = node
        self.folder(parent).set(self.step, name, node)

    def _do_mkdir(self, parent: int, name: str, number: int, mode: int) -> None:
        node = FolderNode(number, mode)
        self.nodes[number] = node
        self.folder(parent).set(self.step, name, node)

    def _do_write(self, number: int, offset: int, data: bytes, attributes: Attributes) -> None:
        file = self.file(number)
        file.write(self.step, offset, data)
        file.attributes = attributes

    def _do_truncate(self, number: int, size: int, attributes: Attributes) -> None:
        file = self.file(number)
        file.truncate(self.step, size)
        file.attributes = attributes

    def _do_attributes(self, number: int, attributes: Attributes) -> None:
        self.file(number).attributes = attributes

    def _do_folder_mode(self, number: int, mode: int) -> None:
        self.folder(number).mode = mode

    def _do_sync(self, number: int) -> None:
        self.nodes[number].sync()
        self._renames = [each for each in self._renames if number not in (each[0].number, each[2].number)]

    def _do_sync_all(self) -> None:
        for node in self.nodes.values():
            node.sync()

    def _do_fail(self, number: int, seed: int) -> None:
        node = self.nodes[number]
        if isinstance(node, FileNode):
            node.fail_to_sync(random.Random(seed))

    def _do_drop(self, number: int) -> None:
        self.file(number).drop_cache()

    def _do_link(self, parent: int, name: str, number: int) -> None:
        self.folder(parent).set(self.step, name, self.nodes[number])

    def _do_unlink(self, parent: int, name: str) -> None:
        self.folder(parent).set(self.step, name, None)

    def _do_rename(self, parent: int, name: str, new_parent: int, new_name: str) -> None:
        node = self.folder(parent).cache[name]
        if self.folder(new_parent).cache.get(new_name) is node:
            return  # two names of one file: POSIX wants nothing to be done
        self.folder(new_parent).set(self.step, new_name, node)
        self.folder(parent).set(self.step, name, None)
        self._renames.append((self.folder(parent), name, self.folder(new_parent), new_name, node))

    def _do_say(self, *_said: object) -> None:
        """No call to the disk: the product said something that must be true from here on."""

    # --- the power cut ---------------------------------------------------------------------------------------------

    def cut(self, rng: random.Random, style: Style) -> Crashed:
        """Everything that one power cut leaves."""
        style = replace(style, now=self.step)
        names = {
            node.number: node.draw_names(rng, style) for node in self.nodes.values() if isinstance(node, FolderNode)
        }
        if style.loses_renamed:
            self._find_lost(names)
        else:
            self._keep_renamed(names)
        crashed: Crashed = {}
        files: dict[int, CrashedFile] = {}
        for path, node in _walk(names, self.root, ""):
            if isinstance(node, FolderNode):
                crashed[path] = CrashedFolder(node.number, node.mode)
                continue
            if node.number not in files:
                files[node.number] = CrashedFile(
                    node.number, node.draw_bytes(rng, style), node.draw_attributes(rng, style)
                )
            crashed[path] = files[node.number]
        return crashed

    def _keep_renamed(self, names: dict[int, dict[str, FileNode | FolderNode]]) -> None:
        """Give files that would lose both names of a rename the old one back."""
        for folder, name, new_folder, new_name, node in self._renames:
            there = {each.number for found in names.values() for each in found.values()}
            if node.number in there:
                continue
            if name not in names[folder.number]:
                names[folder.number][name] = node
            else:
                names[new_folder.number].setdefault(new_name, node)

    def _find_lost(self, names: dict[int, dict[str, FileNode | FolderNode]]) -> None:
        """What fsck does with files that are there, and have no name."""
        there = {each.number for found in names.values() for each in found.values()}
        lost = {node.number: node for *_, node in self._renames if node.number not in there}
        if lost:
            folder = FolderNode(_LOST_AND_FOUND)
            names[folder.number] = {f"#{number}": node for number, node in lost.items()}
            names[self.root.number][LOST_AND_FOUND] = folder

    def is_quiet(self) -> bool:
        """Whether everything is on the storage, so that a power cut can leave one thing only."""
        return not any(
            node.changes if isinstance(node, FolderNode) else node.versions or node.sizes
            for node in self.nodes.values()
        )


def _walk(
    names: dict[int, dict[str, FileNode | FolderNode]], folder: FolderNode, above: str
) -> Iterator[tuple[str, FileNode | FolderNode]]:
    for name, node in sorted(names[folder.number].items()):
        yield f"{above}{name}", node
        if isinstance(node, FolderNode):
            yield from _walk(names, node, f"{above}{name}/")


def load(crashed: Crashed) -> Disk:
    """A disk on which this is stored, and nothing else is under way."""
    disk = Disk()
    for path, entry in crashed.items():
        above, _, name = path.rpartition("/")
        parent = disk.root
        for component in above.split("/") if above else ():
            node = parent.cache[component]
            assert isinstance(node, FolderNode)
            parent = node
        if entry.number not in disk.nodes:
            if isinstance(entry, CrashedFolder):
                disk.nodes[entry.number] = FolderNode(entry.number, entry.mode)
            else:
                disk.nodes[entry.number] = FileNode(
                    entry.number, entry.attributes, bytearray(entry.data), entry.data, entry.attributes
                )
        parent.cache[name] = parent.stored[name] = disk.nodes[entry.number]
    return disk


def draw_style(rng: random.Random, number: int, step: int) -> Style:
    """The style of the ``number``-th cut after a step: the plain ones first, then any."""
    plain = (
        Style("kept", "kept"),
        Style("lost", "lost"),
        Style("kept", "lost"),
        Style("kept", "zero"),
        Style("lost", "kept"),
        Style("each", "kept"),
    )
    if number < len(plain):
        return plain[number]
    until = rng.randrange(step + 1) if rng.random() < 0.3 else 1 << 60
    names = rng.choice(["each", "each", "each", "kept", "lost"])
    data = rng.choice(["each", "each", "kept", "lost", "zero"])
    if until < 1 << 60:
        return Style("kept", data, until=until)
    return Style(names, data, loses_renamed=rng.random() < 0.3)


def _block(data: bytes | bytearray, block: int) -> bytes:
    return bytes(data[block * BLOCK : (block + 1) * BLOCK]).ljust(BLOCK, b"\0")


def _draw_block(rng: random.Random, style: Style, versions: list[bytes], *, is_new: bool) -> bytes:
    if len(versions) == 1:
        return versions[0]
    if style.data == "each" and is_new and rng.random() < 0.25:
        return bytes(BLOCK)
    chosen = style.choose(rng, style.data, versions, zero=bytes(BLOCK) if is_new else None)
    if style.data == "each" and rng.random() < 0.02:
        torn = rng.randrange(1, BLOCK // SECTOR) * SECTOR  # the power went while the block was written
        return chosen[:torn] + versions[0][torn:]
    return chosen
