"""download_raw_file_from_s3 on real servers: what is on disk, in the report, in the log and in the XCom."""

import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from demo.s3_server import S3Server
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Status
from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, file_info, md5, raw_bytes

ID = "20250115_sample.raw"
DATA = raw_bytes(3_000_000, "sample")
DOWNLOADED = re.compile(r"OK - Downloaded and verified \(\d+\.\d MB in \d+\.\ds\)")
HEALED = re.compile(r"OK - Self-healed \(hash mismatch detected, re-downloaded\) \(.*\d+\.\d MB in \d+\.\ds\)")
SKIPPED = "OK - Skipped (already exists)"


@pytest.fixture
def umask() -> Iterator[int]:
    """An unusual umask, to tell its modes from those of 0o022 and of mkstemp."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def put_on_disk(kraken: Kraken, path: str, data: bytes) -> Path:
    """A file that is there before the download."""
    local = kraken.destination / path
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    return local


# --- what must work -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def one_version(kraken: Kraken) -> None:
    """A bucket that keeps no versions, so that what is wrong in S3 stays wrong (S7: test_older_versions.py)."""
    kraken.s3.versioning = False


@pytest.mark.rule("All succeed", fails_when="no report when nothing failed")
def test_download_raw_file_from_s3_new_file(kraken: Kraken):
    """Plan 4.1: All succeed."""
    kraken.back_up({ID: DATA})
    result = kraken.download(ID)
    assert (kraken.destination / ID).read_bytes() == DATA
    assert kraken.others(ID) == []
    assert DOWNLOADED.fullmatch(kraken.line(ID))
    assert f"({len(DATA) / MIB:.1f} MB in " in kraken.line(ID)
    assert kraken.report.endswith("Total files: 1\nSuccessful: 1\nFailed: 0\nStatus: SUCCESS\n")
    (report,) = kraken.reports
    assert result == {
        "mode": "restore",
        "status": "SUCCESS",
        "total_files": 1,
        "successful": 1,
        "failed": 0,
        "downloaded": 1,
        "skipped": 0,
        "healed": 0,
        "verified": 0,
        "bytes_total": len(DATA),
        "bytes_fetched": len(DATA),
        "seconds": result["seconds"],
        "report_path": str(report),
    }
    assert result["seconds"] > 0


def test_download_raw_file_from_s3_skip_existing(kraken: Kraken):
    kraken.back_up({ID: DATA})
    local = put_on_disk(kraken, ID, DATA)
    before = local.stat()
    kraken.s3.forget_requests()
    result = kraken.download(ID)
    assert kraken.line(ID) == SKIPPED
    after = local.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
    assert kraken.s3.requests == [], "what is right needs no S3"
    assert (result["skipped"], result["bytes_fetched"], result["bytes_total"]) == (1, 0, len(DATA))


@pytest.mark.rule("Local file corrupted", fails_when="a wrong file is skipped")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(DATA[:-1] + bytes([DATA[-1] ^ 1]), id="one bit"),
        pytest.param(DATA[:-1], id="H6 one byte less"),
        pytest.param(DATA + b"\0", id="H6 one byte more"),
        pytest.param(b"", id="H6 empty"),
        pytest.param(bytes(len(DATA)), id="zeros, as a crash leaves them"),
    ],
)
def test_download_raw_file_from_s3_self_healing(kraken: Kraken, wrong: bytes):
    """Plan 4.1: Local file corrupted."""
    kraken.back_up({ID: DATA})
    put_on_disk(kraken, ID, wrong)
    result = kraken.download(ID)
    assert (kraken.destination / ID).read_bytes() == DATA
    assert HEALED.fullmatch(kraken.line(ID))
    assert kraken.others(ID) == [], "W2: what was set aside is deleted"
    assert (result["healed"], result["status"]) == (1, "SUCCESS")


def test_download_raw_file_from_s3_multi_file(kraken: Kraken, s3_server: S3Server):
    """A .d folder, uploaded with boto3 to another S3 server as the host does: several parts, sub folder, empty file."""
    folder = "20250115_sample.d"
    files = {f"{folder}/{number:02}.bin": raw_bytes(1000 * number, number) for number in range(1, 10)}
    files |= {
        f"{folder}/analysis.tdf_bin": raw_bytes(11 * MIB, "bin"),
        f"{folder}/1234.m/deep/micro TOF, Q+Impac&Tem.method": raw_bytes(70_123, "method"),
        f"{folder}/Größe µm 試料.txt": b"unicode",
        f"{folder}/empty": b"",
    }
    bucket = "alphakraken-prid001"
    client = s3_server.client()
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3_server.region})
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    for path, data in files.items():
        source = kraken.output.parent / "upload"
        source.write_bytes(data)
        client.upload_file(str(source), bucket, f"test1/2025_01/{path}", Config=config)
    client.close()
    kraken.store(folder, file_info=file_info(files, part_mib=5), s3_upload_path=f"s3://{bucket}/test1/2025_01/")
    kraken.connect_s3(s3_server.endpoint_url)

    result = kraken.download(folder)
    restored = {path: (kraken.destination / path).read_bytes() for path in files}
    assert restored == files
    assert kraken.others(*files) == []
    assert all(DOWNLOADED.fullmatch(kraken.line(path)) for path in files)
    assert (result["downloaded"], result["bytes_total"]) == (len(files), sum(map(len, files.values())))
    assert "S3 Bucket: alphakraken-prid001\nS3 Prefix: test1/2025_01\nTimestamp: " in kraken.report
    paths = [line.partition(": ")[0] for line in kraken.report.splitlines() if ": OK - " in line]
    assert paths == sorted(files)

    again = kraken.download(folder)
    assert (again["skipped"], again["bytes_fetched"]) == (len(files), 0), "idempotent"


@pytest.mark.rule("Some files fail", fails_when="the task fails only when all files failed")
def test_download_raw_file_from_s3_partial_failure(kraken: Kraken):
    """Plan 4.1: Some files fail.

    Every kind of file at once: one that fails holds up no other, and the report tells each.
    """
    names = ("a_new", "b_lost", "c_right", "d_wrong", "e_damaged_in_s3")
    files = {f"s.d/{name}": raw_bytes(100_000, name) for name in names}
    kraken.back_up(files, "s.d")
    kraken.s3.delete(kraken.bucket, "s.d/b_lost")
    kraken.s3.put(kraken.bucket, "s.d/e_damaged_in_s3", bytes(100_000))
    put_on_disk(kraken, "s.d/c_right", files["s.d/c_right"])
    put_on_disk(kraken, "s.d/d_wrong", b"wrong")
    said = kraken.fail_to_download("s.d")

    (report,) = kraken.reports
    assert said.startswith(f"2/5 files failed. See: {report}. First: s.d/b_lost: Object is not in S3 (NoSuchKey)")
    assert DOWNLOADED.fullmatch(kraken.line("s.d/a_new"))
    assert kraken.line("s.d/b_lost") == (f"FAILURE - Object is not in S3 (NoSuchKey): s3://{kraken.bucket}/s.d/b_lost")
    assert kraken.line("s.d/c_right") == SKIPPED
    assert HEALED.fullmatch(kraken.line("s.d/d_wrong"))
    assert kraken.line("s.d/e_damaged_in_s3").startswith(
        f"FAILURE - Hash mismatch after download: expected {md5(files['s.d/e_damaged_in_s3'])}, "
        f"got {md5(bytes(100_000))}"
    )
    assert kraken.report.endswith("Total files: 5\nSuccessful: 3\nFailed: 2\nStatus: PARTIAL FAILURE\n")
    right = ("s.d/a_new", "s.d/c_right", "s.d/d_wrong")
    assert {name: (kraken.destination / name).read_bytes() for name in right} == {name: files[name] for name in right}
    assert kraken.others(*right) == [], "no corrupted file, no temporary file"


@pytest.mark.rule("A7")
def test_a7_summary_is_the_xcom_of_a_failed_run_too(kraken: Kraken):
    kraken.back_up({"s.d/a": b"a", "s.d/b": b"b"}, "s.d")
    kraken.s3.delete(kraken.bucket, "s.d/b")
    kraken.fail_to_download("s.d")
    pushed = kraken.ti.pushed["return_value"]
    early = {"_link_RestoresPageLink"}  # with the first progress, where there is time for it, and a page
    assert set(kraken.ti.pushed) - early == {"return_value", "progress", "files", "report"}
    assert (pushed["status"], pushed["total_files"], pushed["failed"]) == ("PARTIAL FAILURE", 2, 1)
    assert pushed["report_path"] == str(kraken.reports[-1])


# --- what can go wrong -----------------------------------------------------------------------------------


@pytest.mark.rule("S3 bucket doesn't exist", fails_when="the run ends at the first file")
def test_bucket_does_not_exist_fails_every_file(kraken: Kraken):
    """Plan 4.1: S3 bucket doesn't exist."""
    files = {"s.d/b": DATA, **{f"s.d/{number}": b"more files than connections" for number in range(18)}}
    kraken.store("s.d", file_info=file_info(files), s3_upload_path="s3://no-such-bucket/p/")
    kraken.validate("s.d")
    kraken.fail_to_download("s.d")
    for path in files:
        assert kraken.line(path) == (
            f"FAILURE - Bucket does not exist in S3 (NoSuchBucket): s3://no-such-bucket/p/{path}"
        )
    assert "Status: COMPLETE FAILURE" in kraken.report
    assert kraken.others() == []


