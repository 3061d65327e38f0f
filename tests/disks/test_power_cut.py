"""W8: the power is cut. What is on the disk then is what had reached the device, and no more.

The file below a loop device is copied at one instant: while a run makes its steps, when it has just ended, or when it
was killed. The copy is mounted, as after a boot: a journal is replayed, or the file system repaired. On it, whatever a
report calls OK is right, a final path holds proved bytes, those from before or nothing, and the next run ends right.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.disks.child import STEPS, WRITES, Trigger
from tests.disks.deployment import SKIPPED, Deployment, age, long
from tests.support.mounts import Disk
from tests.support.raw_files import MIB, raw_bytes

# By default ext4 is kinder to a rename than POSIX. Not ext2: where there is no journal, the driver of current kernels
# leaves out the inode at fsync, so that a power cut shows names of files that are not.
KINDS = {"ext4": ("noauto_da_alloc",), "ext4 writeback": ("noauto_da_alloc", "data=writeback"), "xfs": (), "btrfs": ()}
FILES = {
    "a.raw": raw_bytes(20 * MIB, "a"),  # with a journal
    "b.d/1.m/deep/er/b.bin": raw_bytes(3 * MIB, "b"),
    "b.d/1.m/c.bin": raw_bytes(70_000, "c"),
    "b.d/empty": b"",
    "d.raw": raw_bytes(5 * MIB, "d"),
}
INSTANTS = int(os.environ.get("POWER_CUTS", "6"))
"""How many of each run are looked at; `make test-disks` looks at more."""
FINISHED = max(1, INSTANTS // 6)
"""On how many of these the next run is tried."""


class Machine:
    """A worker with one disk, whose power can be cut.

    Attributes:
        disk: where it restores to.
        cuts: what power cuts have left, one file for each, by their order.

    """

    def __init__(self, kraken: Deployment, kind: str) -> None:
        self._kraken = kraken
        self.disk = kraken.disk(kind.split(maxsplit=1)[0], *KINDS.get(kind, ()))
        self._booted: Disk | None = None
        self._folder = kraken.mounts.folder / "cuts"
        self._folder.mkdir()

    @property
    def cuts(self) -> list[Path]:
        return sorted(self._folder.iterdir())

    def path(self, name: str) -> Path:
        return self._folder / name

    def at_each_step(self) -> Trigger:
        return Trigger("clone", (str(self.disk.image), str(self._folder)), nth=0)

    def at_the_end(self, name: str = "end") -> Trigger:
        """Before anything else can happen in the process or after it."""
        return Trigger("clone", (str(self.disk.image), str(self.path(name))))

    def cut(self, name: str) -> Path:
        """Cut the power now."""
        self.disk.copy_to(self.path(name))
        return self.path(name)

    def look_at(self, cut: Path) -> Path:
        """Mount what a power cut has left in place of the disk, after its journal is replayed, only to look at it."""
        return self._mount(Disk(cut, self.disk.kind, self._kraken.output), "ro")

    def boot(self, cut: Path) -> Path:
        """Mount it as a boot does, after a repair if need be; the worker finds it at the same path."""
        copy = Disk(cut, self.disk.kind, self._kraken.output)
        if copy.kind == "ext2":
            self.shut_down()
            copy.repair()
        return self._mount(copy)

    def _mount(self, copy: Disk, *options: str) -> Path:
        self.shut_down()
        self._booted = copy.mount(*options)
        return self._kraken.output

    def shut_down(self) -> None:
        if os.path.ismount(self._kraken.output):
            (self._booted or self.disk).unmount()


@pytest.fixture(params=["ext4", *long("ext4 writeback"), "xfs", "btrfs"])
def machine(request: pytest.FixtureRequest, kraken: Deployment) -> Iterator[Machine]:
    kraken.put(FILES)
    made = Machine(kraken, request.param)
    yield made
    made.shut_down()


@pytest.fixture
def drawn(request: pytest.FixtureRequest) -> random.Random:
    """Other instants for each test, the same ones in each session."""
    return random.Random(request.node.name)


def lay_out(kraken: Deployment, before: str) -> None:
    """What a run finds."""
    kraken.destination.mkdir()
    kraken.place("d.raw", FILES["d.raw"])
    if before == "some of it":
        kraken.damage("a.raw", 7 * MIB)
        kraken.damage("b.d/1.m/c.bin")


@pytest.mark.parametrize("before", ["some of it", *long("nothing")])
def test_at_any_instant(kraken: Deployment, machine: Machine, drawn: random.Random, before: str) -> None:
    """Each step of a run is an instant, and so is its end."""
    lay_out(kraken, before)
    task = kraken.restore(machine.at_each_step(), at_the_end=machine.at_the_end())
    assert task.end.told["status"] == "SUCCESS", task.log
    *steps, end = machine.cuts
    chosen = [*drawn.sample(steps, min(INSTANTS, len(steps))), end]
    for cut in chosen:
        kraken.assert_sound(machine.look_at(cut))
    kraken.assert_true(task)
    assert len(kraken.reports) == 1, "the report of a run that has ended"
    for cut in drawn.sample(chosen, FINISHED):
        machine.boot(cut)
        kraken.restore_well()
        kraken.assert_sound(kraken.output)


@pytest.mark.parametrize("place", ["in place", "draw 0", *long(*(f"draw {number}" for number in range(1, 10)))])
def test_after_a_kill(kraken: Deployment, machine: Machine, drawn: random.Random, place: str) -> None:
    """SIGKILL first: at once with the power, or before another run, which may skip what was never synced."""
    lay_out(kraken, "some of it")
    kill = Trigger("kill", calls=(*STEPS, *WRITES), nth=drawn.randint(2, 60))
    if place == "in place":  # the right bytes are at a final path, and nothing more was done about it
        kill = Trigger("kill", calls=("replace", "rename", "link"), path=r"/[abc]\.(raw|bin)$", when="after")
        kill = replace(kill, nth=drawn.randint(1, 3))
    task = kraken.restore(kill)
    assert task.was_killed, task.log
    at_once = machine.cut("at once")
    second = kraken.restore(at_the_end=machine.at_the_end("second"))
    kraken.assert_right(kraken.output)
    kraken.assert_sound(machine.look_at(machine.path("second")))
    kraken.assert_true(second)
    kraken.assert_sound(machine.look_at(at_once))
    machine.boot(at_once)
    kraken.restore_well()


def test_what_another_program_has_just_written(kraken: Deployment, machine: Machine) -> None:
    """It is right, so it is skipped; but its bytes may be nowhere but in memory. `cp -p` keeps old times."""
    kraken.destination.mkdir()
    before = {}
    for path, data in FILES.items():
        file = kraken.place(path, data, synced=False)
        if path != "d.raw":
            os.utime(file, (time.time() - 86_400,) * 2)
        before[path] = file.stat()
    task = kraken.restore(at_the_end=machine.at_the_end())
    assert set(task.lines.values()) == {SKIPPED}
    for path, status in before.items():
        after = (kraken.destination / path).stat()
        assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (status.st_ino, status.st_mtime_ns, status.st_mode)
    machine.look_at(machine.path("end"))
    kraken.assert_true(task)
    kraken.assert_sound(kraken.output)


@pytest.mark.parametrize("machine", ["ext2", *long("ext4")], indirect=True)
@pytest.mark.parametrize("moved", ["b.d", "b.d/1.m", "b.d/1.m/c.bin"])
def test_what_another_program_has_just_moved_in(kraken: Deployment, machine: Machine, moved: str) -> None:
    """Its files are old and were on the storage long ago, under another name: `mv backup/b.d b.d`.

    On ext2, for any sync brings the names of all folders along where there is a journal.
    """
    kraken.destination.mkdir()
    for path, data in FILES.items():
        kraken.place(path, data, synced=False)
    (kraken.destination / moved).rename(kraken.destination / "elsewhere")
    machine.disk.unmount()
    left = [path for path in FILES if not f"{path}/".startswith(f"{moved}/")]
    inside = [f"elsewhere/{path.removeprefix(f'{moved}/')}" for path in FILES if path.startswith(f"{moved}/")]
    folders = {str(folder) for path in (*left, *inside) for folder in Path(path).parents}
    age(machine.disk, [*left, *(inside or ["elsewhere"]), *folders])
    machine.disk.mount()
    (kraken.destination / "elsewhere").rename(kraken.destination / moved)
    task = kraken.restore(at_the_end=machine.at_the_end())
    assert set(task.lines.values()) == {SKIPPED}
    machine.boot(machine.path("end"))
    kraken.assert_true(task)
    kraken.assert_sound(kraken.output)
