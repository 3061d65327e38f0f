"""W8: a file system turns read-only, or gives nothing but errors, at any step of a run.

ext4 with `errors=remount-ro` does the first when it finds an error in itself, and loses what its journal had not got
by then. Any file system does the second when its device is gone: a cable, a server, a controller.
"""

import random

import pytest

from tests.disks.child import STEPS, Trigger
from tests.disks.deployment import SKIPPED, Deployment, long
from tests.support.mounts import Disk
from tests.support.raw_files import MIB, raw_bytes

FILES = {
    "a.raw": raw_bytes(18 * MIB, "a"),
    "b.d/1.m/deep/er/b.bin": raw_bytes(300_000, "b"),
    "b.d/1.m/c.bin": raw_bytes(70_000, "c"),
    "d.raw": raw_bytes(2 * MIB, "d"),
}
IN_PLACE = ("replace", "rename", "link")
FINAL = r"/[a-d]\.(raw|bin)$"


def turn_read_only(disk: Disk, **when) -> Trigger:
    return Trigger("write", (f"/sys/fs/ext4/{disk.name}/trigger_fs_error", "1"), **when)


def shut_down(disk: Disk, **when) -> Trigger:
    return Trigger("shut down", (str(disk.point),), **when)


def lay_out(kraken: Deployment, kind: str) -> Disk:
    options = ("errors=remount-ro",) if kind == "ext4" else ()
    disk = kraken.disk(kind, *options)
    kraken.put(FILES)
    kraken.destination.mkdir()
    kraken.damage("d.raw")
    return disk.again()


def assert_true_after_it_is_mounted_again(kraken: Deployment, disk: Disk, trigger: Trigger) -> None:
    task = kraken.restore(trigger)
    assert task.end.fired == [1], f"the run had ended before: {task.end.steps}"
    disk.unmount()
    disk.repair() if disk.kind == "ext4" else None
    disk.mount()
    kraken.assert_true(task)
    kraken.assert_sound(kraken.output)
    if task.end.told.get("status") == "SUCCESS":
        kraken.assert_right(kraken.output)
    kraken.restore_well()


@pytest.mark.parametrize("nth", [1, 3, *long(2, 4)])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_between_the_rename_and_the_sync_of_the_folder(kraken: Deployment, kind: str, nth: int) -> None:
    """The file is at its final path for everybody to see, and gone after the next mount."""
    disk = lay_out(kraken, kind)
    fault = turn_read_only if kind == "ext4" else shut_down
    trigger = fault(disk, calls=IN_PLACE, path=FINAL, when="after", nth=nth)
    assert_true_after_it_is_mounted_again(kraken, disk, trigger)


@pytest.mark.parametrize("draw", [0, *long(*range(1, 40))])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_at_any_step(kraken: Deployment, kind: str, draw: int) -> None:
    disk = lay_out(kraken, kind)
    drawn = random.Random(f"{kind} {draw}")
    fault = drawn.choice((turn_read_only, shut_down)) if kind == "ext4" else shut_down
    trigger = fault(disk, calls=STEPS, nth=drawn.randint(1, 25), when=drawn.choice(("before", "after")))
    assert_true_after_it_is_mounted_again(kraken, disk, trigger)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "ext2"])
def test_skip_where_nothing_can_be_written(kraken: Deployment, kind: str) -> None:
    """On a mount that is read-only there is nothing to sync; the report goes to the log."""
    disk = kraken.disk(kind)
    kraken.put(FILES)
    for path, data in FILES.items():
        kraken.place(path, data, synced=False)
    disk.again("ro")
    task = kraken.restore()
    assert set(task.lines.values()) == {SKIPPED}, task.log
    assert (task.end.raised, task.end.told.get("status")) == ("", "SUCCESS"), task.log
    assert task.end.told["report_path"] is None


def test_what_is_missing_where_nothing_can_be_written(kraken: Deployment) -> None:
    disk = kraken.disk("ext4")
    kraken.put(FILES)
    kraken.damage("a.raw")
    kraken.place("d.raw", FILES["d.raw"])
    disk.again("ro")
    task = kraken.restore()
    assert task.end.raised == "AirflowFailException"
    said = task.lines
    assert said.pop("d.raw") == SKIPPED
    assert all("Read-only file system (EROFS)" in line and line.startswith("FAILURE - ") for line in said.values()), (
        said
    )
    kraken.assert_sound(disk.again().point)
    kraken.restore_well()
