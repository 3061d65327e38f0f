"""What people paste is understood, and an id that is none is answered with near ones (U3); a real database."""

import logging

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import raw_bytes

DATA = raw_bytes(1_000, "lookup")
ID = "20250115_Sample.raw"


@pytest.fixture
def near(kraken: Kraken) -> Kraken:
    for raw_file_id in (ID, "20250115_Sample.wiff", "20250115_other one.d", "zebra.raw"):
        kraken.back_up({f"{raw_file_id}/x": DATA}, raw_file_id)
    return kraken


@pytest.mark.parametrize(
    "pasted",
    [
        *(f" {ID}\n", f"\ufeff{ID}\r\n", f'"{ID}"', f"'{ID}', ", f"“{ID}”", f" - {ID}", f"\u200b{ID}\u00a0"),
        *(f"/fs/pool/backup/test 1/2025_01/{ID}", f"C:\\data\\{ID}", f"s3://alphakraken-prid001/{ID}/", f"./{ID}"),
        f"https://bucket.s3.example.org/a/{ID.replace('_', '%5F')}?X-Amz-Signature=abc#top",
    ],
)
def test_what_was_pasted_around_an_id_is_left_out_and_the_log_says_so(near: Kraken, caplog, pasted):
    caplog.set_level(logging.INFO)
    assert near.validate(pasted)["files_to_download"] == 1
    assert f"Read {pasted!r} as {ID!r}" in caplog.text
    assert near.download(pasted)["status"] == "SUCCESS"
    assert f"\nRaw File ID: {ID}\n" in near.report


@pytest.mark.parametrize("odd", [" x.raw\n", '"x.raw"', "/q/x.raw", "s3://q/x.raw", "\ufeffx.raw", "a b, c; d.raw"])
def test_an_id_that_is_right_is_taken_as_it_is(kraken: Kraken, caplog, odd):
    caplog.set_level(logging.INFO)
    kraken.back_up({"right": DATA}, odd)
    kraken.back_up({"wrong": DATA}, "x.raw")
    kraken.back_up({"wrong": DATA}, "d.raw")
    kraken.download(odd)
    assert [path.name for path in kraken.destination.iterdir() if path not in kraken.reports] == ["right"]
    assert "Read " not in caplog.text


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("20250115_Sample", "Near ids: '20250115_Sample.raw', '20250115_Sample.wiff'"),
        ("20250115_sample.RAW", "Did you mean '20250115_Sample.raw'?"),
        ("ZEBRA.RAW", "Did you mean 'zebra.raw'?"),
        ("20250115_Sample.wiff.scan", "Did you mean '20250115_Sample.wiff'?"),
        ("/fs/20250115_Sample.wiff2", "Near ids: '20250115_Sample.wiff', '20250115_Sample.raw'"),
        ("20250115_other_one.d", "Did you mean '20250115_other one.d'?"),
        ("/fs/zebra.raw/analysis.tdf", "Did you mean 'zebra.raw'?"),
        ("zebra.raw zebra.row", "Did you mean 'zebra.raw'?"),
        ("nothing.raw", "Check the id; the database has none like it"),
        ("nothing", "Check the id; it includes the extension"),
        ("my nothing.raw", "Check the id; the database has none like it"),
        ('- "nothing.raw"', "Check the id; the database has none like it"),
        ("q1.raw; q2.raw", "It looks like several ids; the DAG s3_batch_downloader takes them, one in each line"),
        ("q1.raw q2.raw", "It looks like several ids; the DAG s3_batch_downloader takes them, one in each line"),
    ],
)
def test_an_id_that_is_none_is_answered_with_near_ones_or_fitting_advice(near: Kraken, given, advice):
    assert near.refuse(given) == f"RawFile not found: {given!r}. {advice}"


def test_near_ids_cost_finds_only_and_many_of_them_are_cut_off(kraken: Kraken, mongo_commands):
    for number in range(200):
        kraken.store(f"20250115_{number:03}.raw")
    mongo_commands.clear()
    said = kraken.refuse("20250115")
    assert said.startswith("RawFile not found: '20250115'. Near ids: '20250115_")
    assert said.endswith(".raw', …")
    assert said.count("20250115_") == 5
    assert mongo_commands.count("find") == 3, "the id, its spellings, near ones"
    assert set(mongo_commands) <= {"find", "hello", "isMaster", "ismaster", "saslStart", "saslContinue", "endSessions"}


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("upload_in_progress", "its upload has not ended; try again later"),
        ("upload_failed", "its upload failed; it must be uploaded again before it can be restored"),
        ("skipped", "its backup was left out on purpose; look for it on the instrument"),
        ("something_new", "it was not uploaded"),
    ],
)
def test_k6_a_raw_file_without_backup_says_what_its_backup_status_means(kraken: Kraken, status, meaning):
    kraken.store(ID, s3_upload_path=None, backup_status=status)
    said = f"No S3 backup for {ID!r}: s3_upload_path is empty, backup_status is {status!r}: {meaning}"
    assert kraken.refuse(ID) == said


@pytest.mark.parametrize("status", [["upload_failed"], {"a": 1}])
def test_a_backup_status_that_is_no_text_is_one_clear_line(kraken: Kraken, status):
    kraken.store(ID, s3_upload_path=None, backup_status=status)
    assert kraken.refuse(ID).endswith(f"backup_status is {status!r}: it was not uploaded")