@pytest.mark.rule("Network error during download", fails_when="an error of one file ends the run")
def test_network_error_fails_that_file_and_the_others_go_on(kraken: Kraken):
    """Plan 4.1: Network error during download."""
    files = {f"s.d/{name}": raw_bytes(200_000, name) for name in "abc"}
    kraken.back_up(files, "s.d")
    with FaultProxy(kraken.s3.url, [Rule(Status(500), key="s.d/b", times=None)]) as proxy:
        kraken.connect_s3(proxy.url)
        kraken.fail_to_download("s.d")
    assert kraken.line("s.d/b") == "FAILURE - S3 is overloaded or not well (InternalError)"
    assert DOWNLOADED.fullmatch(kraken.line("s.d/a"))
    assert DOWNLOADED.fullmatch(kraken.line("s.d/c"))
    assert kraken.others("s.d/a", "s.d/c") == []


@pytest.mark.rule("A4", fails_when="no second pass over failed files")
def test_a4_a_passing_fault_is_retried_inside_the_task(kraken: Kraken, caplog):
    """Several refusals in a row: the file is waited for, and the others go on meanwhile."""
    files = {f"s.d/{name}": raw_bytes(200_000, name) for name in "abc"}
    kraken.back_up(files, "s.d")
    caplog.set_level(logging.INFO)
    with FaultProxy(kraken.s3.url, [Rule(Status(503), key="s.d/b", times=3)]) as proxy:
        kraken.connect_s3(proxy.url)
        assert kraken.download("s.d")["status"] == "SUCCESS"
        assert proxy.faults_by_kind() == {"Status": 3}
    assert caplog.text.count("S3 is overloaded or not well (SlowDown); tried again in ") == 3


