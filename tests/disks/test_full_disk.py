"""W5, W8: a small file system runs full: of blocks or of inodes, midway, or only at the report."""

import errno
import os

import pytest

from tests.disks.deployment import SKIPPED, Deployment
from tests.support.mounts import Disk, run
from tests.support.raw_files import MIB, raw_bytes

FILES = {
    "a.raw": raw_bytes(2 * MIB, "a"),
    "b.d/1.m/b.bin": raw_bytes(20 * MIB, "b"),
    "b.d/c.bin": raw_bytes(20 * MIB, "c"),
    "d.raw": raw_bytes(100_000, "d"),
}


def fill(kraken: Deployment, leave: int = 0) -> None:
    """Somebody's file takes all that is left, or all but so many bytes."""
    file = os.open(kraken.output / "ballast", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for step in (MIB, 4096, 1):
            while True:
                free = os.statvfs(kraken.output)
                if leave and free.f_bavail * free.f_frsize <= leave + step:
                    break
                try:
                    os.write(file, b"x" * step)
                    os.fsync(file)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
    finally:
        os.close(file)


def make_room(kraken: Deployment) -> None:
    (kraken.output / "ballast").unlink()
    run("sync", "--file-system", kraken.output)


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_full_midway(kraken: Deployment, kind: str) -> None:
    """ext4 says so when the space is reserved, ext2 (which cannot) when it is written."""
    disk = kraken.disk(kind, mib=64)
    kraken.put(FILES)
    kraken.damage("a.raw")
    fill(kraken, leave=12 * MIB)
    task = kraken.restore()
    assert task.end.raised == "AirflowFailException"
    assert any("Disk full" in said for said in task.lines.values()), task.log
    disk.again()
    kraken.assert_true(task)
    kraken.assert_sound(kraken.output)
    make_room(kraken)
    kraken.restore_well()
    disk.again()
    kraken.assert_right(kraken.output)


def test_full_at_the_report(kraken: Deployment) -> None:
    """All files are right, and there is not one byte for the report: the log has it, whole."""
    disk = kraken.disk("ext4", mib=64)
    kraken.put(FILES)
    for path, data in FILES.items():
        kraken.place(path, data)
    fill(kraken)
    task = kraken.restore()
    assert set(task.lines.values()) == {SKIPPED}, task.log
    assert task.end.told["status"] == "SUCCESS"
    assert task.end.told["report_path"] is None
    assert kraken.reports == [], "none, rather than one that is cut off"
    assert kraken.strays(kraken.output) == []
    make_room(kraken)
    kraken.restore_well()
    assert len(kraken.reports) == 1
    kraken.assert_sound(disk.again().point)


def test_no_inode_left(kraken: Deployment) -> None:
    """There is room for bytes, but not for one more file."""
    disk: Disk = kraken.disk("ext4", mib=64, mkfs=("-N", "32"))
    kraken.put(FILES)
    kraken.damage("a.raw")
    blockers = []
    while os.statvfs(kraken.output).f_ffree > 2:
        blockers.append(kraken.output / f"small-{len(blockers)}")
        blockers[-1].touch()
    task = kraken.restore()
    assert task.end.raised == "AirflowFailException"
    assert any("Disk full" in said for said in task.lines.values()), task.log
    kraken.assert_true(task)
    kraken.assert_sound(disk.again().point)
    for blocker in blockers:
        blocker.unlink()
    kraken.restore_well()
