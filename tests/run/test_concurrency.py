"""Two runs at once end with right files and no false OK (W6), on one host or on two that share a folder.

Nothing here depends on ``flock``: the product does not use it, and runs on "another host" are given another identity,
so that they cannot ask the kernel whether the other one lives.
"""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from s3_restore.disk import syscalls
from s3_restore.disk.atomic_write import write_new_file
from s3_restore.model.expected_hash import ExpectedHash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.outcomes import RestoreSummary, Result
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.chaos.invariants import Ended
from tests.chaos.runner import Running, job_of, play_scenario
from tests.chaos.scenarios import Attempt, ChaosFile, Round, Scenario
from tests.chaos.world import BUCKET, World
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import FlipBit, Rule, Stall
from tests.support.file_systems import LACKING, make_without
from tests.support.raw_files import MIB, md5, raw_bytes
from tests.support.s3_stand_in import S3StandIn

KIB = 1024
HERE, THERE = "", "0badc0de"


def files_in_state(local: str, count: int = 6) -> tuple[ChaosFile, ...]:
    sizes = [0, 1, 40_000, 300_000, MIB, 2 * MIB + 17][:count]
    return tuple(
        ChaosFile(f"x.d/{local} {size}.bin", size, "H2", upload_part=256 * KIB, checksum="CRC32", local=local)
        for size in sizes
        if size or local == "missing"
    )


def scenario(seed: int, files: tuple[ChaosFile, ...], *attempts: Attempt) -> Scenario:
    """Two runs at once; then a third one that must find nothing to do (part of every scenario)."""
    return Scenario(
        seed, files, (Round(attempts),), versioning=False, attributes="AWS", prefix="", umask=0o022, scaled=True
    )


@pytest.mark.rule("W6", fails_when="live owners are taken over, and nothing is looked at again")
@pytest.mark.rule("W2")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("local", ["missing", "bit flipped", "longer", "right"])
def test_same_raw_file_twice_at_once_in_two_processes(seed, local):
    """W6, W2: downloading, healing and skipping side by side. The invariants say what must hold."""
    verdict = play_scenario(scenario(seed, files_in_state(local), Attempt(0), Attempt(1, max_concurrency=2)))

    assert verdict.violations == [], verdict.story
    assert verdict.endings == {"returned": 3}, f"W6: a run failed without a reason\n{verdict.story}"


@pytest.mark.rule("W6")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("local", ["missing", "bit flipped"])
def test_same_raw_file_twice_at_once_on_two_hosts(seed, local):
    """W6: each cannot know whether the other lives, and leaves its files alone."""
    verdict = play_scenario(scenario(seed, files_in_state(local), Attempt(0, host=HERE), Attempt(1, host=THERE)))

    assert verdict.violations == [], verdict.story
    assert verdict.endings == {"returned": 3}, verdict.story


@pytest.mark.rule("W6")
@pytest.mark.parametrize("seed", range(4))
def test_hosts_that_take_each_other_for_dead_too_early_still_tell_no_lie(seed):
    """W6: with clocks that differ, a live run may be taken for a dead one at any time."""
    files = (*files_in_state("missing"), *files_in_state("zeros"))
    attempts = (Attempt(0, host=HERE, stale_after_s=0.001), Attempt(1, host=THERE, stale_after_s=0.001))

    verdict = play_scenario(scenario(seed, files, *attempts))

    assert verdict.violations == [], verdict.story


@pytest.mark.rule("W6", fails_when="a report whose temporary file is taken away is not written again")
@pytest.mark.rule("A5")
@LACKING
def test_report_is_written_although_another_host_takes_its_temporary_file_for_a_leftover(
    tmp_path, monkeypatch, lacking
):
    """W6, A5: as one does whose clock is minutes ahead. Found by the test above, once in 30 runs."""
    make_without(monkeypatch, lacking)

    def names() -> Iterator[str]:
        (temporary,) = tmp_path.iterdir()
        temporary.unlink()
        yield "report.txt"

    written = write_new_file(tmp_path, names(), "all is well\n")

    assert written.read_text() == "all is well\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "report.txt"]


@pytest.mark.rule("R5", fails_when="the name that it has is taken for one that is taken")
@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE])
def test_report_whose_link_is_made_whatever_the_call_says_is_one(tmp_path, monkeypatch, number):
    """R5: NFS loses the answer, asks again, and is told that there is such a file (link(2)); or gives up (soft)."""
    link, lost = os.link, [OSError(number, os.strerror(number))]

    def link_and_lose(*paths: Path) -> None:
        link(*paths)
        if lost:
            raise lost.pop()

    monkeypatch.setattr(os, "link", link_and_lose)

    written = write_new_file(tmp_path, ["report.txt", "report_2.txt"], "all is well\n")

    assert written == tmp_path / "report.txt"
    assert list(tmp_path.iterdir()) == [written]


