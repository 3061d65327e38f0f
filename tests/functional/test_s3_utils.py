"""download_file_from_s3: the plan's single-object download with boto3's transfer manager, on a real S3 server."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.s3_server import S3Server
from impl.s3_utils import download_file_from_s3, get_s3_client
from tests.functional.conftest import Kraken
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Cut, Rule
from tests.support.raw_files import MIB, raw_bytes

BUCKET = "bucket-of-s3-utils"
DATA = raw_bytes(3 * MIB + 7, "s3 utils")


@pytest.fixture
def uploaded(s3_server: S3Server, kraken: Kraken) -> Iterator[Any]:
    """A bucket with one object, and the Airflow connection to its server."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3_server.region})
    client.put_object(Bucket=BUCKET, Key="folder/a.raw", Body=DATA)
    kraken.connect_s3(s3_server.endpoint_url)
    yield client
    client.delete_object(Bucket=BUCKET, Key="folder/a.raw")
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_download_file_from_s3(uploaded, tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    local = tmp_path / "deep/er/a.raw"
    assert download_file_from_s3(BUCKET, "folder/a.raw", local, "eu-central-1") is None
    assert local.read_bytes() == DATA
    assert files_below(tmp_path / "deep") == ["er/a.raw"]
    assert f"Downloading s3://{BUCKET}/folder/a.raw to {local}" in caplog.text
    assert f"Downloaded {local}: 3.0 MB in " in caplog.text
    assert " MB/s)" in caplog.text


def test_keywords_are_those_of_the_plan(uploaded, tmp_path: Path):
    download_file_from_s3(
        bucket_name=BUCKET,
        s3_key="folder/a.raw",
        local_path=tmp_path / "a.raw",
        region="eu-central-1",
        chunk_size_mb=1,
        aws_conn_id="aws_default",
    )
    assert (tmp_path / "a.raw").read_bytes() == DATA


def test_chunk_size_is_that_of_the_requests(kraken: Kraken, tmp_path: Path):
    kraken.s3.put(BUCKET, "a.raw", DATA)
    download_file_from_s3(BUCKET, "a.raw", tmp_path / "a.raw", "eu-central-1", chunk_size_mb=1)
    assert (tmp_path / "a.raw").read_bytes() == DATA
    ranges = {request.range for request in kraken.s3.requests if request.operation == "GetObject"}
    assert len(ranges) == 4
    kraken.s3.forget_requests()
    download_file_from_s3(BUCKET, "a.raw", tmp_path / "a.raw", "eu-central-1")
    assert kraken.s3.count("GetObject") == 1


def test_another_connection(uploaded, tmp_path: Path, kraken: Kraken, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ARCHIVE", os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "a.raw", "eu-central-1", aws_conn_id="aws_archive")
    assert (tmp_path / "a.raw").read_bytes() == DATA


@pytest.mark.parametrize(
    ("bucket", "key", "code"), [(BUCKET, "none", "NoSuchKey"), ("no-such-bucket", "a", "NoSuchBucket")]
)
def test_client_error_leaves_what_was_there(uploaded, tmp_path: Path, bucket: str, key: str, code: str):
    local = tmp_path / "out/a.raw"
    local.parent.mkdir()
    local.write_bytes(b"before")
    with pytest.raises(ClientError) as caught:
        download_file_from_s3(bucket, key, local, "eu-central-1")
    assert caught.value.response["Error"]["Code"] == code
    assert local.read_bytes() == b"before"
    assert files_below(local.parent) == ["a.raw"]


def test_a_connection_that_breaks_leaves_no_half_file(uploaded, tmp_path: Path, kraken: Kraken, s3_server: S3Server):
    with FaultProxy(s3_server.endpoint_url, [Rule(Cut(after=1_000_000), method="GET", times=None)]) as proxy:
        kraken.connect_s3(proxy.url)
        with pytest.raises(Exception, match=r"IncompleteRead|Max Retries|Connection|broken"):
            download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "out/a.raw", "eu-central-1")
    assert files_below(tmp_path / "out") == []


def test_os_error_when_the_folder_cannot_be_made(uploaded, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "file/a.raw", "eu-central-1")


def test_w1_mode_follows_the_umask(uploaded, tmp_path: Path):
    before = os.umask(0o027)
    try:
        download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "a.raw", "eu-central-1")
    finally:
        os.umask(before)
    assert (tmp_path / "a.raw").stat().st_mode & 0o777 == 0o640


def test_client_has_no_retries_of_its_own_that_would_multiply_ours(kraken: Kraken):
    client = get_s3_client("eu-west-3")
    assert client.meta.region_name == "eu-west-3"
    assert client.meta.endpoint_url == kraken.s3.url
    assert client.meta.config.retries["total_max_attempts"] == 1
    client.close()