@pytest.mark.rule("Hash mismatch after download", fails_when="what was downloaded is not compared")
def test_hash_mismatch_after_download_deletes_and_fails(kraken: Kraken):
    """Plan 4.1: Hash mismatch after download."""
    kraken.back_up({ID: DATA})
    kraken.s3.put(kraken.bucket, ID, bytes(len(DATA)))
    said = kraken.fail_to_download(ID)
    reason = (
        f"Hash mismatch after download: expected {md5(DATA)}, got {md5(bytes(len(DATA)))}; the download was deleted"
    )
    assert kraken.line(ID) == f"FAILURE - {reason}"
    assert said.endswith(f"First: {ID}: {reason}")
    assert kraken.others() == []


@pytest.mark.rule("H6")
@pytest.mark.parametrize("in_s3", [DATA[:-1], DATA + b"x", b""], ids=["shorter", "longer", "empty"])
def test_h6_an_object_of_the_wrong_size_is_refused(kraken: Kraken, in_s3: bytes):
    kraken.back_up({ID: DATA})
    kraken.s3.put(kraken.bucket, ID, in_s3)
    kraken.fail_to_download(ID)
    assert f"Object in S3 has {len(in_s3)} bytes, file_info says {len(DATA)} (wrong size)" in kraken.line(ID)
    assert kraken.others() == []


def test_output_location_gone_is_an_ordinary_exception_so_that_airflow_retries(kraken: Kraken):
    from s3_restore.run.restorer import DestinationGoneError  # noqa: PLC0415

    kraken.back_up({ID: DATA})
    kraken.output.rmdir()
    with pytest.raises(DestinationGoneError) as caught:
        kraken.download(ID)
    assert str(caught.value) == f"Output location missing: {kraken.output} (is it mounted on this worker?)"
    assert caught.value.__suppress_context__
    assert not kraken.output.exists(), "a lost mount is not papered over with a folder"


