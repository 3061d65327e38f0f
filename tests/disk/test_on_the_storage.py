"""W8: OK means that bytes and names are on the storage.

Whatever sync or close says otherwise is a FAILURE, whichever error it is, and the temporary file proves nothing. Real
file systems that lose bytes: tests/disks.
"""

import errno
import itertools
import os
import random
import stat
from pathlib import Path

import pytest

from s3_restore.disk import destination as destination_module
from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import OpenFile
from tests.support.engine_fixtures import Gate, Stand, identity
from tests.support.raw_files import MIB, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = "shared"

DATA = raw_bytes(20 * MIB, "journalled")  # parts of 4 MiB
ERRORS = [
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOLINK, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENODEV,
    errno.EROFS, errno.ENXIO, errno.EBADMSG, errno.ENOMEM, errno.ECONNRESET, errno.EPIPE, errno.EFBIG, errno.EUCLEAN,
]  # fmt: skip
OLD = 7200.0
NOBODY = 0xFFFFFFFF  # of an entry of an ACL that names nobody


class FailingCall:
    """Makes the n-th call of an `os` function on a kind of file below the destination fail; says whether it did."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, kind: str, number: int, nth: int = 1) -> None:
        self.fired = 0
        self.seen = 0
        real = getattr(os, name)

        def call(fd: int) -> None:
            if kind == self._kind_of(fd):
                self.seen += 1
                if self.seen == nth:
                    self.fired += 1
                    real(fd)
                    raise OSError(number, os.strerror(number))
            real(fd)

        patch.setattr(os, name, call)

    @staticmethod
    def _kind_of(fd: int) -> str:
        try:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        except OSError:
            return ""
        if "output" not in path.parts:
            return ""
        return "folder" if is_folder else path.suffix


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["fsync", "close"])
@pytest.mark.parametrize("state", ["missing", "corrupted"])
def test_bytes_that_do_not_reach_the_storage(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int, call: str, state: str
) -> None:
    """Never OK, never resumed; a corrupted version, perhaps the last copy, is still there."""
    stand.put("a.raw", DATA, part_mib=4, checksum=None)
    bad = stand.damage("a.raw", 9).read_bytes() if state == "corrupted" else None
    failing = FailingCall(monkeypatch, call, ".part", number)
    run = stand.restore()
    assert failing.fired == 1
    kept = "; the corrupted file is kept as a.raw.corrupted" if bad else ""
    assert run["a.raw"].startswith("FAILURE - ")
    assert run["a.raw"].endswith(f"({errno.errorcode[number]}){kept}")
    assert not stand.path("a.raw").exists()
    assert stand.others == (["a.raw.corrupted"] if bad else [])
    assert bad is None or stand.path("a.raw.corrupted").read_bytes() == bad
    monkeypatch.undo()
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - ")
    assert stand.server.bytes_sent() == len(DATA), "what the kernel still showed of it was not believed"
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("number", [number for number in ERRORS if number not in (errno.EINVAL, errno.ENOTSUP)])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_names_that_do_not_reach_the_storage(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int, nth: int
) -> None:
    """Of the file, of its folders, of the destination: a FAILURE with the error, EROFS too."""
    stand.put("1.m/deep/a.raw", b"small", "H1")
    failing = FailingCall(monkeypatch, "fsync", "folder", number, nth)
    run = stand.restore(max_concurrency=1)
    assert failing.fired == 1, "1.m, deep, the destination, the file: four names, four folders"
    assert run["1.m/deep/a.raw"].startswith("FAILURE - ")
    assert f"({errno.errorcode[number]})" in run["1.m/deep/a.raw"]
    monkeypatch.undo()
    assert stand.restore()["1.m/deep/a.raw"].startswith("OK - ")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_sync_folders_are_left_alone(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    stand.put("1.m/a.raw", b"small", "H1")
    failing = FailingCall(monkeypatch, "fsync", "folder", number)
    assert stand.restore()["1.m/a.raw"].startswith("OK - Downloaded")
    assert failing.fired == 1


def synced(patch: pytest.MonkeyPatch) -> list[str]:
    """Names of everything that is synced from now on."""
    names: list[str] = []
    real = os.fsync

    def note(fd: int) -> None:
        names.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    patch.setattr(os, "fsync", note)
    return names


def test_skipped_file_is_synced_before_it_is_ok(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has just written it: its bytes, its name, the folders above it, once each."""
    for number in range(3):
        stand.put(f"d/e/{number}.raw", raw_bytes(900, number), "H1")
        stand.place(f"d/e/{number}.raw", raw_bytes(900, number))
    before = {path: identity(stand.path(path)) for path in stand.data}
    names = synced(monkeypatch)
    assert set(stand.restore(max_concurrency=1).lines.values()) == {"OK - Skipped (already exists)"}
    assert sorted(names) == sorted(
        ["0.raw", "1.raw", "2.raw", "e", "e", "e", "d", "PRID001", "output"]  # 3 files and their names, e, d, PRID001
    )
    assert {path: identity(stand.path(path)) for path in before} == before


