"""The lean way of GetObject must be what the client's own way is, only cheaper."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from s3_restore.lean_get_object import LeanGetObject
from tests.support.s3_stand_in import S3StandIn

ODD_KEYS = ["plain.raw", "a b/c+d.d/analysis.tdf", "ü/日本 %20~&=?#.bin", "x;y:z@,$!*'()"]


@pytest.fixture
def s3() -> Iterator[S3StandIn]:
    with S3StandIn() as server:
        for number, key in enumerate(ODD_KEYS):
            server.put("bucket", key, f"bytes of {number}".encode())
        yield server


def body_of(answer) -> bytes:
    buffer = bytearray(1000)
    count = answer["Body"].readinto(memoryview(buffer))
    answer["Body"].close()
    return bytes(buffer[:count])


def test_second_request_takes_the_lean_way_and_both_give_the_same(s3: S3StandIn) -> None:
    get = LeanGetObject(s3.client())
    first = get(Bucket="bucket", Key=ODD_KEYS[0])
    assert body_of(first) == b"bytes of 0"
    lean = get(Bucket="bucket", Key=ODD_KEYS[0])
    assert body_of(lean) == b"bytes of 0"
    assert {name: lean[name] for name in ("ContentLength", "ETag", "VersionId")} == {
        name: first[name] for name in ("ContentLength", "ETag", "VersionId")
    }
    agents = [request.headers.get("user-agent", "") for request in s3.requests]
    assert agents[0].startswith("Boto3"), "the first request teaches the bucket's URL"
    assert agents[1] == "s3-downloader", "a botocore whose inner parts changed would silently cost the speed"


@pytest.mark.parametrize("number", range(len(ODD_KEYS)))
def test_keys_are_quoted_as_the_client_does(s3: S3StandIn, number: int) -> None:
    get = LeanGetObject(s3.client())
    get(Bucket="bucket", Key=ODD_KEYS[0])["Body"].close()
    assert body_of(get(Bucket="bucket", Key=ODD_KEYS[number])) == f"bytes of {number}".encode()
    assert s3.requests[-1].headers["user-agent"] == "s3-downloader"


def test_range_if_match_and_version(s3: S3StandIn) -> None:
    get = LeanGetObject(s3.client())
    old = get(Bucket="bucket", Key="plain.raw")
    old["Body"].close()
    s3.put("bucket", "plain.raw", b"something newer")
    answer = get(Bucket="bucket", Key="plain.raw", Range="bytes=2-4", IfMatch=old["ETag"], VersionId=old["VersionId"])
    assert answer["ContentRange"] == "bytes 2-4/10"
    assert body_of(answer) == b"tes"
    with pytest.raises(ClientError) as refused:
        get(Bucket="bucket", Key="plain.raw", Range="bytes=2-4", IfMatch=old["ETag"])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


@pytest.mark.parametrize("bucket", ["bucket", "nobucket"])
def test_errors_carry_the_code_that_the_client_would_give(s3: S3StandIn, bucket: str) -> None:
    client = s3.client()
    get = LeanGetObject(client)
    get(Bucket="bucket", Key="plain.raw")["Body"].close()
    with pytest.raises(ClientError) as theirs:
        client.get_object(Bucket=bucket, Key="missing")
    with pytest.raises(ClientError) as ours:
        get(Bucket=bucket, Key="missing")
    assert ours.value.response["Error"]["Code"] == theirs.value.response["Error"]["Code"]
    assert ours.value.response["Error"]["Message"] == theirs.value.response["Error"]["Message"]


def test_a_client_without_the_inner_parts_is_used_as_it_is(s3: S3StandIn) -> None:
    client = s3.client()

    class Plain:
        meta = client.meta
        get_object = staticmethod(client.get_object)

    get = LeanGetObject(Plain())
    for _ in range(2):
        assert body_of(get(Bucket="bucket", Key="plain.raw")) == b"bytes of 0"
    assert all(request.headers["user-agent"].startswith("Boto3") for request in s3.requests)


@mock_aws
def test_whoever_answers_in_the_stead_of_the_network_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto's in-process mock listens to before-send; so do tracing tools."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="k", Body=b"bytes")
    get = LeanGetObject(client)
    for _ in range(2):
        assert body_of(get(Bucket="bucket", Key="k")) == b"bytes"
