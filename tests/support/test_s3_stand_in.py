"""The S3 stand-in answers a real boto3 client as AWS S3 does."""

import base64
import hashlib
import http.client
import threading
import time
import zlib
from collections.abc import Iterator

import pytest
from awscrt import checksums as crt
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from tests.support import raw_files
from tests.support.s3_clients import s3_client
from tests.support.s3_stand_in import AttributesMode, S3StandIn

KIB = 1024
DATA = raw_files.raw_bytes(250 * KIB, "stand-in")
PART = 100 * KIB
ALL_ATTRIBUTES = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


@pytest.fixture
def server() -> Iterator[S3StandIn]:
    with S3StandIn() as server:
        yield server


@pytest.fixture
def client(server) -> Iterator:
    client = server.client()
    yield client
    client.close()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def failure(call, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def test_whole_object_from_memory_and_from_a_file(server, client, tmp_path) -> None:
    server.put("bucket", "folder/a b+ü.raw", DATA)
    server.put("bucket", "file", raw_files.write_raw(tmp_path / "x" / "file", 3_000_001, 5))
    got = client.get_object(Bucket="bucket", Key="folder/a b+ü.raw")
    assert got["Body"].read() == DATA
    assert got["ETag"] == f'"{raw_files.md5(DATA)}"'
    assert got["ContentLength"] == len(DATA)
    assert got["ServerSideEncryption"] == "AES256"
    assert "StorageClass" not in got
    assert client.get_object(Bucket="bucket", Key="file")["Body"].read() == raw_files.raw_bytes(3_000_001, 5)
    assert server.bytes_sent("file") == 3_000_001
    assert server.bytes_sent() == 3_000_001 + len(DATA)


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-99", 10, 99), ("bytes=200000-", 200000, 255999), ("bytes=-5", 255995, 255999),
     ("bytes=255999-999999", 255999, 255999), ("bytes=-999999", 0, 255999)],
)  # fmt: skip
def test_range(server, client, wanted, first, last) -> None:
    server.put("bucket", "key", DATA)
    got = client.get_object(Bucket="bucket", Key="key", Range=wanted)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {first}-{last}/{len(DATA)}"
    assert got["Body"].read() == DATA[first : last + 1]


def test_range_that_cannot_be(server, client) -> None:
    server.put("bucket", "key", DATA)
    server.put("bucket", "empty", b"")
    assert failure(client.get_object, Bucket="bucket", Key="key", Range="bytes=256000-") == (416, "InvalidRange")
    assert failure(client.get_object, Bucket="bucket", Key="key", Range="bytes=-0") == (416, "InvalidRange")
    assert failure(client.get_object, Bucket="bucket", Key="empty", Range="bytes=0-0") == (416, "InvalidRange")
    assert client.get_object(Bucket="bucket", Key="empty")["Body"].read() == b""
    # Not valid at all: as if it were not there.
    assert client.get_object(Bucket="bucket", Key="key", Range="bytes=9-1")["ContentLength"] == len(DATA)


def test_multipart_etag_and_parts(server, client) -> None:
    etag = server.put("bucket", "key", DATA, part_size=PART).etag
    assert etag == raw_files.multipart_etag(DATA, PART)
    assert etag.endswith("-3")
    head = client.head_object(Bucket="bucket", Key="key", PartNumber=3)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (head["PartsCount"], head["ContentLength"], head["ETag"]) == (3, 50 * KIB, f'"{etag}"')
    assert head["ContentRange"] == f"bytes {200 * KIB}-{250 * KIB - 1}/{250 * KIB}"
    got = client.get_object(Bucket="bucket", Key="key", PartNumber=2)
    assert got["Body"].read() == DATA[PART : 2 * PART]
    assert "PartsCount" not in client.head_object(Bucket="bucket", Key="key")
    assert failure(client.get_object, Bucket="bucket", Key="key", PartNumber=4) == (416, "InvalidPartNumber")


