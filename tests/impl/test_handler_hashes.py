"""Every form of the expected hash, seen on disk (H1 to H7): right files come and stay, and nothing else passes."""

from pathlib import Path

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, file_info, md5, multipart_etag, raw_bytes

ID = "20250115_sample.raw"
SMALL = raw_bytes(300_000, "small")
PARTS = raw_bytes(12 * MIB + 345, "parts")
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def put_on_disk(kraken: Kraken, data: bytes, path: str = ID) -> Path:
    local = kraken.destination / path
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    return local


def restore_skip_and_heal(kraken: Kraken, data: bytes) -> None:
    """The three good ways: it comes, it is recognised, and a flipped bit is found and healed."""
    local = kraken.destination / ID
    assert kraken.download(ID)["downloaded"] == 1
    assert local.read_bytes() == data
    before = local.stat()
    result = kraken.download(ID)
    assert (result["skipped"], result["bytes_fetched"]) == (1, 0)
    assert local.stat().st_ino == before.st_ino
    if data:
        local.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert kraken.download(ID)["healed"] == 1
        assert local.read_bytes() == data
    assert kraken.others(ID) == []


@pytest.mark.rule("H1")
@pytest.mark.parametrize(
    ("form", "data", "part_mib"),
    [
        pytest.param("H1", SMALL, 100, id="H1 one part"),
        pytest.param("H1", PARTS, 5, id="H1 several parts: MD5 of the whole"),
        pytest.param("H2", SMALL, 100, id="H2 one part"),
        pytest.param("H2", PARTS, 5, id="H2 several parts"),
        pytest.param("H2", PARTS, 1, id="H2 small parts"),
        pytest.param("H3", PARTS, 5, id="H3 part size asked of S3"),
        pytest.param("H3", PARTS, 3, id="H3 an unusual part size that only S3 knows"),
        pytest.param("H3", SMALL, 8, id="H3 H7 one part with -1"),
        pytest.param("H1", b"", 100, id="H7 H1 empty"),
        pytest.param("H2", b"", 100, id="H7 H2 empty"),
        pytest.param("H2", raw_bytes(5 * MIB, "full"), 5, id="H7 H2 exactly one full part: S3 has -1, file_info not"),
        pytest.param("H3", raw_bytes(5 * MIB, "full"), 5, id="H7 H3 exactly one full part: -1 in both"),
        pytest.param("H2", raw_bytes(10 * MIB, "two"), 5, id="H7 H2 two full parts"),
    ],
)
def test_h1_h2_h3_h7_restored_skipped_and_healed(kraken: Kraken, form: str, data: bytes, part_mib: int):
    kraken.back_up({ID: data}, form=form, part_mib=part_mib)
    restore_skip_and_heal(kraken, data)


@pytest.mark.rule("H2")
def test_h2_without_md5(kraken: Kraken):
    kraken.back_up({ID: PARTS}, part_mib=5)
    kraken.store(ID, file_info={ID: [len(PARTS), None, f"{multipart_etag(PARTS, 5 * MIB)}__5"]})
    restore_skip_and_heal(kraken, PARTS)


@pytest.mark.rule("H2")
@pytest.mark.parametrize("wrong", ["md5", "etag"])
def test_h2_either_of_the_two_proves_the_file(kraken: Kraken, wrong: str):
    kraken.back_up({ID: PARTS}, part_mib=5)
    good_md5, good_etag = md5(PARTS), f"{multipart_etag(PARTS, 5 * MIB)}__5"
    info = ["0" * 32, good_etag] if wrong == "md5" else [good_md5, f"{'0' * 32}-3__5"]
    kraken.store(ID, file_info={ID: [len(PARTS), *info]})
    assert kraken.download(ID)["downloaded"] == 1
    assert (kraken.destination / ID).read_bytes() == PARTS
    assert kraken.download(ID)["skipped"] == 1


@pytest.mark.rule("H3")
def test_h3_store_that_knows_no_part_size_the_usual_ones_are_tried(kraken: Kraken):
    """As after a copy into another bucket: one part there, three in the ETag of the instrument's upload."""
    kraken.s3.put(kraken.bucket, ID, PARTS)
    kraken.store(ID, file_info={ID: [len(PARTS), multipart_etag(PARTS, 5 * MIB)]})
    assert kraken.download(ID)["downloaded"] == 1
    assert (kraken.destination / ID).read_bytes() == PARTS
    assert kraken.download(ID)["skipped"] == 1
    assert kraken.others(ID) == []


