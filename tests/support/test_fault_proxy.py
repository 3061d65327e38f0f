"""Every fault of the proxy, seen on the wire: by a boto3 client, and byte for byte by a plain socket."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError

from tests.support import raw_files
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import (
    Action,
    Cut,
    Delay,
    DuplicateHeader,
    FlipBit,
    Garbage,
    GatewayPage,
    IgnoreIfMatch,
    IgnoreRange,
    MissingHeader,
    Request,
    Reset,
    Rule,
    SetHeader,
    ShiftRange,
    Stall,
    Status,
    SwapBody,
    Throttle,
    WrongContentLength,
    WrongContentRange,
    describe,
    random_rules,
)
from tests.support.http_wire import Head
from tests.support.s3_clients import s3_client
from tests.support.s3_stand_in import S3StandIn

SIZE = 1_000_003
DATA = raw_files.raw_bytes(SIZE, "proxy")
KEY = {"Bucket": "bucket", "Key": "folder/key"}


@pytest.fixture(scope="module")
def server() -> Iterator[S3StandIn]:
    with S3StandIn() as server:
        server.put("bucket", "folder/key", DATA, part_size=500_000)
        server.put("bucket", "other", b"other")
        server.put("bucket", "empty", b"")
        yield server


@pytest.fixture
def proxy(server) -> Iterator[FaultProxy]:
    server.forget_requests()
    with FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy) -> Iterator:
    client = s3_client(proxy.url)
    yield client
    client.close()


class Wire:
    """What a plain socket sees of one GET: head, body as far as it came, and how it ended."""

    def __init__(self, proxy, *headers: str, path: str = "/bucket/folder/key", method: str = "GET") -> None:
        self.ended_by = "close"
        raw = bytearray()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
            lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}", "Connection: close", *headers]
            sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
            try:
                while piece := sock.recv(1 << 16):
                    raw += piece
            except ConnectionResetError:
                self.ended_by = "reset"
        self.raw = bytes(raw)
        head, _, self.body = self.raw.partition(b"\r\n\r\n")
        self.head = Head.parse(head) if head.startswith(b"HTTP/") else None


def failure(call, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def test_without_rules_nothing_changes(proxy, client, server) -> None:
    got = client.get_object(**KEY)
    assert got["Body"].read() == DATA
    assert got["ETag"] == f'"{raw_files.multipart_etag(DATA, 500_000)}"'
    part = client.get_object(**KEY, Range="bytes=10-19", IfMatch=got["ETag"])
    assert part["Body"].read() == DATA[10:20]
    assert client.get_object(Bucket="bucket", Key="empty")["Body"].read() == b""
    assert client.head_object(**KEY)["ContentLength"] == SIZE
    assert [
        (exchange.method, exchange.range, exchange.status, exchange.bytes_sent) for exchange in proxy.exchanges
    ] == [
        ("GET", None, 200, SIZE),
        ("GET", "bytes=10-19", 206, 10),
        ("GET", None, 200, 0),
        ("HEAD", None, 200, 0),
    ]
    assert proxy.bytes_sent == SIZE + 10
    assert server.count() == 4


def test_reset_before_headers(proxy, client) -> None:
    rule = proxy.add(Rule(Reset(), times=2))
    assert Wire(proxy).ended_by == "reset"
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.get_object(**KEY)
    assert client.get_object(**KEY)["ContentLength"] == SIZE
    assert rule.fired == 2


@pytest.mark.parametrize(("action", "length"), [(Reset(after=300_000), 300_000), (Reset(-1), SIZE - 1), (Reset(0), 0)])
def test_reset_after_bytes(proxy, client, action, length) -> None:
    proxy.add(Rule(action, times=2))
    seen = Wire(proxy)
    assert (seen.ended_by, seen.body) == ("reset", DATA[:length])
    assert seen.head.content_length() == SIZE
    body = client.get_object(**KEY)["Body"]
    with pytest.raises((urllib3.exceptions.ProtocolError, botocore.exceptions.ResponseStreamingError)):
        body.read()


def test_cut(proxy, client) -> None:
    rule = proxy.add(Rule(Cut(after=123_456), times=2))
    assert Wire(proxy, path="/bucket/other").body == b"other"  # too short to be cut there
    assert rule.fired == 0
    seen = Wire(proxy)
    assert (seen.ended_by, seen.body, seen.head.content_length()) == ("close", DATA[:123_456], SIZE)
    with pytest.raises(botocore.exceptions.BotoCoreError):
        client.get_object(**KEY)["Body"].read()
    assert rule.fired == 2


def test_flip_bit(proxy, client) -> None:
    proxy.add(Rule(FlipBit(600_000, bit=7)))
    got = client.get_object(**KEY)["Body"].read()
    wrong = [at for at in range(SIZE) if got[at] != DATA[at]]
    assert wrong == [600_000]
    assert got[600_000] == DATA[600_000] ^ 0x80
    rule = proxy.add(Rule(FlipBit(600_000, in_object=True)))
    assert client.get_object(**KEY, Range="bytes=0-599999")["Body"].read() == DATA[:600_000]
    assert rule.fired == 0
    got = client.get_object(**KEY, Range="bytes=599990-600009")["Body"].read()
    assert [at for at in range(20) if got[at] != DATA[599_990 + at]] == [10]
    assert rule.fired == 1


def test_delay_and_passing_stall(proxy, client) -> None:
    proxy.add(Rule(Delay(0.2)), Rule(Stall(after=5, seconds=0.2), nth=2))
    begin = time.monotonic()
    client.get_object(**KEY)["Body"].read()
    assert 0.2 <= time.monotonic() - begin < 1
    begin = time.monotonic()
    assert client.get_object(**KEY)["Body"].read() == DATA
    assert 0.2 <= time.monotonic() - begin < 1


def test_stall_for_ever_ends_with_the_proxy(server) -> None:
    with FaultProxy(server.url, [Rule(Stall(after=1000), times=None)]) as proxy:
        client = s3_client(proxy.url, read_timeout=0.2)
        body = client.get_object(**KEY)["Body"]
        received = []
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            received.extend(iter(lambda: body.read(500), b""))
        assert b"".join(received) == DATA[:1000]
        client.close()
        held = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(5)]
        for sock in held:
            sock.sendall(b"GET /bucket/folder/key HTTP/1.1\r\nHost: x\r\n\r\n")
        while len(proxy.exchanges) < 6:
            time.sleep(0.01)
        begin = time.monotonic()
        proxy.stop()
        assert time.monotonic() - begin < 1
        assert not [thread for thread in proxy._threads if thread.is_alive()]
        for sock in held:
            sock.close()


def test_throttle_of_one_stream_and_of_the_link(server, proxy, client) -> None:
    rule = proxy.add(Rule(Throttle(2_000_000)))
    begin = time.monotonic()
    assert client.get_object(**KEY)["Body"].read() == DATA
    assert 0.4 < time.monotonic() - begin < 1
    assert rule.fired == 1
    with FaultProxy(server.url, link_bytes_per_s=4_000_000) as slow:
        begin = time.monotonic()
        threads = [threading.Thread(target=Wire, args=(slow,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.4 < time.monotonic() - begin < 1


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [(Status(500), 500, "InternalError"), (Status(503), 503, "SlowDown"), (Status(403), 403, "AccessDenied"),
     (Status(404), 404, "NoSuchKey"), (Status(412), 412, "PreconditionFailed"),
     (Status(403, "InvalidObjectState"), 403, "InvalidObjectState"),
     (Status(503, headers=(("Retry-After", "1"),)), 503, "SlowDown")],
)  # fmt: skip
def test_status(proxy, client, action, status, code) -> None:
    rule = proxy.add(Rule(action, times=2))
    assert failure(client.get_object, **KEY) == (status, code)
    assert failure(client.head_object, **KEY) == (status, str(status))
    assert client.get_object(**KEY)["Body"].read() == DATA  # the connection goes on
    assert rule.fired == 2
    assert [exchange.status for exchange in proxy.exchanges] == [status, status, 200]


def test_sdk_retries_meet_the_rule(proxy) -> None:
    rule = proxy.add(Rule(Status(503), times=2))
    client = s3_client(proxy.url, retries=3)
    assert client.get_object(**KEY)["ContentLength"] == SIZE
    assert rule.fired == 2
    client.close()


def test_wrong_content_range_and_length(proxy) -> None:
    proxy.add(Rule(WrongContentRange(shift=5)))
    seen = Wire(proxy, "Range: bytes=10-19")
    assert (seen.head.get("Content-Range"), seen.body) == (f"bytes 15-24/{SIZE}", DATA[10:20])
    proxy.add(Rule(WrongContentRange(shift=0, total=-3)))
    assert Wire(proxy, "Range: bytes=10-19").head.get("Content-Range") == f"bytes 10-19/{SIZE - 3}"
    proxy.add(Rule(WrongContentLength(by=7)))
    seen = Wire(proxy)
    assert (seen.head.content_length(), seen.body) == (SIZE + 7, DATA)
    proxy.add(Rule(WrongContentLength(by=-7)))
    seen = Wire(proxy)
    assert (seen.head.content_length(), seen.body) == (SIZE - 7, DATA)


def test_wrong_content_length_seen_by_boto3(proxy, client) -> None:
    proxy.add(Rule(WrongContentLength(by=7)), Rule(WrongContentLength(by=-7), nth=2))
    with pytest.raises(botocore.exceptions.BotoCoreError):
        client.get_object(**KEY)["Body"].read()
    assert client.get_object(**KEY)["Body"].read() == DATA[:-7]


@pytest.mark.parametrize("honest", [True, False])
def test_server_sends_another_range(proxy, client, honest) -> None:
    proxy.add(Rule(ShiftRange(by=100, honest=honest)))
    got = client.get_object(**KEY, Range="bytes=10-19")
    assert got["Body"].read() == DATA[110:120]
    assert got["ContentRange"] == (f"bytes 110-119/{SIZE}" if honest else f"bytes 10-19/{SIZE}")


@pytest.mark.parametrize("name", ["Content-Range", "ETag", "Content-Length"])
def test_missing_header(proxy, client, name) -> None:
    rule = proxy.add(Rule(MissingHeader(name), times=2))
    seen = Wire(proxy, "Range: bytes=0-99")
    assert seen.head.get(name) is None
    assert seen.body == DATA[:100]
    assert client.get_object(**KEY, Range="bytes=0-99")["Body"].read() == DATA[:100]
    assert client.get_object(**KEY)["ETag"]
    assert rule.fired == 2


def test_duplicate_and_changed_headers(proxy) -> None:
    proxy.add(Rule(DuplicateHeader("ETag", '"other"')), Rule(DuplicateHeader("Content-Length"), nth=2))
    tags = [value for name, value in Wire(proxy).head.headers if name == "ETag"]
    assert tags == [f'"{raw_files.multipart_etag(DATA, 500_000)}"', '"other"']
    assert [value for name, value in Wire(proxy).head.headers if name == "Content-Length"] == [str(SIZE)] * 2
    proxy.add(Rule(SetHeader("ETag", '"forged"')))
    assert Wire(proxy).head.get("ETag") == '"forged"'


def test_ignore_range_and_if_match(proxy, client) -> None:
    proxy.add(Rule(IgnoreRange()), Rule(IgnoreIfMatch()))
    got = client.get_object(**KEY, Range="bytes=5-9")
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (200, DATA)
    assert client.get_object(**KEY, IfMatch='"wrong"')["Body"].read() == DATA
    assert failure(client.get_object, **KEY, IfMatch='"wrong"') == (412, "PreconditionFailed")


def test_swapped_body(proxy, client) -> None:
    proxy.add(Rule(SwapBody(seed=4), times=2))
    swapped = client.get_object(**KEY)["Body"].read()
    assert swapped == raw_files.raw_bytes(SIZE, 4)
    assert client.get_object(**KEY, Range="bytes=400000-400999")["Body"].read() == swapped[400_000:401_000]


def test_garbage(proxy, client) -> None:
    proxy.add(Rule(Garbage(), times=2))
    assert Wire(proxy).raw == Garbage().data
    with pytest.raises(botocore.exceptions.BotoCoreError):
        client.get_object(**KEY)
    assert proxy.faults_by_kind() == {"Garbage": 2}


def test_rules_act_together_and_count_only_what_happened(proxy) -> None:
    cut, flip, late = Rule(Cut(1000), times=None), Rule(FlipBit(10)), Rule(FlipBit(2000))
    status, other = Rule(Status(500), nth=2), Rule(IgnoreRange(), nth=2)
    proxy.add(flip, late, cut, other, status)
    seen = Wire(proxy)
    assert len(seen.body) == 1000
    assert [at for at in range(1000) if seen.body[at] != DATA[at]] == [10]
    assert Wire(proxy, "Range: bytes=0-9").head.status == 500
    assert [rule.fired for rule in (cut, flip, late, status, other)] == [1, 1, 0, 1, 0]
    assert proxy.faults_by_kind() == {"Cut": 1, "FlipBit": 1, "Status": 1}
    proxy.clear()
    assert Wire(proxy).body == DATA


@pytest.mark.parametrize(
    ("options", "hit"),
    [({"method": "HEAD"}, [3]), ({"key": r"^/bucket/folder/k"}, [0, 1, 3]), ({"range_start": 10}, [1]),
     ({"range_start": 0}, [0, 2, 3]), ({"nth": 3}, [2, 3]), ({"nth": 3, "times": 1}, [2]), ({"times": 2}, [0, 1]),
     ({"query": "partNumber=2"}, [3])],
)  # fmt: skip
def test_what_a_rule_matches(proxy, client, options, hit) -> None:
    rule = proxy.add(Rule(SetHeader("ETag", '"hit"'), **{"times": None, **options}))
    etags = [
        client.get_object(**KEY)["ETag"],
        client.get_object(**KEY, Range="bytes=10-")["ETag"],
        client.get_object(Bucket="bucket", Key="other")["ETag"],
        client.head_object(**KEY, PartNumber=2)["ETag"],
    ]
    assert [at for at, etag in enumerate(etags) if etag == '"hit"'] == hit
    assert rule.fired == len(hit)


def test_probability_depends_on_requests_not_on_their_order() -> None:
    requests = [
        Request.of(Head(f"GET /bucket/{name} HTTP/1.1", [("Range", f"bytes={at}-")]))
        for name in "abc"
        for at in range(100)
    ]

    def drawn(order: list[Request], seed: int) -> set:
        rule = Rule(Action(), probability=0.3, seed=seed)
        return {(request.path, request.range) for request in order if rule.matches(request)}

    assert drawn(requests, 1) == drawn(requests[::-1], 1) != drawn(requests, 2)
    assert 60 < len(drawn(requests, 1)) < 120


def test_pause_kill_and_revive(proxy, client) -> None:
    assert client.get_object(**KEY)["ContentLength"] == SIZE
    proxy.pause()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (Wire(proxy), done.set()))
    thread.start()
    assert not done.wait(0.2)
    proxy.resume()
    assert done.wait(2)
    thread.join()
    body = client.get_object(**KEY)["Body"]
    proxy.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        s3_client(proxy.url).get_object(**KEY)
    proxy.revive()
    assert client.get_object(**KEY)["Body"].read() == DATA
    body.close()


def test_upstream_away_and_back(server) -> None:
    with S3StandIn() as upstream, FaultProxy(upstream.url) as proxy:
        upstream.put("bucket", "key", b"x")
        client = s3_client(proxy.url)
        assert client.get_object(Bucket="bucket", Key="key")["ContentLength"] == 1
        upstream.kill()
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            client.get_object(Bucket="bucket", Key="key")
        upstream.revive()
        assert client.get_object(Bucket="bucket", Key="key")["ContentLength"] == 1
        client.close()


def test_raw_http_client_on_one_connection(proxy) -> None:
    proxy.add(Rule(Status(503), nth=2))
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
    for expected in (200, 503, 200):
        connection.request("GET", "/bucket/other")
        answer = connection.getresponse()
        assert answer.status == expected
        body = answer.read()
    assert body == b"other"
    connection.close()


def test_uploads_pass_to_moto(s3_server) -> None:
    """Any S3 server can stand behind it, and bodies of requests go through."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        client = s3_client(proxy.url)
        where = {"Bucket": "support-fault-proxy", "Key": "key"}
        client.create_bucket(Bucket=where["Bucket"], CreateBucketConfiguration={"LocationConstraint": s3_server.region})
        client.put_object(**where, Body=DATA)
        proxy.add(Rule(Cut(10), method="GET"))
        with pytest.raises(botocore.exceptions.BotoCoreError):
            client.get_object(**where)["Body"].read()
        assert client.get_object(**where)["Body"].read() == DATA
        client.delete_object(**where)
        client.close()


