"""The fast path must be what the client's own way is, only cheaper, and read what the client misreads."""

import socket
import threading
from collections.abc import Callable, Iterator

import boto3
import pytest
from moto import mock_aws

from s3_restore.s3.fast_path import Answer, Body, FastPath
from tests.support.http_wire import Connection
from tests.support.s3_clients import s3_client
from tests.support.s3_stand_in import S3StandIn
from tests.support.tcp_server import TcpServer

ODD_KEYS = ["plain.raw", "a b/c+d.d/analysis.tdf", "ü/日本 %20~&=?#.bin", "x;y:z@,$!*'()", "a/../b", "//", "ü\u0308"]


@pytest.fixture
def s3() -> Iterator[S3StandIn]:
    with S3StandIn() as server:
        for number, key in enumerate(ODD_KEYS):
            server.put("bucket", key, f"bytes of {number}".encode())
        yield server


def body_of(answer: Answer) -> bytes:
    data, complete = answer.body.read(1 << 20, 5)
    answer.body.close()
    assert complete
    return data


def code_of(answer: Answer) -> bytes:
    return body_of(answer).partition(b"<Code>")[2].partition(b"</Code>")[0]


def test_nothing_is_sent_to_learn_where_a_bucket_is(s3: S3StandIn) -> None:
    fast = FastPath(s3.client())
    for _ in range(2):
        assert body_of(fast.send("GET", "bucket", ODD_KEYS[0])) == b"bytes of 0"
    fast.send("HEAD", "bucket", ODD_KEYS[0]).body.close()
    assert [request.method for request in s3.requests] == ["GET", "GET", "HEAD"]
    agents = {request.headers.get("user-agent", "") for request in s3.requests}
    assert agents == {"s3-downloader"}, "a botocore whose inner parts changed would silently cost the speed"


@pytest.mark.parametrize("number", range(len(ODD_KEYS)))
def test_keys_are_quoted_as_the_client_does(s3: S3StandIn, number: int) -> None:
    client = s3.client()
    assert body_of(FastPath(client).send("GET", "bucket", ODD_KEYS[number])) == f"bytes of {number}".encode()
    client.get_object(Bucket="bucket", Key=ODD_KEYS[number])["Body"].read()
    ours, theirs = s3.requests
    assert ours.key == theirs.key == ODD_KEYS[number]
    assert ours.headers["user-agent"] == "s3-downloader"


def test_range_if_match_and_version(s3: S3StandIn) -> None:
    fast = FastPath(s3.client())
    old = fast.send("GET", "bucket", "plain.raw").headers
    s3.put("bucket", "plain.raw", b"something newer")
    headers = {"Range": "bytes=2-4", "If-Match": old["etag"]}
    answer = fast.send("GET", "bucket", "plain.raw", {"versionId": old["x-amz-version-id"]}, headers)
    assert answer.headers["content-range"] == "bytes 2-4/10"
    assert body_of(answer) == b"tes"
    refused = fast.send("GET", "bucket", "plain.raw", {}, headers)
    assert refused.status == 412
    refused.body.close()


@pytest.mark.parametrize("bucket", ["bucket", "nobucket"])
def test_errors_come_as_they_are(s3: S3StandIn, bucket: str) -> None:
    answer = FastPath(s3.client()).send("GET", bucket, "missing")
    assert answer.status == 404
    assert code_of(answer) == {"bucket": b"NoSuchKey", "nobucket": b"NoSuchBucket"}[bucket]


def test_connections_are_reused_after_every_kind_of_answer(s3: S3StandIn) -> None:
    connections: list[Connection] = []
    serve = s3.serve
    s3.serve = lambda connection: connections.append(connection) or serve(connection)
    fast = FastPath(s3.client())
    for _ in range(10):
        assert body_of(fast.send("GET", "bucket", "plain.raw"))
        fast.send("HEAD", "bucket", "plain.raw").body.close()
        assert code_of(fast.send("GET", "bucket", "missing")) == b"NoSuchKey"
        fast.send("HEAD", "bucket", "missing").body.close()
    assert len(connections) == 1


def test_a_client_without_the_inner_parts_is_used_as_it_is(s3: S3StandIn) -> None:
    client = s3.client()

    class Plain:
        meta = client.meta
        get_object = staticmethod(client.get_object)
        head_object = staticmethod(client.head_object)

    fast = FastPath(Plain())
    answer = fast.send("GET", "bucket", "plain.raw", {}, {"Range": "bytes=0-4", "If-Match": "*"})
    assert (answer.status, answer.headers["content-range"], body_of(answer)) == (206, "bytes 0-4/10", b"bytes")
    assert fast.send("HEAD", "bucket", "plain.raw").headers["content-length"] == "10"
    refused = fast.send("GET", "bucket", "missing")
    assert (refused.status, refused.error["Code"]) == (404, "NoSuchKey")
    assert fast.send("GET", "bucket", "plain.raw", {"attributes": ""}).status == 501, "goes without what only helps"
    assert all(request.headers["user-agent"].startswith("Boto3") for request in s3.requests)


