"""validate_parameters says what a restore will do (issue 5: plan before moving a byte)."""

import logging

import pytest

from tests.functional.conftest import Kraken
from tests.support.raw_files import raw_bytes

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
        "destination": str(kraken.destination),
        "total_files": 3,
        "bytes_total": 500_007,
        "files_there": 1,
        "files_to_download": 2,
        "bytes_to_download": 200_007,
        "files_archived": 0,
        "files_in_trouble": 0,
        "troubles": [],
        "s3_not_asked_because": "",
    }
    assert {request.operation for request in kraken.s3.requests} == {"HeadObject"}
    assert sorted(request.key for request in kraken.s3.requests) == [f"{ID}/b.bin", f"{ID}/c"]


def test_missing_archived_and_wrong_objects_are_warned_of_and_not_refused(kraken: Kraken, caplog):
    caplog.set_level(logging.WARNING)
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
    assert kraken.ti.pushed == {"return_value": {"status": "REFUSED", "reason": said}}


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
