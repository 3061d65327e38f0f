"""W8: skipped files are brought to the storage, but thousands of old ones do not cost a flush of the device each."""

import time

import pytest

from tests.disks.deployment import SKIPPED, Deployment, age
from tests.support.raw_files import raw_bytes

NUMBER = 2000
FILES = {f"a.d/{number % 7}.m/{number:04}.bin": raw_bytes(100 + number, number) for number in range(NUMBER)}
SYNCS = ("fsync", "fdatasync")


@pytest.fixture
def folder(kraken: Deployment) -> Deployment:
    kraken.put(FILES, form="H1")
    kraken.disk("ext4")
    for path, data in FILES.items():
        kraken.place(path, data, synced=False)
    return kraken


def test_old_files_are_not_synced_one_by_one(folder: Deployment) -> None:
    """Changed more than an hour ago: whatever wrote them, the kernel has long brought it to the storage."""
    disk = folder.mounts.newest
    disk.unmount()
    age(disk, FILES)
    disk.mount()
    status = (folder.destination / next(iter(FILES))).stat()
    assert status.st_ctime < time.time() - 7000
    task = folder.restore()
    assert set(task.lines.values()) == {SKIPPED}, task.log
    assert task.end.count(*SYNCS) < 50, "a flush of the device for each"
    assert task.end.count("open") < 10, "nothing is made beside them"


def test_new_files_are_synced_once(folder: Deployment) -> None:
    """No more than one sync for each file, and one for its folder."""
    task = folder.restore()
    assert set(task.lines.values()) == {SKIPPED}, task.log
    syncs = [path for call, path in task.end.steps if call in SYNCS]
    assert {path for path in syncs if path.endswith(".bin")} == {str(folder.destination / path) for path in FILES}
    assert len(syncs) <= 2 * NUMBER + 50
