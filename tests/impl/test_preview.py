"""validate_parameters says what a restore will do (issue 5: plan before moving a byte)."""

import logging

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import file_info, raw_bytes

ID = "20250115_sample.d"
FILES = {f"{ID}/{name}": raw_bytes(size, name) for name, size in (("a.bin", 300_000), ("b.bin", 200_000), ("c", 7))}


def test_plan_tells_what_is_there_and_what_is_to_download_without_moving_a_byte(kraken: Kraken):
    kraken.back_up(FILES, ID)
    there = kraken.destination / ID / "a.bin"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * 300_000)  # of the right size; whether it is right is found out by the download

    plan = kraken.validate(ID)

    assert plan.pop("bytes_free") > 0
    assert plan == {
        "mode": "restore",
        "raw_file_id": "20250115_sample.d",
        "project_id": "PRID001",
        "include": "",
        "source": f"s3://{kraken.bucket}",
        "destination": str(kraken.destination),
        "total_files": 3,
        "bytes_total": 500_007,
        "files_there": 1,
        "files_to_download": 2,
        "bytes_to_download": 200_007,
        "files_archived": 0,
        "files_from_older_versions": 0,
        "files_in_doubt": 0,
        "files_in_trouble": 0,
        "troubles": [],
        "s3_not_asked_because": "",
    }
    assert {request.operation for request in kraken.s3.requests} == {"HeadObject"}
    assert sorted(request.key for request in kraken.s3.requests) == [f"{ID}/b.bin", f"{ID}/c"]


def test_missing_archived_and_wrong_objects_are_warned_of_and_not_refused(kraken: Kraken, caplog):
    caplog.set_level(logging.WARNING)
    kraken.s3.versioning = False
    kraken.back_up(FILES, ID)
    kraken.s3.delete(kraken.bucket, f"{ID}/a.bin")
    kraken.s3.put(kraken.bucket, f"{ID}/b.bin", FILES[f"{ID}/b.bin"], storage_class="DEEP_ARCHIVE")
    kraken.s3.put(kraken.bucket, f"{ID}/c", b"longer than 7")

    plan = kraken.validate(ID)

    assert plan["files_in_trouble"] == 3
    assert plan["files_archived"] == 1
    missing, archived, wrong = plan["troubles"]
    assert missing.startswith(f"{ID}/a.bin: Object")
    assert "Object is archived in class DEEP_ARCHIVE and must be restored in S3 first (InvalidObjectState)" in archived
    assert wrong == f"{ID}/c: Object in S3 has 13 bytes, file_info says 7 (wrong size)"
    for trouble in plan["troubles"]:
        assert f"Cannot be downloaded as it is: {trouble}" in caplog.text
    assert "s3_download.restore_archived" in caplog.text
    assert kraken.s3.writes == [], "S2: without the setting nothing is asked for"


@pytest.mark.rule("S7")
def test_older_versions_are_told_beforehand(kraken: Kraken, caplog):
    """S7: what will come from an older version, and which right is missing to look for one."""
    caplog.set_level(logging.WARNING)
    kraken.back_up(FILES, ID)
    kraken.s3.delete(kraken.bucket, f"{ID}/a.bin")
    kraken.s3.put(kraken.bucket, f"{ID}/c", b"longer than 7")
    plan = kraken.validate(ID)
    assert (plan["files_from_older_versions"], plan["files_in_trouble"]) == (2, 0)
    assert f"{ID}/a.bin: its newest version in S3 is not the backup; the version of 20" in caplog.text
    kraken.s3.deny("s3:ListBucketVersions")
    plan = kraken.validate(ID)
    assert (plan["files_from_older_versions"], plan["files_in_trouble"]) == (0, 2)
    assert plan["troubles"][1] == (
        f"{ID}/c: Object in S3 has 13 bytes, file_info says 7 (wrong size); "
        "older versions cannot be looked at: that takes s3:ListBucketVersions"
    )


@pytest.mark.rule("R4")
def test_missing_bucket_is_one_warning_and_ends_the_asking(kraken: Kraken, caplog):
    """R4: a bucket that does not exist is no validation failure."""
    many = {f"{ID}/{number}": raw_bytes(10, number) for number in range(200)}
    kraken.back_up(many, ID, s3_upload_path="s3://nowhere-at-all")

    plan = kraken.validate(ID)

    assert "NoSuchBucket" in plan["s3_not_asked_because"]
    assert plan["files_to_download"] == 200
    assert len(kraken.s3.requests) < 100
    assert "S3 was not asked for every file: Bucket does not exist in S3 (NoSuchBucket)" in caplog.text