def test_report_whose_link_is_made_after_the_call_has_failed_is_one(tmp_path, monkeypatch):
    """R5: a soft NFS mount gives up on a link, which the server makes a moment later."""
    link, real_open, late = os.link, os.open, []

    def give_up(*paths: Path) -> None:
        late.append(paths)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def open_a_moment_later(path: Path, *arguments: int) -> int:
        while late and path == late[-1][1]:
            link(*late.pop())
        return real_open(path, *arguments)

    monkeypatch.setattr(os, "link", give_up)
    monkeypatch.setattr(os, "open", open_a_moment_later)

    written = write_new_file(tmp_path, [f"report_{number}.txt" for number in range(4)], "all is well\n")

    assert written == tmp_path / "report_0.txt"
    assert list(tmp_path.iterdir()) == [written]


@pytest.mark.rule("R5", fails_when="a second report is made where the question after a lost answer is lost too")
@pytest.mark.parametrize("lacking", ["", "links"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EACCES])
@pytest.mark.parametrize("questions", [1, 2])
def test_report_is_one_where_the_question_after_a_lost_answer_is_lost_too(
    tmp_path, monkeypatch, lacking, number, questions
):
    """R5: a soft mount, for a moment."""
    make_without(monkeypatch, lacking)
    target = tmp_path / "report.txt"
    link, renameat2, lstat, lost = os.link, syscalls.renameat2, os.lstat, [number] * (1 + questions)

    def name_and_lose(name: Callable[..., None], *arguments: Any) -> None:
        name(*arguments)
        if lost:
            raise OSError(lost.pop(), "lost")

    def look_and_lose(path: Path, **options: Any) -> os.stat_result:
        if 0 < len(lost) <= questions and Path(path) == target:
            raise OSError(lost.pop(), "lost")
        return lstat(path, **options)

    if lacking:
        monkeypatch.setattr(syscalls, "renameat2", lambda *paths: name_and_lose(renameat2, *paths))
    else:
        monkeypatch.setattr(os, "link", lambda *paths: name_and_lose(link, *paths))
    monkeypatch.setattr(os, "lstat", look_and_lose)

    written = write_new_file(tmp_path, ["report.txt", "report_2.txt", "report_3.txt"], "all is well\n")

    monkeypatch.undo()
    assert (lost, list(tmp_path.iterdir())) == ([], [written])


@pytest.mark.rule("R5", fails_when="an empty file reserves the name where a rename would not overwrite")
@pytest.mark.parametrize("lacking", ["", "links"])
def test_report_is_whole_from_the_first_moment(tmp_path, monkeypatch, lacking):
    """R5: whenever the process is killed. Found by a chaos test: a file system whose links fail, and a SIGKILL."""
    make_without(monkeypatch, lacking)
    (tmp_path / "report.txt").write_text("an earlier one\n")
    seen = []

    def look(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any]:
        seen.extend(path.read_text() for path in [tmp_path / "report_2.txt"] if path.exists())
        return look if "s3_restore" in frame.f_code.co_filename else lambda *_: None

    sys.settrace(look)
    try:
        write_new_file(tmp_path, ["report.txt", "report_2.txt"], "all is well\n")
    finally:
        sys.settrace(None)

    assert set(seen) == {"all is well\n"}
    assert (tmp_path / "report.txt").read_text() == "an earlier one\n"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.rule("R5", fails_when="a temporary name that is made whatever the call says costs the report")
@pytest.mark.parametrize("number", [errno.EEXIST, errno.ESTALE])
def test_report_whose_temporary_file_is_made_whatever_the_call_says_is_written(tmp_path, monkeypatch, number):
    """R5: the kernel asks twice after ESTALE, and is told that there is such a file: nobody else makes this name."""
    real_open, lost = os.open, [OSError(number, os.strerror(number))]

    def open_and_lose(path: Path, *arguments: int) -> int:
        fd = real_open(path, *arguments)
        if lost and str(path).endswith(".report"):
            os.close(fd)
            raise lost.pop()
        return fd

    monkeypatch.setattr(os, "open", open_and_lose)

    written = write_new_file(tmp_path, ["report.txt"], "all is well\n")

    assert (lost, written.read_text()) == ([], "all is well\n")
    assert list(tmp_path.iterdir()) == [written]


