"""A webhook receiver that keeps what is posted to it."""

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.support.http_wire import Connection, response_head
from tests.support.tcp_server import TcpServer


@dataclass(frozen=True)
class Post:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class WebhookReceiver(TcpServer):
    """`with WebhookReceiver() as hook: … hook.url … hook.posts`; answers `status` after `delay_s`.

    `location` is where a redirect leads. With `drips_s`, the answer comes byte by byte, one in so many seconds.
    """

    def __init__(self, *, status: int = 200, delay_s: float = 0.0, drips_s: float = 0.0, location: str = "") -> None:
        super().__init__()
        self.status = status
        self.delay_s = delay_s
        self.drips_s = drips_s
        self.location = location
        self._posts: list[Post] = []
        self._arrived = threading.Condition()

    @property
    def posts(self) -> list[Post]:
        with self._arrived:
            return list(self._posts)

    def forget(self) -> None:
        """Forget what was posted so far."""
        with self._arrived:
            self._posts.clear()

    def wait_for(self, count: int = 1, timeout_s: float = 5.0) -> list[Post]:
        """The posts, once there are so many; TimeoutError when they do not come."""
        end = time.monotonic() + timeout_s
        with self._arrived:
            while len(self._posts) < count:
                left = end - time.monotonic()
                if left <= 0 or not self._arrived.wait(left):
                    raise TimeoutError(f"{len(self._posts)} of {count} posts after {timeout_s} s")
            return list(self._posts)

    def serve(self, client: Connection) -> None:
        while (head := client.read_head()) is not None:
            client.send_continue(head)
            body = b"".join(bytes(piece) for piece in client.read_body(head))
            method, path, _ = head.request_line()
            if method == "POST":
                with self._arrived:
                    self._posts.append(Post(path, {name.lower(): value for name, value in head.headers}, body))
                    self._arrived.notify_all()
            self.closing.wait(self.delay_s)
            status = self.status if method == "POST" else 405
            fields = [("Content-Length", "0"), *([("Location", self.location)] if self.location else [])]
            answer = response_head(status, fields).encode()
            if self.drips_s:
                for number in range(len(answer)):
                    if self.closing.wait(self.drips_s):
                        return
                    client.sock.sendall(answer[number : number + 1])
            else:
                client.sock.sendall(answer)
            if head.closes():
                return
