"""W8: the storage takes no more although the file system has room. The worst that was seen: `OK` for a file of
which 60 % were zeros after a remount, and its last local copy deleted.
"""

import os
import random

import pytest

from tests.disks.child import STEPS, Trigger
from tests.disks.deployment import Deployment, long
from tests.disks.thin_pool import ThinPool
from tests.support.raw_files import MIB, raw_bytes

LARGE = {"a.raw": raw_bytes(60 * MIB, "a")}
FOLDER = {
    "b.d/analysis.tdf_bin": raw_bytes(44 * MIB, "bin"),
    "b.d/analysis.tdf": raw_bytes(9 * MIB, "tdf"),
    **{f"b.d/1.m/{number}.method": raw_bytes(50_000 * number, number) for number in range(8)},
}


@pytest.fixture
def pool(kraken: Deployment) -> ThinPool:
    return ThinPool(kraken.mounts, kraken.output)


def lay_out(kraken: Deployment, pool: ThinPool, what: str) -> None:
    kraken.put(FOLDER if what == "folder" else LARGE)
    kraken.destination.mkdir()
    if what == "small version":  # a stump of it, which costs the pool nothing
        kraken.former["a.raw"] = LARGE["a.raw"][:70_000]
        kraken.place("a.raw", kraken.former["a.raw"])
    elif what == "one bit":  # this much fits into the pool once, but not twice
        kraken.put({"a.raw": LARGE["a.raw"][: 20 * MIB]})
        kraken.damage("a.raw", 19 * MIB)
    pool.disk.again()


@pytest.mark.parametrize("what", ["fresh", "small version", "one bit", "folder"])
def test_storage_takes_no_more_then_there_is_room(kraken: Deployment, pool: ThinPool, what: str) -> None:
    lay_out(kraken, pool, what)
    first = kraken.restore()
    assert first.end.raised == "AirflowFailException", first.log
    pool.make_room()
    second = kraken.restore()
    pool.disk.again()
    kraken.assert_true(second)
    kraken.assert_sound(kraken.output)
    kraken.restore_well()
    pool.disk.again()
    kraken.assert_right(kraken.output)


@pytest.mark.parametrize("what", ["fresh", "one bit", *long("folder")])
@pytest.mark.parametrize("later", [0, *long(*range(1, 8))])
def test_killed_between_the_failed_sync_and_what_follows(
    kraken: Deployment, pool: ThinPool, what: str, later: int
) -> None:
    """Nobody was told of the error: what is there looks whole, and may be resumed."""
    lay_out(kraken, pool, what)
    at_once = Trigger("kill", calls=("fsync", "fdatasync"), when="failed")
    drawn = Trigger("kill", calls=STEPS, nth=random.Random(f"{what} {later}").randint(15, 40))
    first = kraken.restore(at_once if not later else drawn)
    assert first.was_killed or later, first.log
    pool.make_room()
    second = kraken.restore()
    pool.disk.again()
    kraken.assert_true(second)
    kraken.assert_sound(kraken.output)
    kraken.restore_well()
    pool.disk.again()
    kraken.assert_right(kraken.output)


@pytest.mark.parametrize("error", ["told to nobody", "told to its writer"])
def test_what_another_program_wrote_when_the_storage_took_no_more(
    kraken: Deployment, pool: ThinPool, error: str
) -> None:
    """The kernel shows the right bytes, so it would be skipped; the storage has other ones."""
    lay_out(kraken, pool, "fresh")
    kraken.put({"a.raw": LARGE["a.raw"][: 36 * MIB]})  # there must be room for this and for one that is right
    file = kraken.place("a.raw", kraken.files["a.raw"], synced=False)
    if error == "told to its writer":
        with file.open("rb+") as opened, pytest.raises(OSError, match=r"No space left|Input/output"):
            os.fsync(opened.fileno())
    pool.make_room()
    task = kraken.restore()
    pool.disk.again()
    kraken.assert_true(task)
    kraken.restore_well()