def test_all_fail_then_all_succeed(kraken: Kraken):
    """A run that failed leaves nothing that hinders the next."""
    files = {"s.d/a": b"a", "s.d/b": DATA}
    kraken.store("s.d", file_info=file_info(files))
    kraken.fail_to_download("s.d")
    kraken.back_up(files, "s.d")
    assert kraken.download("s.d")["status"] == "SUCCESS"
    assert len(kraken.reports) == 2


def test_a_document_that_became_unusable_after_validation(kraken: Kraken):
    for fields in ({"project_id": None}, {"project_id": "../x"}, {"s3_upload_path": None}, {"file_info": {}}):
        kraken.back_up({ID: DATA}, **fields)
        kraken.fail_to_download(ID)
    assert list(kraken.output.iterdir()) == []
    assert kraken.fail_to_download("unknown").startswith("RawFile not found: 'unknown'")


# --- writing files --------------------------------------------------------------------------------------------------


@pytest.mark.rule("W1", fails_when="files are 0600")
def test_w1_modes_follow_the_umask(kraken: Kraken, umask: int):
    files = {"s.d/sub/new": DATA, "s.d/sub/large": raw_bytes(17 * MIB, "large")}
    kraken.back_up(files, "s.d")
    kraken.download("s.d")
    for path in (*(kraken.destination / path for path in files), *kraken.reports):
        assert path.stat().st_mode & 0o777 == 0o640, path
    for folder in (kraken.destination, kraken.destination / "s.d/sub"):
        assert folder.stat().st_mode & 0o777 == 0o750, folder
    assert kraken.others(*files) == []


@pytest.mark.rule("W1", fails_when="bytes go to the final path at once")
def test_w1_the_final_path_never_shows_unfinished_bytes(kraken: Kraken):
    """Looked at from within S3's answers: nothing is at the final path until all is there."""
    data = raw_bytes(5 * MIB, "five")
    kraken.back_up({ID: data}, part_mib=1)
    seen = []
    kraken.s3.on_request = lambda _request: seen.append((kraken.destination / ID).exists())
    kraken.download(ID)
    assert len(seen) >= 5
    assert not any(seen)
    assert (kraken.destination / ID).read_bytes() == data


@pytest.mark.rule("W2", fails_when="a corrupted file is deleted at once")
def test_w2_a_corrupted_file_that_cannot_be_healed_is_kept_and_named(kraken: Kraken):
    kraken.back_up({ID: DATA})
    put_on_disk(kraken, ID, b"perhaps the only copy")
    kraken.s3.delete(kraken.bucket, ID)
    said = kraken.fail_to_download(ID)
    kept = f"the corrupted file is kept as {ID}.corrupted"
    assert kraken.line(ID) == f"FAILURE - Object is not in S3 (NoSuchKey): s3://{kraken.bucket}/{ID}; {kept}"
    assert kept in said
    assert kraken.others() == [f"{ID}.corrupted"]
    assert (kraken.destination / f"{ID}.corrupted").read_bytes() == b"perhaps the only copy"

    kraken.fail_to_download(ID)
    assert kept in kraken.line(ID), "still there, still told"
    assert kraken.others() == [f"{ID}.corrupted"]

    kraken.back_up({ID: DATA})
    kraken.download(ID)
    assert HEALED.fullmatch(kraken.line(ID))
    assert (kraken.destination / ID).read_bytes() == DATA
    assert kraken.others(ID) == []


@pytest.mark.rule("W2", fails_when="an older corrupted file is overwritten")
def test_w2_an_aside_name_that_is_taken_is_not_overwritten(kraken: Kraken):
    kraken.back_up({ID: DATA})
    put_on_disk(kraken, ID, b"corrupted now")
    put_on_disk(kraken, f"{ID}.corrupted", b"kept from before")
    kraken.s3.delete(kraken.bucket, ID)
    kraken.fail_to_download(ID)
    assert kraken.line(ID).endswith(f"; the corrupted file is kept as {ID}.corrupted_2")
    assert (kraken.destination / f"{ID}.corrupted").read_bytes() == b"kept from before"
    assert (kraken.destination / f"{ID}.corrupted_2").read_bytes() == b"corrupted now"


