"""The journal of a temporary file (W3): what was noted is read back, and nothing else is believed."""

import errno
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from s3_restore.disk.journal import Checkpoint, Journal, JournalHeader, read_journal

HEADER = JournalHeader("bucket", "prefix/a.raw", "5d1f-3", "v1", size=250, stream_size=100)
MD5_A, MD5_B, MD5_C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.journal"


def write(path: Path, header: JournalHeader = HEADER) -> None:
    journal = Journal(path, header)
    journal.checkpoint(0, 50, MD5_A)
    journal.checkpoint(2, 50, MD5_C)
    journal.checkpoint(0, 100, MD5_B)
    journal.close()


WRITTEN = {0: [Checkpoint(50, MD5_A), Checkpoint(100, MD5_B)], 2: [Checkpoint(50, MD5_C)]}


def test_what_was_written_is_read(path):
    write(path)
    assert read_journal(path, HEADER) == WRITTEN


def test_appending_keeps_what_is_there(path):
    write(path)
    journal = Journal(path, None)
    journal.checkpoint(1, 7, MD5_A)
    journal.close()
    assert read_journal(path, HEADER) == {**WRITTEN, 1: [Checkpoint(7, MD5_A)]}


def test_a_new_journal_is_never_made_of_what_is_there(path, tmp_path):
    """A hard link that somebody put there would be written to, a FIFO waited on."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    path.hardlink_to(precious)
    with pytest.raises(FileExistsError):
        Journal(path, HEADER)
    assert precious.read_bytes() == b"precious"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileExistsError):
        Journal(path, HEADER)


def test_checkpoints_are_in_rising_order_whatever_the_file_says(path):
    journal = Journal(path, HEADER)
    for count in (90, 10, 50):
        journal.checkpoint(0, count, MD5_A)
    journal.close()
    assert [checkpoint.count for checkpoint in read_journal(path, HEADER)[0]] == [10, 50, 90]


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "other"},
        {"key": "other"},
        {"etag": "other"},
        {"version_id": "v2"},
        {"size": 251},
        {"stream_size": 101},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_object_version_or_layout_starts_over(path, change):
    write(path)
    assert read_journal(path, replace(HEADER, **change)) is None


def test_another_format_starts_over(path):
    write(path)
    first, *rest = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([json.dumps({**json.loads(first), "format": 2}).encode(), *rest]))
    assert read_journal(path, HEADER) is None


def test_none_when_there_is_no_journal(path):
    assert read_journal(path, HEADER) is None


@pytest.mark.parametrize("cut", [2, 20, 40])
def test_a_torn_last_line_loses_only_itself(path, cut):
    write(path)
    os.truncate(path, path.stat().st_size - cut)
    assert read_journal(path, HEADER) == {0: [Checkpoint(50, MD5_A)], 2: [Checkpoint(50, MD5_C)]}
    journal = Journal(path, None)
    journal.checkpoint(1, 7, MD5_A)
    journal.close()
    assert read_journal(path, HEADER)[1] == [Checkpoint(7, MD5_A)], "and does not tear the next one too"


def test_a_torn_header_starts_over(path):
    write(path)
    os.truncate(path, 30)
    assert read_journal(path, HEADER) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b"nonsense",
        b"\xff\xfe\x00",
        b'{"s": 0}',
        b'{"s": 0, "n": 60}',
        b'{"s": 0, "n": 60, "md5": "zz"}',
        b'{"s": 0, "n": 60, "md5": 5}',
        b'{"s": 0, "n": 60, "md5": "' + b"A" * 32 + b'"}',
        b'{"s": 0, "n": 0, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": 0, "n": -5, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": 0, "n": true, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": 0, "n": 1e3, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": "0", "n": 60, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": false, "n": 60, "md5": "' + b"a" * 32 + b'"}',
        b'{"s": 0, "n": "60", "md5": "' + b"a" * 32 + b'"}',
        b"[" * 200_000,
    ],
    ids=lambda line: repr(line[:40]),
)
def test_lines_that_make_no_sense_are_left_out(path, line):
    write(path)
    with path.open("ab") as file:
        file.write(line + b"\n")
    assert read_journal(path, HEADER) == WRITTEN


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 1000, b"[" * 100_000, b"{}", b"null\n"])
def test_forged_whole_files(path, content):
    path.write_bytes(content)
    assert read_journal(path, HEADER) is None


@pytest.mark.parametrize(
    "tail", [b"\n", b"\0", b'{"s": 0, "n": 1, "md5": "00000000000000000000000000000000"}\n', b"[" * 9]
)
def test_a_huge_one_costs_little_memory(path, tail):
    """Whoever may write there can put gigabytes into it."""
    write(path)
    with path.open("ab") as file:
        for _ in range(64):
            file.write(tail * (1024**2 // len(tail)))
    tracemalloc.start()
    assert read_journal(path, HEADER) is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 1024**2


def test_a_named_pipe_is_not_waited_on(path):
    os.mkfifo(path)
    assert read_journal(path, HEADER) is None


def test_links_are_not_followed(path, tmp_path):
    other = tmp_path / "other"
    write(other)
    path.symlink_to(other)
    assert read_journal(path, HEADER) is None
    with pytest.raises(FileExistsError):
        Journal(path, HEADER)
    with pytest.raises(OSError, match="symbolic links"):
        Journal(path, None)
    assert read_journal(other, HEADER) == WRITTEN


def test_nothing_is_written_after_closing(path):
    journal = Journal(path, HEADER)
    journal.close()
    journal.close()
    before = path.read_bytes()
    journal.checkpoint(0, 1, MD5_A)
    assert path.read_bytes() == before


@pytest.mark.parametrize("header", [HEADER, None])
def test_one_that_cannot_be_begun_keeps_no_file_open(path, monkeypatch, header):
    if header is None:
        write(path)
    open_before = len(list(Path("/proc/self/fd").iterdir()))

    def fail(_fd, _data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        Journal(path, header)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
