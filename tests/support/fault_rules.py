"""What can go wrong between S3 and us, as values: rules for the fault proxy.

    Rule(Cut(after=1000), key="a.raw", times=2)
    Rule(Status(503), method="GET", probability=0.1, seed=7, times=None)
    Rule(FlipBit(at=12345, in_object=True))

A rule looks at a request (method, key, range, the nth one, probability); its action says what is done.
Several rules may act on one exchange: a throttled stream can also be cut. A rule fires only where its
action has an effect (a cut after 1000 bytes leaves a body of 500 alone, and `times` untouched), so
`rule.fired` counts faults that were really put on the wire.

Positions (`after`, `at`) count body bytes of the response; negative ones from its end; with
`in_object=True` they are offsets in the object, and hit whichever response carries that byte.
"""

import random
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.support.http_wire import Head
from tests.support.s3_errors import S3Error

MIB = 1 << 20


@dataclass(frozen=True)
class Request:
    """What rules look at."""

    method: str
    path: str
    query: str
    first_byte: int
    range: str | None
    head: Head

    @classmethod
    def of(cls, head: Head) -> "Request":
        method, path, query = head.request_line()
        wanted = head.get("Range")
        found = re.match(r"bytes=(\d+)-", wanted or "")
        return cls(method, unquote(path), query, int(found[1]) if found else 0, wanted, head)


@dataclass(frozen=True)
class Response:
    """What came from the server.

    `first` is the offset in the object of the first body byte, `length` the body's; nothing after
    `reach` will be sent, since another rule ends the body there.
    """

    head: Head
    first: int
    length: int
    reach: int

    def position(self, at: int, *, in_object: bool) -> int | None:
        """Where in this body, None when not in it."""
        if in_object:
            at -= self.first
        elif at < 0:
            at += self.length
        return at if 0 <= at < self.reach else None


@dataclass
class Plan:
    """What is going to happen to one exchange. The actions of all rules that fired have written into it."""

    request: Head
    response: Head | None = None
    delay_s: float = 0.0
    reset_at_once: bool = False
    answer: bytes | None = None
    answer_status: int | None = None
    keeps_alive: bool = True
    flips: list[tuple[int, int]] = field(default_factory=list)
    end: tuple[int, str] | None = None
    pauses: list[tuple[int, float]] = field(default_factory=list)
    bytes_per_s: float | None = None
    swap_seed: int | None = None
    when_answered: list["Edit"] = field(default_factory=list)

    @property
    def is_answered(self) -> bool:
        """The server will not be asked."""
        return self.reset_at_once or self.answer is not None

    def end_at(self, position: int, how: str) -> None:
        """The earliest end wins."""
        if self.end is None or position < self.end[0]:
            self.end = (position, how)


Edit = Callable[[Plan], None]


@dataclass(frozen=True)
class Action:
    """A fault. `on_request` and `on_response` give the edit to make, or None where this one has nothing to do."""

    @property
    def kind(self) -> str:
        return type(self).__name__

    @property
    def answers(self) -> bool:
        """Whether it takes the place of the server's answer."""
        return False

    @property
    def ends_body(self) -> bool:
        """Whether nothing follows after its position."""
        return False

    def on_request(self, request: Request) -> Edit | None:
        return None

    def on_response(self, response: Response) -> Edit | None:
        return None


@dataclass(frozen=True)
class Status(Action):
    """An S3 error instead of the server's answer: 500, 503 (SlowDown), 403, 404, 412, or any other `code`."""

    status: int
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def on_request(self, request: Request) -> Edit:
        body = S3Error(self.status, self.code).body()
        head = Head(f"HTTP/1.1 {self.status} Fault", [("Content-Type", "application/xml"), *self.headers])
        head.replace("Content-Length", str(0 if request.method == "HEAD" else len(body)))
        answer = head.encode() + (b"" if request.method == "HEAD" else body)

        def edit(plan: Plan) -> None:
            plan.answer, plan.answer_status = answer, self.status

        return edit

    @property
    def answers(self) -> bool:
        return True


@dataclass(frozen=True)
class GatewayPage(Action):
    """A web page of something before the server, instead of its answer."""

    status: int

    def on_request(self, request: Request) -> Edit:
        body = b"" if request.method == "HEAD" else b"<html><title>No such address</title></html>"
        fields = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        answer = Head(f"HTTP/1.1 {self.status} Fault", fields).encode() + body

        def edit(plan: Plan) -> None:
            plan.answer, plan.answer_status = answer, self.status

        return edit

    @property
    def answers(self) -> bool:
        return True


