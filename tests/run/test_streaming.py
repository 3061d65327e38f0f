"""Issue 3, item 1: ranged, parallel, streaming; the budget of connections; memory, files and threads bounded (W7)."""

import itertools
import threading
import time
from pathlib import Path

import pytest

from s3_restore.disk import md5_backend
from tests.support.engine_fixtures import BUCKET, Stand
from tests.support.raw_files import MIB, md5, multipart_etag, raw_bytes, write_raw

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = True

PARTS = raw_bytes(7 * MIB + 12_345, "parts")
LARGE = raw_bytes(26 * MIB + 7, "large")


@pytest.mark.rule("H2")
def test_h2_ranges_are_the_parts_each_once_guarded_by_etag_and_version(stand: Stand) -> None:
    stand.put("a.raw", PARTS)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded and verified (7.0 MB in ")
    stand.assert_right()
    assert stand.ranges() == [(at, min(at + MIB, len(PARTS))) for at in range(0, len(PARTS), MIB)]
    newest = stand.server.client().head_object(Bucket=BUCKET, Key=stand.key("a.raw"))
    for request in stand.gets():
        assert request.headers["if-match"] == newest["ETag"]
        assert request.version_id == newest["VersionId"]
    assert stand.server.bytes_sent() == len(PARTS)
    assert stand.others == []


@pytest.mark.rule("H1")
def test_h1_large_file_comes_in_segments_over_several_connections(stand: Stand) -> None:
    stand.put("a.raw", LARGE, "H1", part_mib=5)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded and verified (26.0 MB in ")
    stand.assert_right()
    spans = stand.ranges()
    assert len(spans) > 1
    assert spans[0][0] == 0
    assert spans[-1][1] == len(LARGE)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans)), "gaps or overlaps"
    assert all("if-match" in request.headers and request.version_id for request in stand.gets())
    assert stand.server.bytes_sent() == len(LARGE)


@pytest.mark.rule("H3")
def test_h3_part_size_is_asked_from_s3(stand: Stand) -> None:
    """H3: 3 MiB is no usual part size, so only HEAD with PartNumber can tell it; the last part must fit the first."""
    stand.put("a.raw", PARTS, "H3", part_mib=3)
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert [request.part_number for request in stand.server.requests if request.part_number] == [1, 3]
    assert stand.ranges() == [(at, min(at + 3 * MIB, len(PARTS))) for at in range(0, len(PARTS), 3 * MIB)]
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"


def test_small_file_is_one_request_and_exactly_its_bytes(stand: Stand) -> None:
    for name, size in {"empty": 0, "one": 1, "below": MIB - 1}.items():
        stand.put(name, raw_bytes(size, name))
    run = stand.restore()
    assert run.status == "SUCCESS"
    stand.assert_right()
    assert stand.server.count() == 3, "one GET each, and no HEAD"
    assert stand.server.bytes_sent() == MIB


@pytest.mark.rule("H7")
@pytest.mark.parametrize("form", ["H1", "H2", "H3"])
def test_exactly_one_full_part_whose_etag_in_s3_ends_in_1(stand: Stand, form: str) -> None:
    """H7: the uploader stores the plain MD5, S3 has `…-1`."""
    data = stand.put("a.raw", raw_bytes(MIB, "full"), form)
    assert stand.server.client().head_object(Bucket=BUCKET, Key=stand.key("a.raw"))["ETag"].endswith('-1"')
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.path("a.raw").read_bytes() == data
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H5")
def test_kms_etag_that_is_no_md5_is_normal(stand: Stand) -> None:
    """H5: S3's own ETag proves nothing, and serves as If-Match all the same."""
    stand.put("a.raw", PARTS, etag="0123456789abcdef0123456789abcdef-8", encryption="aws:kms")
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    assert {request.headers["if-match"] for request in stand.gets()} == {'"0123456789abcdef0123456789abcdef-8"'}


def test_bucket_without_versions(unversioned: Stand) -> None:
    unversioned.put("a.raw", PARTS)
    assert unversioned.restore()["a.raw"].startswith("OK - Downloaded")
    assert all(request.version_id is None and "if-match" in request.headers for request in unversioned.gets())


