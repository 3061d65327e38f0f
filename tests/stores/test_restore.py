"""Restore, skip, kill and resume, and what cannot be restored, on each server."""

import time
from typing import Any

import pytest

from s3_restore.model.settings import default_concurrency
from tests.stores.lab import ID, LIMIT_S, Child, Lab
from tests.stores.midway import Before
from tests.support import raw_files
from tests.support.fault_rules import Rule, Throttle
from tests.support.raw_files import MIB, md5, multipart_etag, raw_bytes

pytestmark = pytest.mark.timeout(300)

PART = 5 * MIB
SMALL = raw_bytes(100_000, "small")
PARTS = raw_bytes(2 * PART + 12_345, "parts")
OTHER_PARTS = raw_bytes(len(PARTS), "other parts")


def the_folder(lab: Lab) -> str:
    """Back up a `.d` folder with a file of every kind."""
    folder = {
        "H1": {f"{ID}/analysis.tdf": SMALL, f"{ID}/empty": b"", f"{ID}/m/one byte": b"1"},
        "H2": {
            f"{ID}/analysis.tdf_bin": PARTS,
            f"{ID}/one part": PARTS[:PART],
            f"{ID}/small": SMALL[:-1],
            f"{ID}/no byte": b"",
        },
        "H3": {f"{ID}/m/etag of two parts": PARTS[: PART + 1]},
    }
    info: dict[str, list[Any]] = {}
    for form, files in folder.items():
        for path, data in files.items():
            lab.upload(path, data, part_size=PART if form == "H3" or len(data) >= PART else None)
        info |= raw_files.file_info(files, form, 5)
    # The hash of the whole, of a file that is fetched in segments.
    lab.upload(f"{ID}/whole", raw_bytes(17 * MIB + 3, "whole"), part_size=8 * MIB)
    info |= raw_files.file_info({f"{ID}/whole": lab.files[f"{ID}/whole"]}, "H1")
    return lab.note(info)


def test_a_folder_is_restored_and_then_skipped(lab: Lab):
    the_folder(lab)

    assert lab.validate(ID)["troubles"] == []
    with lab.wire() as first:
        result = lab.download(ID)

    assert result["status"] == "SUCCESS"
    lab.assert_restored()
    assert all(lab.line(path).startswith("OK - Downloaded and verified (") for path in lab.files)
    total = sum(map(len, lab.files.values()))
    assert total <= first.bytes <= total + 64 * 1024, first
    with lab.wire() as second:
        assert lab.download(ID)["skipped"] == len(lab.files)
    assert second.bytes == 0, second
    assert lab.line(f"{ID}/analysis.tdf") == "OK - Skipped (already exists)"


def test_many_small_files(lab: Lab):
    files = {f"{ID}/{number:03}": raw_bytes(97 * number, number) for number in range(150)}
    for path, data in files.items():
        lab.upload(path, data)
    lab.note(raw_files.file_info(files, "H1"))
    with lab.wire() as wire:
        lab.download(ID)
    lab.assert_restored()
    assert len(wire.exchanges) == len(files), "one request for each"


@pytest.mark.rule("H7")
@pytest.mark.parametrize("noted", ["md5 and md5", "md5 and fold", "fold alone"])
def test_an_object_of_exactly_one_part(lab: Lab, noted: str):
    """H7: the store may say `…-1` where the database has the plain MD5, or the other way round."""
    data = PARTS[:PART]
    lab.upload("one.raw", data, part_size=PART)
    fold = multipart_etag(data, PART)
    assert fold.endswith("-1")
    entries = {
        "md5 and md5": [PART, md5(data), f"{md5(data)}__5"],
        "md5 and fold": [PART, md5(data), f"{fold}__5"],
        "fold alone": [PART, fold],
    }
    lab.note({"one.raw": entries[noted]})
    lab.download(ID)
    lab.assert_restored()
    lab.download(ID)
    assert lab.line("one.raw") == "OK - Skipped (already exists)"


# --- kill and resume -------------------------------------------------------------------------------------------------


def journalled(lab: Lab) -> int:
    """How many parts have come and were noted."""
    return sum(journal.read_bytes().count(b'"md5"') for journal in lab.output.rglob(".s3dl.*.journal"))