@mock_aws
def test_whoever_answers_in_the_stead_of_the_network_still_does() -> None:
    """Moto's in-process mock, which has keys of its own, listens to before-send; so do tracing tools."""
    client = boto3.session.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="k", Body=b"bytes")
    fast = FastPath(client)
    for _ in range(2):
        assert body_of(fast.send("GET", "bucket", "k")) == b"bytes"


# --- regions ----------------------------------------------------------------------------------------------------------


class _Server(TcpServer):
    """Answers each request with what a function makes of its number and head."""

    def __init__(self, answer: Callable[[int, str], bytes]) -> None:
        super().__init__()
        self._answer = answer
        self.heads: list[str] = []

    def serve(self, client: Connection) -> None:
        while (head := client.read_head()) is not None:
            self.heads.append(head.start_line)
            client.sock.sendall(self._answer(len(self.heads), head.get("Authorization") or ""))


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_redirect_without_a_region_ends(status: int, method: str) -> None:
    """botocore would ask for the region of the bucket, be redirected, ask again, until the stack is full."""
    answer = f"HTTP/1.1 {status} X\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n".encode()
    with _Server(lambda _number, _signed: answer) as server:
        told = FastPath(s3_client(server.url)).send(method, "bucket", "key")
    assert (told.status, told.headers["location"]) == (status, "https://elsewhere/")
    assert len(server.heads) <= 3


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_redirect_that_names_a_region_is_followed_and_then_the_way_is_known(method: str, status: int) -> None:
    wrong = f"HTTP/1.1 {status} X\r\nx-amz-bucket-region: ap-south-2\r\nContent-Length: 0\r\n\r\n".encode()
    if status == 400 and method == "GET":
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-south-2</Region></Error>"
        wrong = wrong.replace(b"Length: 0", b"Length: %d" % len(body)) + body

    def answer(_number: int, signed: str) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if "/ap-south-2/" in signed else wrong

    with _Server(answer) as server:
        fast = FastPath(s3_client(server.url))
        for _ in range(5):
            told = fast.send(method, "bucket", "key")
            told.body.close()
            assert told.status == 200
    assert len(server.heads) == 5 + 2, "twice with the wrong region, once by each way"


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [(103,), (100, 102, 103, 103, 110)])
def test_interim_answers_are_read_over(codes: tuple[int, ...]) -> None:
    """Else the real answer would be taken for that of the next request on the connection."""
    interim = b"".join(b"HTTP/1.1 %d Early\r\nLink: </x>; rel=preload\r\n\r\n" % code for code in codes)

    def answer(number: int, _signed: str) -> bytes:
        return interim + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number

    with _Server(answer) as server:
        fast = FastPath(s3_client(server.url))
        assert [body_of(fast.send("GET", "bucket", "key")) for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_head_that_drips_has_an_end() -> None:
    """The time-out of a socket is for each read."""
    gave_up = threading.Event()

    class Dripping(TcpServer):
        def serve(self, client: Connection) -> None:
            client.read_head()
            client.sock.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self.closing.wait(0.05):
                try:
                    client.sock.sendall(b"x-filler: y\r\n")
                except OSError:
                    gave_up.set()
                    return

    with Dripping() as server:
        fast = FastPath(s3_client(server.url, read_timeout=0.3))
        with pytest.raises(Exception, match=r"[Tt]imed? ?out"):
            fast.send("GET", "bucket", "key")
        assert gave_up.wait(10)


def test_a_body_is_handed_on_as_it_comes() -> None:
    """What came before a connection breaks counts, down to a byte."""
    proceed = threading.Event()

    class Halting(TcpServer):
        def serve(self, client: Connection) -> None:
            client.read_head()
            client.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 7)
            proceed.wait(20)
            client.sock.sendall(b"y")
            client.sock.shutdown(socket.SHUT_RDWR)

    with Halting() as server:
        body = FastPath(s3_client(server.url)).send("GET", "bucket", "key").body
        view = memoryview(bytearray(262144))
        assert body.read_some(view) == 7
        proceed.set()
        assert body.read_some(view) == 1
        assert body.read_some(view) == 0
        body.close()


@pytest.mark.parametrize(
    ("came", "counts"),
    [
        ('"a", "a"', '"a"'),
        ("7, 7, 7", "7"),
        ("Fri, 27 Nov 2026, Fri, 27 Nov 2026", "Fri, 27 Nov 2026"),
        ("Fri, 27 Nov 2026", "Fri, 27 Nov 2026"),
        ('"a", "b"', '"a", "b"'),
        ("7, 77", "7, 77"),
        ("", ""),
    ],
)
def test_a_header_that_came_several_times_alike_counts_once(came: str, counts: str) -> None:
    assert Answer(200, {"Name": came}, Body(None)).headers == {"name": counts}
