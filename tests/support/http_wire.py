"""HTTP/1.1 on a plain socket, byte for byte.

`http.server` and `http.client` mend what they send and receive; servers that must lie on purpose
(wrong lengths, duplicate headers, a reset in the middle) need the wire itself.
"""

import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD = 1 << 16
PIECE = 1 << 18  # small enough to stay in the cache between receiving and sending


class BadHttpError(Exception):
    """The peer does not speak HTTP."""


@dataclass
class Head:
    """Start line and headers of a request or a response; header names keep their case and their duplicates."""

    start_line: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        start_line, *lines = raw.decode("latin-1").split("\r\n")
        head = cls(start_line)
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadHttpError(f"header line without a colon: {line!r}")
            head.headers.append((name, value.strip()))
        return head

    def get(self, name: str) -> str | None:
        """The first value, or None."""
        wanted = name.lower()
        return next((value for other, value in self.headers if other.lower() == wanted), None)

    def remove(self, name: str) -> None:
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]

    def replace(self, name: str, value: str) -> None:
        self.remove(name)
        self.headers.append((name, value))

    def content_length(self) -> int | None:
        value = self.get("Content-Length")
        return int(value) if value is not None and value.isdigit() else None

    def request_line(self) -> tuple[str, str, str]:
        """Method, path and query of a request, as sent."""
        words = self.start_line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadHttpError(f"no request line: {self.start_line!r}")
        path, _, query = words[1].partition("?")
        return words[0], path, query

    @property
    def status(self) -> int:
        """Of a response."""
        parts = self.start_line.split(" ", 2)
        if not parts[0].startswith("HTTP/1.") or len(parts) == 1 or not parts[1].isdigit():
            raise BadHttpError(f"no status line: {self.start_line!r}")
        return int(parts[1])

    def closes(self) -> bool:
        """Whether the connection ends after this message."""
        wish = (self.get("Connection") or "").lower()
        return wish == "close" or ("HTTP/1.0" in self.start_line and wish != "keep-alive")

    def encode(self) -> bytes:
        lines = [self.start_line, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def response_head(status: int, headers: list[tuple[str, str]] | None = None) -> Head:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    return Head(f"HTTP/1.1 {status} {phrase}", list(headers or []))


class Connection:
    """A socket with a read buffer. `OSError` and `BadHttpError` mean that it is over."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ahead = b""

    def read_head(self) -> Head | None:
        """The next head, None when the peer has closed in between."""
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            if len(self._ahead) > MAX_HEAD:
                raise BadHttpError("head too long")
            piece = self.sock.recv(PIECE)
            if not piece:
                if self._ahead:
                    raise BadHttpError("closed within the head")
                return None
            self._ahead += piece
        raw, self._ahead = self._ahead[:end], self._ahead[end + 4 :]
        return Head.parse(raw.lstrip(b"\r\n"))

    def send_continue(self, head: Head) -> None:
        """Let a client that waits for it send its body."""
        if (head.get("Expect") or "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def read_exactly(self, size: int) -> Iterator[memoryview]:
        """`size` body bytes in pieces that are valid until the next one; fewer when the peer closes."""
        yield from self._read(size)

    def read_to_end(self) -> Iterator[memoryview]:
        """Everything until the peer closes."""
        yield from self._read(1 << 62)

    def read_chunked(self) -> Iterator[memoryview]:
        """The content of a chunked body."""
        while size := int(self._read_line().split(b";")[0], 16):
            yield from self._read(size)
            self._read_line()
        while self._read_line():
            pass

    def read_body(self, head: Head) -> Iterator[memoryview]:
        """The body of a request."""
        if "chunked" in (head.get("Transfer-Encoding") or "").lower():
            yield from self.read_chunked()
        else:
            yield from self._read(head.content_length() or 0)

    def _read(self, size: int) -> Iterator[memoryview]:
        if self._ahead and size:
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            size -= len(piece)
            yield memoryview(bytearray(piece))
        if not size:
            return
        view = memoryview(bytearray(min(PIECE, size)))
        while size:
            got = self.sock.recv_into(view[: min(size, len(view))])
            if not got:
                return
            size -= got
            yield view[:got]

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._ahead:
            piece = self.sock.recv(PIECE)
            if not piece:
                raise BadHttpError("closed within a chunk")
            self._ahead += piece
        line, _, self._ahead = self._ahead.partition(b"\r\n")
        return line

    def peer_has_closed(self) -> bool:
        """Whether the peer is gone; looks without waiting and without taking."""
        try:
            readable, _, _ = select.select([self.sock], [], [], 0)
            return bool(readable) and not self.sock.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def wait_until_delivered(self, limit_s: float = 1.0) -> None:
        """Wait until the peer's kernel has all that was sent: a reset throws away what is still queued here."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            queued = fcntl.ioctl(self.sock, termios.TIOCOUTQ, struct.pack("i", 0))
            if struct.unpack("i", queued)[0] == 0:
                return
            time.sleep(0.001)

    def reset(self) -> None:
        """End with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()