def test_s3_that_is_down_does_not_fail_the_validation(kraken: Kraken):
    kraken.back_up(FILES, ID)
    kraken.connect_s3("http://127.0.0.1:9")
    assert "cannot be reached" in kraken.validate(ID)["s3_not_asked_because"]


def test_reason_of_a_refusal_is_in_the_xcom(kraken: Kraken):
    said = kraken.refuse("20250115_never_measured.raw")
    pushed = kraken.ti.pushed["return_value"]
    assert (pushed["status"], pushed["reason"], pushed["code"]) == ("REFUSED", said, "raw_file_not_found")
    assert pushed["what_to_do"]
    assert list(kraken.ti.pushed) == ["return_value"], "there is no plan"


@pytest.mark.parametrize(
    ("include", "expected"), [("b.*", ["b.bin"]), ("*.d/a*", ["a.bin"]), ("", ["a.bin", "b.bin", "c"])]
)
def test_include_restores_only_files_like_it_and_the_report_says_so(kraken: Kraken, include, expected):
    kraken.back_up(FILES, ID)
    plan = kraken.validate(ID, include=include)
    summary = kraken.download(ID, include=include)
    assert plan["total_files"] == summary["total_files"] == len(expected)
    assert sorted(path.name for path in (kraken.destination / ID).iterdir()) == expected
    assert (f"\nOnly Files Like: {include}\n\nFiles:\n" in kraken.report) == bool(include)


def test_include_that_no_file_is_like_is_refused_and_names_some(kraken: Kraken):
    kraken.back_up(FILES, ID)
    said = kraken.refuse(ID, include="*.raw")
    assert said == (f"None of the 3 files of '{ID}' is like '*.raw'; the first ones are {ID}/a.bin, {ID}/b.bin, {ID}/c")


MULTIPART = "20250115_large.raw"


@pytest.mark.parametrize(
    ("other", "options", "is_warned_of"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"encryption": "aws:kms"}, False),
        (True, {"etag": "no-md5-at-all"}, False),
    ],
    ids=["same bytes", "other bytes", "ETags of this store are no MD5", "ETags of another kind"],
)
@pytest.mark.parametrize("size", [100_000, 101 << 20], ids=["plain", "multipart"])
def test_a_backup_of_other_bytes_is_warned_of_before_the_download(
    kraken: Kraken, caplog, *, size: int, other: bool, options: dict, is_warned_of: bool
):
    """Same size, other bytes: without the warning that shows only after all of it was fetched (K7)."""
    caplog.set_level(logging.WARNING)
    kraken.back_up({MULTIPART: raw_bytes(size, 1)}, MULTIPART)
    if other:
        kraken.s3.upload(kraken.bucket, MULTIPART, raw_bytes(size, 2), **options)

    plan = kraken.validate(MULTIPART)

    assert plan["files_in_doubt"] == int(is_warned_of)
    warned = f"{MULTIPART}: The object may have other bytes than the backup: its ETag is "
    assert (warned in caplog.text) == is_warned_of
    assert plan["files_in_trouble"] == 0, "only the download can tell"


def test_another_part_size_is_no_reason_to_warn(kraken: Kraken):
    data = raw_bytes(12 << 20, 1)
    kraken.back_up({MULTIPART: data}, MULTIPART)
    kraken.s3.upload(kraken.bucket, MULTIPART, data, part_size=5 << 20)
    assert kraken.validate(MULTIPART)["files_in_doubt"] == 0


@pytest.mark.parametrize(
    ("other", "project_id", "data", "is_warned_of"),
    [
        ("f18.raw", "PRID001", b"other", True),
        ("f18.raw", "PRID001", b"scan", False),
        ("f18.raw", "PRID002", b"other", False),
        ("f18", "PRID001", b"other", False),
    ],
    ids=["other bytes", "same bytes", "other project", "other name"],
)
def test_a_path_that_another_raw_file_claims_is_warned_of(
    kraken: Kraken, caplog, *, other: str, project_id: str, data: bytes, is_warned_of: bool
):
    """K8: `f18.wiff` and `f18.raw` were both gathered as `f18.*`."""
    caplog.set_level(logging.WARNING)
    kraken.back_up({"f18.wiff": b"wiff", "f18.wiff.scan": b"scan"}, "f18.wiff")
    kraken.store(other, project_id=project_id, file_info=file_info({"f18.wiff.scan": data}))

    kraken.validate("f18.wiff")

    said = "1 of its files have the same path as a file of raw file 'f18.raw', with other bytes (f18.wiff.scan)"
    assert (said in caplog.text) == is_warned_of