@pytest.mark.rule("W2")
def test_w2_a_file_of_the_raw_file_itself_that_is_called_corrupted(kraken: Kraken):
    files = {"s.d/a": DATA, "s.d/a.corrupted": b"belongs to the raw file"}
    kraken.back_up(files, "s.d")
    put_on_disk(kraken, "s.d/a", b"wrong")
    kraken.download("s.d")
    assert {path: (kraken.destination / path).read_bytes() for path in files} == files
    assert kraken.others(*files) == []


W4_NAMES = ["../out.raw", "s.d/../../out.raw", "", "s.d//a", "s.d/./a", "./a", "a/", ".", "..", "s.d/.."]


@pytest.mark.rule("W4", fails_when="`..` is let through")
def test_w4_unsafe_paths_fail_and_the_others_go_on(kraken: Kraken):
    absolute = str(kraken.output.parent / "absolute.raw")
    good = {"s.d/good": DATA}
    bad = [*W4_NAMES, absolute]
    kraken.back_up(good, "s.d")
    info = file_info({**good, **dict.fromkeys(bad, b"evil")})
    for path in bad:
        kraken.s3.put(kraken.bucket, path or "empty", b"evil")
    kraken.store("s.d", file_info=info)
    outside = sorted(path for path in kraken.output.parent.rglob("*"))
    kraken.s3.forget_requests()
    kraken.fail_to_download("s.d")
    for path in bad:
        assert kraken.line(path).startswith("FAILURE - Unsafe path ("), path
    assert DOWNLOADED.fullmatch(kraken.line("s.d/good"))
    assert kraken.others("s.d/good") == []
    new = {path for path in kraken.output.parent.rglob("*") if kraken.destination not in path.parents}
    assert new - set(outside) == {kraken.destination}, "nothing outside the destination"
    assert {request.key for request in kraken.s3.requests} == {"s.d/good"}, "nor was anything asked for"


@pytest.mark.rule("W4")
def test_w4_odd_but_safe_names_are_restored_as_they_are(kraken: Kraken):
    names = [" lead", "trail ", "...", "-rf", "~", "$HOME", "back\\slash", "new\nline", "Größe", "e\u0301", "x" * 255]
    files = {f"s.d/{name}": name.encode() for name in names}
    kraken.back_up(files, "s.d")
    kraken.download("s.d")
    assert {path: (kraken.destination / path).read_bytes() for path in files} == files
    assert kraken.others(*files) == []


@pytest.mark.rule("W4", fails_when="links are followed out of the destination")
@pytest.mark.parametrize("depth", ["s.d", "s.d/sub"])
def test_w4_a_parent_that_is_a_link_leading_out(kraken: Kraken, depth: str):
    outside = kraken.output / "PRID002"
    outside.mkdir()
    kraken.back_up({"s.d/sub/a": DATA, "other": b"goes on"}, "s.d")
    link = kraken.destination / depth
    link.parent.mkdir(parents=True)
    link.symlink_to(outside, target_is_directory=True)
    kraken.fail_to_download("s.d")
    assert kraken.line("s.d/sub/a") == "FAILURE - Unsafe path (a symbolic link above it leads out of the destination)"
    assert DOWNLOADED.fullmatch(kraken.line("other"))
    assert list(outside.rglob("*")) == []


@pytest.mark.rule("W4")
def test_w4_a_link_that_stays_inside_is_followed(kraken: Kraken):
    real = kraken.destination / "real"
    real.mkdir(parents=True)
    (kraken.destination / "s.d").symlink_to(real, target_is_directory=True)
    kraken.back_up({"s.d/a": DATA}, "s.d")
    kraken.download("s.d")
    assert (real / "a").read_bytes() == DATA


@pytest.mark.rule("W4")
@pytest.mark.parametrize("target", ["victim", "missing"])
def test_w4_a_link_where_the_file_belongs(kraken: Kraken, target: str):
    victim = kraken.output / "victim"
    victim.write_bytes(b"untouched")
    kraken.back_up({ID: DATA})
    kraken.destination.mkdir()
    (kraken.destination / ID).symlink_to(kraken.output / target)
    kraken.fail_to_download(ID)
    assert kraken.line(ID) == ("FAILURE - Unsafe path (a symbolic link is where the file belongs); nothing was touched")
    assert victim.read_bytes() == b"untouched"
    assert not (kraken.output / "missing").exists()
    assert (kraken.destination / ID).is_symlink()


