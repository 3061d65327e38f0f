"""download_file_from_s3: a single object by the way of all files, on real S3 servers."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.s3_server import S3Server
from impl.s3_utils import download_file_from_s3, get_s3_client
from s3_restore.run import retries
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Cut, Delay, Rule, Stall, Status
from tests.support.kraken import Kraken
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


def test_connections_that_break_are_continued(uploaded, tmp_path: Path, kraken: Kraken, s3_server: S3Server):
    rules = [Rule(Cut(after=1_000_000), method="GET", times=None), Rule(Status(503), probability=0.3, times=None)]
    with FaultProxy(s3_server.endpoint_url, rules) as proxy:
        kraken.connect_s3(proxy.url)
        download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "out/a.raw", "eu-central-1")
    assert (tmp_path / "out/a.raw").read_bytes() == DATA
    assert files_below(tmp_path / "out") == ["a.raw"]


def test_a_store_that_stays_away_is_a_client_error_and_leaves_no_half_file(
    kraken: Kraken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retries, "NEVER_ANSWERED_S", 0.2)
    kraken.connect_s3("http://127.0.0.1:9")
    with pytest.raises(ClientError, match="S3 cannot be reached"):
        download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "out/a.raw", "eu-central-1")
    assert files_below(tmp_path / "out") == []


def test_an_archived_object_is_a_client_error_at_once(kraken: Kraken, tmp_path: Path):
    kraken.s3.put(BUCKET, "a.raw", DATA, storage_class="GLACIER")
    with pytest.raises(ClientError) as caught:
        download_file_from_s3(BUCKET, "a.raw", tmp_path / "a.raw", "eu-central-1")
    assert caught.value.response["Error"]["Code"] == "InvalidObjectState"


def test_what_a_killed_call_had_fetched_is_kept_by_the_next(kraken: Kraken, tmp_path: Path):
    """SIGKILL in a process of its own; whatever it left is taken over, and nothing stays."""
    data = raw_bytes(40 * MIB + 3, "killed")
    kraken.s3.put(BUCKET, "a.raw", data)
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from impl.s3_utils import download_file_from_s3;"
        f"download_file_from_s3({BUCKET!r}, 'a.raw', Path({str(out / 'a.raw')!r}), 'eu-central-1', chunk_size_mb=10)"
    )
    with FaultProxy(kraken.s3.url) as proxy:
        for start in (0, 10 * MIB):
            proxy.add(Rule(Stall(after=10 * MIB - 1, seconds=60), range_start=start))
        for start in (20 * MIB, 30 * MIB, 40 * MIB):
            proxy.add(Rule(Delay(60), range_start=start))
        kraken.connect_s3(proxy.url)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
            end = time.monotonic() + 60
            while proxy.bytes_sent < 20 * MIB - 2 and time.monotonic() < end:
                proxy.closing.wait(0.05)
            proxy.closing.wait(1)
            process.kill()
        assert len(files_below(out)) == 2, "its temporary file and journal"
    kraken.connect_s3(kraken.s3.url)
    kraken.s3.forget_requests()
    download_file_from_s3(BUCKET, "a.raw", out / "a.raw", "eu-central-1", chunk_size_mb=10)
    assert (out / "a.raw").read_bytes() == data
    assert files_below(out) == ["a.raw"]
    assert kraken.s3.bytes_sent("a.raw") <= len(data)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_sizes(kraken: Kraken, tmp_path: Path, size: int):
    kraken.s3.put(BUCKET, "a.raw", raw_bytes(size, "sizes"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.raw").write_bytes(b"before")
    download_file_from_s3(BUCKET, "a.raw", out / "a.raw", "eu-central-1")
    assert (out / "a.raw").read_bytes() == raw_bytes(size, "sizes")
    assert files_below(out) == ["a.raw"]


def test_a_path_as_text_and_half_a_mib_are_understood(kraken: Kraken, tmp_path: Path):
    kraken.s3.put(BUCKET, "a.raw", DATA)
    download_file_from_s3(BUCKET, "a.raw", str(tmp_path / "a.raw"), "eu-central-1", chunk_size_mb=0.5)
    assert (tmp_path / "a.raw").read_bytes() == DATA
    assert kraken.s3.count("GetObject") == 7


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *[
            ({"chunk_size_mb": wrong}, f"chunk_size_mb: expected a number above 0, got {wrong!r}")
            for wrong in ("500", None, True, float("nan"), float("inf"), -1)
        ],
        *[({name: wrong}, f"{name}: expected a text, got {wrong!r}")
          for name in ("bucket_name", "s3_key") for wrong in ("", None, 7)],
    ],
    ids=repr,
)  # fmt: skip
def test_an_argument_that_makes_no_sense_is_one_line_at_once(kraken: Kraken, tmp_path: Path, wrong: dict, said: str):
    """The empty key is the bucket, whose answers look like those of a store that is away: for minutes."""
    local = tmp_path / "out/a.raw"
    arguments = {"bucket_name": BUCKET, "s3_key": "a.raw", "local_path": local, "region": "eu-central-1"}
    with pytest.raises(ValueError, match=re.escape(said)):
        download_file_from_s3(**{**arguments, **wrong})
    assert not local.parent.exists()


def test_folders_that_are_made_are_on_the_storage(uploaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name is in the folder above: after a power cut the file would be gone with the first folder that is not."""
    synced: set[Path] = set()
    fsync = os.fsync

    def noting(fd: int) -> None:
        synced.add(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "1/2/3/a.raw", "eu-central-1")
    assert {tmp_path, tmp_path / "1", tmp_path / "1/2", tmp_path / "1/2/3"} <= synced


def test_os_error_when_the_folder_cannot_be_made(uploaded, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        download_file_from_s3(BUCKET, "folder/a.raw", tmp_path / "file/a.raw", "eu-central-1")


@pytest.mark.rule("W1")
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
