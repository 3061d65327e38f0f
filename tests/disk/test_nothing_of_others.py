"""W9: only what this project can show to be its own is removed, replaced, or called healed. W10: the last look.

What is there before is drawn: files of other people, of other raw files, of tools, under names that look like ours.
"""

import hashlib
import itertools
import os
import random
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s3_restore.disk import owners
from s3_restore.disk.open_file import Identity
from s3_restore.model import reasons
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run import last_look
from s3_restore.run import look as look_module
from s3_restore.run.look import Look, Parts, look
from s3_restore.run.restorer import Restorer
from s3_restore.run.verifier import Verdict
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.engine_fixtures import BUCKET, QUICK, Run, Stand, engine_client, identity
from tests.support.fault_rules import Rule, Status
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import RecordedRequest

pytest_plugins = ["tests.support.engine_plugin"]

DATA = raw_bytes(17 * MIB, "journalled")
SMALL = b"small"


def contents(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Path below it -> bytes, inode, time of modification, of every regular file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            found[str(path.relative_to(folder))] = (path.read_bytes(), status.st_ino, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_files_of_others_stay_whatever_becomes_of_ours(stand: Stand, seed: int) -> None:
    """Names with `.corrupted` that this project did not set aside, beside missing, wrong and right files."""
    rng = random.Random(seed)
    names = [f"{stem}{ending}" for stem in ("a", "sub.d/b", "c") for ending in (".raw", ".wiff")]
    for name in names:
        stand.put(name, DATA if rng.random() < 0.3 else raw_bytes(rng.randrange(1, 5000), name), part_mib=4)
        match rng.choice(["missing", "wrong", "right"]):
            case "wrong":
                stand.damage(name, 0)
            case "right":
                stand.place(name, stand.data[name])
    others = {}
    for name in names:
        for suffix in rng.sample([".corrupted", ".corrupted_2", ".corrupted_3", ".part", ".journal", ".aside"], 3):
            of_others = rng.choice([b"", b"a copy that a person made", stand.data[name], bytes(len(stand.data[name]))])
            stand.place(name + suffix, of_others)
            others[name + suffix] = of_others
    before = contents(stand.destination)
    if rng.random() < 0.5:
        stand.proxy.add(Rule(Status(403), method="GET", times=None))
        stand.restore()
        stand.proxy.clear()
    run = stand.restore()
    assert run.status == "SUCCESS", run.report
    stand.assert_right()
    after = contents(stand.destination)
    assert {name: after.get(name) for name in others} == {name: before[name] for name in others}
    assert sorted(set(after) - set(names)) == sorted(others), "and nothing of ours is left"
    for name in names:
        if name not in before:
            assert run[name].startswith("OK - Downloaded"), "somebody else's copy does not make it a healing"


def test_a_person_moves_the_file_away_and_triggers(stand: Stand) -> None:
    """`mv x.raw x.raw.corrupted`."""
    stand.put("x.raw", DATA, part_mib=4)
    stand.damage("x.raw", 5).rename(stand.path("x.raw.corrupted"))
    before = identity(stand.path("x.raw.corrupted"))
    assert stand.restore()["x.raw"].startswith("OK - Downloaded and verified")
    assert identity(stand.path("x.raw.corrupted")) == before


def test_what_is_ours_is_only_ours_as_it_was(stand: Stand) -> None:
    """Somebody puts another file where a corrupted version was set aside: it stays."""
    stand.put("a.raw", SMALL, "H1")
    stand.place("a.raw", b"smalL")
    stand.proxy.add(Rule(Status(403), times=None))
    assert stand.restore()["a.raw"].endswith("; the corrupted file is kept as a.raw.corrupted")
    stand.proxy.clear()
    stand.path("a.raw.corrupted").unlink()
    stand.place("a.raw.corrupted", b"of a person")
    assert stand.restore()["a.raw"].startswith("OK - Downloaded and verified")
    assert contents(stand.destination)["a.raw.corrupted"][0] == b"of a person"
    assert stand.others == ["a.raw.corrupted"], "the record of what is gone is tidied away"


@pytest.mark.parametrize("killed", [False, True])
def test_what_an_earlier_run_set_aside_is_known_as_ours(stand: Stand, killed: bool) -> None:
    """The record outlives the process: the next run calls it a healing, and deletes that version."""
    stand.put("a.raw", DATA, part_mib=4, checksum=None)
    stand.damage("a.raw", 5)
    stand.proxy.add(Rule(Status(403), times=None))
    with stand.child() as child:
        assert child.start().end()["lines"]["a.raw"].endswith("; the corrupted file is kept as a.raw.corrupted")
    stand.proxy.clear()
    if killed:  # before it was renamed: the record alone
        stand.path("a.raw.corrupted").rename(stand.path("a.raw"))
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    stand.assert_right()
    assert stand.others == []


def test_paths_that_include_leaves_out_are_reserved(stand: Stand) -> None:
    """`a.corrupted` is a file of the raw file, and not asked for in this run."""
    stand.put("a", SMALL, "H1")
    stand.place("a", b"smalL")
    chosen = RestoreSettings.from_mapping(QUICK)
    stand.proxy.add(Rule(Status(403), times=None))
    engine = Restorer(
        S3ObjectStore(engine_client(stand.proxy.url, chosen)), stand.destination, chosen, reserved=["a", "a.corrupted"]
    )
    run = Run.of(engine.run(stand.specs()), stand.destination)
    assert run["a"].endswith("; the corrupted file is kept as a.corrupted_2")
    assert not stand.path("a.corrupted").exists()


def test_folders_of_the_raw_file_are_reserved(stand: Stand) -> None:
    """A version that cannot be healed stays where it is, and would be in the way of the folder in each run."""
    stand.put("a", b"right", "H1", in_s3=b"wrong")
    stand.place("a", b"righT")
    stand.put("a.corrupted/b", SMALL, "H1")
    run = stand.restore(max_concurrency=1)
    assert run["a"].endswith("; the corrupted file is kept as a.corrupted_2")
    assert run["a.corrupted/b"].startswith("OK - Downloaded")


@pytest.mark.parametrize("arrival", ["right", "wrong"])
@pytest.mark.parametrize("name", ["a.raw", "d/a.raw"])
def test_file_that_appears_meanwhile_is_looked_at(stand: Stand, arrival: str, name: str) -> None:
    """r37: a person copies it there during the download. A right one stays as it is, with its inode."""
    stand.put(name, DATA, part_mib=4)
    seen: list[tuple] = []

    def appear(request) -> None:
        if request.operation == "GetObject" and not seen:
            path = stand.place(name, DATA) if arrival == "right" else stand.damage(name, 3)
            seen.append(identity(path))

    stand.server.on_request = appear
    run = stand.restore(max_concurrency=1)
    stand.assert_right()
    assert stand.others == []
    if arrival == "right":
        assert run[name] == "OK - Skipped (already exists)"
        assert identity(stand.path(name)) == seen[0]
    else:
        assert run[name].startswith("OK - Self-healed")


@pytest.mark.parametrize("form", ["H1", "H2", "H3"])
def test_right_file_beside_a_wrong_size_in_the_database_is_not_moved(stand: Stand, form: str) -> None:
    """r40: the size is the only witness against it, and the hash speaks for it."""
    stand.put("a.raw", DATA, form, part_mib=5)
    stand.place("a.raw", DATA)
    before = identity(stand.path("a.raw"))
    stand.file_info["a.raw"][0] += 1
    run = stand.restore()
    assert run["a.raw"] == "OK - Skipped (already exists)"
    assert identity(stand.path("a.raw")) == before
    assert stand.server.bytes_sent() == 0


def token() -> str:
    """Of an owner on another host who has been silent since 1970."""
    return f"{0:08x}-77-77-{7:016x}-1"


def leftover(stand: Stand, name: str, kind: str) -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return stand.destination / f".s3dl.{digest}.{token()}.{kind}"


@pytest.mark.parametrize(
    "trap", ["hard link", "FIFO as part", "FIFO as journal", "link as journal", "longer", "folder"]
)
@pytest.mark.parametrize("size", [3_000, 17 * MIB])
def test_traps_under_temporary_names(stand: Stand, tmp_path: Path, trap: str, size: int) -> None:
    """Whoever may write there lays a trap under a name that looks like a leftover of ours."""
    data = raw_bytes(size, trap)
    stand.put("a.raw", data, part_mib=4)
    victim = stand.destination.parent / "victim"
    victim.write_bytes(bytes(size))
    part, journal = leftover(stand, "a.raw", "part"), leftover(stand, "a.raw", "journal")
    head = stand.server.client().head_object(Bucket=BUCKET, Key=stand.key("a.raw"))
    line = (
        f'{{"format": 1, "bucket": "{BUCKET}", "key": "{stand.key("a.raw")}", "etag": {head["ETag"]}, '
        f'"version_id": "{head.get("VersionId", "")}", "size": {size}, "stream_size": {4 * MIB}}}\n'
    )
    part.write_bytes(bytes(size))
    journal.write_text(line)
    match trap:
        case "hard link":
            part.unlink()
            part.hardlink_to(victim)
        case "FIFO as part":
            part.unlink()
            os.mkfifo(part)
        case "FIFO as journal":
            journal.unlink()
            os.mkfifo(journal)
        case "link as journal":
            journal.unlink()
            journal.symlink_to(victim)
        case "longer":
            part.write_bytes(bytes(size + 12345))
        case "folder":
            part.unlink()
            part.mkdir()
    for path in (part, journal):
        os.utime(path, (1, 1), follow_symlinks=False)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded"), run["a.raw"]
    stand.assert_right()
    assert victim.read_bytes() == bytes(size)


# --- W10 --------------------------------------------------------------------------------------------------------------


def rewrite_with_times_put_back(path: Path) -> None:
    """As `cp -p` and `rsync --inplace -t` do: bytes differ, size and times of modification do not."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "written": lambda path: path.write_bytes(b"of another program"),
    "written, times put back": rewrite_with_times_put_back,
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: (path.rename(path.with_name("moved")), path.write_bytes(b"of another program")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link": lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["right", "missing"])
@pytest.mark.parametrize("end", ["done", "disk full", "stopped"])
def test_each_ok_is_looked_at_just_before_the_report(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, change: str, state: str, end: str
) -> None:
    """A file is right, another program changes it, and the run ends in one way or another."""
    stand.put("a.raw", raw_bytes(4000, "a"), "H1")
    stand.put("b.raw", DATA, part_mib=4)
    stand.put("c.raw", SMALL, "H1")
    if state == "right":
        stand.place("a.raw", stand.data["a.raw"])
    engine = stand.restorer(max_concurrency=1)
    pwrite = os.pwrite

    def change_it(request) -> None:
        if request.key == stand.key("b.raw") and request.operation == "GetObject" and not done:
            done.append(True)
            CHANGES[change](stand.path("a.raw"))
            if end == "stopped":
                engine.stop(reasons.TERMINATED.of())

    def full(fd: int, data: memoryview, offset: int) -> int:
        if done:
            raise OSError(28, "No space left on device")
        return pwrite(fd, data, offset)

    done: list[bool] = []
    stand.server.on_request = change_it
    if end == "disk full":
        monkeypatch.setattr(os, "pwrite", full)
    run = Run.of(engine.run(stand.specs()), stand.destination)
    assert done
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified"), run.report
    assert run.status != "SUCCESS"
    if end != "done":
        assert run["c.raw"].startswith("FAILURE - Not attempted (")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["right", "missing"])
def test_what_is_changed_while_another_file_is_verified_again_at_the_end_is_noticed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, change: str, state: str
) -> None:
    """A backup program touches one file, so that it is hashed again; another one had its last look before that."""
    for name in ("a.raw", "b.raw", "c.raw"):
        stand.put(name, raw_bytes(4000, name), "H1")
        if state == "right" and name != "c.raw":
            stand.place(name, stand.data[name])

    def touch(request: RecordedRequest) -> None:
        if request.key == stand.key("c.raw"):
            os.utime(stand.path("b.raw"))

    def look_slowly(parts: Parts, spec: FileSpec) -> Look:
        looked_at.append(spec.relative_path)
        if looked_at == ["b.raw"]:
            CHANGES[change](stand.path("a.raw"))
        return look(parts, spec)

    looked_at: list[str] = []
    stand.server.on_request = touch
    monkeypatch.setattr(last_look, "look", look_slowly)
    run = stand.restore(max_concurrency=1)
    assert looked_at == ["b.raw", "a.raw"]
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified"), run.report
    assert run["b.raw"].startswith("OK - ")
    assert run["c.raw"].startswith("OK - ")


def test_a_file_that_is_touched_all_the_time_ends_as_right_as_it_is(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.put("a.raw", raw_bytes(4000, "a"), "H1")
    stand.place("a.raw", stand.data["a.raw"])

    def look_and_touch(parts: Parts, spec: FileSpec) -> Look:
        looked_at.append(spec.relative_path)
        seen = look(parts, spec)
        os.utime(stand.path("a.raw"), (len(looked_at), len(looked_at)))
        return seen

    looked_at: list[str] = []
    monkeypatch.setattr(last_look, "look", look_and_touch)
    monkeypatch.setattr(Identity, "shows_later_changes", lambda *_: False)
    run = stand.restore()
    assert run["a.raw"] == "OK - Skipped (already exists)"
    assert 1 < len(looked_at) < 10, "not for ever"


def assert_a_write_that_puts_times_back_is_seen(stand: Stand, state: str) -> None:
    stand.put("a.raw", raw_bytes(4000, "a"), "H1")
    stand.put("b.raw", SMALL, "H1")
    if state == "right":
        stand.place("a.raw", stand.data["a.raw"])

    def change_it(request: RecordedRequest) -> None:
        if request.key == stand.key("b.raw"):
            rewrite_with_times_put_back(stand.path("a.raw"))

    stand.server.on_request = change_it
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified"), run.report
    assert run["b.raw"].startswith("OK - Downloaded")


def show_coarse_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ext4, SFTP, HFS+, FAT count whole seconds."""
    real = Identity.of

    def coarse(status: os.stat_result) -> Identity:
        made = real(status)
        many_s = 1000 * 10**9  # so that the test needs not be quick
        times = (each // many_s * many_s for each in (made.mtime_ns, made.ctime_ns))
        return Identity(made.device, made.inode, made.size, *times)

    monkeypatch.setattr(Identity, "of", staticmethod(coarse))


@pytest.mark.parametrize("state", ["right", "missing"])
def test_each_ok_is_looked_at_where_times_are_whole_seconds(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Old ext4, SFTP, HFS+, FAT: another program writes to a file in the second in which it was proved."""
    show_coarse_times(monkeypatch)
    assert_a_write_that_puts_times_back_is_seen(stand, state)


@pytest.mark.parametrize("times", ["one", "none"])
@pytest.mark.parametrize("state", ["right", "missing"])
def test_each_ok_is_looked_at_where_no_time_tells_of_a_change(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, state: str, times: str
) -> None:
    """SFTP and rclone show the time of modification only, which is put back; rclone --no-modtime that of the mount."""
    real = Identity.of

    def timeless(status: os.stat_result) -> Identity:
        made = real(status)
        shown = made.mtime_ns if times == "one" else 1_700_000_000_123_456_789
        return Identity(made.device, made.inode, made.size, shown, shown)

    monkeypatch.setattr(Identity, "of", staticmethod(timeless))
    assert_a_write_that_puts_times_back_is_seen(stand, state)
    assert stand.others == []


@pytest.mark.parametrize("end", ["disk full", "stopped"])
def test_right_files_of_a_run_that_was_ended_are_ok(stand: Stand, end: str) -> None:
    stand.put("a.raw", SMALL, "H1")
    stand.put("b.raw", DATA, part_mib=4)
    engine = stand.restorer(max_concurrency=1)
    enough = reasons.TERMINATED.of()
    stand.server.on_request = lambda request: engine.stop(enough) if request.key == stand.key("b.raw") else None
    run = Run.of(engine.run(stand.specs()), stand.destination)
    assert run["a.raw"].startswith("OK - Downloaded")
    assert run["b.raw"].startswith("FAILURE - Not ")


def test_file_whose_inode_is_never_the_same_is_proved_by_its_bytes(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some FUSE file systems count inodes anew at each look. Right bytes end green, healed ones too."""
    stand.put("a.raw", DATA, part_mib=4)
    stand.put("b.raw", SMALL, "H1")
    stand.put("c.raw", SMALL, "H1")
    stand.place("b.raw", SMALL)
    stand.place("c.raw", b"smalL")
    real = Identity.of
    count = iter(range(10**6))

    def unstable(status: os.stat_result) -> Identity:
        made = real(status)
        return Identity(made.device, next(count), made.size, made.mtime_ns, made.ctime_ns)

    monkeypatch.setattr(Identity, "of", staticmethod(unstable))
    run = stand.restore(max_concurrency=2)
    assert run["a.raw"].startswith("OK - Downloaded"), run.report
    assert run["b.raw"] == "OK - Skipped (already exists)"
    assert run["c.raw"].startswith("OK - Self-healed")
    stand.assert_right()


@pytest.mark.rule("W10", fails_when="a file that was hashed again is never looked at again, as its inode is not stable")
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_meanwhile_is_noticed_where_inodes_are_not_stable(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Both are hashed again; while the second one is, the first is changed."""
    for name in ("a.raw", "b.raw"):
        stand.put(name, raw_bytes(4000, name), "H1")
        stand.place(name, stand.data[name])
    real, count = Identity.of, itertools.count()

    def unstable(status: os.stat_result) -> Identity:
        return replace(real(status), inode=next(count))

    def look_slowly(parts: Parts, spec: FileSpec) -> Look:
        looked_at.append(spec.relative_path)
        if looked_at == ["a.raw", "b.raw"]:
            CHANGES[change](stand.path("a.raw"))
        return look(parts, spec)

    looked_at: list[str] = []
    monkeypatch.setattr(Identity, "of", staticmethod(unstable))
    monkeypatch.setattr(last_look, "look", look_slowly)
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified"), run.report
    assert run["b.raw"] == "OK - Skipped (already exists)"
    assert len(looked_at) < 7, "not for ever"


@pytest.mark.rule("W10", fails_when="a file that was seen to differ is OK until it is hashed")
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_known_to_differ_is_no_ok_while_its_file_system_hangs(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The second look sees it, and hashing it waits for the disk; who reports meanwhile has what is in memory."""
    for name in ("a.raw", "b.raw"):
        stand.put(name, raw_bytes(4000, name), "H1")
        stand.place(name, stand.data[name])
    is_reached, may_go_on = threading.Event(), threading.Event()
    take = last_look.LastLook.take

    def look_slowly(parts: Parts, spec: FileSpec) -> Look:
        if spec.relative_path == "b.raw":
            CHANGES[change](stand.path("a.raw"))
        else:
            is_reached.set()
            may_go_on.wait()
        return look(parts, spec)

    def touch_and_take(self: last_look.LastLook) -> None:
        os.utime(stand.path("b.raw"))
        take(self)

    monkeypatch.setattr(last_look, "look", look_slowly)
    monkeypatch.setattr(last_look.LastLook, "take", touch_and_take)
    engine = stand.restorer(max_concurrency=1)
    thread = threading.Thread(target=engine.run, args=(stand.specs(),))
    thread.start()
    is_reached.wait()
    engine.stop(reasons.TERMINATED.of())
    meanwhile = Run.of(engine.summary(reasons.TERMINATED.of()), stand.destination)
    may_go_on.set()
    thread.join()
    assert meanwhile["a.raw"].startswith("FAILURE - Verified, but not looked at again"), meanwhile.report


@pytest.mark.rule("W10", fails_when="what was hashed for long counts as seen at its end, where times are whole seconds")
def test_each_ok_is_looked_at_where_times_are_whole_seconds_and_hashing_takes_long(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written to in the second in which hashing begins, behind the front; that ends more than an hour later."""
    stand.put("a.raw", DATA, "H1")
    stand.place("a.raw", DATA)
    real_verify, clock = look_module.verify, time.time
    hours: list[int] = []

    def verify_for_hours(*arguments: Any, **options: Any) -> Verdict:
        verdict = real_verify(*arguments, **options)
        if not hours:
            rewrite_with_times_put_back(stand.path("a.raw"))
            hours.append(2)
        return verdict

    show_coarse_times(monkeypatch)
    monkeypatch.setattr(look_module, "verify", verify_for_hours)
    monkeypatch.setattr(time, "time", lambda: clock() + sum(hours) * 3600)
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified"), run.report


def test_token_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """X3: a container without its own /proc: what the number leads to is another process."""
    mine = owners.new_owner()
    assert owners.standing(mine) is owners.Standing.ALIVE
    host, pid, start, _, count = mine.split("-")
    clone = "-".join((host, pid, start, f"{1:016x}", count))
    monkeypatch.setattr(owners, "_sees_processes", lambda: False)
    assert owners.standing(clone) is owners.Standing.UNKNOWN
    owners.release(mine)
    assert owners.standing(mine) is owners.Standing.DEAD


@pytest.mark.rule("W2", fails_when="the tidying at the end deletes what another run has just set aside")
def test_what_another_run_sets_aside_meanwhile_is_not_tidied_away(stand: Stand) -> None:
    """A file is right; it is damaged, and a second run sets it aside, and is still fetching it when the first ends."""
    stand.put("a.raw", DATA, part_mib=4)
    stand.put("b.raw", SMALL, "H1")
    stand.place("a.raw", DATA)
    first, second = stand.restorer(max_concurrency=1), stand.restorer(max_concurrency=1)
    is_set_aside, may_go_on = threading.Event(), threading.Event()
    healing = threading.Thread(target=lambda: second.run(stand.specs()[:1]), daemon=True)

    def meet(request: RecordedRequest) -> None:
        if request.operation != "GetObject":
            return
        if request.key == stand.key("a.raw"):
            is_set_aside.set()
            assert may_go_on.wait(60)
        elif not healing.is_alive():
            stand.damage("a.raw", 5)
            healing.start()
            assert is_set_aside.wait(60)

    stand.server.on_request = meet
    run = Run.of(first.run(stand.specs()), stand.destination)
    assert run["a.raw"].startswith("FAILURE - Changed on disk after it was verified")
    assert stand.path("a.raw.corrupted").stat().st_size == len(DATA), "it may be the only copy"
    may_go_on.set()
    healing.join(60)
    stand.assert_right()
    assert stand.others == []
