"""Issue 3, items 2, 5 and 7: the hash in flight, read-back, skipping fast, progress lines."""

import itertools
import logging
import os
import re
import threading
from collections import Counter

import pytest

from s3_restore.disk import md5_backend
from s3_restore.disk.open_file import OpenFile, TemporaryFile
from s3_restore.run.progress import Progress
from tests.support.engine_fixtures import Stand, identity
from tests.support.fault_rules import Delay, Rule, Status, Throttle
from tests.support.raw_files import MIB, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = True

PARTS = raw_bytes(7 * MIB + 5, "parts")
LARGE = raw_bytes(26 * MIB, "large")


class Recorder:
    """What is read from files, by whom: bytes by the kind of file."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bytes_read: Counter[str] = Counter()
        read_at = OpenFile.read_at

        def counting(file: OpenFile, buffer: memoryview, offset: int) -> int:
            count = read_at(file, buffer, offset)
            self.bytes_read["temporary" if isinstance(file, TemporaryFile) else "final"] += count
            return count

        patch.setattr(OpenFile, "read_at", counting)


# --- in flight --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("H2")
def test_h2_is_hashed_without_reading_anything_back(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Recorder(monkeypatch).bytes_read
    stand.put("a.raw", PARTS)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert read == {}
    assert stand.server.bytes_sent() == len(PARTS)


@pytest.mark.rule("H1")
def test_h1_follows_the_write_front_reading_each_byte_once_in_order(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets: list[int] = []
    read_at = OpenFile.read_at

    def noting(file: OpenFile, buffer: memoryview, offset: int) -> int:
        offsets.append(offset)
        return read_at(file, buffer, offset)

    monkeypatch.setattr(OpenFile, "read_at", noting)
    stand.put("a.raw", LARGE, "H1", part_mib=5)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert offsets == sorted(set(offsets)), "in order, nothing twice"
    assert stand.server.bytes_sent() == len(LARGE)


@pytest.mark.rule("H1")
def test_h1_segments_that_arrive_out_of_order(stand: Stand) -> None:
    """The first of them comes last."""
    stand.put("a.raw", LARGE, "H1", part_mib=5)
    stand.proxy.add(Rule(Delay(0.3), method="GET", range_start=0))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()


@pytest.mark.rule("H2")
def test_h2_parts_that_arrive_out_of_order(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    stand.proxy.add(Rule(Delay(0.3), method="GET", range_start=0))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()


@pytest.mark.rule("H2")
@pytest.mark.parametrize("wrong", ["md5", "etag"])
def test_h2_either_hash_proves_the_file(stand: Stand, wrong: str) -> None:
    """H2: the MD5 or the ETag is enough, for the download and for the look at what is there."""
    stand.put("a.raw", PARTS)
    size, md5, etag = stand.file_info["a.raw"]
    if wrong == "md5":
        stand.file_info["a.raw"] = [size, "0" * 32, etag]
    else:
        stand.file_info["a.raw"] = [size, md5, "0" * 32 + "-8__1"]
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    before = identity(stand.path("a.raw"))
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"
    assert identity(stand.path("a.raw")) == before


@pytest.mark.rule("H2")
def test_h2_neither_hash_proves_it(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    stand.file_info["a.raw"] = [len(PARTS), "0" * 32, "1" * 32 + "-8__1"]
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected " + "0" * 32)
    assert stand.others == []


def test_without_a_size_the_hash_alone_decides(stand: Stand) -> None:
    for name, data in {"a.raw": PARTS, "b.raw": b"b", "empty": b""}.items():
        stand.put(name, data)
        stand.file_info[name][0] = None
    run = stand.restore()
    assert run.status == "SUCCESS"
    stand.assert_right()
    assert set(stand.restore().lines.values()) == {"OK - Skipped (already exists)"}


# --- read-back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "part_mib"), [("H1", 100), ("H2", 1), ("H3", 1)])
def test_readback_reads_every_byte_again_after_fsync_and_with_the_cache_dropped(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, form: str, part_mib: int
) -> None:
    calls: list[str] = []
    for name in ("sync", "drop_cache"):
        real = getattr(OpenFile, name)

        def noting(file: OpenFile, name: str = name, real=real) -> None:
            calls.append(name)
            real(file)

        monkeypatch.setattr(OpenFile, name, noting)
    read = Recorder(monkeypatch).bytes_read
    stand.put("a.raw", PARTS, form, part_mib=part_mib)
    assert stand.restorer(verify="readback").run(stand.specs()).outcomes[0].ok
    assert read["temporary"] + read["final"] >= len(PARTS)
    assert calls[:2] == ["sync", "drop_cache"]


@pytest.mark.parametrize(("form", "data"), [("H1", PARTS), ("H1", LARGE), ("H2", PARTS), ("H2", b"small")])
def test_storage_that_gives_back_other_bytes_is_found_by_readback(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, form: str, data: bytes
) -> None:
    """A disk that lies: one bit of what was written is another one once the cache is dropped. Never an OK."""
    drop_cache = OpenFile.drop_cache

    def rot(file: OpenFile) -> None:
        drop_cache(file)
        byte = os.pread(file._fd, 1, len(data) // 2)
        os.pwrite(file._fd, bytes([byte[0] ^ 4]), len(data) // 2)

    monkeypatch.setattr(OpenFile, "drop_cache", rot)
    stand.put("a.raw", data, form, part_mib=1 if form == "H2" else 5)
    run = stand.restore(verify="readback")
    assert run["a.raw"] == ("FAILURE - Storage gave back other bytes than were written (hash mismatch on read-back)")
    assert not stand.path("a.raw").exists()
    assert stand.others == [], "lying storage is nothing to resume from"

    monkeypatch.undo()
    assert stand.restore(verify="readback")["a.raw"].startswith("OK - Downloaded")


# --- skipping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["H1", "H2", "H3"])
def test_right_files_are_left_untouched(stand: Stand, form: str) -> None:
    """Same inode, mtime and mode; S3 is asked for no byte."""
    for name, data in {"d/a.raw": PARTS, "d/e/b.raw": b"small", "empty": b""}.items():
        stand.put(name, data, form if data is PARTS else "H1")
        stand.place(name, data)
        os.utime(stand.path(name), (1, 1))
        stand.path(name).chmod(0o440)
    before = {name: identity(stand.path(name)) for name in stand.data}
    folders = {path: path.stat().st_mtime_ns for path in stand.destination.rglob("*") if path.is_dir()}
    run = stand.restore()
    assert set(run.lines.values()) == {"OK - Skipped (already exists)"}
    assert {name: identity(stand.path(name)) for name in stand.data} == before
    assert {path: path.stat().st_mtime_ns for path in folders} == folders
    assert stand.server.bytes_sent() == 0
    if form != "H3":
        assert stand.server.count() == 0


@pytest.mark.rule("H6")
def test_wrong_size_needs_no_hash(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """H6: not a byte of it is read to find that it is wrong (only afterwards, to see what can be kept)."""
    stand.put("a.raw", PARTS, checksum=None)
    stand.put("b.raw", b"small", "H1")
    stand.place("a.raw", PARTS + b"x")
    stand.place("b.raw", b"smal")
    read = Recorder(monkeypatch).bytes_read
    summary = stand.restorer().run(stand.specs())
    assert [outcome.result.value for outcome in summary.outcomes] == ["healed", "healed"]
    assert read == {}


def test_parts_are_hashed_side_by_side(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the budget: 4 of them are begun before any is hashed, by a thread each or by one for several."""
    stand.put("a.raw", PARTS)
    stand.place("a.raw", PARTS)
    meeting = threading.Event()
    begun: set[int] = set()
    read_at, update_many = OpenFile.read_at, md5_backend.update_many

    def note(file: OpenFile, buffer: memoryview, offset: int) -> int:
        begun.add(offset // MIB)
        if len(begun) >= 4:
            meeting.set()
        return read_at(file, buffer, offset)

    def meet(jobs: list) -> None:
        assert meeting.wait(20)
        update_many(jobs)

    monkeypatch.setattr(OpenFile, "read_at", note)
    monkeypatch.setattr(md5_backend, "update_many", meet)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    assert stand.restore(max_concurrency=4)["a.raw"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H3")
@pytest.mark.parametrize("how", ["stopped", "refuses", "forbidden"])
@pytest.mark.parametrize("content", [PARTS, raw_bytes(len(PARTS), "perhaps wrong")], ids=["right", "wrong"])
def test_h3_part_size_unknown_and_s3_away_never_touches_the_file(stand: Stand, how: str, content: bytes) -> None:
    """Perhaps it is right: nobody can tell, so it is neither set aside nor deleted."""
    stand.put("a.raw", PARTS, "H3", part_mib=2.9)  # no whole part size
    stand.place("a.raw", content)
    before = identity(stand.path("a.raw"))
    if how == "stopped":
        stand.proxy.stop()
    else:
        stand.proxy.add(Rule(Status(403 if how == "forbidden" else 503), times=None))
    run = stand.restore()
    said = {
        "stopped": "Network error: S3 cannot be reached (",
        "refuses": "S3 is overloaded or not well (",
        "forbidden": "S3 denies access: the connection's user needs s3:GetObject on this bucket (",
    }
    assert run["a.raw"].startswith(f"FAILURE - {said[how]}")
    assert identity(stand.path("a.raw")) == before
    assert stand.path("a.raw").read_bytes() == content
    assert stand.others == []


@pytest.mark.rule("H3")
def test_h3_corrupted_file_is_healed_when_only_the_download_tells_the_part_size(stand: Stand) -> None:
    """No usual part size proves the file on disk; one proves the download, so the file on disk is the wrong one."""
    stand.put("a.raw", LARGE, "H3", part_mib=8, part_size=100 * MIB)  # uploaded as one part: S3 cannot tell
    stand.damage("a.raw", 9)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Self-healed (hash mismatch detected, re-downloaded) (")
    stand.assert_right()
    assert stand.others == []
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H3")
def test_h3_nothing_proves_what_is_on_disk_nor_the_download(stand: Stand) -> None:
    """A part size that nobody knows: the file on disk may be the right one, and stays."""
    stand.put("a.raw", LARGE, "H3", part_mib=7.1, part_size=100 * MIB)
    stand.place("a.raw", LARGE)
    before = identity(stand.path("a.raw"))
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected ")
    assert run["a.raw"].endswith(
        "; the download was deleted"
        "; the file on disk cannot be verified (ETag of unknown part size) and was not touched"
    )
    assert stand.server.bytes_sent() == len(LARGE), "no second try: the part size stays unknown"
    assert identity(stand.path("a.raw")) == before
    assert stand.others == []


@pytest.mark.rule("H3")
def test_h3_usual_part_size_and_s3_away_is_skipped(stand: Stand) -> None:
    stand.put("a.raw", LARGE, "H3", part_mib=8)
    stand.place("a.raw", LARGE)
    stand.proxy.stop()
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H3")
def test_h3_missing_file_whose_part_size_nobody_knows(stand: Stand) -> None:
    """Uploaded once more as a single part: S3 knows no parts, and no whole size is the right one."""
    stand.put("a.raw", PARTS, "H3", part_mib=2.9, part_size=100 * MIB)
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - ")
    assert not stand.path("a.raw").exists()
    assert stand.others == []


def test_file_that_changes_after_it_was_proved_is_no_ok(stand: Stand) -> None:
    """Another program writes to a file that is done while the run is still at others."""
    stand.put("a.raw", b"small", "H1")
    stand.put("b.raw", PARTS)

    def meddle(request) -> None:
        if request.key == stand.key("b.raw") and stand.path("a.raw").exists():
            stand.server.on_request = None
            stand.path("a.raw").write_bytes(b"other")

    stand.place("a.raw", b"small")
    stand.server.on_request = meddle
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified (it is missing or different now)")
    assert run["b.raw"].startswith("OK - Downloaded")


def test_file_that_is_rewritten_with_the_same_bytes_stays_ok(stand: Stand) -> None:
    stand.put("a.raw", b"small", "H1")
    stand.put("b.raw", PARTS)

    def touch(request) -> None:
        stand.path("a.raw").write_bytes(b"small")

    stand.place("a.raw", b"small")
    stand.server.on_request = touch
    assert stand.restore(max_concurrency=1)["a.raw"] == "OK - Skipped (already exists)"


# --- progress ---------------------------------------------------------------------------------------------------------

LINE = re.compile(
    r"Progress: (?P<files>\d+) of (?P<of>\d+) files, (?P<mb>[\d.]+) of (?P<all>[\d.]+) MB \((?P<percent>\d+)%\), "
    r"(?P<rate>[\d.]+) MB/s, ETA (?:\d+s|unknown), current file: (?P<current>.+)"
)


def progress_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[float, re.Match]]:
    records = [record for record in caplog.records if record.getMessage().startswith("Progress:")]
    return [(record.created, LINE.fullmatch(record.getMessage())) for record in records]


def test_progress_lines_say_files_bytes_percent_rate_eta_and_file(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    """At 8 MB/s, 7 MB take long enough for several lines of 0.1 s."""
    caplog.set_level(logging.INFO)
    stand.put("a.raw", PARTS)
    stand.put("b.raw", b"small", "H1")
    stand.proxy.add(Rule(Throttle(2_000_000), key="a.raw", times=None))
    stand.restore(progress_interval_s=0.1, max_concurrency=4)
    lines = progress_lines(caplog)
    assert len(lines) >= 3
    assert all(match for _, match in lines), [record.getMessage() for record in caplog.records]
    for (before, _), (after, _) in itertools.pairwise(lines):
        assert after - before >= 0.09, "at most one line an interval"
    last = lines[-1][1]
    assert (last["of"], last["all"]) == ("2", "7.0")
    assert last["current"] in ("a.raw", "b.raw")
    amounts = [float(match["mb"]) for _, match in lines]
    assert amounts == sorted(amounts)
    assert amounts[0] < amounts[-1] <= 7.0
    assert any(0 < int(match["percent"]) < 100 for _, match in lines)
    assert any(float(match["rate"]) > 0 for _, match in lines)


def test_progress_is_silent_within_the_default_interval(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """10 s by default: a short run logs none, and its thread ends with it."""
    caplog.set_level(logging.INFO)
    stand.put("a.raw", b"small")
    stand.restore()
    assert progress_lines(caplog) == []


def test_progress_of_broken_tries_and_skipped_files_adds_up(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Skipped bytes count as done; the last line of all never says more than everything."""
    caplog.set_level(logging.INFO)
    stand.put("skip.raw", LARGE, part_mib=5)
    stand.place("skip.raw", LARGE)
    stand.put("a.raw", PARTS)
    seen: list[Progress] = []
    begin_file = Progress.begin_file
    monkeypatch.setattr(Progress, "begin_file", lambda self, path: seen.append(self) or begin_file(self, path))
    stand.restore()
    line = LINE.fullmatch(seen[0].line())
    assert (line["files"], line["of"], line["percent"]) == ("2", "2", "100")
    assert line["mb"] == line["all"] == "33.0"
