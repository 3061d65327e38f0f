"""Setting aside (`disk/quarantine.py`): what is moved, what is put back, what is deleted (W2, W9)."""

import errno
import json
import os
from pathlib import Path

import pytest

from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import Identity
from s3_restore.disk.quarantine import Quarantine
from s3_restore.model.exceptions import ChangedMeanwhileError, StoppedError
from tests.support.records import is_record_of_what_is_there


@pytest.fixture
def corrupted(tmp_path: Path) -> tuple[Quarantine, Path, Identity]:
    final = tmp_path / "a.raw"
    final.write_bytes(b"corrupted")
    return Quarantine(Destination(tmp_path)), final, Identity.of(final.lstat())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not is_record_of_what_is_there(path))


def test_another_state_than_the_one_that_was_seen_is_never_moved(corrupted) -> None:
    """Another run healed it between the look and the move: not even for a moment is its path empty."""
    quarantine, final, seen = corrupted
    final.unlink()
    final.write_bytes(b"healed!!!")
    moved: list[str] = []
    rename = os.rename
    os.rename = lambda *paths: moved.append(str(paths[0])) or rename(*paths)
    try:
        with pytest.raises(ChangedMeanwhileError):
            quarantine.set_aside(final, seen)
    finally:
        os.rename = rename
    assert moved == []
    assert names(final.parent) == ["a.raw"]


@pytest.mark.parametrize("comes", ["nothing", "another file"])
def test_a_wrong_move_is_undone_without_overwriting(corrupted, monkeypatch: pytest.MonkeyPatch, comes: str) -> None:
    """It is healed between the last look and the rename: it goes back, unless its path is taken again."""
    quarantine, final, seen = corrupted
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        final.unlink()
        final.write_bytes(b"healed by another run")
        rename(source, target)
        if comes == "another file":
            final.write_bytes(b"and once more")

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(ChangedMeanwhileError):
        quarantine.set_aside(final, seen)
    there = b"and once more" if comes == "another file" else b"healed by another run"
    assert final.read_bytes() == there
    assert b"healed by another run" in {path.read_bytes() for path in final.parent.iterdir()}, "nothing is lost"


