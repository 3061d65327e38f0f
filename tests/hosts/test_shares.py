"""A share over the network, mounted by one or several hosts: SFTP (sshfs)."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Deployment
from tests.hosts.host import Host
from tests.hosts.mounts import sshfs
from tests.support.raw_files import MIB, raw_bytes

LARGE = raw_bytes(40 * MIB, "large")
FILES = {"a.raw": raw_bytes(20 * MIB, "a"), "a.d/deep/er/b.bin": raw_bytes(300_000, "b"), "a.d/empty": b""}
LONG = pytest.mark.long
ENDS_WITHIN_S = 45.0  # a report has 20 s to be written; the rest is the noise of the machine


@pytest.fixture
def first(kraken: Deployment) -> Host:
    host = kraken.host("worker-1")
    host.mount(sshfs(kraken.share, kraken.output))
    return host


@pytest.fixture
def second(kraken: Deployment) -> Host:
    host = kraken.host("worker-2")
    host.mount(sshfs(kraken.share, kraken.output))
    return host


def damage(kraken: Deployment, path: str) -> None:
    with (kraken.destination / path).open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"damaged")


# --- one after the other, and both at once ---------------------------------------------------------------------------


@pytest.mark.long
def test_restore_on_one_host_and_skip_and_heal_on_the_other(kraken: Deployment, first: Host, second: Host) -> None:
    kraken.put(FILES)
    kraken.restore_well(first)
    kraken.assert_right()
    assert kraken.restore_well(second).returned["skipped"] == len(FILES)
    damage(kraken, "a.raw")
    assert kraken.restore_well(second).returned["healed"] == 1
    assert kraken.restore_well(first).returned["skipped"] == len(FILES)
    kraken.assert_right()
    kraken.assert_tidy()
    assert len(kraken.reports) == 4, "one for each run"


@pytest.mark.rule("W3")
@pytest.mark.long
def test_one_host_resumes_what_the_other_left(kraken: Deployment, first: Host, second: Host, hold) -> None:
    """W3: what a killed worker had fetched is kept by the one that comes after it."""
    kraken.put({"a.raw": LARGE})
    gate = hold(8)
    task = kraken.begin(first)
    gate.wait(task)
    task.kill()
    gate.open()
    assert kraken.age_temporary_files()
    kraken.s3.forget_requests()
    kraken.restore_well(second)
    kraken.assert_right()
    kraken.assert_tidy()
    assert kraken.s3.bytes_sent() < len(LARGE) - 4 * MIB


@pytest.mark.rule("W6")
@pytest.mark.parametrize("damaged", [pytest.param(False, marks=LONG, id="missing"), pytest.param(True, id="damaged")])
def test_both_at_once(kraken: Deployment, first: Host, second: Host, hold, *, damaged: bool) -> None:
    """W6: both are in the middle of it when they meet."""
    kraken.put({"a.raw": LARGE, "b.raw": FILES["a.raw"]})
    if damaged:
        kraken.destination.mkdir()
        for path, data in kraken.files.items():
            (kraken.destination / path).write_bytes(data)
            damage(kraken, path)
    gate = hold(1 if damaged else 3)  # little is to be fetched where most of it is good
    tasks = [kraken.begin(host) for host in (first, second)]
    gate.wait(tasks[0])
    gate.open()
    ends = [task.end() for task in tasks]
    for task, end in zip(tasks, ends, strict=True):
        end.assert_success(task.log)
    kraken.assert_right()
    kraken.assert_tidy()


# --- what the server cannot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forbidden",
    [
        "hardlink,posix-rename",
        pytest.param("hardlink", marks=LONG),
        pytest.param("hardlink,posix-rename,fsync", marks=LONG),
    ],
)
def test_server_knows_no_links_and_no_rename_onto_another(kraken: Deployment, forbidden: str) -> None:
    """Restored, healed and skipped; one report for each run, whole, under its final name."""
    host = kraken.host("worker-1")
    host.mount(sshfs(kraken.share, kraken.output, forbidden=forbidden))
    kraken.put(FILES)
    kraken.restore_well(host)
    kraken.assert_right()
    assert len(kraken.reports) == 1
    damage(kraken, "a.raw")
    assert kraken.restore_well(host).returned["healed"] == 1
    kraken.assert_right()
    kraken.assert_tidy()
    assert len(kraken.reports) == 2
    assert kraken.report.endswith("Status: SUCCESS\n")


# --- a share that hangs ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hanging(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.rule("W13")
@pytest.mark.long
@pytest.mark.parametrize("stopped", ["server", "daemon"])
def test_time_out_ends_a_task_whose_share_hangs(kraken: Deployment, hold, stopped: str) -> None:
    """X2, W13: it frees its pool slot, and what the report would have said is in the log."""
    host = kraken.host("worker-1")
    mounted = host.mount(sshfs(kraken.share, kraken.output))
    kraken.put({"a.raw": LARGE, **FILES})
    gate = hold(5)
    task = kraken.begin(host, timeout_s=4.0)
    gate.wait(task)
    with hanging(getattr(mounted, stopped)):
        gate.open()
        end = task.end_on_a_share_that_hangs(ENDS_WITHIN_S)
        assert end.raised == "AirflowTaskTimeout"
        for path in kraken.files:
            assert f"\n{path}: FAILURE - " in task.log or f"\n{path}: OK - " in task.log
        assert "Timeout, PID" not in task.log.partition("Files:\n------")[2].partition("Summary:")[0]
    assert task.ends_within(ENDS_WITHIN_S)
    kraken.assert_no_wrong_ok()
    kraken.age_temporary_files()
    kraken.restore_well(host)
    kraken.assert_right()


@pytest.mark.rule("W13")
def test_sigterm_ends_a_task_whose_share_hangs(kraken: Deployment, hold) -> None:
    """W13: Airflow kills it five seconds later; by then the log must have it."""
    host = kraken.host("worker-1")
    mounted = host.mount(sshfs(kraken.share, kraken.output))
    kraken.put({"a.raw": LARGE, **FILES})
    gate = hold(5)
    task = kraken.begin(host)
    gate.wait(task)
    with hanging(mounted.server):
        gate.open()
        os.kill(task.pid, signal.SIGTERM)
        end = task.end_on_a_share_that_hangs(ENDS_WITHIN_S)
        assert end.raised == "TaskTerminated"
        assert "Status: COMPLETE FAILURE" in task.log or "Status: PARTIAL FAILURE" in task.log
    assert task.ends_within(ENDS_WITHIN_S)
    kraken.assert_no_wrong_ok()


@pytest.mark.long
@pytest.mark.parametrize("hangs", ["before", "midway"])
def test_share_that_hangs_for_a_while_costs_nothing(kraken: Deployment, hold, hangs: str) -> None:
    host = kraken.host("worker-1")
    mounted = host.mount(sshfs(kraken.share, kraken.output))
    kraken.put({"a.raw": LARGE, **FILES})
    gate = hold(5)
    if hangs == "before":
        with hanging(mounted.server):
            task = kraken.begin(host)
    else:
        task = kraken.begin(host)
        gate.wait(task)
        with hanging(mounted.server):
            gate.open()
            assert not task.ends_within(2.0)
    gate.open()
    end = task.end()
    end.assert_success(task.log)
    kraken.assert_right()


# --- a share that is lost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", ["daemon", pytest.param("server", marks=LONG)])
def test_share_is_lost_midway(kraken: Deployment, first: Host, hold, killed: str) -> None:
    """Every call fails from then on, `close` too. An end by itself, no OK that is none, no number closed twice."""
    host = kraken.host("worker-3")
    mounted = host.mount(sshfs(kraken.share, kraken.output))
    kraken.put({"a.raw": LARGE, **{f"many.d/{number}": raw_bytes(50_000, str(number)) for number in range(40)}})
    gate = hold(20)
    task = kraken.begin(host)
    gate.wait(task)
    os.kill(getattr(mounted, killed), signal.SIGKILL)
    gate.open()
    end = task.end()
    assert end.raised, "a lost share is no success"
    assert end.closed_twice == []
    assert "Status: SUCCESS" not in task.log
    kraken.assert_no_wrong_ok()
    kraken.age_temporary_files()
    kraken.restore_well(first)
    kraken.assert_right()
    kraken.assert_tidy()


@pytest.mark.rule("W8")
@pytest.mark.long
def test_share_is_full(kraken: Deployment) -> None:
    """W8: the server says so at a write, at `fsync` or at `close`, and in its own words. Then there is room."""
    host = kraken.host("worker-1")
    host.run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(kraken.share))
    kraken.destination = host.seen(kraken.share) / kraken.project_id
    host.mount(sshfs(kraken.share, kraken.output))
    kraken.put({"small.raw": raw_bytes(MIB, "small"), "a.raw": FILES["a.raw"], "c.raw": raw_bytes(3 * MIB, "c")})
    task = kraken.begin(host)
    end = task.end()
    assert end.raised == "AirflowFailException"
    assert end.closed_twice == []
    kraken.assert_no_wrong_ok()
    host.run("mount", "-o", "remount,size=256m", str(kraken.share))
    kraken.restore_well(host)
    kraken.assert_right()
    kraken.assert_tidy()


# --- old news --------------------------------------------------------------------------------------------------------


def _old_news(kraken: Deployment, *options: str) -> None:
    host = kraken.host("worker-1")
    host.mount(sshfs(kraken.share, kraken.output, *options))
    kraken.put(FILES)
    kraken.restore_well(host)
    (kraken.destination / "a.raw").unlink()
    (kraken.destination / "a.d/deep/er/b.bin").unlink()
    assert kraken.restore_well(host).returned["downloaded"] == 2
    kraken.assert_right()
    kraken.assert_tidy()


def test_client_still_shows_a_file_that_was_removed_elsewhere(kraken: Deployment) -> None:
    """X5: by its cache it is there for some seconds more, and cannot be opened."""
    _old_news(kraken, "dcache_timeout=4", "dcache_stat_timeout=4", "attr_timeout=4", "entry_timeout=4")


@pytest.mark.long
def test_client_still_shows_a_file_that_was_removed_elsewhere_by_default(kraken: Deployment) -> None:
    """X5 with what sshfs does when nobody asks for anything: 20 s."""
    _old_news(kraken)


@pytest.mark.long
def test_client_does_not_yet_show_a_file_that_was_restored_elsewhere(kraken: Deployment, first: Host) -> None:
    """What it takes for missing is there and right: it is looked at, and not overwritten unseen."""
    host = kraken.host("worker-2")
    host.mount(sshfs(kraken.share, kraken.output, "dcache_timeout=60", "entry_timeout=60", "negative_timeout=60"))
    kraken.put(FILES)
    for path in FILES:  # from here on the client knows that they are not there
        host.run("sh", "-c", f"test ! -e {kraken.output / kraken.project_id / path}")
    kraken.restore_well(first)
    kraken.restore_well(host)
    kraken.assert_right()
    kraken.assert_tidy()
