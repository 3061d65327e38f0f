"""Where the objects are: bucket and key from what the database stores (S1)."""

import pytest

from impl.s3_utils import get_transfer_config, reconstruct_s3_paths, split_s3_upload_path

FILE_INFO = {"file.raw": [1, None], "file.d/sub/a.bin": [2, None]}


def paths_for(s3_upload_path: str) -> dict[str, tuple[str, str]]:
    return reconstruct_s3_paths(s3_upload_path, FILE_INFO)


@pytest.mark.parametrize("stored", ["alphakraken-PRID001", "s3://alphakraken-PRID001"])
def test_reconstruct_s3_paths_bucket_only(stored):
    assert paths_for(stored) == {
        "file.raw": ("alphakraken-PRID001", "file.raw"),
        "file.d/sub/a.bin": ("alphakraken-PRID001", "file.d/sub/a.bin"),
    }


@pytest.mark.parametrize("stored", ["bucket/prefix/", "s3://bucket/prefix/", "bucket/prefix", "s3://bucket/prefix"])
def test_reconstruct_s3_paths_with_prefix(stored):
    assert paths_for(stored) == {
        "file.raw": ("bucket", "prefix/file.raw"),
        "file.d/sub/a.bin": ("bucket", "prefix/file.d/sub/a.bin"),
    }


@pytest.mark.parametrize(
    ("stored", "bucket", "prefix"),
    [
        ("bucket/", "bucket", ""),
        ("bucket//", "bucket", ""),
        ("/bucket/", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3:///bucket//", "bucket", ""),
        ("S3://bucket/", "bucket", ""),
        (" bucket/ ", "bucket", ""),
        ("bucket//prefix//", "bucket", "prefix"),
        ("bucket/a/b/", "bucket", "a/b"),
        ("bucket//a///b//", "bucket", "a/b"),
        ("s3://alphakraken--fallback/test1/2025_01/", "alphakraken--fallback", "test1/2025_01"),
        ("s3://alphakraken-prid001/20250115_sample.wiff/", "alphakraken-prid001", "20250115_sample.wiff"),
        ("bucket/with space/ü", "bucket", "with space/ü"),
    ],
)
def test_reconstruct_s3_paths_trailing_slash(stored, bucket, prefix):
    assert split_s3_upload_path(stored) == (bucket, prefix)
    key = f"{prefix}/file.raw" if prefix else "file.raw"
    assert paths_for(stored)["file.raw"] == (bucket, key)


@pytest.mark.rule("S1")
@pytest.mark.parametrize("stored", ["", " ", "/", "///", "s3://", "s3:///", "s3:", "S3://", None, 5])
def test_s1_no_bucket_is_an_error_that_shows_the_value(stored):
    with pytest.raises(ValueError) as caught:
        paths_for(stored)
    assert repr(stored) in str(caught.value)


def test_no_files_no_paths():
    assert reconstruct_s3_paths("bucket", {}) == {}


def test_transfer_config_takes_mib():
    config = get_transfer_config(500)
    assert config.multipart_chunksize == config.multipart_threshold == 500 * 1024**2


@pytest.mark.parametrize("chunk_size_mb", [0, -1])
def test_transfer_config_refuses_nonsense(chunk_size_mb):
    with pytest.raises(ValueError, match="chunk_size_mb: expected a number above 0"):
        get_transfer_config(chunk_size_mb)
