"""An HTTP proxy before one S3 server that does to the traffic what its rules say.

    with FaultProxy(server.url, [Rule(Cut(after=1000))]) as proxy:
        client = s3_client(proxy.url)

The Host header goes through unchanged, so signatures stay valid. Bodies are streamed in pieces of
256 KiB, never kept. `proxy.exchanges` tells what was asked, answered and done to it.
"""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from tests.support.fault_rules import Delay, Plan, Request, Response, Rule
from tests.support.http_wire import PIECE, BadHttpError, Connection, Head
from tests.support.raw_files import raw_bytes
from tests.support.tcp_server import TcpServer

_LOOK_AGAIN_S = 0.02
_SHORTEST_SLEEP_S = 0.002


@dataclass
class Exchange:
    """One request and what became of it; `faults` are the rules that fired, as text."""

    method: str
    path: str
    query: str
    range: str | None
    status: int | None = None
    bytes_sent: int = 0
    faults: list[str] = field(default_factory=list)
    at: float = field(default_factory=time.monotonic)


class _Pace:
    """Tells how long to wait so that a stream, or several together, keep to a rate."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._due = 0.0
        self._lock = threading.Lock()

    def wait_for(self, size: int) -> float:
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due, now) + size / self.bytes_per_s
            return self._due - now


class FaultProxy(TcpServer):
    """The proxy; see the module.

    Args:
        upstream: `http://host:port` of any S3 server.
        rules: Looked at in this order; all that match act.
        link_bytes_per_s: The rate of the whole link, all connections together.
    """

    def __init__(self, upstream: str, rules: Iterable[Rule] = (), *, link_bytes_per_s: float | None = None) -> None:
        super().__init__()
        split = urlsplit(upstream)
        self._upstream = (split.hostname or "127.0.0.1", split.port or 80)
        self.rules: list[Rule] = list(rules)
        self._link = _Pace(link_bytes_per_s) if link_bytes_per_s else None
        self._flowing = threading.Event()
        self._flowing.set()
        self._exchanges: list[Exchange] = []
        self._log = threading.Lock()

    # --- for tests ---------------------------------------------------------------------------

    def add(self, *rules: Rule) -> Rule:
        """More rules, from the next request on; returns the first."""
        self.rules = [*self.rules, *rules]
        return rules[0]

    def clear(self) -> None:
        """No rules any more, from the next request on."""
        self.rules = []

    def pause(self) -> None:
        """Nothing moves any more, connections stay open."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    @property
    def exchanges(self) -> list[Exchange]:
        with self._log:
            return list(self._exchanges)

    @property
    def bytes_sent(self) -> int:
        """Body bytes given to clients."""
        return sum(exchange.bytes_sent for exchange in self.exchanges)

    def faults_by_kind(self) -> Counter[str]:
        """How often each kind of fault was put on the wire."""
        return Counter(text.partition("(")[0] for exchange in self.exchanges for text in exchange.faults)

    def stop(self) -> None:
        self._flowing.set()
        super().stop()

    # --- one client --------------------------------------------------------------------------

    def serve(self, client: Connection) -> None:
        with contextlib.ExitStack() as stack:
            upstream = _Upstream(self, stack)
            while (head := client.read_head()) is not None:
                self._hold()
                if not self._exchange(client, head, upstream) or self.closing.is_set():
                    return

    def _exchange(self, client: Connection, head: Head, upstream: "_Upstream") -> bool:
        """Serve one request; whether the connection can go on."""
        request = Request.of(head)
        exchange = Exchange(request.method, request.path, request.query, request.range)
        with self._log:
            self._exchanges.append(exchange)
        plan = Plan(request=Head(head.start_line, list(head.headers)))
        rules = [rule for rule in self.rules if rule.matches(request)]
        self._edit_request(rules, plan, exchange, request)
        if plan.delay_s:
            self.closing.wait(plan.delay_s)
        if plan.reset_at_once:
            client.reset()
            return False
        client.send_continue(head)
        plan.request.remove("Expect")
        if plan.answer is not None:
            for _ in client.read_body(head):
                pass
            exchange.status = plan.answer_status
            client.sock.sendall(plan.answer)
            goes_on = plan.keeps_alive
        else:
            plan.response = upstream.ask(plan.request, client.read_body(head))
            goes_on = self._pass_on(client, upstream, plan, exchange, rules)
        return goes_on and not head.closes()

    def _pass_on(
        self, client: Connection, upstream: "_Upstream", plan: Plan, exchange: Exchange, rules: list[Rule]
    ) -> bool:
        """Give the server's answer to the client as planned; whether the connection can go on."""
        answer = plan.response
        exchange.status = answer.status
        body, length = upstream.body(exchange.method, answer)
        keep_upstream = length is not None and not answer.closes()
        if length is None:
            # No length to keep to: the client gets the content, ended by closing.
            answer.remove("Transfer-Encoding")
            answer.replace("Connection", "close")
        self._edit_response(rules, plan, exchange, length or 0)
        client.sock.sendall(answer.encode())
        complete = self._relay(client, body, plan, exchange)
        if not complete or not keep_upstream:
            upstream.drop()
        return complete and plan.keeps_alive and not answer.closes()

    def _edit_request(self, rules: list[Rule], plan: Plan, exchange: Exchange, request: Request) -> None:
        for rule in sorted(rules, key=lambda rule: not rule.action.answers):
            if plan.is_answered and not isinstance(rule.action, Delay):
                continue
            edit = rule.action.on_request(request)
            if edit and rule.claim():
                edit(plan)
                exchange.faults.append(repr(rule.action))

    def _edit_response(self, rules: list[Rule], plan: Plan, exchange: Exchange, length: int) -> None:
        if exchange.status not in (200, 206):
            return
        for edit in plan.when_answered:
            edit(plan)
        response = Response(plan.response, _first_byte(plan.response), length, reach=length)
        for rule in sorted(rules, key=lambda rule: not rule.action.ends_body):
            edit = rule.action.on_response(response)
            if edit and rule.claim():
                edit(plan)
                exchange.faults.append(repr(rule.action))
            if plan.end:
                response = replace(response, reach=plan.end[0])

    def _relay(self, client: Connection, body: Iterator[memoryview], plan: Plan, exchange: Exchange) -> bool:
        """Send the body as planned; whether it went out to its end."""
        pace = _Pace(plan.bytes_per_s) if plan.bytes_per_s else None
        first = _first_byte(plan.response)
        slices = _Slices(sorted({position for position, _ in [*plan.pauses, *([plan.end] if plan.end else [])]}), pace)
        at = 0
        for arrived in body:
            for piece in slices.of(arrived, at):
                if not self._stop_at(client, at, plan):
                    return False
                self._hold()
                if plan.swap_seed is not None:
                    piece[:] = raw_bytes(len(piece), plan.swap_seed, first + at)
                for position, mask in plan.flips:
                    if at <= position < at + len(piece):
                        piece[position - at] ^= mask
                self._keep_pace(len(piece), pace)
                exchange.bytes_sent = at + len(piece)  # before: who has read the last byte may ask at once
                try:
                    client.sock.sendall(piece)
                except OSError:
                    exchange.bytes_sent = at
                    raise
                at += len(piece)
        return True

    def _stop_at(self, client: Connection, at: int, plan: Plan) -> bool:
        """Pause or end here if the plan says so; False: it is over."""
        for position, seconds in plan.pauses:
            if position == at:
                self._sleep_while_connected(client, seconds)
        if plan.end is None or plan.end[0] != at:
            return True
        how = plan.end[1]
        if how == "stall":
            self._sleep_while_connected(client, float("inf"))
        elif how == "reset":
            client.wait_until_delivered()
            client.reset()
        # A cut needs nothing: the connection is closed once we return.
        return False

    def _sleep_while_connected(self, client: Connection, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not client.peer_has_closed():
            if self.closing.wait(min(left, _LOOK_AGAIN_S)):
                return

    def _keep_pace(self, size: int, pace: _Pace | None) -> None:
        for one in (pace, self._link):
            if one and (wait := one.wait_for(size)) > _SHORTEST_SLEEP_S:
                self.closing.wait(wait)

    def _hold(self) -> None:
        while not self._flowing.wait(_LOOK_AGAIN_S) and not self.closing.is_set():
            pass


class _Slices:
    """Cuts arriving pieces so that none crosses a position of the plan, and small where the pace is slow."""

    def __init__(self, positions: list[int], pace: _Pace | None) -> None:
        self._positions = positions
        self._largest = max(1, min(PIECE, int(pace.bytes_per_s / 20))) if pace else PIECE

    def of(self, arrived: memoryview, at: int) -> Iterator[memoryview]:
        done = 0
        while done < len(arrived):
            end = min(len(arrived), done + self._largest)
            for position in self._positions:
                if done < position - at < end:
                    end = position - at
                    break
            yield arrived[done:end]
            done = end


class _Upstream:
    """The connection to the server that belongs to one client; made when needed, kept while both sides like."""

    def __init__(self, proxy: FaultProxy, stack: contextlib.ExitStack) -> None:
        self._proxy = proxy
        self._connection: Connection | None = None
        stack.callback(self.drop)

    def ask(self, head: Head, body: Iterator[memoryview]) -> Head:
        """Send the request, return the head of the answer."""
        reused = self._connection is not None
        has_body = head.content_length() or head.get("Transfer-Encoding")
        try:
            return self._ask(head, body)
        except (OSError, BadHttpError):
            self.drop()
            if not reused or has_body:
                raise
            # The server may have closed a connection that was idle.
            return self._ask(head, body)

    def body(self, method: str, head: Head) -> tuple[Iterator[memoryview], int | None]:
        """The body's pieces and its length (None: not told)."""
        if method == "HEAD" or head.status in (204, 304):
            return iter(()), 0
        if "chunked" in (head.get("Transfer-Encoding") or "").lower():
            return self._connection.read_chunked(), None
        length = head.content_length()
        if length is None:
            return self._connection.read_to_end(), None
        return self._whole(length), length

    def drop(self) -> None:
        if self._connection is not None:
            self._proxy.untrack(self._connection.sock)
            self._connection = None

    def _ask(self, head: Head, body: Iterator[memoryview]) -> Head:
        if self._connection is None:
            sock = socket.create_connection(self._proxy._upstream, timeout=10)
            sock.settimeout(None)
            self._connection = Connection(self._proxy.track(sock))
        sock = self._connection.sock
        sock.sendall(head.encode())
        chunked = head.get("Transfer-Encoding") is not None
        for piece in body:
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        answer = self._connection.read_head()
        while answer is not None and answer.status == 100:
            answer = self._connection.read_head()
        if answer is None:
            raise BadHttpError("the server closed without an answer")
        return answer

    def _whole(self, length: int) -> Iterator[memoryview]:
        for piece in self._connection.read_exactly(length):
            length -= len(piece)
            yield piece
        if length:
            raise BadHttpError("the server closed within the body")


def _first_byte(head: Head) -> int:
    """Offset in the object of the body's first byte."""
    start = (head.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else 0