@pytest.mark.parametrize("full", [False, True])
def test_what_was_written_to_in_the_last_moment_and_is_wrong_is_known_to_the_next_run(
    corrupted, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """Another program writes to it between the last look and the rename: what is moved is not what the record says."""
    quarantine, final, seen = corrupted
    rename, fsync = os.rename, os.fsync

    def late(source: Path, target: Path) -> None:
        with final.open("r+b") as file:
            file.write(b"C")
        rename(source, target)
        if full:
            monkeypatch.setattr(os, "fsync", no_space)

    def no_space(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", late)
    version = quarantine.set_aside(final, seen, is_wrong=lambda _path: True)
    monkeypatch.setattr(os, "fsync", fsync)
    assert version.path.read_bytes() == b"Corrupted"
    later = Quarantine(Destination(final.parent)).find(final)
    assert [each.path for each in later] == ([] if full else [version.path]), "only by a record that matches"
    assert len(list(final.parent.glob(".s3dl.*.aside"))) == (0 if full else 1)
    quarantine.remove([version])
    assert names(final.parent) == []


def test_the_record_is_on_the_storage_before_the_rename(corrupted, monkeypatch: pytest.MonkeyPatch) -> None:
    quarantine, final, seen = corrupted
    calls: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def note(*arguments, name: str = name, real=real) -> None:
            what = Path(f"/proc/self/fd/{arguments[0]}").readlink() if name == "fsync" else arguments[0]
            calls.append(f"{name} {what.suffix or 'folder'}")
            real(*arguments)

        monkeypatch.setattr(os, name, note)
    quarantine.settle(quarantine.set_aside(final, seen))
    assert calls == ["fsync .aside", "fsync folder", "rename .raw", "fsync folder"]


@pytest.mark.parametrize("step", ["record", "reservation"])
def test_what_a_dead_run_had_only_prepared_is_tidied(corrupted, step: str) -> None:
    """The corrupted file is still at its path; the record describes nothing yet."""
    quarantine, final, seen = corrupted
    aside = quarantine.set_aside(final, seen)
    aside.path.rename(final)
    if step == "reservation":
        aside.path.touch()
    quarantine.look_afresh()
    assert quarantine.find(final) == []
    assert names(final.parent) == ["a.raw"]


@pytest.mark.rule("W9", fails_when="an empty file that somebody made later is taken for what reserved its name")
@pytest.mark.parametrize("seconds", [-1, 3600, 86400 * 30])
def test_an_empty_file_of_another_time_than_the_record_is_left_alone(corrupted, seconds: int) -> None:
    """A run was killed between its record and the reservation; a person makes a file of that name, or had made it."""
    quarantine, final, seen = corrupted
    aside = quarantine.set_aside(final, seen)
    aside.path.rename(final)
    aside.path.touch()
    of_record = aside.record.stat().st_mtime
    os.utime(aside.path, (of_record + seconds, of_record + seconds))
    quarantine.look_afresh()
    assert quarantine.find(final) == []
    assert names(final.parent) == ["a.raw", "a.raw.corrupted"]


def test_records_that_make_no_sense_are_no_reason_to_delete(corrupted) -> None:
    quarantine, final, seen = corrupted
    aside = quarantine.set_aside(final, seen)
    aside.path.write_bytes(b"of a person")
    forgeries = [
        b"", b"{", b"[]", b'{"format": 1}', b"null", b"\xff" * 99, b"[" * 9000,
        b'{"format": 1, "name": "a.raw", "aside": 5}',
        b'{"format": 1, "name": "a.raw", "aside": "../a", "inode": 1, "size": 1, "mtime_ns": 1}',
        b'{"format": 1, "name": "a.raw", "aside": "..", "inode": 1, "size": 1, "mtime_ns": 1}',
        b'{"format": 1, "name": "a.raw", "aside": "a\\u0000", "inode": 1, "size": 1, "mtime_ns": 1}',
        b'{"format": 1, "name": "a.raw", "aside": "\\ud800", "inode": 1, "size": 1, "mtime_ns": 1}',
        b'{"format": 1, "name": "a.raw", "aside": "b", "inode": 1e999, "size": 1, "mtime_ns": 1}',
    ]  # fmt: skip
    for text in forgeries:
        aside.record.write_bytes(text)
        quarantine.look_afresh()
        assert quarantine.find(final) == []
        assert aside.path.read_bytes() == b"of a person"


def test_a_record_is_written_whole_by_short_writes(corrupted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network file systems and near a full disk: half a record would tell the next run of nothing."""
    quarantine, final, seen = corrupted
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:20]))
    aside = quarantine.set_aside(final, seen)
    quarantine.look_afresh()
    assert [each.path for each in quarantine.find(final)] == [aside.path]


def test_a_record_of_the_file_itself_is_no_reason_to_delete_it(corrupted) -> None:
    """Forged, as nothing is set aside under its own name: the right file would go as what was healed."""
    quarantine, final, seen = corrupted
    record = quarantine.set_aside(final, seen).record
    final.write_bytes(b"right")
    now = final.stat()
    fields = {"format": 1, "name": final.name, "aside": final.name, "inode": now.st_ino, "size": now.st_size}
    record.write_text(json.dumps({**fields, "mtime_ns": now.st_mtime_ns}))
    quarantine.look_afresh()
    assert quarantine.find(final) == []


@pytest.mark.rule("W2", fails_when="a move that the server made and called missing is forgotten")
@pytest.mark.rule("W13")
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO])
def test_a_move_is_one_whatever_the_call_says(corrupted, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """NFS: the answer is lost, the client asks again, and the server says that there is no such file (rename(2))."""
    quarantine, final, seen = corrupted
    rename = os.rename

    def lost(source: Path, target: Path) -> None:
        rename(source, target)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lost)
        version = quarantine.set_aside(final, seen)
    assert names(final.parent) == ["a.raw.corrupted"]
    assert [each.path for each in quarantine.find(final)] == [version.path], "so it can be healed"


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT])
def test_a_move_that_comes_after_the_call_has_failed_loses_nothing(
    corrupted, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Soft NFS: the client gave up, and the server moves it a moment later, before whatever it is asked next."""
    quarantine, final, seen = corrupted
    rename, unlink = os.rename, os.unlink
    late: list[tuple[Path, Path]] = []

    def give_up(*paths: Path) -> None:
        late.append(paths)
        raise OSError(number, os.strerror(number))

    def after_the_move(path: Path) -> None:
        if late:
            rename(*late.pop())
        unlink(path)

    monkeypatch.setattr(os, "rename", give_up)
    monkeypatch.setattr(os, "unlink", after_the_move)
    with pytest.raises(OSError, match=os.strerror(number)):
        quarantine.set_aside(final, seen)
    if late:
        rename(*late.pop())
    [version] = quarantine.find(final)
    assert version.path.read_bytes() == b"corrupted"


@pytest.mark.rule("W9", fails_when="what reserved a name is left without the record that tells whose it is")
@pytest.mark.parametrize("call", ["open", "close"])
def test_reservation_that_is_made_whatever_the_call_says_is_withdrawn(
    corrupted, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Else an empty `.corrupted` stays for ever, which no run dares to remove."""
    quarantine, final, seen = corrupted
    real_open, real_close = os.open, os.close
    reservations: list[int] = []

    def opened(path: Path, flags: int, *mode: int) -> int:
        fd = real_open(path, flags, *mode)
        if str(path).endswith(".corrupted"):
            reservations.append(fd)
            if call == "open":
                reservations.append(-1)
                real_close(fd)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fd

    def closed(fd: int) -> None:
        real_close(fd)
        if reservations == [fd]:
            reservations.append(-1)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened)
        patch.setattr(os, "close", closed)
        with pytest.raises(OSError, match="Input/output"):
            quarantine.set_aside(final, seen)
    assert reservations
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.rule("W2", fails_when="what could not be looked at after its move stays aside, unsaid")
@pytest.mark.parametrize("ends", ["the look", "the proof"])
def test_a_move_of_nobody_knows_what_is_undone(corrupted, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    """The system gives an error, or the run is told to end while it is hashed: it may be a person's right file."""
    quarantine, final, seen = corrupted
    rename, lstat = os.rename, os.lstat
    errors: list[OSError] = []

    def replaced(source: Path, target: Path) -> None:
        final.unlink()
        final.write_bytes(b"of person")
        rename(source, target)
        if ends == "the look":
            errors.append(OSError(errno.EIO, os.strerror(errno.EIO)))

    def looked(path: Path, **options: int) -> os.stat_result:
        if errors and str(path).endswith(".corrupted"):
            raise errors.pop()
        return lstat(path, **options)

    def stopped(_path: Path) -> bool:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", replaced)
        patch.setattr(os, "lstat", looked)
        with pytest.raises((OSError, StoppedError)):
            quarantine.set_aside(final, seen, stopped)
    assert list(final.parent.iterdir()) == [final]
    assert final.read_bytes() == b"of person"
