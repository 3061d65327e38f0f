"""Issue 3, item 3 (W3): what a dead attempt had fetched is not fetched again, and no journal can make a wrong OK."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from s3_restore.disk import owners
from tests.support.engine_fixtures import BUCKET, Gate, Stand, identity
from tests.support.fault_rules import Cut, FlipBit, Rule, Status
from tests.support.raw_files import MIB, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = "shared"

TWO_PARTS = raw_bytes(64 * MIB, "two parts")  # of 32 MiB
HALF = 32 * MIB
CHECKPOINT = 16 * MIB


def kill_with_both_parts_at_20_mib(stand: Stand) -> None:
    """Kill a process that has 20 MiB of each of two parts; both are cut there, and die when they ask to go on."""
    for start in (0, HALF):
        stand.proxy.add(Rule(Cut(after=20 * MIB), method="GET", range_start=start))
    gate = Gate(stand.server, 20 * MIB, HALF + 20 * MIB)
    with stand.child() as child:
        child.start()
        gate.wait()
        child.kill()
    gate.open()
    stand.server.on_request = None
    stand.proxy.clear()
    stand.server.forget_requests()
    assert not stand.path("a.raw").exists()
    assert len(stand.leftovers("part")) == len(stand.leftovers("journal")) == 1


def assert_resumed_right(stand: Stand, fetched: int) -> None:
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded and verified (64.0 MB in ")
    stand.assert_right()
    assert stand.server.bytes_sent() == fetched
    assert run.summary.outcomes[0].bytes_fetched == fetched
    assert stand.others == [], "the temporary file and the journal vanish when the file is done"


@pytest.fixture(scope="module")
def what_it_left() -> dict[str, bytes]:
    """Name -> content of what one killed process left, so that only the first test has to kill one."""
    return {}


@pytest.fixture
def killed(stand: Stand, what_it_left: dict[str, bytes]) -> Stand:
    """A stand on which a process died with 20 MiB of each of two parts of `a.raw`."""
    stand.put("a.raw", TWO_PARTS, part_mib=32)
    if not what_it_left:
        kill_with_both_parts_at_20_mib(stand)
        what_it_left |= {path.name: path.read_bytes() for path in stand.destination.iterdir()}
    for name, content in what_it_left.items():
        stand.place(name, content)
    return stand


def test_sigkill_then_only_what_is_missing_from_the_last_checkpoint_of_each_part(killed: Stand) -> None:
    (part,) = killed.leftovers("part")
    assert part.stat().st_size == len(TWO_PARTS), "preallocated, its end not written"
    assert_resumed_right(killed, 2 * CHECKPOINT)
    assert killed.ranges() == [(CHECKPOINT, HALF), (HALF + CHECKPOINT, 2 * HALF)]


def test_sigkill_of_h1_resumes_behind_the_write_front(stand: Stand) -> None:
    """The hash follows in order; with 2 connections, segment 8 is asked for when 4 segments (32 MiB) are hashed."""
    data = stand.put("a.raw", raw_bytes(72 * MIB, "h1"), "H1", part_mib=100)
    gate = Gate(stand.server, 64 * MIB)
    with stand.child(max_concurrency=2) as child:
        child.start()
        gate.wait()
        child.kill()
    gate.open()
    stand.server.forget_requests()
    run = stand.restore(max_concurrency=2)
    assert run["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    first = stand.ranges()[0][0]
    assert first in (32 * MIB, 48 * MIB)
    assert stand.server.bytes_sent() == len(data) - first
    assert stand.others == []


def test_killed_twice_progress_adds_up(killed: Stand) -> None:
    """The second attempt dies too, after part 1 was finished."""
    killed.proxy.add(Rule(Cut(after=8 * MIB), method="GET", range_start=CHECKPOINT))
    gate = Gate(killed.server, CHECKPOINT + 8 * MIB)
    with killed.child(max_concurrency=1) as child:
        child.start()
        gate.wait()
        child.kill()
    gate.open()
    killed.server.forget_requests()
    assert_resumed_right(killed, 2 * CHECKPOINT)

    killed.path("a.raw").unlink()
    killed.server.forget_requests()
    assert_resumed_right(killed, len(TWO_PARTS))


def test_finished_parts_are_kept(stand: Stand) -> None:
    """One connection: when part 4 is asked for, parts 1 to 3 are done."""
    stand.put("a.raw", raw_bytes(20 * MIB, "parts"), part_mib=5)
    gate = Gate(stand.server, 15 * MIB)
    with stand.child(max_concurrency=1) as child:
        child.start()
        gate.wait()
        child.kill()
    gate.open()
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.ranges() == [(15 * MIB, 20 * MIB)]
    stand.assert_right()
    assert stand.others == []


def test_object_was_replaced_in_between_start_over(killed: Stand) -> None:
    """The journal is for another version: nothing of it is kept, though the bytes happen to be the same."""
    killed.server.upload(BUCKET, killed.key("a.raw"), TWO_PARTS, part_size=32 * MIB)
    assert_resumed_right(killed, len(TWO_PARTS))


def test_file_info_has_another_size_now_start_over(killed: Stand) -> None:
    other = raw_bytes(20 * MIB, "other")
    killed.file_info.clear()
    killed.data.clear()
    killed.put("a.raw", other, part_mib=32)
    killed.server.forget_requests()
    assert killed.restore()["a.raw"].startswith("OK - Downloaded")
    killed.assert_right()
    assert killed.server.bytes_sent() == len(other)
    assert killed.others == []


def journal_of(stand: Stand) -> tuple[Path, list[str]]:
    (journal,) = stand.leftovers("journal")
    return journal, journal.read_text().splitlines()


def test_torn_journal_keeps_what_can_be_read(killed: Stand) -> None:
    """Written 10 bytes short, as when the power went: that part's checkpoint is lost, the other one's is kept."""
    journal, lines = journal_of(killed)
    assert len(lines) == 3
    journal.write_bytes(journal.read_bytes()[:-10])
    assert_resumed_right(killed, CHECKPOINT + HALF)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{", b"\x00" * 5000, b"\xff\xfe\n{}\n", b"[" * 100_000, b"null\nnull\n", b'{"format": 2}\n'],
    ids=["empty", "newline", "brace", "zeros", "no utf-8", "deep", "null", "other format"],
)
def test_journal_that_is_none_start_over(stand: Stand, content: bytes) -> None:
    stand.put("a.raw", raw_bytes(17 * MIB, 1), "H1")
    part = dead_leftover(stand, raw_bytes(17 * MIB, 1), content)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.server.bytes_sent() == 17 * MIB
    assert not part.exists()
    assert stand.others == []


@pytest.mark.parametrize(
    "line",
    [
        '{"s": 0, "n": 99999999999, "md5": "00000000000000000000000000000000"}',
        '{"s": 0, "n": -1, "md5": "00000000000000000000000000000000"}',
        '{"s": 0, "n": 0, "md5": "d41d8cd98f00b204e9800998ecf8427e"}',
        '{"s": true, "n": true, "md5": "00000000000000000000000000000000"}',
        '{"s": 7, "n": 5, "md5": "00000000000000000000000000000000"}',
        '{"s": "0", "n": 1.5, "md5": null}',
        '{"s": 0, "n": 1' + "0" * 5000 + ', "md5": "00000000000000000000000000000000"}',
        "[[1, 2], {}]",
    ],
)
def test_senseless_lines_cost_nothing(stand: Stand, line: str) -> None:
    """They are left out; the good checkpoints count. (A wrong one before a good one would end a stream's.)"""
    stand.put("a.raw", PARTS, part_mib=5)
    head, *good = journal_text(stand, 5 * MIB, all_parts(PARTS)).splitlines()
    dead_leftover(stand, PARTS, b"\n".join([head, line.encode(), *good, line.encode()]))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.server.bytes_sent() == 0
    assert stand.others == []


def dead_leftover(stand: Stand, content: bytes, journal: bytes | None, *, number: int = 1, start: str = "1") -> Path:
    """What a process that is dead (its number is taken by another one since) left for `a.raw`."""
    token = f"{owners._host()}-{os.getppid()}-{start}-{0:016x}-{number}"
    digest = hashlib.sha256(b"a.raw").hexdigest()[:12]
    part = stand.destination / f".s3dl.{digest}.{token}.part"
    part.write_bytes(content)
    if journal is not None:
        part.with_suffix(".journal").write_bytes(journal)
    return part


def journal_text(stand: Stand, part_size: int, checkpoints: list[tuple[int, int, bytes]], **header) -> bytes:
    head = stand.server.client().head_object(Bucket=BUCKET, Key=stand.key("a.raw"))
    first = {
        "format": 1,
        "bucket": BUCKET,
        "key": stand.key("a.raw"),
        "etag": head["ETag"].strip('"'),
        "version_id": head.get("VersionId", ""),
        "size": head["ContentLength"],
        "stream_size": part_size,
    }
    stand.server.forget_requests()
    lines = [first | header, *({"s": s, "n": n, "md5": hashlib.md5(of).hexdigest()} for s, n, of in checkpoints)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


PARTS = raw_bytes(20 * MIB, "forged")  # four of 5 MiB


def wrong(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def all_parts(of: bytes) -> list[tuple[int, int, bytes]]:
    return [(index, 5 * MIB, of[index * 5 * MIB : (index + 1) * 5 * MIB]) for index in range(4)]


def test_our_idea_of_a_leftover_is_the_engines(stand: Stand) -> None:
    """Counter-check of the forged ones below: an honest leftover made the same way is kept as a whole."""
    stand.put("a.raw", PARTS, part_mib=5)
    dead_leftover(stand, PARTS, journal_text(stand, 5 * MIB, all_parts(PARTS)))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == 0
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W3", fails_when="the journal is trusted")
@pytest.mark.parametrize("form", ["H1", "H2"])
def test_forged_journal_whose_digests_match_wrong_bytes_heals_itself(stand: Stand, form: str) -> None:
    """W3: What it claims holds for the bytes on disk, so only the proof of the whole can tell; then all is fetched."""
    stand.put("a.raw", PARTS, form, part_mib=5)
    forged = wrong(PARTS, 6 * MIB)
    if form == "H2":
        journal = journal_text(stand, 5 * MIB, all_parts(forged))
    else:
        journal = journal_text(stand, 20 * MIB, [(0, 16 * MIB, forged[: 16 * MIB])])
    dead_leftover(stand, forged, journal)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded and verified (20.0 MB in ")
    stand.assert_right()
    assert stand.others == []
    assert stand.server.bytes_sent() >= len(PARTS)


def test_journal_that_claims_unwritten_areas(stand: Stand) -> None:
    """The journal survived a crash of the machine, the bytes did not: zeros where a checkpoint says otherwise."""
    stand.put("a.raw", PARTS, part_mib=5)
    content = bytearray(PARTS)
    content[5 * MIB : 15 * MIB] = bytes(10 * MIB)
    dead_leftover(stand, bytes(content), journal_text(stand, 5 * MIB, all_parts(PARTS)))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.ranges() == [(5 * MIB, 10 * MIB), (10 * MIB, 15 * MIB)]
    stand.assert_right()


@pytest.mark.parametrize("size", [0, 1, 7 * MIB, 30 * MIB])
def test_temporary_file_of_another_length(stand: Stand, size: int) -> None:
    """Cut short, or longer than the file: what is there and right is kept, the length is put right."""
    stand.put("a.raw", PARTS, part_mib=5)
    content = (PARTS + raw_bytes(10 * MIB, 9))[:size]
    dead_leftover(stand, content, journal_text(stand, 5 * MIB, all_parts(PARTS)))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    kept = min(4, size // (5 * MIB)) * 5 * MIB
    assert stand.server.bytes_sent() == len(PARTS) - kept
    assert stand.others == []


@pytest.mark.parametrize(
    "header",
    [
        {"etag": "0" * 32},
        {"version_id": "v0"},
        {"size": 20 * MIB + 1},
        {"stream_size": 4 * MIB},
        {"key": "another"},
        {"bucket": "another"},
        {"format": 0},
        {"more": 1},
    ],
    ids=str,
)
def test_journal_for_something_else_start_over(stand: Stand, header: dict) -> None:
    stand.put("a.raw", PARTS, part_mib=5)
    dead_leftover(stand, PARTS, journal_text(stand, 5 * MIB, all_parts(PARTS), **header))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == len(PARTS)
    stand.assert_right()
    assert stand.others == []


def test_two_leftovers_the_newest_is_used_the_other_removed(stand: Stand) -> None:
    stand.put("a.raw", PARTS, part_mib=5)
    old = dead_leftover(stand, PARTS, journal_text(stand, 5 * MIB, all_parts(PARTS)[:1]), number=1)
    new = dead_leftover(stand, PARTS, journal_text(stand, 5 * MIB, all_parts(PARTS)[:3]), number=2)
    os.utime(old, (time.time() - 100, time.time() - 100))
    os.utime(new, (time.time() - 50, time.time() - 50))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.ranges() == [(15 * MIB, 20 * MIB)]
    assert stand.others == []


def test_halves_of_leftovers_are_removed(stand: Stand) -> None:
    """A temporary file without a journal, and a journal without a temporary file."""
    stand.put("a.raw", PARTS, part_mib=5)
    dead_leftover(stand, PARTS, None, number=1)
    dead_leftover(stand, b"", journal_text(stand, 5 * MIB, all_parts(PARTS)), number=2).unlink()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W6", fails_when="leftovers of live owners are taken")
def test_leftovers_of_a_live_process_are_not_touched(stand: Stand) -> None:
    """W6: a process holds its download; a second one fetches for itself, and both end right."""
    stand.put("a.raw", PARTS, part_mib=5)
    gate = Gate(stand.server, 15 * MIB)
    with stand.child(max_concurrency=1) as child:
        child.start()
        gate.wait()
        (part,) = stand.leftovers("part")
        before = (identity(part), part.read_bytes(), part.with_suffix(".journal").read_bytes())
        stand.server.on_request = None  # the second one passes
        assert stand.restore()["a.raw"].startswith("OK - Downloaded")
        assert stand.server.bytes_sent() >= 15 * MIB + len(PARTS)
        assert (identity(part), part.read_bytes(), part.with_suffix(".journal").read_bytes()) == before
        gate.open()
        assert child.end()["lines"]["a.raw"].startswith("OK - ")
    stand.assert_right()
    assert stand.others == []


@pytest.mark.rule("W6")
def test_leftovers_of_another_host_count_as_dead_only_after_silence(stand: Stand) -> None:
    """W6 on NFS, where no flock helps: a token of another host, younger and older than `stale_after_s`."""
    stand.put("a.raw", PARTS, part_mib=5)
    digest = hashlib.sha256(b"a.raw").hexdigest()[:12]
    part = stand.destination / f".s3dl.{digest}.00000000-1-1-1.part"
    part.write_bytes(PARTS)
    journal = part.with_suffix(".journal")
    journal.write_bytes(journal_text(stand, 5 * MIB, all_parts(PARTS)))
    os.utime(part, (1, 1))  # only its journal shows that it lives
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == len(PARTS)
    assert part.exists()
    assert journal.exists()

    stand.path("a.raw").unlink()
    stand.server.forget_requests()
    os.utime(journal, (time.time() - 400, time.time() - 400))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == 0
    assert stand.others == []


def test_leftovers_are_removed_beside_a_right_file(stand: Stand) -> None:
    stand.put("a.raw", PARTS, part_mib=5)
    right = stand.place("a.raw", PARTS)
    before = identity(right)
    dead_leftover(stand, PARTS[: 5 * MIB], journal_text(stand, 5 * MIB, all_parts(PARTS)[:1]))
    other = stand.place(".s3dl.notes.part", b"not ours: the name has another shape")
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"
    assert identity(right) == before
    assert stand.others == [other.name]
    assert stand.server.count() == 0


@pytest.mark.rule("W4")
def test_leftover_that_is_a_symbolic_link_is_not_followed(stand: Stand, tmp_path: Path) -> None:
    """W4: nothing outside the destination may be written to."""
    stand.put("a.raw", PARTS, part_mib=5)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    part = dead_leftover(stand, b"", journal_text(stand, 5 * MIB, all_parts(PARTS)))
    part.unlink()
    part.symlink_to(victim)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert victim.read_bytes() == b"precious"


@pytest.mark.rule("W3", fails_when="what a failed run fetched is removed")
@pytest.mark.parametrize("form", ["H1", "H2"])
def test_failed_file_is_resumed_by_the_next_run(stand: Stand, form: str) -> None:
    """W3: S3 goes away for good after 18 MiB: the failing run leaves a resumable temporary file."""
    stand.put("a.raw", raw_bytes(40 * MIB, "fails"), form, part_mib=20)
    stand.proxy.add(
        Rule(Cut(after=18 * MIB), method="GET", range_start=0), Rule(Status(503), method="GET", nth=2, times=None)
    )
    assert stand.restore(max_concurrency=1)["a.raw"].startswith("FAILURE - S3 is overloaded or not well (SlowDown)")
    assert len(stand.leftovers("part")) == len(stand.leftovers("journal")) == 1
    stand.proxy.clear()
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert stand.server.bytes_sent() == 24 * MIB
    assert stand.others == []


@pytest.mark.rule("W3")
def test_interrupted_while_it_resumes_keeps_the_progress(stand: Stand) -> None:
    """W3: a second attempt that is stopped before it fetched a byte must not cost what the first one had."""
    stand.put("a.raw", PARTS, part_mib=5)
    dead_leftover(stand, PARTS, journal_text(stand, 5 * MIB, all_parts(PARTS)[:3]))
    restorer = stand.restorer()
    stand.server.on_request = lambda _request: restorer._stop.set()  # as SIGTERM does, at the first HEAD
    summary = restorer.run(stand.specs())
    assert not summary.outcomes[0].ok
    stand.server.on_request = None
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == 5 * MIB
    assert stand.others == []


def test_wrong_bytes_are_not_kept_for_a_resume(stand: Stand) -> None:
    """A flipped bit on the wire: the part is hashed as it came; nothing of it survives into the next try."""
    stand.put("a.raw", PARTS, part_mib=5)
    stand.proxy.add(Rule(FlipBit(at=7 * MIB, in_object=True), times=None))
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download")
    assert stand.others == []
    assert not stand.path("a.raw").exists()
    stand.proxy.clear()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()


@pytest.mark.parametrize("small", [True, False])
def test_small_files_have_no_journal(stand: Stand, small: bool) -> None:
    """Below 16 MiB fetching again costs less: a killed one leaves a temporary file that the next run removes."""
    size = 3 * MIB if small else 17 * MIB
    stand.put("a.raw", raw_bytes(size, "s"), part_mib=1)
    gate = Gate(stand.server, 2 * MIB)
    with stand.child(max_concurrency=1) as child:
        child.start()
        gate.wait()
        child.kill()
    gate.open()
    assert len(stand.leftovers("journal")) == (not small)
    stand.server.forget_requests()
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.server.bytes_sent() == (size if small else 15 * MIB)
    assert stand.others == []