def test_exactly_one_part_and_irregular_parts(server, client) -> None:
    assert server.put("bucket", "one", DATA, part_size=len(DATA)).etag == raw_files.multipart_etag(DATA, len(DATA))
    assert server.upload("bucket", "full", DATA, part_size=len(DATA)).etag.endswith("-1")
    assert server.upload("bucket", "less", DATA, part_size=len(DATA) + 1).etag == raw_files.md5(DATA)
    server.put("bucket", "odd", DATA, part_size=[1, 249 * KIB, 1023])
    head = client.head_object(Bucket="bucket", Key="odd", PartNumber=2)
    assert (head["ContentLength"], head["PartsCount"]) == (249 * KIB, 3)
    # A single PUT has one part, itself, and tells no count.
    head = client.head_object(Bucket="bucket", Key="less", PartNumber=1)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert "PartsCount" not in head


def test_if_match(server, client) -> None:
    etag = server.put("bucket", "key", DATA).etag
    assert client.get_object(Bucket="bucket", Key="key", IfMatch=f'"{etag}"')["ContentLength"] == len(DATA)
    server.put("bucket", "key", DATA[:-1])
    assert failure(client.get_object, Bucket="bucket", Key="key", IfMatch=etag) == (412, "PreconditionFailed")
    assert failure(client.head_object, Bucket="bucket", Key="key", IfMatch=etag) == (412, "412")
    now = raw_files.md5(DATA[:-1])
    assert failure(client.get_object, Bucket="bucket", Key="key", IfNoneMatch=now) == (304, "304")


def test_versions(server, client) -> None:
    old = server.put("bucket", "key", b"old").version_id
    new = server.put("bucket", "key", b"new", version_id="my-version").version_id
    assert new == "my-version"
    assert client.head_object(Bucket="bucket", Key="key")["VersionId"] == new
    got = client.get_object(Bucket="bucket", Key="key", VersionId=old)
    assert (got["Body"].read(), got["VersionId"]) == (b"old", old)
    assert failure(client.get_object, Bucket="bucket", Key="key", VersionId="nope") == (404, "NoSuchVersion")
    server.delete("bucket", "key")
    assert failure(client.get_object, Bucket="bucket", Key="key") == (404, "NoSuchKey")
    assert client.get_object(Bucket="bucket", Key="key", VersionId=new)["Body"].read() == b"new"
    with S3StandIn(versioning=False) as plain:
        plain.put("bucket", "key", b"1")
        plain.put("bucket", "key", b"22")
        head = s3_client(plain.url).head_object(Bucket="bucket", Key="key")
    assert head["ContentLength"] == 2
    assert "VersionId" not in head


def test_composite_checksum(server, client) -> None:
    server.put("bucket", "key", DATA, part_size=PART, checksum="CRC32")
    parts = [DATA[at : at + PART] for at in range(0, len(DATA), PART)]
    whole = b64(crc32(b"".join(crc32(part) for part in parts)))
    head = client.head_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32"], head["ChecksumType"]) == (f"{whole}-3", "COMPOSITE")
    assert "ChecksumCRC32" not in client.head_object(Bucket="bucket", Key="key")
    part = client.get_object(Bucket="bucket", Key="key", PartNumber=2, ChecksumMode="ENABLED")
    assert part["ChecksumCRC32"] == b64(crc32(parts[1]))
    assert part["Body"].read() == parts[1]
    ranged = client.get_object(Bucket="bucket", Key="key", Range="bytes=0-9", ChecksumMode="ENABLED")
    assert "ChecksumCRC32" not in ranged

    told = client.get_object_attributes(Bucket="bucket", Key="key", ObjectAttributes=ALL_ATTRIBUTES)
    assert told["ETag"] == raw_files.multipart_etag(DATA, PART)
    assert told["Checksum"] == {"ChecksumCRC32": whole, "ChecksumType": "COMPOSITE"}
    assert (told["ObjectSize"], told["StorageClass"]) == (len(DATA), "STANDARD")
    assert told["VersionId"]
    assert told["ObjectParts"]["TotalPartsCount"] == 3
    assert told["ObjectParts"]["Parts"] == [
        {"PartNumber": number, "Size": len(part), "ChecksumCRC32": b64(crc32(part))}
        for number, part in enumerate(parts, start=1)
    ]