@dataclass(frozen=True)
class Garbage(Action):
    """Bytes that are no HTTP, then the end."""

    data: bytes = b"\x00\xff this is no HTTP\r\n\r\n"

    def on_request(self, request: Request) -> Edit:
        def edit(plan: Plan) -> None:
            plan.answer, plan.keeps_alive = self.data, False

        return edit

    @property
    def answers(self) -> bool:
        return True


@dataclass(frozen=True)
class Delay(Action):
    """Wait before the headers."""

    seconds: float

    def on_request(self, request: Request) -> Edit:
        def edit(plan: Plan) -> None:
            plan.delay_s += self.seconds

        return edit


@dataclass(frozen=True)
class Reset(Action):
    """RST: before the headers (`after` None), or after that many body bytes."""

    after: int | None = None
    in_object: bool = False

    def on_request(self, request: Request) -> Edit | None:
        def edit(plan: Plan) -> None:
            plan.reset_at_once = True

        return edit if self.after is None else None

    def on_response(self, response: Response) -> Edit | None:
        return None if self.after is None else _ending(response, self.after, self.in_object, "reset")

    @property
    def answers(self) -> bool:
        return self.after is None

    @property
    def ends_body(self) -> bool:
        return self.after is not None


@dataclass(frozen=True)
class Cut(Action):
    """A clean end of the connection after that many body bytes, though Content-Length promised more."""

    after: int
    in_object: bool = False

    def on_response(self, response: Response) -> Edit | None:
        return _ending(response, self.after, self.in_object, "cut")

    @property
    def ends_body(self) -> bool:
        return True


@dataclass(frozen=True)
class Stall(Action):
    """Not a byte more after that many, for ever (until the client or the proxy closes) or for some seconds."""

    after: int = 0
    in_object: bool = False
    seconds: float | None = None

    def on_response(self, response: Response) -> Edit | None:
        if self.seconds is None:
            return _ending(response, self.after, self.in_object, "stall")
        position = response.position(self.after, in_object=self.in_object)

        def edit(plan: Plan) -> None:
            plan.pauses.append((position, self.seconds))

        return None if position is None else edit

    @property
    def ends_body(self) -> bool:
        return self.seconds is None


@dataclass(frozen=True)
class Throttle(Action):
    """The body trickles at this rate."""

    bytes_per_s: float

    def on_response(self, response: Response) -> Edit | None:
        def edit(plan: Plan) -> None:
            plan.bytes_per_s = min(self.bytes_per_s, plan.bytes_per_s or self.bytes_per_s)

        return edit if response.length else None


@dataclass(frozen=True)
class FlipBit(Action):
    """One bit of the body is wrong, and nothing else."""

    at: int
    bit: int = 0
    in_object: bool = False

    def on_response(self, response: Response) -> Edit | None:
        position = response.position(self.at, in_object=self.in_object)

        def edit(plan: Plan) -> None:
            plan.flips.append((position, 1 << self.bit))

        return None if position is None else edit


@dataclass(frozen=True)
class SwapBody(Action):
    """Another body of the same length: bytes of the stream `seed` of `raw_files`, as if it were another object."""

    seed: int = 1

    def on_response(self, response: Response) -> Edit | None:
        def edit(plan: Plan) -> None:
            plan.swap_seed = self.seed

        return edit if response.length else None


@dataclass(frozen=True)
class WrongContentRange(Action):
    """The right bytes with a Content-Range that is moved by `shift`, or whose total is wrong by `total`."""

    shift: int = 1
    total: int = 0

    def on_response(self, response: Response) -> Edit | None:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.head.get("Content-Range") or "")
        if not found:
            return None
        first, last, total = (int(number) for number in found.groups())
        value = f"bytes {first + self.shift}-{last + self.shift}/{total + self.total}"
        return lambda plan: plan.response.replace("Content-Range", value)