@pytest.mark.rule("W4")
def test_w4_a_directory_where_the_file_belongs_is_not_removed(kraken: Kraken):
    kraken.back_up({"s.d/a": DATA, "s.d/b": b"goes on"}, "s.d")
    inside = put_on_disk(kraken, "s.d/a/precious", b"precious")
    kraken.fail_to_download("s.d")
    assert kraken.line("s.d/a") == "FAILURE - A folder is where the file belongs; nothing was touched"
    assert DOWNLOADED.fullmatch(kraken.line("s.d/b"))
    assert inside.read_bytes() == b"precious"


@pytest.mark.rule("W4")
def test_w4_a_file_where_a_folder_belongs(kraken: Kraken):
    kraken.back_up({"s.d/sub/a": DATA, "s.d/b": b"goes on"}, "s.d")
    local = put_on_disk(kraken, "s.d/sub", b"precious")
    kraken.fail_to_download("s.d")
    assert kraken.line("s.d/sub/a") == ("FAILURE - A file is where the folder 's.d/sub' belongs; nothing was touched")
    assert local.read_bytes() == b"precious"


@pytest.mark.rule("W4")
def test_w4_paths_of_one_raw_file_that_exclude_each_other(kraken: Kraken):
    """The plan's own example has them: sample.raw and sample.raw/subfile1.bin. One comes, the other fails."""
    info = file_info({"a": b"file", "a/b": b"in a folder"})
    for path, data in (("a", b"file"), ("a/b", b"in a folder")):
        kraken.s3.put(kraken.bucket, path, data)
    kraken.store(ID, file_info=info)
    kraken.fail_to_download(ID)
    assert "Successful: 1\nFailed: 1\n" in kraken.report


@pytest.mark.rule("W4")
def test_w4_a_named_pipe_does_not_hang_the_run(kraken: Kraken):
    kraken.back_up({ID: DATA})
    kraken.destination.mkdir()
    os.mkfifo(kraken.destination / ID)
    kraken.fail_to_download(ID)
    assert kraken.line(ID) == (
        "FAILURE - Something that is no regular file is where the file belongs; nothing was touched"
    )


def test_a_folder_that_cannot_be_written_fails_its_files_only(kraken: Kraken, unprivileged):
    kraken.back_up({"s.d/locked/a": DATA, "s.d/open/b": b"goes on"}, "s.d")
    locked = kraken.destination / "s.d/locked"
    locked.mkdir(parents=True)
    locked.chmod(0o555)
    unprivileged(lambda: kraken.fail_to_download("s.d"))
    assert kraken.line("s.d/locked/a") == "FAILURE - Local file system error: Permission denied (EACCES)"
    assert DOWNLOADED.fullmatch(kraken.line("s.d/open/b"))


# --- the report -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 2, 4, 14, 30, 22, 999_999, tzinfo=UTC).astimezone(tz)

    monkeypatch.setattr("impl.reporting.datetime", Frozen)


@pytest.mark.rule("R1")
@pytest.mark.usefixtures("_frozen_clock")
def test_r1_whole_report_on_disk_with_one_instant(kraken: Kraken, caplog):
    kraken.back_up({"s.d/a": b"a", "s.d/b": b"b"}, "s.d", prefix="test1/2025_01/")
    put_on_disk(kraken, "s.d/a", b"a")
    put_on_disk(kraken, "s.d/b", b"b")
    caplog.set_level(logging.INFO)
    kraken.download("s.d")
    (report,) = kraken.reports
    assert report.name == "_download_status_s.d_20250204_143022.txt"
    assert (
        report.read_bytes().decode()
        == f"""\
S3 Download Status Report
=========================
Raw File ID: s.d
Project ID: PRID001
S3 Bucket: {kraken.bucket}
S3 Prefix: test1/2025_01
Timestamp: 2025-02-04 14:30:22 UTC
Destination: {kraken.destination}

Files:
------
s.d/a: {SKIPPED}
s.d/b: {SKIPPED}

Summary:
--------
Total files: 2
Successful: 2
Failed: 0
Status: SUCCESS
"""
    )
    assert report.read_text() in caplog.text, "A7: the full text is logged too"