def wait_until_journalled(lab: Lab, child: Child, parts: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while journalled(lab) < parts:
        assert child.process.is_alive(), child.log_file.read_text()[-4000:]
        assert time.monotonic() < deadline, "no part came"
        time.sleep(0.02)


def test_what_a_killed_run_had_proved_is_not_fetched_again(lab: Lab):
    data = raw_bytes(24 * MIB + 99, "killed")
    lab.back_up({"killed.raw": data})
    lab.proxy.add(Rule(Throttle(MIB), method="GET", times=None))
    with lab.child() as child:
        wait_until_journalled(lab, child, 2)
        child.kill()
        assert child.was_killed
    proved = journalled(lab) * PART
    assert not lab.path("killed.raw").exists()
    lab.proxy.clear()

    with lab.wire() as wire:
        lab.download(ID)

    lab.assert_restored()
    # The kernel may have passed on a request or two of the dead process meanwhile: they are not in `bytes_fetched`.
    assert lab.line("killed.raw").startswith("OK - Downloaded and verified (")
    assert wire.bytes <= len(data) - proved + MIB, wire


# --- a server that ends and comes back -------------------------------------------------------------------------------


@pytest.mark.rule("S5")
def test_a_server_that_crashes_and_comes_back_costs_only_time(lab: Lab):
    """S5: patience by time."""
    data = raw_bytes(24 * MIB + 99, "crash")
    lab.back_up({"crash.raw": data})
    lab.proxy.add(Rule(Throttle(MIB), method="GET", times=None))
    server = lab.store_server
    with lab.wire() as wire, lab.child() as child:
        wait_until_journalled(lab, child, 1)
        server.down()
        try:
            before = len(wire.exchanges)
            deadline = time.monotonic() + LIMIT_S
            while len(wire.exchanges) < before + 3 and child.process.is_alive():
                assert time.monotonic() < deadline, "nobody asks again"
                time.sleep(0.02)
        finally:
            server.up()
        if not lab.content.holds("crash.raw", data):
            pytest.skip(f"{server.name} forgets its objects when it ends")
        lab.proxy.clear()
        result = child.end()

    assert result.get("status") == "SUCCESS", child.log_file.read_text()[-4000:]
    lab.assert_restored()
    assert wire.bytes <= len(data) + 4 * MIB, wire


# --- replaced midway -------------------------------------------------------------------------------------------------


def test_replaced_midway_by_other_bytes_is_never_ok(lab: Lab):
    lab.back_up({"raw.raw": PARTS})
    lab.proxy.add(Rule(Before(lambda: lab.content.put("raw.raw", OTHER_PARTS, PART)), method="GET", nth=2))

    lab.fail_to_download(ID)

    lab.assert_nothing_there("raw.raw")
    assert lab.line("raw.raw").startswith("FAILURE - ")


def test_replaced_midway_by_the_same_bytes_in_other_parts_is_restored(lab: Lab):
    lab.back_up({"raw.raw": PARTS})
    lab.proxy.add(Rule(Before(lambda: lab.content.put("raw.raw", PARTS, 6 * MIB)), method="GET", nth=2))

    lab.download(ID)

    lab.assert_restored()


def test_removed_midway_is_missing(lab: Lab):
    """In a bucket that keeps no versions; test_versions has the others."""
    lab.back_up({"raw.raw": PARTS})
    lab.proxy.add(Rule(Before(lambda: lab.content.delete("raw.raw")), method="GET", nth=2))
    lab.fail_to_download(ID)
    lab.assert_nothing_there("raw.raw")
    assert "Object is not in S3" in lab.line("raw.raw")


# --- what cannot be restored -----------------------------------------------------------------------------------------


def test_missing_objects_are_named_and_the_others_come(lab: Lab):
    lab.upload("there.raw", SMALL)
    missing = {"missing small": SMALL, "missing parts": PARTS, **{f"missing {number}": b"?" for number in range(20)}}
    files = {**missing, "there.raw": SMALL}
    lab.note(raw_files.file_info(files, "H2", 5))

    assert lab.validate(ID)["files_in_trouble"] == len(missing)
    with lab.wire() as wire:
        lab.fail_to_download(ID)

    for path in missing:
        assert lab.line(path).startswith(f"FAILURE - Object is not in S3 (NoSuchKey): s3://{lab.bucket}/{path}")
    lab.assert_restored("there.raw")
    if not lab.seen.lists_versions:
        # By each of the files that are looked for side by side, and then no more.
        assert wire.count("versions") <= default_concurrency()


def test_a_missing_bucket_is_named(lab: Lab):
    files = {"small": SMALL, "parts": PARTS}
    lab.note(raw_files.file_info(files, "H2", 5), s3_upload_path="s3://kraken-no-such-bucket")
    lab.fail_to_download(ID)
    for path in files:
        assert lab.line(path) == (
            f"FAILURE - Bucket does not exist in S3 (NoSuchBucket): s3://kraken-no-such-bucket/{path}"
        )


def test_objects_of_another_size_are_refused(lab: Lab):
    files = {f"{kind} {more}": data for kind, data in (("small", SMALL), ("parts", PARTS)) for more in (-1, 1, -99_999)}
    sizes = {}
    for path, data in files.items():
        stored = (data + b"x")[: len(data) + int(path.partition(" ")[2])]
        lab.upload(path, data, part_size=PART if len(data) > PART else None, in_store=stored)
        sizes[path] = len(stored)
    lab.note(raw_files.file_info(files, "H2", 5))

    lab.fail_to_download(ID)

    lab.assert_nothing_there()
    for path, data in files.items():
        said = f"Object in S3 has {sizes[path]} bytes, file_info says {len(data)} (wrong size)"
        assert lab.line(path).startswith(f"FAILURE - {said}")


def test_other_bytes_of_the_same_size_are_refused(lab: Lab):
    info = {}
    for form in ("H1", "H2", "H3"):
        files = {f"{form} {name}": data for name, data in (("small", SMALL), ("parts", PARTS))}
        for path, data in files.items():
            stored = data[:-1] + bytes([data[-1] ^ 1])
            lab.upload(path, data, part_size=PART if len(data) > PART else None, in_store=stored)
        info |= raw_files.file_info(files, form, 5)
    lab.note(info)

    lab.fail_to_download(ID)

    lab.assert_nothing_there()
    unsaid = {path: lab.line(path) for path in info if not lab.line(path).startswith("FAILURE - Hash mismatch after ")}
    assert unsaid == {}