@dataclass
class Shared:
    """One destination that two hosts reach S3 from by ways of their own."""

    world: World
    folder: Path
    server: S3StandIn

    def start(self, attempt: Attempt, endpoint_url: str, sabotage: str = "", **settings: object) -> Running:
        name = f"attempt-{attempt.number}"
        job = job_of(self.world, self.folder, attempt, name, endpoint_url=endpoint_url, sabotage=sabotage, **settings)
        return Running(job)

    def is_right(self, path: str) -> bool:
        return md5(self.world.destination / path) == self.world.right[path]

    def lines(self, ended: Ended) -> list[str]:
        log = (self.folder / f"attempt-{ended.attempt.number}.log").read_text()
        return log.partition("Files:\n------\n")[2].partition("\n\nSummary:")[0].split("\n")


@contextlib.contextmanager
def shared(folder: Path, *files: ChaosFile) -> Iterator[Shared]:
    with S3StandIn(versioning=False) as server:
        yield Shared(World(scenario(1, files), folder, server), folder, server)


SLOW_FILE = ChaosFile("slow.raw", 4 * MIB, "H1")
STANDS_STILL_AT = 1200 * KIB  # after two checkpoints, amid a buffer


def play_slow_owner(folder: Path, sabotage: str = "") -> tuple[bool, list[str], list[str]]:
    """A run on host A stands still midway; B takes its temporary file over and finishes; then A wakes up.

    When A wakes, it gets wrong bytes from a bad network: whatever it still writes must not reach what B has proved.

    Returns:
        Whether the file is right in the end, and the lines of both reports.
    """
    with shared(folder, SLOW_FILE) as stage, FaultProxy(stage.server.url) as proxy:
        flips = [FlipBit(at, in_object=True) for at in range(STANDS_STILL_AT + 1, SLOW_FILE.size, 20 * KIB)]
        proxy.add(stands_still(), *(Rule(flip) for flip in flips))
        slow = Attempt(0, host="aaaaaaaa", max_concurrency=1)
        first = stage.start(slow, proxy.url, sabotage, stall_timeout_s=60.0)
        journal = wait_for_checkpoint(stage.world.destination)
        proxy.pause()
        quick = Attempt(1, host="bbbbbbbb", stale_after_s=0.05, max_concurrency=1)
        threading.Event().wait(2 * quick.stale_after_s)  # the silence that makes the first run look dead
        second = stage.start(quick, stage.server.url, sabotage).wait()
        assert not journal.exists(), "the second run took the temporary file over"
        assert stage.is_right(SLOW_FILE.path), "what the second run proved was right"
        proxy.resume()
        ended = first.wait()
        assert ended.result, "the first run ended by itself"
        return stage.is_right(SLOW_FILE.path), stage.lines(ended), stage.lines(second)


def stands_still() -> Rule:
    """Long enough for the test to see the checkpoint and to pause the proxy."""
    return Rule(Stall(STANDS_STILL_AT, in_object=True, seconds=1.5))


def wait_for_checkpoint(destination: Path) -> Path:
    """The journal of the first run, once something is in it that can be resumed."""
    ticker = threading.Event()
    for _ in range(3000):
        for journal in destination.glob(".s3dl.*.journal"):
            if journal.read_bytes().count(b'"md5"') >= 2:
                return journal
        ticker.wait(0.01)
    raise AssertionError("no checkpoint within 30 s")


@pytest.mark.rule("W6", fails_when="a body is shared by two hosts")
@pytest.mark.rule("W1", "W3")
def test_live_owner_whose_temporary_file_was_taken_over_fences_itself(tmp_path):
    """W6, W1, W3: found by reasoning, proved here; the slow one sees it, looks again, and finds the file right."""
    right, first, second = play_slow_owner(tmp_path)

    assert right, "W1: the slow owner wrote into the file that the other one had proved"
    assert second[0].startswith("slow.raw: OK - Downloaded and verified"), second
    assert first == ["slow.raw: OK - Skipped (already exists)"], "it found what the other one had finished"


def test_that_a_shared_body_would_have_been_noticed(tmp_path):
    """The test above can fail: without a body of its own, the file in place changes after it was proved."""
    _, first, _ = play_slow_owner(tmp_path, sabotage="shares_bodies")

    assert first[0].startswith("slow.raw: OK - Self-healed"), "it had damaged what the other run reported as right"