@pytest.mark.parametrize("connections", [1, 3])
def test_budget_of_connections_is_used_and_never_exceeded(stand: Stand, connections: int) -> None:
    """Parts of one file and several files at once, from one budget: HEAD and GET of all kinds of file together."""
    stand.put("parts.raw", PARTS)
    stand.put("large.raw", LARGE, "H1", part_mib=5)
    stand.put("asked.raw", PARTS, "H3", part_mib=3)
    stand.put("healed.raw", PARTS)
    stand.damage("healed.raw", 5)
    for number in range(40):
        stand.put(f"small/{number}", raw_bytes(1000 + number, number))
    under_way: set[int] = set()
    most = 0
    lock = threading.Lock()

    answer = stand.server._answer
    send = stand.server._send

    def begin(request, head):
        nonlocal most
        with lock:
            under_way.add(id(request))
            most = max(most, len(under_way))
        time.sleep(0.002)  # so that requests that may overlap do
        return answer(request, head)

    def end(client, request, reply):
        try:
            return send(client, request, reply)
        finally:
            with lock:
                under_way.discard(id(request))

    stand.server._answer, stand.server._send = begin, end
    run = stand.restore(max_concurrency=connections)
    assert run.status == "SUCCESS"
    stand.assert_right()
    assert most == connections


@pytest.mark.rule("W7", fails_when="what arrives is kept in memory")
@pytest.mark.parametrize("form", ["H1", "H2"])
def test_memory_does_not_grow_with_file_or_part_size(stand: Stand, tmp_path: Path, form: str) -> None:
    """W7: the same peak for 16 MiB and for 96 MiB, part sizes of 8 and of 48 MiB."""
    peaks = {}
    for mib, part_mib in ((16, 8), (96, 48)):
        stand.file_info.clear()
        source = write_raw(tmp_path / f"source{mib}", mib * MIB, "big")
        stand.put(f"{mib}.raw", source, form, part_mib=part_mib, etag="no-md5", checksum=None)
        with stand.child() as child:
            result = child.start().end()
        assert result["lines"][f"{mib}.raw"].startswith("OK - Downloaded")
        assert md5(stand.path(f"{mib}.raw")) == md5(source)
        peaks[mib] = result["rss_peak"] - result["rss_before"]
    assert peaks[96] < 80 * MIB, peaks
    assert peaks[96] - peaks[16] < 6 * MIB, peaks


@pytest.mark.rule("W7", fails_when="files are not closed")
def test_memory_files_and_threads_do_not_grow_with_the_number_of_files(stand: Stand) -> None:
    """W7: 40 small files against 500, with the process looked at from outside at every request."""
    peaks = {}
    for count in (40, 500):
        stand.file_info.clear()
        for number in range(count):
            stand.put(f"of{count}/{number}", raw_bytes(3000, number))
        files: list[int] = []
        threads: list[int] = []
        with stand.child() as child:

            def look(_request, child=child, files=files, threads=threads) -> None:
                now = child.numbers
                files.append(now[0])
                threads.append(now[1])

            stand.server.on_request = look
            result = child.start().end()
        assert all(line.startswith("OK - Downloaded") for line in result["lines"].values())
        peaks[count] = (max(files), max(threads), result["rss_peak"] - result["rss_before"])
    few, many = peaks[40], peaks[500]
    assert many[0] <= 8 + 4 * 4, f"open files: {peaks}"
    looked_at = max(4, md5_backend.LANES)  # files at once: each may fill a lane of the hash
    assert many[1] <= 9 + 4 + looked_at, f"threads: {peaks}"
    assert many[0] <= few[0] + 2
    assert many[1] <= few[1] + 1
    assert many[2] - few[2] < 6 * MIB, peaks


def test_etag_of_our_own_computation_agrees_with_s3(stand: Stand) -> None:
    """The stand-in, the test data and the engine compute ETags apart from each other."""
    stand.put("a.raw", PARTS)
    head = stand.server.client().head_object(Bucket=BUCKET, Key=stand.key("a.raw"))
    assert head["ETag"] == f'"{multipart_etag(PARTS, MIB)}"' == f'"{stand.file_info["a.raw"][2].partition("__")[0]}"'
