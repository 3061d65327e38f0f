"""A stand-in for AWS STS: AssumeRole gives credentials that last for as long as a test says."""

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from tests.support.http_wire import Connection, response_head
from tests.support.tcp_server import TcpServer


class TokenService(TcpServer):
    """See the module.

    Args:
        lasts_s: seconds for which credentials are good.
    """

    def __init__(self, lasts_s: float) -> None:
        super().__init__()
        self.lasts_s = lasts_s
        self.given: dict[str, datetime] = {}
        """Access key -> when it expires."""
        self.fault: Callable[[int], int] = lambda _number: 0
        """Number of the request -> a status of HTTP to answer with, -1 to reset, 0 for none."""
        self.requests = 0
        self._counting = threading.Lock()

    def is_good(self, access_key: str) -> bool:
        return self.given.get(access_key, datetime.min.replace(tzinfo=UTC)) > datetime.now(tz=UTC)

    def serve(self, client: Connection) -> None:
        while (head := client.read_head()) is not None:
            client.send_continue(head)
            body = b"".join(bytes(piece) for piece in client.read_body(head))
            assert parse_qs(body.decode())["Action"] == ["AssumeRole"]
            with self._counting:
                number = self.requests
                self.requests += 1
            status = self.fault(number)
            if status < 0:
                client.reset()
                return
            answer = f"<ErrorResponse><Error><Code>Fault{status}</Code></Error></ErrorResponse>".encode()
            answer = answer if status else self._credentials()
            fields = [("Content-Type", "text/xml"), ("Content-Length", str(len(answer)))]
            client.sock.sendall(response_head(status or 200, fields).encode() + answer)

    def _credentials(self) -> bytes:
        key = f"ASIA{uuid.uuid4().hex[:16].upper()}"
        until = datetime.now(tz=UTC) + timedelta(seconds=self.lasts_s)
        self.given[key] = until
        return (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-{key}</SecretAccessKey>"
            f"<SessionToken>token-{key}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>"
            "<AssumedRoleId>x</AssumedRoleId></AssumedRoleUser>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        ).encode()


class ContainerCredentials(TcpServer):
    """A stand-in for what gives containers on ECS and EKS their credentials; `fault` is as above."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[int], int] = lambda _number: 0
        self.requests = 0

    def serve(self, client: Connection) -> None:
        while client.read_head() is not None:
            status = self.fault(self.requests)
            self.requests += 1
            if status < 0:
                client.reset()
                return
            answer = b"" if status else json.dumps(_OF_CONTAINER).encode()
            client.sock.sendall(response_head(status or 200, [("Content-Length", str(len(answer)))]).encode() + answer)


_OF_CONTAINER = {
    "AccessKeyId": "AKIDFORTESTS",
    "SecretAccessKey": "secret-of-container",
    "Token": "token-of-container",
    "Expiration": "2099-01-01T00:00:00Z",
}
