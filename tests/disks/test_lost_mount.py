"""W11: the mount of the output goes away, or was never there. The folder below it takes writes all the same."""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.disks.child import STEPS, WRITES, Trigger
from tests.disks.deployment import PROJECT, Deployment, long
from tests.support.mounts import Disk
from tests.support.raw_files import MIB, raw_bytes

FILES = {
    "a.raw": raw_bytes(18 * MIB, "a"),
    "b.d/1.m/b.bin": raw_bytes(300_000, "b"),
    "c.raw": raw_bytes(1 * MIB, "c"),
    "d.raw": raw_bytes(5 * MIB, "d"),
}
COST_BYTES = 6 * MIB
"""What may be there of a file that is small enough to come in one piece, in the worst case."""


def lay_out(kraken: Deployment, below: str) -> Disk:
    """A disk over a folder that has nothing, or the very folders that the files belong to."""
    kraken.put(FILES)
    if below == "same folders":
        (kraken.destination / "b.d/1.m").mkdir(parents=True)
    disk = kraken.disk("ext4")
    kraken.destination.mkdir()
    kraken.place("c.raw", FILES["c.raw"])
    return disk


def lost(kraken: Deployment, **when) -> Trigger:
    return Trigger("run", ("umount", "--lazy", str(kraken.output)), **when)


def assert_nothing_came_of_it(kraken: Deployment) -> None:
    """On the disk below there are no restored files, and nothing that says so."""
    assert not os.path.ismount(kraken.output)
    assert not [path for path in FILES if (kraken.destination / path).exists()], "restored to the disk below"
    files = [path for path in kraken.output.rglob("*") if path.is_file()]
    used = sum(file.stat().st_blocks * 512 for file in files)
    assert used < COST_BYTES, f"{used} bytes on the disk below: {files}"
    for report in kraken.reports:
        assert "\nStatus: SUCCESS\n" not in report.read_text()
        assert ": OK - " not in report.read_text()


def goes_on_when_it_is_back(kraken: Deployment, disk: Disk) -> None:
    disk.mount()
    kraken.restore_well()


@pytest.mark.parametrize("below", ["nothing", "same folders"])
@pytest.mark.parametrize("draw", [0, *long(*range(1, 40))])
def test_goes_away_at_any_step(kraken: Deployment, below: str, draw: int) -> None:
    """40 MiB and a SUCCESS report were on the disk below."""
    disk = lay_out(kraken, below)
    drawn = random.Random(f"{below} {draw}")
    task = kraken.restore(
        lost(kraken, calls=(*STEPS, *WRITES), nth=drawn.randint(1, 60), when=drawn.choice(("before", "after")))
    )
    assert task.end.fired == [1], f"the run had ended before: {task.end.steps}"
    assert task.end.raised == "DestinationGoneError", f"so that Airflow may try again; got {task.end}"
    assert_nothing_came_of_it(kraken)
    disk.mount()
    kraken.assert_sound(kraken.output)
    disk.unmount()
    goes_on_when_it_is_back(kraken, disk)


@pytest.mark.parametrize("draw", [0, *long(*range(1, 20))])
def test_goes_away_while_bytes_arrive(kraken: Deployment, draw: int) -> None:
    """Between two calls of the product: the store's answer is what it waits for."""
    disk = lay_out(kraken, "same folders")
    left = [random.Random(draw).randint(1, 8)]

    def lose(request) -> None:
        if request.operation == "GetObject":
            left[0] -= 1
            if left[0] == 0:
                disk.lose()

    kraken.s3.on_request = lose
    task = kraken.restore()
    assert task.end.raised == "DestinationGoneError", task.end
    assert_nothing_came_of_it(kraken)
    goes_on_when_it_is_back(kraken, disk)


@pytest.mark.rule("W11")
def test_another_disk_is_mounted_over_it(kraken: Deployment, tmp_path: Path) -> None:
    """It is a mount point still, but another one."""
    disk = lay_out(kraken, "nothing")
    other = kraken.mounts.disk("ext4", tmp_path / "other", mib=64)
    (other.point / PROJECT).mkdir()
    over = Trigger("run", ("mount", "--bind", str(other.point), str(kraken.output)), calls=("pwrite",), nth=5)
    task = kraken.restore(over)
    assert task.end.raised == "DestinationGoneError", task.end
    assert not [path for path in FILES if (kraken.destination / path).exists()]
    kraken.mounts.unmount(kraken.output)
    assert os.path.ismount(disk.point)
    kraken.restore_well()


@pytest.mark.rule("W11")
@pytest.mark.parametrize("require", [True, False])
def test_never_mounted(kraken: Deployment, require: bool) -> None:
    """`require_mount` refuses an output that is no mount point, before anything is made; without it nobody can tell."""
    kraken.put(FILES)
    kraken.set(require_mount=require)
    for call in ("validate_s3_download_parameters", "download_raw_file_from_s3"):
        task = kraken.restore(call=call)
        if require:
            assert task.end.raised in ("AirflowFailException", "DestinationGoneError"), task.end
            assert "mount" in task.end.text
            assert list(kraken.output.iterdir()) == []
        else:
            assert task.end.raised == ""
    shutil.rmtree(kraken.destination, ignore_errors=True)
    kraken.disk("ext4")
    assert kraken.restore(call="validate_s3_download_parameters").end.raised == ""
    kraken.restore_well()