@pytest.mark.parametrize(
    ("algorithm", "part_sum"),
    [("CRC32C", lambda data: crt.crc32c(data).to_bytes(4, "big")),
     ("SHA256", lambda data: hashlib.sha256(data).digest()), ("SHA1", lambda data: hashlib.sha1(data).digest())],
)  # fmt: skip
def test_other_composite_checksums(server, client, algorithm, part_sum) -> None:
    server.put("bucket", "key", DATA, part_size=PART, checksum=algorithm)
    told = client.get_object_attributes(Bucket="bucket", Key="key", ObjectAttributes=["ObjectParts"])
    shown = [part[f"Checksum{algorithm}"] for part in told["ObjectParts"]["Parts"]]
    assert shown == [b64(part_sum(DATA[at : at + PART])) for at in range(0, len(DATA), PART)]
    assert "ETag" not in told


def test_full_object_checksums_list_no_parts_as_on_aws(server, client) -> None:
    server.put("bucket", "key", DATA, part_size=PART, checksum="CRC64NVME")
    head = client.head_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == b64(crt.crc64nvme(DATA).to_bytes(8, "big"))
    assert head["ChecksumType"] == "FULL_OBJECT"
    arguments = {"Bucket": "bucket", "Key": "key", "ObjectAttributes": ALL_ATTRIBUTES}
    assert client.get_object_attributes(**arguments)["ObjectParts"] == {"TotalPartsCount": 3}
    server.attributes = AttributesMode.ALL_PARTS
    assert len(client.get_object_attributes(**arguments)["ObjectParts"]["Parts"]) == 3
    server.put("bucket", "key", DATA, part_size=PART, checksum="CRC32", checksum_type="FULL_OBJECT")
    # boto3 compares the whole body with this one by itself.
    got = client.get_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert (got["ChecksumCRC32"], got["Body"].read()) == (b64(crc32(DATA)), DATA)
    with pytest.raises(ValueError, match="COMPOSITE CRC64NVME"):
        server.put("bucket", "key", DATA, part_size=PART, checksum="CRC64NVME", checksum_type="COMPOSITE")


def test_attributes_in_pages_and_other_modes(server, client) -> None:
    server.put("bucket", "key", DATA, part_size=50 * KIB, checksum="CRC32")
    arguments = {"Bucket": "bucket", "Key": "key", "ObjectAttributes": ["ObjectParts"], "MaxParts": 2}
    numbers, marker = [], 0
    while True:
        page = client.get_object_attributes(**arguments, PartNumberMarker=marker)["ObjectParts"]
        numbers.append([part["PartNumber"] for part in page["Parts"]])
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert numbers == [[1, 2], [3, 4], [5]]
    server.attributes = AttributesMode.NO_PART_CHECKSUMS
    part = client.get_object_attributes(**arguments)["ObjectParts"]["Parts"][0]
    assert part == {"PartNumber": 1, "Size": 50 * KIB}
    server.attributes = AttributesMode.NO_PARTS
    assert "ObjectParts" not in client.get_object_attributes(**arguments)
    server.attributes = AttributesMode.FORBIDDEN
    assert failure(client.get_object_attributes, **arguments) == (403, "AccessDenied")
    server.attributes = AttributesMode.NOT_IMPLEMENTED
    assert failure(client.get_object_attributes, **arguments) == (501, "NotImplemented")
    server.attributes = AttributesMode.AWS
    server.put("bucket", "plain", DATA, part_size=PART)
    arguments["Key"] = "plain"
    assert client.get_object_attributes(**arguments)["ObjectParts"] == {"TotalPartsCount": 3}
    server.put("bucket", "single", DATA, checksum="CRC32")
    arguments["Key"] = "single"
    assert "ObjectParts" not in client.get_object_attributes(**arguments)


