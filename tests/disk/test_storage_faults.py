"""Issue 4, item 3 (W1, W2, W4, W5): what disks, mounts and other programs do wrong. Real file systems where root may
mount them; else, and for what a sound disk never does, faults injected in the one module that touches the disk.
"""

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3_restore.disk import open_file
from s3_restore.disk.destination import Destination
from s3_restore.disk.journal import Journal
from s3_restore.disk.open_file import OpenFile, TemporaryFile
from s3_restore.disk.temporary_files import TemporaryFiles
from s3_restore.model import reasons
from s3_restore.model.exceptions import DestinationGoneError
from s3_restore.model.settings import RestoreSettings
from s3_restore.run import look as look_module
from s3_restore.run import restorer
from s3_restore.run.object_download import download_object
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.engine_fixtures import BUCKET, QUICK, Gate, Stand, engine_client, identity, span
from tests.support.fault_rules import Rule, Status
from tests.support.raw_files import MIB, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = "shared"

PARTS = raw_bytes(5 * MIB + 5, "parts")
JOURNALLED = raw_bytes(24 * MIB, "journalled")  # parts of 4 MiB
SKIPPED = "OK - Skipped (already exists)"


def _mount(*arguments: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(stand: Stand) -> Iterator[Callable[[str], None]]:
    """Mounts a tmpfs with these options as the destination's parent; called again: remounts it with others."""
    output = stand.destination.parent

    def mount(options: str) -> None:
        if os.path.ismount(output):
            assert _mount("-o", f"remount,{options}", str(output))
            return
        if not _mount("-t", "tmpfs", "-o", options, "tmpfs", str(output)):
            pytest.skip("mounting a tmpfs needs root (CAP_SYS_ADMIN)")
        stand.destination.mkdir()

    yield mount
    while os.path.ismount(output):
        subprocess.run(["umount", "-l", str(output)], check=True)


# --- disk full (W5) ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("W5", fails_when="a full disk fails one file only")
def test_disk_full_stops_the_run_and_leaves_room(stand: Stand, small_disk) -> None:
    """W5: The first file fits, the second does not: said so, the rest not attempted, nothing half-done left."""
    small_disk("size=8m")
    stand.put("a.raw", PARTS)
    stand.put("b.raw", JOURNALLED, part_mib=4)
    for number in range(5):
        stand.put(f"c{number}.raw", b"small", "H1")
    stand.put("a0.raw", b"right", "H1")
    stand.place("a0.raw", b"right")
    before = identity(stand.path("a0.raw"))
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("OK - Downloaded")
    assert run["b.raw"] == "FAILURE - Disk full: No space left on device (ENOSPC)"
    assert run["a0.raw"] in (SKIPPED, "FAILURE - Not attempted (disk full)")
    assert {run[f"c{number}.raw"] for number in range(5)} == {"FAILURE - Not attempted (disk full)"}
    assert run.status == "PARTIAL FAILURE"
    assert identity(stand.path("a0.raw")) == before
    assert stand.others == []
    assert not stand.path("b.raw").exists()

    small_disk("size=64m")
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("form", ["H1", "H2"])
def test_disk_that_cannot_reserve_is_full_midway(
    stand: Stand, small_disk, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without fallocate, the writes fail: what has come is kept, with its journal, and resumed when there is room."""
    monkeypatch.setattr(open_file, "fallocate", lambda *_: False)
    small_disk("size=20m")
    stand.put("a.raw", JOURNALLED, form, part_mib=4)
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Disk full: No space left on device (ENOSPC)")
    assert not stand.path("a.raw").exists()
    assert len(stand.leftovers("part")) == len(stand.leftovers("journal")) == 1
    small_disk("size=64m")
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.server.bytes_sent() == 8 * MIB, "16 MiB had been journalled"
    assert stand.others == []


@pytest.mark.rule("W2")
def test_disk_full_while_it_heals_keeps_the_corrupted_file(stand: Stand, small_disk) -> None:
    """W2: it may be the only copy left."""
    small_disk("size=8m")
    stand.put("a.raw", PARTS)
    bad = stand.damage("a.raw", 9).read_bytes()
    run = stand.restore()
    assert run["a.raw"] == (
        "FAILURE - Disk full: No space left on device (ENOSPC); the corrupted file is kept as a.raw.corrupted"
    )
    assert stand.others == ["a.raw.corrupted"]
    assert stand.path("a.raw.corrupted").read_bytes() == bad
    small_disk("size=64m")
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith(
        "OK - Self-healed (hash mismatch detected, re-downloaded) (1.0 of 5.0 MB"
    )
    assert stand.others == []


def test_no_inode_left_for_the_journal(stand: Stand, small_disk) -> None:
    """A temporary file that could get no journal is not left behind."""
    small_disk("size=64m,nr_inodes=4")  # the root, the destination, one more, and none
    stand.put("a.raw", JOURNALLED, part_mib=4)
    stand.place("taken", b"")
    stand.path("taken").unlink()
    small_disk("nr_inodes=3")
    run = stand.restore()
    assert run["a.raw"] == "FAILURE - Disk full: No space left on device (ENOSPC)"
    assert stand.others == []


@pytest.mark.parametrize("where", ["preallocate", "write_at"])
def test_quota(stand: Stand, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """EDQUOT is as good as a full disk."""
    stand.put("a.raw", PARTS)
    stand.put("b.raw", b"small")

    def exceed(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(TemporaryFile, where, exceed)
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"] == "FAILURE - Disk full: Disk quota exceeded (EDQUOT)"
    assert run["b.raw"] == "FAILURE - Not attempted (disk full)"
    assert stand.others == []


def test_files_that_were_only_looked_at_are_not_attempted(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files are looked at at once than fetched; those that wait for their turn have not begun."""
    for number in range(12):
        stand.put(f"{number}.raw", b"small" * number, "H1")

    def exceed(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(TemporaryFile, "write_at", exceed)
    lines = list(stand.restore(max_concurrency=2).lines.values())
    failed = lines.count("FAILURE - Disk full: Disk quota exceeded (EDQUOT)")
    assert 1 <= failed <= 2
    assert lines.count("FAILURE - Not attempted (disk full)") >= 12 - 3, "one more may have been begun and ended early"
    assert stand.others == []


# --- errors of the disk -----------------------------------------------------------------------------------------------


class Failing:
    """Makes a system call of the disk module fail once."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: object, name: str, number: int, *, skip: int = 0) -> None:
        self.left, self.skip, self.fired = 1, skip, 0
        real = getattr(owner, name)

        def call(*arguments: object, **options: object) -> object:
            if self.skip:
                self.skip -= 1
            elif self.left:
                self.left -= 1
                self.fired += 1
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        patch.setattr(owner, name, call)


EIO = "FAILURE - Local file system error: Input/output error (EIO)"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (OpenFile, "write_at"),
        (TemporaryFile, "preallocate"),
        (OpenFile, "sync"),
        (Journal, "checkpoint"),
        (TemporaryFiles, "create"),
        (Destination, "make_folders"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_eio_of_a_download(stand: Stand, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """That file fails and says so, the other one is restored, nothing doubtful is kept, and the next run is right."""
    stand.put("a.raw", JOURNALLED, part_mib=4)
    stand.put("b.raw", b"small", "H1")
    failing = Failing(monkeypatch, owner, name, errno.EIO)
    run = stand.restore(max_concurrency=1)
    assert failing.fired == 1
    assert run["a.raw"] == EIO
    assert run["b.raw"].startswith("OK - Downloaded")
    assert not stand.path("a.raw").exists()
    assert stand.others == [], "after EIO the kernel may show bytes that the disk does not have: nothing to resume"
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for old news, in no time."""
    seconds: list[float] = []
    monkeypatch.setattr(look_module, "wait", lambda _parts, wait_s: seconds.append(wait_s))
    return seconds


@pytest.mark.rule("W13", fails_when="each file of a folder that a server has lost for good is waited for anew")
@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOENT], ids=errno.errorcode.get)
def test_a_folder_that_a_server_has_lost_for_good_is_waited_for_in_a_minute_or_two(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, waited: list[float], number: int
) -> None:
    """X5: half a minute for each of some thousand files would be a night."""
    names = [f"{index}.raw" for index in range(40)]
    for name in names:
        stand.put(name, b"small", "H1")
        stand.place(name, b"small")

    def lost(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(OpenFile, "read_at", lost)
        run = stand.restore(max_concurrency=1)
    assert all(f"({errno.errorcode[number]})" in run[name] for name in names)
    assert 30 < sum(waited) < 150
    assert stand.restore().status == "SUCCESS"


@pytest.mark.rule("W13", fails_when="files are waited for briefly where waiting helps")
def test_a_folder_of_old_news_is_waited_out_for_each_file(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    """X5: one or the other is lost, most are there after a while."""
    names = [f"{index}.raw" for index in range(12)]
    for name in names:
        stand.put(name, b"small", "H1")
        stand.place(name, b"small")
    read_at, tries = OpenFile.read_at, Counter[str]()

    def old_news(file: OpenFile, buffer: memoryview, offset: int) -> int:
        tries[file.path.name] += 1
        if tries[file.path.name] <= 7 or file.path.name == names[5]:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read_at(file, buffer, offset)

    monkeypatch.setattr(OpenFile, "read_at", old_news)
    run = stand.restore(max_concurrency=1)
    assert [name for name in names if run[name] != SKIPPED] == [names[5]]
    assert waited


def test_link_that_says_eio_is_answered_by_a_rename(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does rclone's mount, which has no hard links; storage that failed would fail the rename too."""
    stand.put("a.raw", JOURNALLED, part_mib=4)
    failing = Failing(monkeypatch, os, "link", errno.EIO)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert failing.fired == 1
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W2")
@pytest.mark.parametrize(
    ("owner", "name"),
    [(TemporaryFile, "write_at"), (TemporaryFile, "sync"), (os, "rename")],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("data", [b"small and never journalled", JOURNALLED], ids=["small", "journalled"])
def test_eio_while_it_heals_never_loses_the_corrupted_file(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, data: bytes
) -> None:
    """W2: not healed, so it is still there, and the line says where."""
    stand.put("a.raw", data, part_mib=4)
    bad = stand.damage("a.raw", 7).read_bytes()
    Failing(monkeypatch, owner, name, errno.EIO)
    run = stand.restore()
    assert run["a.raw"].startswith(EIO)
    if name == "rename":  # it could not even be set aside; a server may still do it, so its new name stays reserved
        assert stand.path("a.raw").read_bytes() == bad
        assert stand.path("a.raw.corrupted").read_bytes() == b""
    else:
        assert run["a.raw"] == f"{EIO}; the corrupted file is kept as a.raw.corrupted"
        assert stand.path("a.raw.corrupted").read_bytes() == bad
        assert not stand.path("a.raw").exists()
        assert stand.others == ["a.raw.corrupted"]
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Self-healed")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("form", ["H1", "H2"])
def test_eio_on_reading_what_is_there_touches_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Nobody can tell whether it is right: it stays where it is."""
    stand.put("a.raw", PARTS, form)
    stand.place("a.raw", PARTS)
    before = identity(stand.path("a.raw"))
    Failing(monkeypatch, OpenFile, "read_at", errno.EIO)
    (outcome,) = stand.restorer().run(stand.specs()).outcomes
    assert outcome.reason == "Local file system error: Input/output error (EIO)"
    assert identity(stand.path("a.raw")) == before
    assert stand.others == []
    assert stand.server.bytes_sent() == 0


def test_eio_on_reading_behind_the_write_front(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.put("a.raw", JOURNALLED, "H1", part_mib=4)
    Failing(monkeypatch, OpenFile, "read_at", errno.EIO, skip=5)
    assert stand.restore()["a.raw"] == EIO
    assert stand.others == []
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")


def test_eio_on_reading_the_corrupted_file_fetches_what_is_missing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base with unreadable sectors: no reason not to heal from S3."""
    stand.put("a.raw", PARTS)
    stand.damage("a.raw", 9)
    read_at = OpenFile.read_at

    def broken(file: OpenFile, buffer: memoryview, offset: int) -> int:
        if file.path.name.endswith(".corrupted") and offset >= 3 * MIB:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_at(file, buffer, offset)

    monkeypatch.setattr(OpenFile, "read_at", broken)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Self-healed")
    stand.assert_right()
    assert stand.others == []


def test_short_writes_are_completed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may take less than it was given, as on network file systems and near a full disk."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[: max(1, len(data) // 3)], offset))
    stand.put("a.raw", PARTS)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()


@pytest.mark.rule("W1", fails_when="no fsync before the rename")
def test_w1_order_of_what_reaches_the_disk(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are synced before the rename, the folder after it, and only then the corrupted version goes."""
    calls: list[str] = []
    stand.put("d/a.raw", PARTS)
    stand.damage("d/a.raw", 9)
    for name in ("fsync", "link", "replace", "unlink", "rename"):
        real = getattr(os, name)

        def noting(*arguments, name: str = name, real=real, **options):
            what = arguments[0]
            if name == "fsync":
                path = Path(f"/proc/self/fd/{what}").readlink()
                calls.append("fsync folder" if path.is_dir() else f"fsync {path.suffix}")
            else:
                calls.append(f"{name} {Path(what).suffix}")
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, noting)
    assert stand.restore()["d/a.raw"].startswith("OK - Self-healed")
    assert calls == [
        "fsync .raw",  # it was just written, and is hashed from the storage
        "fsync .aside",  # which version will be set aside as what ...
        "fsync folder",
        "rename .raw",
        "fsync folder",
        "fsync folder",  # the destination has the name of d, and ...
        "fsync folder",  # its parent that of the destination
        "fsync .part",
        "link .part",
        "fsync folder",
        "unlink .part",
        "unlink .corrupted",
        "fsync folder",
        "unlink .aside",
    ]


@pytest.mark.rule("W1")
def test_mode_follows_the_umask(stand: Stand) -> None:
    """W1: not 0600, as temporary files of libraries have."""
    stand.put("a.raw", PARTS)
    former = os.umask(0o027)
    try:
        stand.put("d/c.raw", b"small", "H1")
        stand.restore()
    finally:
        os.umask(former)
    for name in ("a.raw", "d/c.raw"):
        assert stat.S_IMODE(stand.path(name).stat().st_mode) == 0o640
    assert stat.S_IMODE(stand.path("d").stat().st_mode) == 0o750


# --- mounts -----------------------------------------------------------------------------------------------------------


def test_read_only_mount(stand: Stand, small_disk) -> None:
    """Right files are still told from others; what would have to be written fails."""
    small_disk("size=64m")
    stand.put("a.raw", PARTS)
    stand.put("b.raw", b"small", "H1")
    stand.put("c.raw", PARTS)
    stand.place("b.raw", b"small")
    bad = stand.damage("c.raw", 9).read_bytes()
    small_disk("ro")
    run = stand.restore()
    read_only = "FAILURE - Local file system error: Read-only file system (EROFS)"
    assert dict(run.lines) == {"a.raw": read_only, "b.raw": SKIPPED, "c.raw": read_only}
    assert stand.path("c.raw").read_bytes() == bad
    assert stand.others == []
    small_disk("rw")
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()


@pytest.mark.rule("W11")
def test_destination_vanishes_midway_by_unmounting(stand: Stand, small_disk) -> None:
    """The mount is lost: the run ends so that Airflow may retry; nothing is written to the disk below the mount."""
    small_disk("size=64m")
    stand.put("a.raw", PARTS)
    stand.put("b.raw", PARTS)
    stand.put("d/c.raw", b"small", "H1")
    below = stand.destination.parent

    def lose(request) -> None:
        if request.range and span(request.range)[0] == 3 * MIB and os.path.ismount(below):
            subprocess.run(["umount", "-l", str(below)], check=True)

    stand.server.on_request = lose
    engine = stand.restorer(max_concurrency=1)
    with pytest.raises(DestinationGoneError, match="vanished"):
        engine.run(stand.specs())
    assert list(below.rglob("*")) == [stand.destination], "nothing in the folder that was there below the mount"
    summary = engine.summary(reasons.DESTINATION_VANISHED.of())
    assert len(summary.outcomes) == 3
    assert not any(outcome.ok for outcome in summary.outcomes)


@pytest.mark.rule("W11")
@pytest.mark.rule("W1")
@pytest.mark.parametrize("nested", [False, True])
def test_mount_lost_between_files_is_never_an_ok_on_the_disk_below(
    stand: Stand, small_disk, nested: bool, tmp_path: Path
) -> None:
    """W1: the folder below the mount has the same name and takes writes: no file may be restored to there."""
    below = stand.destination
    small_disk("size=64m")  # hides the destination that is there already, on the disk below
    stand.put("a.raw", b"first", "H1")
    stand.put("d/b.raw" if nested else "b.raw", b"second", "H1")

    def lose(request) -> None:
        if request.key == stand.key("a.raw") and os.path.ismount(below.parent):
            subprocess.run(["umount", "-l", str(below.parent)], check=True)

    stand.server.on_request = lose
    engine = stand.restorer(max_concurrency=1)
    with pytest.raises(DestinationGoneError):
        engine.run(stand.specs())
    assert list(below.iterdir()) == []
    assert not any(outcome.ok for outcome in engine.summary(reasons.DESTINATION_VANISHED.of()).outcomes)


@pytest.mark.rule("W11", fails_when="nobody asks for the mount before a file is set aside")
@pytest.mark.rule("W9")
@pytest.mark.parametrize("name", ["b.raw", "d/b.raw"])
def test_mount_lost_before_a_look_moves_nothing_on_the_disk_below(stand: Stand, small_disk, name: str) -> None:
    """The disk below has a file of the same path and of other bytes: it is not set aside as corrupted."""
    below = stand.destination
    stand.put("a.raw", b"first", "H1", in_s3=b"FIRST")
    stand.put(name, b"second", "H1")
    of_others = stand.place(name, b"SECOND")
    small_disk("size=64m")  # hides it

    def lose(request) -> None:
        if request.key == stand.key("a.raw") and os.path.ismount(below.parent):
            subprocess.run(["umount", "-l", str(below.parent)], check=True)

    stand.server.on_request = lose
    with pytest.raises(DestinationGoneError):
        stand.restorer(max_concurrency=1).run(stand.specs())
    assert [path for path in below.rglob("*") if path.is_file()] == [of_others]
    assert of_others.read_bytes() == b"SECOND"


@pytest.mark.rule("W11", fails_when="nobody asks for the mount in a run without a right file")
def test_mount_lost_in_a_run_of_failures_is_noticed(stand: Stand, small_disk) -> None:
    """Else its report of failures would be made on the disk below, which has the same folder."""
    below = stand.destination
    stand.put("a.raw", b"first", "H1", in_s3=b"FIRST")
    small_disk("size=64m")
    engine = stand.restorer(max_concurrency=1)
    fails = engine._settle

    def lost_then(*outcome: object) -> None:
        subprocess.run(["umount", "-l", str(below.parent)], check=True)
        fails(*outcome)

    engine._settle = lost_then
    with pytest.raises(DestinationGoneError):
        engine.run(stand.specs())


def lose_the_answer(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, of: Callable[[str], bool], *, does_it: bool = True
) -> list[str]:
    """Let a call of the system that concerns such a path be made, and say that it was not, once; paths of those."""
    real, lost = getattr(os, name), []

    def call(path: Path, *arguments: object, **options: object) -> object:
        if lost or not of(str(path)):
            return real(path, *arguments, **options)
        lost.append(str(path))
        if does_it:
            done = real(path, *arguments, **options)
            if name == "open":
                os.close(done)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, call)
    return lost


@pytest.mark.rule("W13", fails_when="a name that was given is taken for somebody else's file")
@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE])
def test_name_that_is_given_whatever_the_call_says_is_ours(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """NFS: the answer of a link is lost. The file is healed, and not one that somebody else has restored meanwhile."""
    stand.put("a.raw", PARTS)
    stand.damage("a.raw", 9)
    lost = lose_the_answer(monkeypatch, "link", number, lambda path: path.endswith(".part"))
    run = stand.restore()
    assert lost
    assert run["a.raw"].startswith("OK - Self-healed")
    assert stand.others == []


@pytest.mark.rule("W13", fails_when="a temporary name that cannot be removed fails the file that is in place")
@pytest.mark.parametrize("does_it", [True, False])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_temporary_name_that_cannot_be_removed_fails_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int, *, does_it: bool
) -> None:
    """The file has its final name, on the storage; the other one is tidied away at the end of the run."""
    stand.put("a.raw", PARTS)
    stand.damage("a.raw", 9)
    lost = lose_the_answer(monkeypatch, "unlink", number, lambda path: path.endswith(".part"), does_it=does_it)
    run = stand.restore()
    assert lost
    assert run["a.raw"].startswith("OK - Self-healed")
    assert stand.others == []


@pytest.mark.rule("W13", fails_when="a journal that is made whatever the call says fails its file for good")
def test_journal_that_is_made_whatever_the_call_says_costs_another_try(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a temporary file: nobody else makes this name, the kernel asked twice after ESTALE."""
    stand.put("a.raw", JOURNALLED, part_mib=4)
    lost = lose_the_answer(monkeypatch, "open", errno.EEXIST, lambda path: path.endswith(".journal"))
    run = stand.restore()
    assert lost
    assert run["a.raw"].startswith("OK - Downloaded")
    assert stand.others == []


def test_what_cannot_be_tidied_fails_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are right, and the folder cannot be listed any more."""
    stand.put("a.raw", b"first", "H1")
    scandir = os.scandir

    def listed(folder: Path) -> object:
        if stand.path("a.raw").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listed)
        assert stand.restore()["a.raw"].startswith("OK - Downloaded")


def test_single_object_that_is_renamed_whatever_the_call_says_is_there(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS: the answer is lost, the client asks again, and the server says that there is no such file (rename(2))."""
    stand.upload("a.raw", b"of S3")
    settings = RestoreSettings.from_mapping(QUICK)
    store = S3ObjectStore(engine_client(stand.proxy.url, settings))
    lost = lose_the_answer(monkeypatch, "replace", errno.ENOENT, lambda path: path.endswith(".part"))
    assert download_object(store, BUCKET, stand.key("a.raw"), stand.path("a.raw"), MIB, settings) == len(b"of S3")
    assert lost
    assert stand.path("a.raw").read_bytes() == b"of S3"


@pytest.mark.rule("W1", fails_when="what is there is removed before the other one has its name")
@pytest.mark.parametrize("name", ["link", "replace", "rename"])
def test_single_object_that_cannot_be_named_leaves_what_was_there(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`download_file_from_s3` replaces a file: at no moment is there none, or a full disk would cost both."""
    stand.upload("a.raw", b"of S3")
    there = stand.path("a.raw")
    there.write_bytes(b"that was there before")
    settings = RestoreSettings.from_mapping(QUICK)
    store = S3ObjectStore(engine_client(stand.proxy.url, settings))

    def full(*_: object, **__: object) -> None:
        assert there.exists()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        with contextlib.suppress(OSError):
            download_object(store, BUCKET, stand.key("a.raw"), there, MIB, settings)
    assert there.exists()
    download_object(store, BUCKET, stand.key("a.raw"), there, MIB, settings)
    assert there.read_bytes() == b"of S3"
    assert list(stand.destination.iterdir()) == [there]


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_destination_is_removed_midway(stand: Stand, how: str) -> None:
    """Somebody tidies up: the run ends with DestinationGoneError, and does not make the folder anew."""
    stand.put("a.raw", JOURNALLED, part_mib=4)
    stand.put("d/b.raw", b"small", "H1")

    def tidy_up(request) -> None:
        if request.range and span(request.range)[0] == 12 * MIB and stand.destination.exists():
            if how == "removed":
                shutil.rmtree(stand.destination)
            else:
                stand.destination.rename(stand.destination.with_name("elsewhere"))

    stand.server.on_request = tidy_up
    with pytest.raises(DestinationGoneError):
        stand.restore(max_concurrency=1)
    assert not stand.destination.exists()


# --- names and what is in the way (W4) --------------------------------------------------------------------------------


def test_longest_possible_names_are_restored_healed_and_resumed(stand: Stand) -> None:
    """255 bytes leave no room for a suffix; two such names that differ only in the end stay apart."""
    names = ["x" * 255, "x" * 254 + "y", "ü" * 127 + "z"]
    for name in names:
        stand.put(name, PARTS + name.encode())
    assert stand.restore().status == "SUCCESS"
    for name in names:
        stand.damage(name, 2 * MIB)
    stand.proxy.add(Rule(Status(403), times=None))
    run = stand.restore()
    assert len(stand.others) == 3
    for name in names:
        kept = run[name].rpartition("kept as ")[2]
        assert stand.path(kept).stat().st_size == len(PARTS) + len(name.encode())
    stand.proxy.clear()
    stand.server.forget_requests()
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()
    assert stand.others == []
    assert stand.server.bytes_sent() == 3 * MIB


@pytest.mark.parametrize("name", ["x" * 256, "d" * 256 + "/a.raw", "ü" * 128, "/".join(["d" * 200] * 25)])
def test_name_too_long_fails_alone(stand: Stand, name: str) -> None:
    stand.file_info[name] = [1, "0" * 32]
    stand.put("a.raw", b"small", "H1")
    run = stand.restore()
    assert run[name] == "FAILURE - Local file system error: File name too long (ENAMETOOLONG)"
    assert run["a.raw"].startswith("OK - Downloaded")
    assert stand.others == []


IN_THE_WAY = {
    "folder": lambda path, _: path.mkdir(),
    "full folder": lambda path, _: (path.mkdir(), (path / "precious").write_bytes(b"precious")),
    "link to a file": lambda path, outside: path.symlink_to(outside),
    "link to nothing": lambda path, outside: path.symlink_to(outside.with_name("nothing")),
    "link to a folder": lambda path, outside: path.symlink_to(outside.parent),
    "link to itself": lambda path, _: path.symlink_to(path),
    "fifo": lambda path, _: os.mkfifo(path),
    "socket": lambda path, _: bind(path),
}


def bind(path: Path) -> None:
    """Make a socket there, by a relative path since its name may not be long."""
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["a.raw", "d/a.raw"])
def test_something_is_where_the_file_belongs(stand: Stand, tmp_path: Path, kind: str, name: str) -> None:
    """It stays as it is, what it leads to too; the others go on. A named pipe is not waited on."""
    outside = tmp_path / "outside" / "victim"
    outside.parent.mkdir()
    outside.write_bytes(b"precious")
    stand.put(name, PARTS)
    stand.put("b.raw", b"small", "H1")
    path = stand.path(name)
    path.parent.mkdir(exist_ok=True)
    IN_THE_WAY[kind](path, outside)
    before = path.lstat()
    run = stand.restore()
    assert run[name].startswith("FAILURE - ")
    assert "nothing was touched" in run[name]
    assert run["b.raw"].startswith("OK - Downloaded")
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert outside.read_bytes() == b"precious"
    assert list(outside.parent.iterdir()) == [outside]
    assert stand.server.bytes_sent(stand.key(name)) == 0


def test_something_comes_in_the_way_while_the_file_arrives(stand: Stand) -> None:
    """A folder is made at the final path meanwhile: nothing is removed, nothing is left."""
    stand.put("a.raw", PARTS)

    def make_folder(_request) -> None:
        stand.path("a.raw").mkdir(exist_ok=True)

    stand.server.on_request = make_folder
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - ")
    assert stand.path("a.raw").is_dir()
    assert stand.others == []


@pytest.mark.parametrize("kind", ["file", "fifo", "link to itself", "link to nothing"])
def test_something_is_where_a_folder_belongs(stand: Stand, kind: str) -> None:
    stand.put("d/e/a.raw", PARTS)
    stand.put("b.raw", b"small", "H1")
    path = stand.path("d")
    if kind == "file":
        path.write_bytes(b"precious")
    else:
        IN_THE_WAY[kind](path, path)
    run = stand.restore()
    assert run["d/e/a.raw"].startswith("FAILURE - ")
    assert run["b.raw"].startswith("OK - Downloaded")
    assert kind != "file" or path.read_bytes() == b"precious"
    assert [name for name in stand.others if name != "d"] == []


@pytest.mark.parametrize("depth", ["d/a.raw", "d/e/a.raw"])
def test_folder_that_is_a_link_out_of_the_destination(stand: Stand, tmp_path: Path, depth: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    stand.put(depth, PARTS)
    stand.path("d").symlink_to(outside)
    run = stand.restore()
    assert run[depth].startswith("FAILURE - Unsafe path (a symbolic link above it leads out of the destination)")
    assert list(outside.iterdir()) == []


def test_folder_that_becomes_a_link_out_of_the_destination_midway(stand: Stand, tmp_path: Path) -> None:
    """Hostile or not: the file is not put there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stand.put("d/a.raw", PARTS)

    def swap(_request) -> None:
        if not stand.path("d").is_symlink() and stand.path("d").exists():
            stand.path("d").rename(stand.destination / "moved")
            stand.path("d").symlink_to(outside)

    stand.server.on_request = swap
    run = stand.restore(max_concurrency=1)
    assert run["d/a.raw"].startswith("FAILURE - ")
    assert list(outside.iterdir()) == []


def test_links_within_the_destination_and_to_it_are_fine(stand: Stand, tmp_path: Path) -> None:
    """Such as a project folder on another disk, linked by whoever runs the cluster."""
    stand.put("d/a.raw", PARTS)
    stand.path("real").mkdir()
    stand.path("d").symlink_to("real")
    link = tmp_path / "link"
    link.symlink_to(stand.destination)
    stand.destination = link
    assert stand.restore()["d/a.raw"].startswith("OK - Downloaded")
    assert stand.path("real/a.raw").read_bytes() == PARTS


# --- permissions ------------------------------------------------------------------------------------------------------


def restore_unprivileged(stand: Stand) -> dict:
    """Run the engine in a process that has no right to ignore file modes; returns the lines of its report."""
    with stand.child(unprivileged=True) as child:
        result = child.start().end()
    assert "error" not in result, result
    return result["lines"]


def test_permissions(stand: Stand) -> None:
    """Each file for itself: a closed folder, an unreadable file, a file that may be read but not written."""
    stand.put("closed/a.raw", PARTS)
    stand.put("unreadable.raw", PARTS)
    stand.put("wrong_read_only.raw", PARTS)
    stand.put("right_read_only.raw", b"right", "H1")
    stand.put("b.raw", b"small", "H1")
    stand.path("closed").mkdir()
    stand.place("unreadable.raw", PARTS)
    stand.damage("wrong_read_only.raw", 9).chmod(0o444)
    stand.place("right_read_only.raw", b"right").chmod(0o444)
    stand.path("closed").chmod(0o555)
    stand.path("unreadable.raw").chmod(0)
    before = {name: identity(stand.path(name)) for name in ("unreadable.raw", "right_read_only.raw")}
    lines = restore_unprivileged(stand)
    denied = "FAILURE - Local file system error: Permission denied (EACCES)"
    assert lines["closed/a.raw"] == denied
    assert lines["unreadable.raw"] == denied
    assert lines["right_read_only.raw"] == SKIPPED
    assert lines["wrong_read_only.raw"].startswith("OK - Self-healed")
    assert lines["b.raw"].startswith("OK - Downloaded")
    assert {name: identity(stand.path(name)) for name in before} == before
    stand.assert_right("wrong_read_only.raw", "b.raw")
    assert stand.others == []


def test_destination_that_may_not_be_written(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    stand.put("d/b.raw", PARTS)
    stand.put("right.raw", b"right", "H1")
    stand.place("right.raw", b"right")
    stand.destination.chmod(0o555)
    lines = restore_unprivileged(stand)
    stand.destination.chmod(0o755)
    denied = "FAILURE - Local file system error: Permission denied (EACCES)"
    assert lines == {"a.raw": denied, "d/b.raw": denied, "right.raw": SKIPPED}
    assert stand.others == []


# --- names that the target takes for one ------------------------------------------------------------------------------


def folding(fold: Callable[[str], str]) -> type[Destination]:
    """A destination on a file system that takes names for the same that differ (vfat, SMB, APFS)."""

    class Folding(Destination):
        def path_of(self, relative_path: str) -> Path:
            return super().path_of(fold(relative_path))

    return Folding


@pytest.mark.parametrize(
    ("names", "fold"),
    [
        (("Sample.raw", "sample.raw"), str.casefold),
        (("D/a.raw", "d/A.raw"), str.casefold),
        (("M\u00fcsli.raw", "Mu\u0308sli.raw"), lambda name: unicodedata.normalize("NFC", name)),
    ],
    ids=["case", "case of a folder", "unicode"],
)
@pytest.mark.parametrize("connections", [1, 4])
def test_two_files_that_the_target_takes_for_one(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], fold, connections: int
) -> None:
    """Only one can be there: it is OK, the other is a FAILURE, however they come; never both, and no hang."""
    for number, name in enumerate(names):
        stand.put(name, raw_bytes(2 * MIB + number, number))
    stand.put("other.raw", b"small", "H1")
    monkeypatch.setattr(restorer, "Destination", folding(fold))
    run = stand.restore(max_concurrency=connections)
    content = stand.path(fold(names[0])).read_bytes() if stand.path(fold(names[0])).exists() else None
    for name in names:
        assert run[name].startswith("OK - ") == (content == stand.data[name]), run.report
    assert run["other.raw"].startswith("OK - Downloaded")
    assert run.status == "PARTIAL FAILURE"


def test_two_equal_files_that_the_target_takes_for_one(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes: both are right."""
    for name in ("Sample.raw", "sample.raw"):
        stand.put(name, PARTS)
    monkeypatch.setattr(restorer, "Destination", folding(str.casefold))
    run = stand.restore(max_concurrency=1)
    assert run.status == "SUCCESS"
    assert stand.path("sample.raw").read_bytes() == PARTS


# --- another process on the same file (W6) ----------------------------------------------------------------------------


@pytest.mark.rule("W9")
def test_another_program_writes_the_final_path_meanwhile(stand: Stand) -> None:
    """Its bytes are there when ours are ready: they are looked at, and not overwritten unseen (W9)."""
    stand.put("a.raw", PARTS)
    written: list[bytes] = []

    def write(_request) -> None:
        if not written:
            written.append(b"written by another program")
            stand.path("a.raw").write_bytes(written[0])

    stand.server.on_request = write
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    stand.assert_right()
    assert stand.others == []


def test_another_program_writes_the_final_path_again_and_again(stand: Stand) -> None:
    """There is an end to it, and what that program wrote is there."""
    stand.put("a.raw", PARTS)
    stand.server.on_request = lambda _request: stand.path("a.raw").write_bytes(b"written by another program")
    assert stand.restore()["a.raw"] == "FAILURE - Another program or run keeps changing this file"
    assert stand.path("a.raw").read_bytes() == b"written by another program"
    assert stand.others == []


def test_another_program_writes_into_the_file_after_it_was_put_in_place(stand: Stand) -> None:
    """No false OK: what is reported as right is looked at once more in the end."""
    stand.put("a.raw", b"small", "H1")
    stand.put("b.raw", PARTS)

    def write(request) -> None:
        if request.key == stand.key("b.raw") and stand.path("a.raw").exists():
            with stand.path("a.raw").open("r+b") as file:
                file.write(b"X")

    stand.server.on_request = write
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified")
    assert run["b.raw"].startswith("OK - Downloaded")
    stand.server.on_request = None
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    stand.assert_right()


def test_another_program_keeps_changing_the_file_while_it_is_looked_at(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced under our hands each time: an end, a reason, no OK, and their file is not moved away."""
    stand.put("a.raw", PARTS)
    stand.place("a.raw", PARTS)
    read_at = OpenFile.read_at

    def replaced(file: OpenFile, buffer: memoryview, offset: int) -> int:
        if not isinstance(file, TemporaryFile) and offset == MIB:
            other = stand.path("other")
            other.write_bytes(PARTS[:-1] + b"?")
            other.replace(stand.path("a.raw"))
        return read_at(file, buffer, offset)

    monkeypatch.setattr(OpenFile, "read_at", replaced)
    run = stand.restore()
    assert run["a.raw"] == "FAILURE - Another program or run keeps changing this file"
    assert stand.path("a.raw").read_bytes() == PARTS[:-1] + b"?"
    assert stand.others == []


def test_temporary_file_is_removed_by_a_tidy_neighbour(stand: Stand) -> None:
    """It is begun anew in the same run."""
    stand.put("a.raw", PARTS)
    stand.put("b.raw", b"small", "H1")
    removed: list[Path] = []

    def remove(request) -> None:
        if request.range and span(request.range)[0] == 3 * MIB and not removed:
            for path in stand.leftovers("part"):
                path.unlink()
                removed.append(path)

    stand.server.on_request = remove
    run = stand.restore(max_concurrency=1)
    assert len(removed) == 1
    assert run["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W6")
@pytest.mark.parametrize("state", ["missing", "corrupted"])
def test_w6_two_processes_restore_the_same_file_at_once(stand: Stand, state: str) -> None:
    """Both are in the middle of it when they meet; both end well, with the right file and nothing left."""
    stand.put("a.raw", JOURNALLED, part_mib=4)
    if state == "corrupted":
        stand.damage("a.raw", *range(0, 24 * MIB, 4 * MIB))
    gate = Gate(stand.server, 20 * MIB)
    with stand.child() as first, stand.child() as second:
        first.start()
        gate.wait()
        second.start()
        threading.Timer(1.5, gate.open).start()  # the second one has begun by then, or begins later: both must do
        results = [child.end()["lines"]["a.raw"] for child in (first, second)]
    assert all(line.startswith("OK - ") for line in results), results
    stand.assert_right()
    assert stand.others == []
