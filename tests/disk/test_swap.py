"""Proved bytes get their final name (`disk/swap.py`): nothing is overwritten, or gets out (W1, W4, W9)."""

import errno
import os
from pathlib import Path

import pytest

from s3_restore.disk import syscalls
from s3_restore.disk.destination import Destination
from s3_restore.disk.open_file import TemporaryFile
from s3_restore.disk.swap import put_in_place
from s3_restore.disk.temporary_files import TemporaryFiles
from s3_restore.model.exceptions import BlockedPathError, ChangedMeanwhileError
from tests.support.file_systems import LACKING, make_without


def temporary(destination: Destination, final: Path) -> TemporaryFile:
    final.parent.mkdir(exist_ok=True)
    made = TemporaryFiles(destination, 300).create(final)
    made.write_at(memoryview(b"proved"), 0)
    return made


@LACKING
def test_a_file_that_is_there_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    (tmp_path / "a.raw").write_bytes(b"of another program")
    make_without(monkeypatch, lacking)
    with pytest.raises(ChangedMeanwhileError):
        put_in_place(made, destination)
    assert (tmp_path / "a.raw").read_bytes() == b"of another program"
    assert made.path.read_bytes() == b"proved"


@LACKING
def test_nothing_but_the_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    make_without(monkeypatch, lacking)
    assert put_in_place(made, destination) is not None
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.raw": b"proved"}
    assert (tmp_path / "a.raw").stat().st_nlink == 1


def test_a_file_that_appears_in_the_last_moment_is_not_overwritten_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W9: after every look, just before the rename."""
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    make_without(monkeypatch, "links")
    rename = syscalls.renameat2

    def late(source: Path, target: Path, flags: int) -> None:
        target.write_bytes(b"of another program")
        rename(source, target, flags)

    monkeypatch.setattr(syscalls, "renameat2", late)
    with pytest.raises(ChangedMeanwhileError):
        put_in_place(made, destination)
    assert (tmp_path / "a.raw").read_bytes() == b"of another program"
    assert made.path.read_bytes() == b"proved"


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EINVAL])
def test_a_rename_to_a_free_name_that_is_made_whatever_the_call_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    make_without(monkeypatch, "links")
    rename = syscalls.renameat2

    def lost(source: Path, target: Path, flags: int) -> None:
        rename(source, target, flags)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(syscalls, "renameat2", lost)
    assert put_in_place(made, destination) is not None
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.raw": b"proved"}


def test_a_folder_that_became_a_link_out_of_the_destination(tmp_path: Path) -> None:
    """After everything was proved, and just before the name is given."""
    outside = tmp_path / "outside"
    (tmp_path / "output").mkdir()
    destination = Destination(tmp_path / "output")
    folder = destination.path / "d"
    made = temporary(destination, folder / "a.raw")
    folder.rename(outside)
    folder.symlink_to(outside)
    with pytest.raises(BlockedPathError, match="leads out of the destination"):
        put_in_place(made, destination)
    assert [path.name for path in outside.iterdir()] == [made.path.name]


def test_a_temporary_file_that_another_run_took_over(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    made.path.rename(tmp_path / "taken")
    with pytest.raises(ChangedMeanwhileError):
        put_in_place(made, destination)
    assert not (tmp_path / "a.raw").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ESTALE])
def test_a_number_is_given_back_once_whatever_close_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Closed twice, it would be another thread's new file the second time."""
    destination = Destination(tmp_path)
    made = temporary(destination, tmp_path / "a.raw")
    closed: list[int] = []
    close = os.close

    def failing(fd: int) -> None:
        closed.append(fd)
        close(fd)
        if fd == mine:
            raise OSError(number, os.strerror(number))

    mine = made.fileno()
    monkeypatch.setattr(os, "close", failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        put_in_place(made, destination)
    made.remove()
    made.close()
    assert closed.count(mine) == 1
    assert list(tmp_path.iterdir()) == []