def test_missing_and_forbidden(server, client) -> None:
    server.put("bucket", "key", DATA)
    assert failure(client.get_object, Bucket="nowhere", Key="key") == (404, "NoSuchBucket")
    assert failure(client.get_object, Bucket="bucket", Key="nothing") == (404, "NoSuchKey")
    assert failure(client.head_object, Bucket="bucket", Key="nothing") == (404, "404")
    assert client.head_bucket(Bucket="bucket")["BucketRegion"] == "eu-central-1"
    assert failure(client.head_bucket, Bucket="nowhere") == (404, "404")
    server.deny("s3:ListBucket")
    assert failure(client.head_bucket, Bucket="bucket") == (403, "403")
    assert failure(client.get_object, Bucket="bucket", Key="nothing") == (403, "AccessDenied")
    assert client.get_object(Bucket="bucket", Key="key")["ContentLength"] == len(DATA)
    server.deny("s3:GetObject", "^ke")
    assert failure(client.get_object, Bucket="bucket", Key="key") == (403, "AccessDenied")
    server.allow_all()
    assert client.get_object(Bucket="bucket", Key="key")["ContentLength"] == len(DATA)


def test_archived_until_restored(server, client) -> None:
    server.put("bucket", "key", DATA, storage_class="DEEP_ARCHIVE")
    where = {"Bucket": "bucket", "Key": "key"}
    assert failure(client.get_object, **where) == (403, "InvalidObjectState")
    head = client.head_object(**where)
    assert head["StorageClass"] == "DEEP_ARCHIVE"
    assert "Restore" not in head
    ask = {**where, "RestoreRequest": {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}}
    assert client.restore_object(**ask)["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert client.head_object(**where)["Restore"] == 'ongoing-request="true"'
    assert failure(client.get_object, **where) == (403, "InvalidObjectState")
    assert failure(client.restore_object, **ask) == (409, "RestoreAlreadyInProgress")
    server.finish_restore("bucket", "key")
    assert client.restore_object(**ask)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.head_object(**where)["Restore"].startswith('ongoing-request="false", expiry-date="')
    assert client.get_object(**where)["Body"].read() == DATA
    assert {request.operation for request in server.writes} == {"RestoreObject"}


def test_writes_are_refused_and_recorded(server, client) -> None:
    server.put("bucket", "key", DATA)
    assert failure(client.put_object, Bucket="bucket", Key="key", Body=b"x" * 100_000) == (405, "MethodNotAllowed")
    assert failure(client.delete_object, Bucket="bucket", Key="key") == (405, "MethodNotAllowed")
    assert (
        failure(client.create_bucket, Bucket="other", CreateBucketConfiguration={"LocationConstraint": "x"})[0] == 405
    )
    assert failure(client.get_object_tagging, Bucket="bucket", Key="key") == (501, "NotImplemented")
    assert [request.operation for request in server.writes] == ["PutObject", "DeleteObject", "CreateBucket"]
    assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == DATA


def test_kms_like_object(server, client) -> None:
    server.put("bucket", "key", DATA, etag="no-md5-at-all", encryption="aws:kms", last_modified=None)
    head = client.head_object(Bucket="bucket", Key="key")
    assert (head["ETag"], head["ServerSideEncryption"]) == ('"no-md5-at-all"', "aws:kms")


def test_list_in_pages(server, client) -> None:
    for name in ("b/2", "a", "b/1 ü+&", "b/3", "c"):
        server.put("bucket", name, b"x")
    server.delete("bucket", "b/3")
    one_by_one = {"PageSize": 1}
    listing = client.get_paginator("list_objects_v2")
    pages = listing.paginate(Bucket="bucket", Prefix="b/", PaginationConfig=one_by_one)
    listed = [[entry["Key"] for entry in page["Contents"]] for page in pages]
    assert listed == [["b/1 ü+&"], ["b/2"]]


def test_access_keys() -> None:
    with S3StandIn(access_keys={"AKIDKNOWN"}) as server:
        server.put("bucket", "key", b"x")
        where = {"Bucket": "bucket", "Key": "key"}
        assert s3_client(server.url, access_key="AKIDKNOWN").get_object(**where)["ContentLength"] == 1
        stranger = s3_client(server.url, access_key="AKIDOTHER")
        assert failure(stranger.get_object, **where) == (403, "InvalidAccessKeyId")
        assert failure(s3_client(server.url, signature_version=UNSIGNED).head_object, **where)[0] == 403
        assert all("authorization" not in request.headers for request in server.requests)


def test_requests_are_recorded(server, client) -> None:
    version = server.put("bucket", "key", DATA).version_id
    client.get_object(Bucket="bucket", Key="key", Range="bytes=5-9", VersionId=version)["Body"].read()
    client.head_object(Bucket="bucket", Key="key", PartNumber=1)
    failure(client.head_object, Bucket="bucket", Key="other")
    first, second, third = server.requests
    assert (first.operation, first.method, first.bucket, first.key) == ("GetObject", "GET", "bucket", "key")
    assert (first.range, first.version_id, first.status, first.bytes_sent) == ("bytes=5-9", version, 206, 5)
    assert first.iam_actions == ("s3:GetObjectVersion",)
    assert (second.part_number, second.bytes_sent, second.iam_actions) == (1, 0, ("s3:GetObject",))
    assert (third.status, third.error_code) == (404, "NoSuchKey")
    assert server.count("HeadObject") == 2
    assert server.count(key="key") == 2
    server.forget_requests()
    assert server.requests == []


def test_object_replaced_midway(server, client) -> None:
    etag = server.put("bucket", "key", DATA).etag
    server.on_request = lambda request: server.put("bucket", "key", b"new") if request.range == "bytes=9-" else None
    assert client.get_object(Bucket="bucket", Key="key", IfMatch=etag, Range="bytes=0-8")["Body"].read() == DATA[:9]
    assert failure(client.get_object, Bucket="bucket", Key="key", IfMatch=etag, Range="bytes=9-")[0] == 412


def test_raw_http_keep_alive_and_virtual_addressing(server) -> None:
    server.put("bucket", "folder/key", DATA)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for path, host in (("/bucket/folder/key", "127.0.0.1"), ("/folder/key", "bucket.localhost:9000")):
        connection.request("GET", path, headers={"Host": host, "Range": "bytes=1-2"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (206, DATA[1:3])
        sock = connection.sock
        assert sock is not None
    assert connection.sock is sock
    connection.request("HEAD", "/bucket/nothing")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def test_many_threads(server) -> None:
    server.put("bucket", "key", DATA)
    bad = []

    def work() -> None:
        client = server.client()
        for at in range(0, len(DATA), 25 * KIB):
            part = client.get_object(Bucket="bucket", Key="key", Range=f"bytes={at}-{at + 25 * KIB - 1}")
            bad.extend([at] if part["Body"].read() != DATA[at : at + 25 * KIB] else [])
        client.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    assert server.count("GetObject", "key") == 40
    assert server.bytes_sent() == 4 * len(DATA)


def test_speed(server, tmp_path) -> None:
    """Hundreds of MB/s, from memory and from a file; the bound is low because the machine is shared."""
    size = 64 << 20
    path = raw_files.write_raw(tmp_path / "big", size)
    server.put("bucket", "file", path, etag="x")
    server.put("bucket", "memory", path.read_bytes(), etag="x")
    client = server.client()
    buffer = bytearray(1 << 18)
    for key in ("file", "memory"):
        begin, received = time.monotonic(), 0
        stream = client.get_object(Bucket="bucket", Key=key)["Body"]._raw_stream
        while got := stream.readinto(buffer):
            received += got
        assert received == size
        assert size / (time.monotonic() - begin) > 200 << 20
    client.close()


def test_stops_at_once_and_comes_back(server, client) -> None:
    server.put("bucket", "key", b"x" * (32 << 20))
    body = client.get_object(Bucket="bucket", Key="key")["Body"]
    body.read(1)  # the rest is in flight and will never be read
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 1
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", server.port).connect()
    server.start()
    assert server.client().head_object(Bucket="bucket", Key="key")["ContentLength"] == 32 << 20
    body.close()
