"""V1: the check of a backup fetches and proves every byte, and writes nothing."""

import gc
import threading
import tracemalloc

import pytest

from s3_restore.disk.hash_batches import BUFFERS_OF_STREAM
from s3_restore.disk.hashing import BUFFER_BYTES
from s3_restore.model import reasons
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.backup_check import BackupCheck
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.run.test_versions import HOW, KINDS, back_up, kinds, spoil
from tests.support.engine_fixtures import BUCKET, QUICK, Gate, Run, Stand, engine_client
from tests.support.fault_rules import Cut, FlipBit, Rule, Status
from tests.support.raw_files import MIB, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]

PARTS = raw_bytes(7 * MIB + 5, "parts")
LARGE = raw_bytes(26 * MIB, "large")
FORMS = {
    "H1, small": (PARTS[: MIB // 2], "H1", 1),
    "H1, large": (LARGE, "H1", 5),
    "H2": (PARTS, "H2", 1),
    "H2, one part": (PARTS, "H2", 100),
    "H3, a usual part size": (PARTS, "H3", 5),
    "H8, a part size that nobody uses": (PARTS, "H3", 3),
    "empty": (b"", "H2", 1),
}


def checking(stand: Stand, **settings) -> BackupCheck:
    chosen = RestoreSettings.from_mapping(QUICK | settings)
    return BackupCheck(S3ObjectStore(engine_client(stand.proxy.url, chosen)), chosen)


def check(stand: Stand, **settings) -> Run:
    return Run.of(checking(stand, **settings).run(stand.specs()), stand.destination)


@pytest.fixture(autouse=True)
def _nothing_is_written(stand: Stand):
    before = sorted(stand.destination.rglob("*"))
    yield
    assert sorted(stand.destination.rglob("*")) == before


@pytest.mark.rule("V1")
@pytest.mark.parametrize("form", list(FORMS))
def test_v1_a_good_backup_of_every_form_is_verified(stand: Stand, form: str) -> None:
    data, kind, part_mib = FORMS[form]
    stand.put("a.raw", data, kind, part_mib=part_mib)
    run = check(stand)
    assert run["a.raw"].startswith(f"OK - Backup verified ({len(data) / MIB:.1f} MB in ")
    assert run.status == "SUCCESS"
    assert stand.server.bytes_sent() >= len(data)
    assert run.summary.outcomes[0].bytes_fetched == stand.server.bytes_sent()


@pytest.mark.rule("V1")
@pytest.mark.parametrize("form", [form for form in FORMS if form != "empty"])
@pytest.mark.parametrize("offset", [0, -1])
def test_v1_one_wrong_bit_in_s3_is_a_failure_in_every_form(stand: Stand, form: str, offset: int) -> None:
    data, kind, part_mib = FORMS[form]
    wrong = bytearray(data)
    wrong[offset] ^= 0x10
    stand.put("a.raw", data, kind, part_mib=part_mib, in_s3=bytes(wrong))
    stand.put("good.raw", PARTS)
    run = check(stand)
    assert run["a.raw"].startswith("FAILURE - Hash mismatch in S3: expected ")
    assert run["a.raw"].endswith("; the object is not the file")
    assert run["good.raw"].startswith("OK - Backup verified (")
    assert run.status == "PARTIAL FAILURE"


@pytest.mark.rule("V1")
@pytest.mark.parametrize("wrong", ["md5", "etag"])
def test_v1_h2_either_hash_proves_the_backup(stand: Stand, wrong: str) -> None:
    stand.put("a.raw", PARTS)
    size, md5, etag = stand.file_info["a.raw"]
    stand.file_info["a.raw"] = [size, "0" * 32, etag] if wrong == "md5" else [size, md5, "0" * 32 + "-8__1"]
    assert check(stand)["a.raw"].startswith("OK - Backup verified (")


@pytest.mark.rule("V1")
def test_v1_without_a_size_the_hash_alone_decides(stand: Stand) -> None:
    for name, data in {"a.raw": PARTS, "b.raw": b"b", "empty": b""}.items():
        stand.put(name, data)
        stand.file_info[name][0] = None
    assert check(stand).status == "SUCCESS"


@pytest.mark.rule("V1")
def test_v1_what_can_never_be_restored_is_no_ok(stand: Stand) -> None:
    """No hash, an unsafe path, a size that is not that of the object, an object that is not there or archived."""
    stand.put("no-hash.raw", b"data")
    stand.file_info["no-hash.raw"] = [4]
    stand.put("../out.raw", b"data")
    stand.put("size.raw", b"data")
    stand.file_info["size.raw"][0] = 5
    stand.put("gone.raw", b"data")
    stand.server.erase(BUCKET, stand.key("gone.raw"))
    stand.put("cold.raw", PARTS, storage_class="GLACIER")
    run = check(stand)
    assert run["no-hash.raw"] == "FAILURE - No expected hash in file_info; nothing was touched"
    assert run["../out.raw"].startswith("FAILURE - Unsafe path")
    assert run["size.raw"].startswith("FAILURE - Object in S3 has 4 bytes, file_info says 5 (wrong size)")
    assert "NoSuchKey" in run["gone.raw"]
    assert run["cold.raw"].startswith("FAILURE - Object is archived in class GLACIER")
    assert run.status == "COMPLETE FAILURE"


@pytest.mark.rule("V1")
@kinds
@pytest.mark.parametrize("how", HOW)
def test_v1_s7_an_older_version_that_is_the_backup_is_named_and_no_ok(stand: Stand, kind: str, how: str) -> None:
    """A restore would take it, but S3 may be told to delete it, and then nothing is left."""
    data = back_up(stand, kind)
    spoil(stand, how, data, KINDS[kind][2])
    assert check(stand)["a.raw"] == (
        "FAILURE - Only an older version in S3 is the backup, that of 2025-01-15 10:22:07 UTC: S3 may delete it"
    )


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("V1")
@pytest.mark.parametrize("form", ["H1, large", "H2", "H8, a part size that nobody uses"])
def test_v1_what_passes_is_tried_again_and_a_broken_connection_goes_on_where_it_broke(stand: Stand, form: str) -> None:
    data, kind, part_mib = FORMS[form]
    stand.put("a.raw", data, kind, part_mib=part_mib)
    stand.proxy.add(Rule(Status(503, "SlowDown"), method="GET", times=2))
    stand.proxy.add(Rule(Cut(after=600_000), method="GET", times=3))
    run = check(stand)
    assert run["a.raw"].startswith("OK - Backup verified (")
    assert run.summary.retries >= 3


@pytest.mark.rule("V1")
def test_v1_bytes_that_the_network_spoiled_once_are_fetched_once_more(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    stand.proxy.add(Rule(FlipBit(at=1000), method="GET"))
    assert check(stand)["a.raw"].startswith("OK - Backup verified (")
    stand.proxy.add(Rule(FlipBit(at=1000), method="GET", times=None))
    assert check(stand)["a.raw"].startswith("FAILURE - Hash mismatch in S3: expected ")


@pytest.mark.rule("V1")
@kinds
def test_v1_an_older_version_of_the_same_bytes_hides_no_newest_that_was_spoiled(stand: Stand, kind: str) -> None:
    back_up(stand, kind)
    back_up(stand, kind)
    stand.proxy.add(Rule(FlipBit(at=1000, in_object=True), method="GET", times=2 if "parts" in kind else 1))
    assert check(stand)["a.raw"].startswith("OK - Backup verified (")


@pytest.mark.rule("V1")
def test_v1_an_object_that_is_replaced_meanwhile_is_never_verified_in_two_halves(unversioned: Stand) -> None:
    unversioned.put("a.raw", LARGE, part_mib=5)
    gate = Gate(unversioned.server, 5 * MIB)
    checked: list[Run] = []
    thread = threading.Thread(target=lambda: checked.append(check(unversioned, max_concurrency=1)))
    thread.start()
    gate.wait()
    unversioned.upload("a.raw", raw_bytes(len(LARGE), "other"), part_size=5 * MIB)
    gate.open()
    thread.join(60)
    assert checked[0]["a.raw"].startswith("FAILURE - ")


def check_asked_to_end(stand: Stand, at: int) -> Run:
    """Check one file after the other, and be asked to end when so many bytes of one have come."""
    gate = Gate(stand.server, at)
    running = checking(stand, max_concurrency=1)
    ended: list = []
    thread = threading.Thread(target=lambda: ended.append(running.run(stand.specs())))
    thread.start()
    gate.wait()
    running.stop(reasons.TERMINATED.of())
    gate.open()
    thread.join(60)
    return Run.of(ended[0], stand.destination)


@pytest.mark.rule("V1")
def test_v1_a_check_that_is_asked_to_end_has_no_ok_for_what_it_did_not_finish(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    stand.put("b.raw", PARTS, part_mib=2)
    run = check_asked_to_end(stand, at=3 * MIB)
    assert run["a.raw"].startswith("FAILURE - Not finished (The task was terminated (SIGTERM))")
    assert run["b.raw"] == "FAILURE - Not attempted (The task was terminated (SIGTERM))"


@pytest.mark.rule("V1", fails_when="what was verified counts as failed where the check is ended before its time")
def test_v1_what_was_verified_before_a_check_is_asked_to_end_stays_verified(stand: Stand) -> None:
    """There is no second look at an object."""
    stand.put("a.raw", b"small", "H1")
    stand.put("b.raw", PARTS)
    run = check_asked_to_end(stand, at=3 * MIB)
    assert run["a.raw"].startswith("OK - Backup verified")
    assert run["b.raw"].startswith("FAILURE - Not finished")


@pytest.mark.rule("V1", "W7")
def test_v1_memory_does_not_grow_with_the_file(stand: Stand) -> None:
    """One stream, and many parts: W7."""
    stand.put("a.raw", LARGE, "H1", part_mib=5)
    stand.put("b.raw", LARGE)
    check(stand)  # whatever is made once
    gc.collect()
    tracemalloc.start()
    try:
        # The stand-in is in this process; what it holds of an answer is not measured.
        only = tracemalloc.Filter(inclusive=True, filename_pattern="*/s3_restore/*")
        peaks = []
        running = checking(stand)
        begin = running._progress.__class__.add

        def add(progress, spec, count) -> None:
            begin(progress, spec, count)
            if len(peaks) < 40:
                held = tracemalloc.take_snapshot().filter_traces([only])
                peaks.append(sum(each.size for each in held.statistics("filename")))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running._progress.__class__, "add", add)
            assert running.run(stand.specs()).failed == 0
    finally:
        tracemalloc.stop()
    of_buffers = RestoreSettings().max_concurrency * BUFFERS_OF_STREAM * BUFFER_BYTES
    assert max(peaks) < of_buffers + MIB < len(LARGE), "buffers of the connections, whatever the size of the file"
