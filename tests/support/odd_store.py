"""An S3 server whose every answer a test may bend: stores and networks that are not like AWS.

    with OddStore() as store:
        store.put("bucket/a.raw", data)
        store.bend = lambda request, answer: answer.headers.pop("ETag") and None

`bend` gets each request and its right answer, and may change the answer in place; what it returns decides:
None sends it, DROP closes the connection. Objects are bytes, or `Zeros` of any size that take no memory.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from tests.support.http_wire import Connection, Head
from tests.support.raw_files import multipart_etag
from tests.support.s3_errors import S3Error
from tests.support.tcp_server import TcpServer

DROP = "drop"
_PIECE = 1 << 16
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True)
class Zeros:
    """That many zero bytes."""

    size: int

    def __len__(self) -> int:
        return self.size

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        for at in range(start, end, len(_ZEROS)):
            yield memoryview(_ZEROS)[: min(len(_ZEROS), end - at)]


@dataclass
class OddRequest:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    number: int

    @property
    def kind(self) -> str:
        if "versions" in self.query:
            return "versions"
        if "attributes" in self.query:
            return "attributes"
        return "part" if "partNumber" in self.query else self.method


@dataclass
class OddAnswer:
    """What will be sent; `framing` is "length", "chunked" or "close", `interim` comes before the status line."""

    status: int
    headers: dict[str, str]
    body: bytes | Zeros = b""
    start: int = 0
    end: int = 0
    framing: str = "length"
    interim: bytes = b""
    most: int | None = None
    """Body bytes after which the connection is cut."""

    def become(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Be another answer altogether."""
        self.status, self.body, self.start, self.end = status, body, 0, len(body)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class _Stored:
    data: bytes | Zeros
    etag: str


Bend = Callable[[OddRequest, OddAnswer], str | None]


@dataclass
class _State:
    objects: dict[str, _Stored] = field(default_factory=dict)
    requests: list[OddRequest] = field(default_factory=list)
    etags_sent: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class OddStore(TcpServer):
    """The server; see the module. It takes If-Match only with an ETag that it sent, literally."""

    def __init__(self, bend: Bend = lambda _request, _answer: None) -> None:
        super().__init__()
        self.bend = bend
        self.bytes_sent = 0
        self._state = _State()

    def put(self, path: str, data: bytes | Zeros, *, part_size: int = 0, etag: str = "") -> None:
        """Store an object at `bucket/key`."""
        if not etag:
            etag = multipart_etag(data, part_size) if part_size else hashlib.md5(data).hexdigest()
        self._state.objects["/" + path] = _Stored(data, etag)

    @property
    def requests(self) -> list[OddRequest]:
        with self._state.lock:
            return list(self._state.requests)

    def serve(self, client: Connection) -> None:
        while (head := client.read_head()) is not None:
            request = self._record(head)
            answer = self._answer(request)
            if self.bend(request, answer) == DROP:
                client.reset()
                return
            if not self._send(client, request, answer):
                return

    def _record(self, head: Head) -> OddRequest:
        method, path, query = head.request_line()
        with self._state.lock:
            request = OddRequest(
                method,
                unquote(path),
                dict(parse_qsl(query, keep_blank_values=True)),
                {name.lower(): value for name, value in head.headers},
                len(self._state.requests),
            )
            self._state.requests.append(request)
        return request

    def _answer(self, request: OddRequest) -> OddAnswer:
        stored = self._state.objects.get(request.path)
        if request.kind in ("attributes", "versions"):
            return _refused(S3Error(501))
        if stored is None:
            return _refused(S3Error(404))
        wanted = request.headers.get("if-match")
        if wanted is not None and wanted not in self._state.etags_sent:
            return _refused(S3Error(412))
        size = len(stored.data)
        headers = {"ETag": f'"{stored.etag}"', "Content-Type": "binary/octet-stream"}
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if not found:
            return OddAnswer(200, headers, stored.data, 0, size)
        first, last = int(found[1]), min(int(found[2]), size - 1)
        if first > last:
            return _refused(S3Error(416))
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return OddAnswer(206, headers, stored.data, first, last + 1)

    def _send(self, client: Connection, request: OddRequest, answer: OddAnswer) -> bool:
        """Whether the connection stays open."""
        length = answer.end - answer.start
        headers = dict(answer.headers)
        if not headers.get("ETag", "W/").startswith("W/"):  # a weak one never matches
            self._state.etags_sent.add(headers["ETag"])
        if answer.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif answer.framing == "length":
            headers.setdefault("Content-Length", str(length))
        else:
            headers["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.sock.sendall(answer.interim + f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode("latin-1"))
        if request.method == "HEAD":
            return answer.framing != "close"
        left = length if answer.most is None else min(answer.most, length)
        for piece in _pieces(answer.body, answer.start, answer.start + left):
            chunked = answer.framing == "chunked"
            client.sock.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
            with self._state.lock:
                self.bytes_sent += len(piece)
        if left < length or answer.framing == "close":
            client.wait_until_delivered()
            return False
        if answer.framing == "chunked":
            client.sock.sendall(b"0\r\n\r\n")
        return True


def _refused(error: S3Error) -> OddAnswer:
    body = error.body()
    return OddAnswer(error.status, {"Content-Type": "application/xml"}, body, 0, len(body))


def _pieces(body: bytes | Zeros, start: int, end: int) -> Iterator[bytes | memoryview]:
    if isinstance(body, Zeros):
        yield from body.pieces(start, end)
        return
    for at in range(start, end, _PIECE):
        yield body[at : min(end, at + _PIECE)]