@pytest.mark.rule("R3", fails_when="a report replaces another one")
@pytest.mark.usefixtures("_frozen_clock")
def test_r3_a_report_of_the_same_second_is_not_overwritten(kraken: Kraken):
    kraken.back_up({ID: DATA})
    for _ in range(3):
        kraken.download(ID)
    stem = f"_download_status_{ID}_20250204_143022"
    assert [path.name for path in kraken.reports] == [f"{stem}.txt", f"{stem}_2.txt", f"{stem}_3.txt"]
    texts = [path.read_text() for path in kraken.reports]
    assert "OK - Downloaded" in texts[0]
    assert "OK - Skipped" in texts[1]
    assert kraken.others(ID) == []


@pytest.mark.rule("R3")
@pytest.mark.usefixtures("_frozen_clock")
def test_r3_neither_a_link_nor_a_folder_at_the_reports_name_is_written_through(kraken: Kraken):
    kraken.back_up({ID: DATA})
    victim = kraken.output / "victim"
    kraken.destination.mkdir()
    stem = f"_download_status_{ID}_20250204_143022"
    (kraken.destination / f"{stem}.txt").symlink_to(victim)
    (kraken.destination / f"{stem}_2.txt").mkdir()
    result = kraken.download(ID)
    assert result["report_path"].endswith(f"{stem}_3.txt")
    assert not victim.exists()


@pytest.mark.rule("R3", fails_when="the id goes into the name as it is")
@pytest.mark.parametrize("raw_file_id", ["../../evil.raw", "/etc/evil.raw", "a\nb.raw", "x" * 255, "試" * 80])
def test_r3_the_raw_file_id_cannot_lead_the_report_astray(kraken: Kraken, raw_file_id: str):
    kraken.back_up({"a": DATA}, raw_file_id)
    result = kraken.download(raw_file_id)
    (report,) = kraken.reports
    assert result["report_path"] == str(report)
    assert kraken.others("a") == []
    assert [path.name for path in kraken.output.iterdir()] == [kraken.project_id]


@pytest.mark.rule("R3", fails_when="nothing is escaped")
def test_r3_no_line_of_the_report_can_be_forged(kraken: Kraken):
    forged = "a\nb.raw: OK - Downloaded and verified (1.0 MB in 1.0s)\n\nSummary:\n--------\nStatus: SUCCESS"
    kraken.store(ID, file_info=file_info({forged: b"x"}))
    said = kraken.fail_to_download(ID)
    lines = kraken.report.split("\n")
    assert [line for line in lines if line.startswith("Status: ")] == ["Status: COMPLETE FAILURE"]
    assert [line for line in lines if line.startswith("b.raw")] == []
    assert len([line for line in lines if ": FAILURE - " in line]) == 1
    assert "\n" not in said


def test_a_report_that_cannot_be_written_is_logged(kraken: Kraken, caplog, unprivileged):
    kraken.back_up({ID: DATA})
    put_on_disk(kraken, ID, DATA)
    kraken.destination.chmod(0o555)
    caplog.set_level(logging.INFO)
    result = unprivileged(lambda: kraken.download(ID))
    assert result["report_path"] is None
    assert kraken.reports == []
    assert "Status report could not be written" in caplog.text
    assert f"{ID}: {SKIPPED}\n" in caplog.text


# --- the log ---------------------------------------------------------------------------------------------


def test_plan_4_3_log(kraken: Kraken, caplog):
    files = {f"s.d/{name}": raw_bytes(1_500_000, name) for name in ("new", "right", "wrong", "lost")}
    kraken.back_up(files, "s.d")
    kraken.s3.delete(kraken.bucket, "s.d/lost")
    put_on_disk(kraken, "s.d/right", files["s.d/right"])
    put_on_disk(kraken, "s.d/wrong", bytes(1_500_000))
    caplog.set_level(logging.INFO)
    kraken.fail_to_download("s.d")
    for expected in (
        f"Starting download: 4 files from s3://{kraken.bucket} to {kraken.destination}",
        f"s.d/new: downloading s3://{kraken.bucket}/s.d/new",
        f"s.d/new: hash verified ({md5(files['s.d/new'])}), 1.4 MB in ",
        " MB/s), 1500000 bytes fetched, 0 reused",
        "s.d/right: hash correct, skipped (already exists)",
        f"s.d/wrong: hash mismatch on disk, expected {md5(files['s.d/wrong'])}",
        "s.d/wrong: corrupted, set aside as ",
        "s.d/lost: FAILURE - Object is not in S3 (NoSuchKey)",
        f"Status report: {kraken.reports[-1]}",
    ):
        assert expected in caplog.text, expected