@pytest.mark.parametrize("status", [200, 404, 502])
def test_page_of_a_gateway(proxy, status: int) -> None:
    proxy.add(Rule(GatewayPage(status)))
    answer = Wire(proxy)
    assert answer.raw.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"text/html" in answer.raw
    assert answer.body == b"<html><title>No such address</title></html>"
    assert Wire(proxy).body == DATA


def test_random_rules_come_from_the_seed() -> None:
    def text(seed: int, intensity: float) -> list[str]:
        return [str(rule) for rule in random_rules(seed, intensity)]

    assert text(1, 0.7) == text(1, 0.7) != text(2, 0.7)
    assert len(random_rules(3, 0)) == 1
    many = [rule for seed in range(300) for rule in random_rules(seed, 1.0)]
    assert all(rule.times for rule in many)
    assert {rule.action.kind for rule in many} == {kind.__name__ for kind in Action.__subclasses__()}
    # What is printed can be pasted and makes the same rule again.
    assert all(str(eval(str(rule))) == str(rule) for rule in many)
    assert describe(many[:2]).count("# fired 0 of 0") == 2


def test_random_rules_spoil_a_client_and_then_end(server) -> None:
    """With faults that end, a client that tries again gets everything in the end."""
    for seed in range(8):
        rules = random_rules(seed, 0.5, body_size=SIZE, max_delay_s=0.02)
        with FaultProxy(server.url, rules) as proxy:
            client = s3_client(proxy.url, read_timeout=0.1)
            for _ in range(60):
                try:
                    got = client.get_object(**KEY, Range=f"bytes=1-{SIZE - 1}")["Body"].read()
                except (botocore.exceptions.BotoCoreError, ClientError, urllib3.exceptions.HTTPError, ValueError):
                    got = b""
                if all(rule.fired == rule.times for rule in rules):
                    break
            proxy.clear()
            got = client.get_object(**KEY, Range=f"bytes=1-{SIZE - 1}")["Body"].read()
            assert got == DATA[1:], describe(rules)
            assert sum(proxy.faults_by_kind().values()) == sum(rule.fired for rule in rules)
            client.close()


def test_fast_without_rules(server) -> None:
    """The bound is low because the machine is shared; alone it does a GB/s."""
    size = 64 << 20
    server.put("bucket", "big", raw_files.raw_bytes(size), etag="x")
    with FaultProxy(server.url) as proxy:
        client = s3_client(proxy.url)
        begin, received, buffer = time.monotonic(), 0, bytearray(1 << 18)
        stream = client.get_object(Bucket="bucket", Key="big")["Body"]._raw_stream
        while got := stream.readinto(buffer):
            received += got
        assert received == size
        assert size / (time.monotonic() - begin) > 150 << 20
        client.close()