@pytest.mark.rule("W6")
def test_run_on_the_same_host_never_takes_over_from_a_live_one(tmp_path):
    """W6: there the kernel knows, however long the other one has been silent."""
    with shared(tmp_path, SLOW_FILE) as stage, FaultProxy(stage.server.url) as proxy:
        proxy.add(stands_still())
        first = stage.start(Attempt(0, max_concurrency=1), proxy.url, stall_timeout_s=60.0)
        journal = wait_for_checkpoint(stage.world.destination)
        proxy.pause()

        second = stage.start(Attempt(1, stale_after_s=0.01), stage.server.url).wait()

        assert journal.exists(), "the first one's temporary file was touched"
        assert stage.lines(second)[0].startswith("slow.raw: OK - Downloaded and verified")
        proxy.resume()
        assert stage.lines(first.wait()) == ["slow.raw: OK - Skipped (already exists)"], "W9: nothing is overwritten"
        assert stage.is_right("slow.raw")
        assert [path.name for path in stage.world.destination.glob(".s3dl.*")] == []


# --- threads of one process ----------------------------------------------------------------------------------------


def spec(path: str, data: bytes, key: str | None = None) -> FileSpec:
    return FileSpec(path, BUCKET, key or path, len(data), ExpectedHash(md5=md5(data)))


def restore_at_once(server: S3StandIn, destination: Path, *jobs: list[FileSpec]) -> list[RestoreSummary]:
    """Run several Restorers side by side in threads that start together."""
    barrier = threading.Barrier(len(jobs))
    summaries: dict[int, RestoreSummary] = {}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(server.client())) for _ in jobs]

        def run(number: int) -> None:
            settings = RestoreSettings(max_concurrency=3, patience_s=2.0)
            restorer = Restorer(S3ObjectStore(clients[number]), destination, settings)
            barrier.wait()
            summaries[number] = restorer.run(jobs[number])

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [summaries[number] for number in range(len(jobs))]


@pytest.mark.rule("W6")
@pytest.mark.parametrize("round_", range(8))
def test_same_raw_file_twice_at_once_in_two_threads(tmp_path, round_):
    """W6: owners of one process are told apart by count, not by process number."""
    sizes = [0, 9, 3_000, 400_000]
    data = {f"{number}.raw": raw_bytes(size, f"{round_} {number}") for number, size in enumerate(sizes)}
    with S3StandIn() as server:
        for path, content in data.items():
            server.put(BUCKET, path, content)
            if round_ % 2 and content:
                (tmp_path / path).write_bytes(bytes(len(content)))
        specs = [spec(path, content) for path, content in data.items()]

        summaries = restore_at_once(server, tmp_path, specs, specs, specs)

    for path, content in data.items():
        assert (tmp_path / path).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(data), "nothing else is left"
    for summary in summaries:
        assert summary.failed == 0, [outcome.reason for outcome in summary.outcomes if not outcome.ok]


@pytest.mark.rule("W6")
@pytest.mark.parametrize("round_", range(6))
def test_two_raw_files_that_share_a_path_with_the_same_bytes(tmp_path, round_):
    """W6: as two raw files of one project may (a common method file)."""
    common, own = raw_bytes(200_000, "common"), [raw_bytes(5_000, "a"), raw_bytes(5_000, "b")]
    with S3StandIn() as server:
        for key, content in {"a/common": common, "b/common": common, "a/own": own[0], "b/own": own[1]}.items():
            server.put(BUCKET, key, content)
        jobs = [
            [spec("common.m", common, f"{name}/common"), spec(f"{name}.raw", own[number], f"{name}/own")]
            for number, name in enumerate("ab")
        ]

        summaries = restore_at_once(server, tmp_path, *jobs)

    assert [summary.failed for summary in summaries] == [0, 0]
    assert (tmp_path / "common.m").read_bytes() == common
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.raw", "b.raw", "common.m"]


@pytest.mark.rule("W1", "W6")
@pytest.mark.parametrize("round_", range(8))
def test_two_raw_files_that_share_a_path_with_different_bytes(tmp_path, round_):
    """W6, W1: only one can be there. It is whole, and nobody is told OK of a mixture."""
    contents = [raw_bytes(300_000, "one"), raw_bytes(300_000, "two")]
    with S3StandIn() as server:
        for number, content in enumerate(contents):
            server.put(BUCKET, str(number), content)
        jobs = [[spec("shared.raw", content, str(number))] for number, content in enumerate(contents)]

        summaries = restore_at_once(server, tmp_path, *jobs)

    shown = tmp_path / "shared.raw"
    there = shown.read_bytes() if shown.exists() else None
    assert there in (None, *contents), "W1: a mixture"
    for content, summary in zip(contents, summaries, strict=True):
        (outcome,) = summary.outcomes
        if content == there:
            continue
        # The other one was right when it was looked at last, or it says what happened.
        said = outcome.reason
        assert (
            outcome.result in (Result.DOWNLOADED, Result.HEALED)
            or "Another program or run" in said
            or ("Changed on disk after it was verified" in said)
        ), outcome
    assert not list(tmp_path.glob(".s3dl.*"))