@pytest.mark.rule("H3")
def test_h3_unknown_part_size_touches_nothing(kraken: Kraken):
    """Nobody can tell whether the file on disk is right: perhaps it is, so it stays."""
    kraken.s3.put(kraken.bucket, ID, PARTS)
    kraken.store(ID, file_info={ID: [len(PARTS), multipart_etag(PARTS, MIB // 3)]})
    kraken.fail_to_download(ID)
    assert "Cannot be verified: " in kraken.line(ID)
    assert kraken.others() == []
    local = put_on_disk(kraken, PARTS)
    before = local.stat()
    kraken.fail_to_download(ID)
    assert "Cannot be verified: " in kraken.line(ID)
    assert (local.stat().st_ino, local.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert kraken.others(ID) == []


@pytest.mark.rule("H3")
def test_h3_a_right_file_needs_no_working_s3(kraken: Kraken):
    """S3 would only be asked for the part size; the usual ones are tried when it does not answer."""
    put_on_disk(kraken, PARTS)
    kraken.store(ID, file_info={ID: [len(PARTS), multipart_etag(PARTS, 5 * MIB)]}, s3_upload_path="s3://gone")
    assert kraken.download(ID)["skipped"] == 1


@pytest.mark.rule("H4", fails_when="a file without a hash is looked at")
@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        [300_000],
        [300_000, None],
        [300_000, ""],
        [300_000, "unknown"],
        [300_000, md5(SMALL)[:-1]],
        [300_000, 5],
        [300_000, None, None],
        [300_000, None, "x__100"],
        {"size": 300_000},
        "text",
        [md5(SMALL), 300_000],
    ],
    ids=repr,
)
def test_h4_no_usable_hash_fails_and_touches_nothing(kraken: Kraken, entry):
    kraken.back_up({"good": b"goes on", ID: SMALL})
    kraken.store(ID, file_info={ID: entry, **file_info({"good": b"goes on"})})
    local = put_on_disk(kraken, b"perhaps right")
    before = local.stat()
    kraken.s3.forget_requests()
    kraken.fail_to_download(ID)
    assert kraken.line(ID) == "FAILURE - No expected hash in file_info; nothing was touched"
    assert "mismatch" not in kraken.report
    assert (local.stat().st_ino, local.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {request.key for request in kraken.s3.requests} == {"good"}
    assert kraken.line("good").startswith("OK - ")
    assert kraken.others(ID, "good") == []


@pytest.mark.parametrize("size", [None, -1, 0.5, "300000", True], ids=repr)
def test_without_a_usable_size_the_hash_alone_proves(kraken: Kraken, size):
    kraken.back_up({ID: SMALL})
    kraken.store(ID, file_info={ID: [size, md5(SMALL)]})
    restore_skip_and_heal(kraken, SMALL)


def test_a_size_that_was_stored_as_a_float(kraken: Kraken):
    kraken.back_up({ID: SMALL})
    kraken.store(ID, file_info={ID: [float(len(SMALL)), md5(SMALL)]})
    restore_skip_and_heal(kraken, SMALL)


@pytest.mark.rule("H5")
def test_h5_an_etag_that_is_no_md5_is_normal(kraken: Kraken):
    kraken.back_up({ID: PARTS}, part_mib=5)
    kraken.s3.put(kraken.bucket, ID, PARTS, etag="0" * 32, encryption="aws:kms")
    restore_skip_and_heal(kraken, PARTS)


@pytest.mark.rule("H5", fails_when="S3's ETag proves")
@pytest.mark.parametrize(("data", "part_mib"), [(SMALL, 100), (PARTS, 5)], ids=["one part", "several parts"])
def test_h5_s3s_own_etag_is_never_the_proof(kraken: Kraken, data: bytes, part_mib: int):
    """Wrong bytes under an ETag that looks right in every way."""
    kraken.s3.versioning = False
    kraken.back_up({ID: data}, part_mib=part_mib)
    etag = multipart_etag(data, part_mib * MIB) if len(data) > part_mib * MIB else md5(data)
    kraken.s3.put(kraken.bucket, ID, bytes(len(data)), etag=etag)
    kraken.fail_to_download(ID)
    assert kraken.line(ID).startswith(f"FAILURE - Hash mismatch after download: expected {md5(data)}, got ")
    assert kraken.others() == []


@pytest.mark.rule("H5", fails_when="no If-Match")
def test_h5_the_etag_serves_as_if_match(kraken: Kraken):
    kraken.back_up({ID: PARTS}, part_mib=5)
    kraken.download(ID)
    gets = [request for request in kraken.s3.requests if request.operation == "GetObject"]
    etag = multipart_etag(PARTS, 5 * MIB)
    assert len(gets) >= 3
    assert {request.headers.get("if-match") for request in gets} <= {f'"{etag}"', None}
    assert sum("if-match" in request.headers for request in gets) >= len(gets) - 1


@pytest.mark.rule("H6")
def test_h6_a_wrong_size_needs_no_hashing(kraken: Kraken, caplog):
    kraken.back_up({ID: SMALL})
    put_on_disk(kraken, SMALL[:-1])
    kraken.download(ID)
    assert f"{ID}: wrong size on disk: expected 300000 bytes, got 299999" in caplog.text
    assert "hash mismatch on disk" not in caplog.text
    assert (kraken.destination / ID).read_bytes() == SMALL


@pytest.mark.rule("H7")
def test_h7_an_empty_file_is_not_fetched_by_range(kraken: Kraken):
    kraken.back_up({ID: b""})
    kraken.store(ID, file_info={ID: [0, EMPTY_MD5, f"{EMPTY_MD5}__100"]})
    kraken.download(ID)
    assert (kraken.destination / ID).read_bytes() == b""
    assert [request.range for request in kraken.s3.requests] == [None]


@pytest.mark.rule("H7")
def test_h7_an_empty_file_that_is_not_empty_in_s3(kraken: Kraken):
    kraken.s3.versioning = False
    kraken.back_up({ID: b""})
    kraken.s3.put(kraken.bucket, ID, b"x")
    kraken.fail_to_download(ID)
    assert "Object in S3 has 1 bytes, file_info says 0 (wrong size)" in kraken.line(ID)
    assert kraken.others() == []