@dataclass(frozen=True)
class ShiftRange(Action):
    """Bytes from `by` further on than was asked for; `honest` tells so in Content-Range, else it shows what was asked.

    Only for ranges with both ends; the answer is shorter where the object ends.
    """

    by: int = 1
    honest: bool = True

    def on_request(self, request: Request) -> Edit | None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.range or "")
        if not found or int(found[1]) + self.by < 0:
            return None
        first, last = int(found[1]), int(found[2])

        def edit(plan: Plan) -> None:
            plan.request.replace("Range", f"bytes={first + self.by}-{last + self.by}")
            if not self.honest:
                plan.when_answered.append(self._disguise)

        return edit

    def _disguise(self, plan: Plan) -> None:
        """Put the range that was asked for back into the answer."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", plan.response.get("Content-Range") or "")
        if found:
            first, last = int(found[1]) - self.by, int(found[2]) - self.by
            plan.response.replace("Content-Range", f"bytes {first}-{last}/{found[3]}")


@dataclass(frozen=True)
class WrongContentLength(Action):
    """Content-Length is wrong by `by`; all bytes are sent all the same, then the connection ends.

    Where it is too small, the surplus lies in wait on the client's kept connection: its next request may fail too.
    """

    by: int

    def on_response(self, response: Response) -> Edit | None:
        length = response.head.content_length()
        if length is None or length + self.by < 0:
            return None

        def edit(plan: Plan) -> None:
            plan.response.replace("Content-Length", str(length + self.by))
            plan.keeps_alive = False

        return edit


@dataclass(frozen=True)
class MissingHeader(Action):
    """A header of the answer is left away: "Content-Range", "ETag", "Content-Length" (then closing ends the body)."""

    name: str

    def on_response(self, response: Response) -> Edit | None:
        if response.head.get(self.name) is None:
            return None

        def edit(plan: Plan) -> None:
            plan.response.remove(self.name)
            if self.name.lower() == "content-length":
                plan.response.replace("Connection", "close")
                plan.keeps_alive = False

        return edit


@dataclass(frozen=True)
class DuplicateHeader(Action):
    """A header comes twice, the second time with `value` (None: the same)."""

    name: str
    value: str | None = None

    def on_response(self, response: Response) -> Edit | None:
        now = response.head.get(self.name)
        value = now if self.value is None else self.value
        return None if now is None else lambda plan: plan.response.headers.append((self.name, value))


@dataclass(frozen=True)
class SetHeader(Action):
    """A header of the answer gets this value, whether it was there or not."""

    name: str
    value: str

    def on_response(self, response: Response) -> Edit:
        return lambda plan: plan.response.replace(self.name, self.value)


@dataclass(frozen=True)
class IgnoreRange(Action):
    """The server does not know ranges: 200 and the whole."""

    def on_request(self, request: Request) -> Edit | None:
        return None if request.range is None else lambda plan: plan.request.remove("Range")


@dataclass(frozen=True)
class IgnoreIfMatch(Action):
    """The server does not know If-Match: it never answers 412."""

    def on_request(self, request: Request) -> Edit | None:
        return None if request.head.get("If-Match") is None else lambda plan: plan.request.remove("If-Match")


def _ending(response: Response, after: int, in_object: bool, how: str) -> Edit | None:
    position = response.position(after, in_object=in_object)
    return None if position is None else lambda plan: plan.end_at(position, how)


@dataclass(eq=False)
class Rule:
    """When an action is taken. Everything left out matches everything.

    Args:
        action: What is done.
        method: "GET", "HEAD", …
        key: A regular expression, searched in the path as it reads, "/bucket/folder/a.raw".
        query: A regular expression, searched in the query as sent, "attributes", "partNumber=3".
        range_start: The first byte asked for; a request without Range starts at 0.
        nth: Leave the first nth - 1 matching requests alone.
        probability: Drawn for each request from `seed`, the request and how often it came: the same
            requests draw the same, whatever order threads send them in.
        times: How often it fires at most; None is for ever.
        seed: For the draws.
    """

    action: Action
    method: str | None = None
    key: str | None = None
    query: str | None = None
    range_start: int | None = None
    nth: int = 1
    probability: float = 1.0
    times: int | None = 1
    seed: int = 0
    fired: int = field(default=0, init=False, repr=False)
    matched: int = field(default=0, init=False, repr=False)
    _seen: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def matches(self, request: Request) -> bool:
        """Whether this request is one of ours; counts it."""
        if not (
            self.method in (None, request.method)
            and (self.key is None or re.search(self.key, request.path))
            and (self.query is None or re.search(self.query, request.query))
            and self.range_start in (None, request.first_byte)
        ):
            return False
        with self._lock:
            self.matched += 1
            return self.matched >= self.nth and self._draw(request)

    def claim(self) -> bool:
        """Take one of the `times`, if there is one left."""
        with self._lock:
            if self.times is not None and self.fired >= self.times:
                return False
            self.fired += 1
            return True

    def _draw(self, request: Request) -> bool:
        if self.probability >= 1:
            return True
        name = f"{self.seed} {request.method} {request.path}?{request.query} {request.range}"
        self._seen[name] = self._seen.get(name, 0) + 1
        return random.Random(f"{name} {self._seen[name]}").random() < self.probability

    def __str__(self) -> str:
        """As Python that makes this rule again, without what is left at its default."""
        shown = [repr(self.action)]
        for name in ("method", "key", "query", "range_start", "nth", "probability", "times", "seed"):
            value = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default:
                shown.append(f"{name}={value!r}")
        return f"Rule({', '.join(shown)})"


def random_rules(
    seed: int, intensity: float = 0.5, *, body_size: int = 8 * MIB, max_delay_s: float = 0.3, key: str | None = None
) -> list[Rule]:
    """Faults drawn from a seed: 1 rule at intensity 0, about 12 at 1, each firing a few times, never for ever.

    Args:
        seed: The same seed gives the same rules.
        intensity: 0 to 1.
        body_size: Positions are drawn below this, small ones as often as large ones.
        max_delay_s: For delays and passing stalls. A stall for ever needs a client with a read timeout.
        key: Only for paths like this.
    """
    rng = random.Random(f"faults {seed}")

    def position() -> int:
        return int(body_size ** rng.random()) - rng.randint(0, 1)

    def actions() -> list[tuple[float, Callable[[], Action]]]:
        return [
            (
                3,
                lambda: Status(
                    *rng.choice([(500,), (503,), (503,), (503, "ServiceUnavailable"), (400, "RequestTimeout")])
                ),
            ),
            (1, lambda: Status(*rng.choice([(403,), (404,), (412,), (403, "InvalidObjectState")]))),
            (1, lambda: GatewayPage(rng.choice([200, 404, 502]))),
            (2, lambda: Reset(rng.choice([None, position()]))),
            (3, lambda: Cut(position())),
            (2, lambda: FlipBit(position(), rng.randrange(8))),
            (1, lambda: Stall(position())),
            (1, lambda: Stall(position(), seconds=round(rng.uniform(0, max_delay_s), 3))),
            (1, lambda: Delay(round(rng.uniform(0, max_delay_s), 3))),
            (1, lambda: Throttle(rng.randint(1, 50) * MIB)),
            (1, lambda: SwapBody(rng.randrange(1000))),
            (1, lambda: WrongContentRange(rng.choice([-1, 1, MIB]), rng.choice([0, 0, -1, 1]))),
            (1, lambda: ShiftRange(rng.choice([1, 4096, MIB]), honest=rng.random() < 0.5)),
            (1, lambda: WrongContentLength(rng.choice([-1, 1, 1000]))),
            (1, lambda: MissingHeader(rng.choice(["Content-Range", "ETag", "Content-Length"]))),
            (1, lambda: DuplicateHeader("Content-Length", rng.choice([None, "17"]))),
            (1, lambda: DuplicateHeader("ETag", rng.choice([None, '"0123456789abcdef0123456789abcdef"']))),
            (1, lambda: SetHeader("ETag", '"0123456789abcdef0123456789abcdef"')),
            (1, IgnoreRange),
            (1, IgnoreIfMatch),
            (0.5, Garbage),
        ]

    weights, makers = zip(*actions(), strict=True)
    rules = []
    for number in range(1 + round(11 * intensity * rng.uniform(0.6, 1.0))):
        maker = rng.choices(makers, weights)[0]
        rules.append(
            Rule(
                maker(),
                method=rng.choice(["GET", "GET", "GET", None]),
                key=key,
                nth=rng.choice([1, 1, 2, 5]),
                probability=round(rng.uniform(0.1, 0.1 + 0.9 * max(intensity, 0.1)), 2),
                times=rng.randint(1, 1 + round(4 * intensity)),
                seed=seed * 1000 + number,
            )
        )
    return rules


def describe(rules: Sequence[Rule]) -> str:
    """One line a rule, with how often it fired: to print beside a failing seed."""
    return "\n".join(f"{rule}  # fired {rule.fired} of {rule.matched}" for rule in rules)