def test_skipped_file_of_yesterday_need_not_be_synced(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sync of a clean file may cost a flush of the device, and a folder has thousands."""
    stand.put("d/a.raw", b"small", "H1")
    stand.place("d/a.raw", b"small")
    monkeypatch.setattr(destination_module, "_SETTLED_AFTER_S", -OLD)
    names = synced(monkeypatch)
    assert stand.restore()["d/a.raw"] == "OK - Skipped (already exists)"
    assert names == []


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("what", [".raw", "folder"])
def test_skipped_file_that_does_not_reach_the_storage(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, number: int, what: str
) -> None:
    """It is not touched, and not called right."""
    stand.put("a.raw", b"small", "H1")
    stand.place("a.raw", b"small")
    before = identity(stand.path("a.raw"))
    FailingCall(monkeypatch, "fsync", what, number)
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - ")
    assert identity(stand.path("a.raw")) == before
    assert stand.others == []


@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_over_is_what_the_storage_gives_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A killed run's bytes were shown by the kernel and never written. Here the storage has zeros for them."""
    rng = random.Random(seed)
    stand.put("a.raw", DATA, part_mib=4)
    with stand.child(max_concurrency=1) as child:
        gate = Gate(stand.server, 16 * MIB)
        child.start()
        gate.wait()
        child.kill()
        gate.open()
    lost = rng.randrange(0, 12 * MIB), rng.randrange(1, 4 * MIB)
    order: list[str] = []
    sync, drop_cache = OpenFile.sync, OpenFile.drop_cache

    def note_sync(file: OpenFile) -> None:
        order.append(f"sync {file.path.suffix}")
        sync(file)

    def lose(file: OpenFile) -> None:
        order.append(f"drop {file.path.suffix}")
        drop_cache(file)
        os.pwrite(file.fileno(), bytes(lost[1]), lost[0])  # this is what is on the storage

    monkeypatch.setattr(OpenFile, "sync", note_sync)
    monkeypatch.setattr(OpenFile, "drop_cache", lose)
    run = stand.restore(max_concurrency=1)
    assert order[:2] == ["sync .part", "drop .part"]
    assert run["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W13")
@pytest.mark.parametrize("call", ["fsync", "close", "pwrite", "link", "fstat", "preadv", "lstat"])
@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOENT], ids=errno.errorcode.get)
@pytest.mark.parametrize("seed", range(3))
def test_own_file_is_gone_says_the_file_system(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, call: str, number: int, seed: int
) -> None:
    """W13: another host took it over, says NFS at whichever call: another look, and a right end (X1)."""
    stand.put("a.raw", DATA, "H1")
    calls = itertools.count(1)
    at = random.Random(seed).randrange(1, 4 if call in ("fsync", "close", "link") else 40)
    real = getattr(os, call)

    def gone(file, *arguments, **options):
        name = Path(f"/proc/self/fd/{file}").readlink().name if isinstance(file, int) else Path(file).name
        if name.startswith(".s3dl.") and next(calls) == at:
            if call == "close":
                real(file)
            raise OSError(number, os.strerror(number))
        return real(file, *arguments, **options)

    monkeypatch.setattr(os, call, gone)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - "), run["a.raw"]
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("content", ["right", "wrong"])
def test_a_skip_is_hashed_from_the_storage(stand: Stand, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """Its writer was told that the bytes did not get there; the kernel shows them until it forgets them."""
    stand.put("a.raw", DATA, part_mib=4)
    stand.place("a.raw", DATA)
    drop_cache = OpenFile.drop_cache
    lost: list[bool] = []

    def lose(file: OpenFile) -> None:
        drop_cache(file)
        if content == "wrong" and file.path.name == "a.raw" and not lost:
            lost.append(True)
            stand.place("a.raw", DATA[: 9 * MIB] + bytes(11 * MIB))  # this is what is on the storage

    monkeypatch.setattr(OpenFile, "drop_cache", lose)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Skipped" if content == "right" else "OK - Self-healed")
    stand.assert_right()


# --- modes (W12) ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("W12")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o775, 0o444])
def test_healed_file_keeps_mode_and_group(stand: Stand, mode: int) -> None:
    """The worker's umask is 077, and whoever read the file before can still read it."""
    stand.put("a.raw", DATA, part_mib=4)
    path = stand.damage("a.raw", 9)
    if os.geteuid() == 0:
        os.chown(path, -1, 4242)
    path.chmod(mode)
    former = os.umask(0o077)
    try:
        assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.geteuid() != 0 or path.stat().st_gid == 4242


def test_healed_file_keeps_its_mode_where_its_group_cannot_be_kept(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever put it there is in a group that the worker is not in; root_squash says the same."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    stand.put("a.raw", b"small", "H1")
    path = stand.place("a.raw", b"smalL")
    if os.geteuid() == 0:
        os.chown(path, -1, 4242)
    path.chmod(0o644)
    monkeypatch.setattr(os, "fchown", refused)
    former = os.umask(0o077)
    try:
        assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def acl_of(*entries: tuple[int, int, int]) -> bytes:
    """Version 2 of the form that the kernel takes: tag, bits, who."""
    return (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, bits, who in entries
    )


@pytest.mark.rule("W12")
def test_healed_file_keeps_its_acl(stand: Stand) -> None:
    stand.put("a.raw", b"small", "H1")
    path = stand.place("a.raw", b"smalL")
    # Owner rw, user 4242 rw, group r, mask rw, others nothing.
    acl = acl_of((1, 6, NOBODY), (2, 6, 4242), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY))
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system of the tests has no ACLs")
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    assert os.getxattr(path, "system.posix_acl_access") == acl


def test_healed_file_that_had_no_acl_has_none(stand: Stand) -> None:
    """The default ACL of its folder is for new files: with it the group, who read it before, has no right any more."""
    stand.put("a.raw", b"small", "H1")
    path = stand.place("a.raw", b"smalL")
    path.chmod(0o640)
    acl = acl_of((1, 6, NOBODY), (2, 6, 4242), (4, 0, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY))
    try:
        os.setxattr(path.parent, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("the file system of the tests has no ACLs")
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    assert "system.posix_acl_access" not in os.listxattr(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.rule("W12")
@pytest.mark.rule("W12", fails_when="a folder whose mode cannot be set fails its first file")
def test_folder_whose_mode_cannot_be_set_is_made_all_the_same(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts with one owner and one mode for all files (CIFS, FAT) say EPERM."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    stand.put("x.d/a.raw", b"first", "H1")
    monkeypatch.setattr(os, "chmod", refused)
    assert stand.restore(umask="002")["x.d/a.raw"].startswith("OK - Downloaded")


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [("002", 0o664, 0o775), ("0027", 0o640, 0o750)])
def test_new_files_and_folders_follow_the_setting(stand: Stand, umask: str, file_mode: int, folder_mode: int) -> None:
    """Airflow's daemons may run with 077."""
    stand.put("d/e/a.raw", b"small", "H1")
    stand.put("b.raw", DATA, part_mib=4)
    stand.destination.chmod(0o2775)
    former = os.umask(0o077)
    try:
        assert stand.restore(umask=umask).status == "SUCCESS"
    finally:
        os.umask(former)
    for name in ("d/e/a.raw", "b.raw"):
        assert stat.S_IMODE(stand.path(name).stat().st_mode) == file_mode
    for name in ("d", "d/e"):
        assert stat.S_IMODE(stand.path(name).stat().st_mode) == folder_mode | stat.S_ISGID


@pytest.mark.rule("W8", fails_when="a folder counts as synced for the name of one that is gone")
@pytest.mark.parametrize("maker", ["this run", "another run"])
def test_folder_that_is_made_again_is_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str) -> None:
    destination = Destination(tmp_path)
    final = tmp_path / "x.d" / "a"
    destination.make_folders(destination.path_of("x.d/a"))
    if maker == "another run":
        final.parent.rename(tmp_path / "else")  # so that the folder has another inode number
        final.parent.mkdir()
    else:
        final.parent.rmdir()
    synced: list[Path] = []
    monkeypatch.setattr(destination_module, "sync_folder", synced.append)
    destination.make_folders(destination.path_of("x.d/a"))
    assert synced == [tmp_path]
