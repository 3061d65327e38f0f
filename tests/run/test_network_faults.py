"""Issue 3, item 6 and "Bad input"; issue 4, item 1: what the network and the server do wrong, each on the wire.

Three kinds of file, because each is fetched in another way: `small` at once without HEAD (H1), `parts` part by part
(H2), `large` in segments with the hash behind them (H1).
"""

import re
import threading
import time

import pytest

from s3_restore.model.file_specs import FileSpec
from tests.support.engine_fixtures import BUCKET, Stand, span
from tests.support.fault_rules import (
    Action,
    Cut,
    Delay,
    DuplicateHeader,
    FlipBit,
    Garbage,
    IgnoreIfMatch,
    IgnoreRange,
    MissingHeader,
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
)
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_errors import S3Error

pytest_plugins = ["tests.support.engine_plugin"]

SMALL = raw_bytes(300_000, "small")
PARTS = raw_bytes(5 * MIB + 77, "parts")
LARGE = raw_bytes(17 * MIB + 1, "large")
NO_CONTENT_RANGE = MissingHeader("Content-Range")
OTHER_ETAG = '"0123456789abcdef0123456789abcdef"'

KINDS = {"small": (SMALL, "H1", 100), "parts": (PARTS, "H2", 1), "large": (LARGE, "H1", 5)}
kinds = pytest.mark.parametrize("kind", list(KINDS))


def put(stand: Stand, kind: str, **options) -> bytes:
    data, form, part_mib = KINDS[kind]
    stand.put("a.raw", data, form, part_mib=part_mib, **options)
    return data


# --- faults that pass: the run ends well ------------------------------------------------------------------------------

PASSING: list[Action] = [
    Status(503),
    Status(500),
    Status(502, "BadGateway"),
    Status(503, "ServiceUnavailable"),
    Status(429, "TooManyRequests"),
    Status(400, "RequestTimeout"),
    Reset(),
    Reset(after=0),
    Reset(after=100_000),
    Cut(after=0),
    Cut(after=1),
    Cut(after=100_000),
    Cut(after=-1),
    Stall(after=0),
    Stall(after=100_000),
    Stall(after=100_000, seconds=0.1),
    Delay(0.1),
    Delay(0.8),
    Throttle(20_000_000),
    FlipBit(at=0),
    FlipBit(at=-1, bit=7),
    SwapBody(),
    WrongContentRange(shift=1),
    WrongContentRange(shift=-1),
    ShiftRange(by=1, honest=True),
    ShiftRange(by=1, honest=False),
    WrongContentLength(by=1),
    WrongContentLength(by=-1),
    MissingHeader("Content-Length"),
    NO_CONTENT_RANGE,
    MissingHeader("ETag"),
    DuplicateHeader("Content-Length"),
    DuplicateHeader("Content-Length", "17"),
    DuplicateHeader("ETag", OTHER_ETAG),
    SetHeader("Content-Encoding", "gzip"),
    SetHeader("Content-Length", "nonsense"),
    SetHeader("Content-Length", "-1"),
    SetHeader("Transfer-Encoding", "chunked"),
    Garbage(),
    Garbage(b""),
    Garbage(b"HTTP/1.1 200 OK\r\n"),
    Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    Garbage(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/5\r\n\r\nhello"),
    Garbage(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"),
    Garbage(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 20\r\n\r\n<html>not xml</html>"),
]
NO_OK_NEEDED = (
    # Nothing says that the next answer would be another: the file may fail, as long as it does so with a reason.
    WrongContentLength,
    Garbage,
    SetHeader,
    DuplicateHeader,
)


OF_BODIES = (Reset, Cut, Stall, Throttle, FlipBit, SwapBody, ShiftRange, WrongContentRange, MissingHeader, Garbage)
ONCE = [
    pytest.param(kind, action, id=f"{kind}-{action!r}")
    for kind in KINDS
    for action in PASSING
    if kind != "large" or isinstance(action, OF_BODIES)  # heads are read in the same way for all kinds
]


@pytest.mark.parametrize(("kind", "action"), ONCE)
def test_once_on_a_get(stand: Stand, kind: str, action: Action) -> None:
    """One fault on the first GET that it can be put on. Never a wrong OK; what passes ends well in the same run."""
    put(stand, kind)
    rule = stand.proxy.add(Rule(action, method="GET"))
    begun = time.monotonic()
    run = stand.restore(stall_timeout_s=0.5)
    assert time.monotonic() - begun < 8
    stand.assert_no_wrong_ok(run)
    if not isinstance(action, NO_OK_NEEDED):
        assert run["a.raw"].startswith("OK - Downloaded and verified (")
    if run.status == "SUCCESS":
        assert stand.others == []
    is_of_ranges = isinstance(action, WrongContentRange | ShiftRange) or action == NO_CONTENT_RANGE
    assert rule.fired == 1 or (kind == "small" and is_of_ranges)
    # And whatever came of it, the next run puts it right.
    stand.proxy.clear()
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize(
    "action",
    [
        Status(503),
        Status(500),
        Status(400),
        Reset(),
        Delay(0.8),
        Garbage(),
        MissingHeader("Content-Length"),
        MissingHeader("ETag"),
        SetHeader("Content-Length", "nonsense"),
        SetHeader("ETag", OTHER_ETAG),
        DuplicateHeader("ETag", OTHER_ETAG),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["parts", "large"])
def test_once_on_the_head(stand: Stand, kind: str, action: Action) -> None:
    put(stand, kind)
    rule = stand.proxy.add(Rule(action, method="HEAD"))
    run = stand.restore(stall_timeout_s=0.5)
    stand.assert_no_wrong_ok(run)
    assert run["a.raw"].startswith("OK - Downloaded"), run.report
    assert rule.fired == 1
    assert stand.others == []


@pytest.mark.parametrize("action", [Cut(after=400_000), Reset(after=400_000), Stall(after=400_000)], ids=repr)
def test_continues_from_the_byte_where_it_broke(stand: Stand, action: Action) -> None:
    """Short bodies: what has come is not asked for again, not even a fraction of a MiB."""
    put(stand, "parts")
    stand.proxy.add(Rule(action, range_start=2 * MIB))
    assert stand.restore(stall_timeout_s=0.5)["a.raw"].startswith("OK - Downloaded")
    stand.assert_right()
    # What a stalled read had in its buffer is lost.
    exact = isinstance(action, Cut)
    (again,) = [begin_end for begin_end in stand.ranges() if begin_end[0] % MIB]
    assert again[1] == 3 * MIB
    assert again[0] == pytest.approx(2 * MIB + 400_000, abs=0 if exact else 400_000)
    assert stand.proxy.bytes_sent == pytest.approx(len(PARTS), abs=0 if exact else 400_000)
    request = next(request for request in stand.gets() if request.range == f"bytes={again[0]}-{again[1] - 1}")
    assert "if-match" in request.headers


@kinds
def test_link_that_breaks_every_200_kb_still_delivers(stand: Stand, kind: str) -> None:
    """Each request gets further, so the tries of one that makes no progress are not used up."""
    data = put(stand, kind)
    stand.proxy.add(Rule(Cut(after=200_000), method="GET", times=None))
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded"), run.report
    stand.assert_right()
    assert stand.proxy.bytes_sent == len(data), "no byte came twice"


def test_link_that_gives_nothing_is_given_up(stand: Stand) -> None:
    """No byte of a body ever comes: as many tries as fit into the patience, one more in the end."""
    put(stand, "small")
    stand.proxy.add(Rule(Cut(after=0), method="GET", times=None))
    run = stand.restore(patience_s=0.3)
    assert run["a.raw"] == "FAILURE - Connection to S3 ended too early"
    assert 4 <= len(stand.gets()) <= 60
    assert stand.others == []


def test_stall_counts_as_broken_after_the_timeout(stand: Stand) -> None:
    put(stand, "parts")
    stand.proxy.add(Rule(Stall(after=10_000), range_start=MIB))
    begun = time.monotonic()
    assert stand.restore(stall_timeout_s=0.5)["a.raw"].startswith("OK - Downloaded")
    assert 0.5 <= time.monotonic() - begun < 3
    stand.assert_right()


@pytest.mark.rule("A4")
def test_server_that_dies_and_comes_back(stand: Stand) -> None:
    """Connections refused for a while: every file is tried once more after the others (A4)."""
    put(stand, "parts")
    stand.put("b.raw", SMALL)
    rule = Rule(Reset(), method="GET", key="a.raw", times=None)
    stand.proxy.add(rule)
    done = threading.Event()

    def end_of_fault(request) -> None:
        if request.key.endswith("b.raw"):
            done.set()

    stand.server.on_request = end_of_fault
    restorer = stand.restorer(patience_s=0.2)
    again = restorer._work_through

    def pass_noted(parts, pool, specs: list[FileSpec], **options) -> None:
        if options.get("second_try"):
            assert done.is_set(), "the other files come first"
            stand.proxy.clear()
        again(parts, pool, specs, **options)

    restorer._work_through = pass_noted
    summary = restorer.run(stand.specs())
    assert all(outcome.ok for outcome in summary.outcomes)
    stand.assert_right()
    assert stand.others == []
    assert rule.fired >= 2


# --- faults that stay: a FAILURE with a reason, soon, and nothing left ------------------------------------------------

LASTING: list[tuple[Action, str]] = [
    (Status(503), r"S3 is overloaded or not well \(SlowDown\)"),
    (Status(500), r"S3 is overloaded or not well \(InternalError\)"),
    (Reset(), r"Network error: S3 cannot be reached \(\w+\)"),
    (Garbage(), r"Network error: S3 cannot be reached \(\w+\)"),
    (Stall(after=0), r"Connection to S3 broke \(\w*[Tt]imeout\w*\)"),
    (Delay(0.8), r"Network error: S3 cannot be reached \(\w*[Tt]ime\w*\)"),
    (FlipBit(at=5), r"Hash mismatch after download: expected [0-9a-f]{32}.*, got "),
    (SwapBody(), r"Hash mismatch after download: expected [0-9a-f]{32}.*, got "),
    (ShiftRange(by=5, honest=False), r"Hash mismatch after download: expected|S3 sent another range"),
    (IgnoreRange(), r"S3 ignores ranges"),
    (WrongContentRange(shift=1), r"S3 sent another range \(bytes \d+-\d+/\d+\) than asked for"),
    (ShiftRange(by=5), r"S3 sent another range|S3 announced"),
    (WrongContentLength(by=1), r"S3 announced \d+ bytes|Object in S3 has 300001 bytes, file_info says 300000"),
    (SetHeader("ETag", OTHER_ETAG), r"Object was replaced in S3 during the download \(ETag differs\)"),
    (WrongContentRange(shift=0, total=1), r"Object was replaced in S3 during the download \(size differs\)"),
]


@kinds
@pytest.mark.parametrize(
    ("action", "reason"), LASTING, ids=lambda value: repr(value) if isinstance(value, Action) else ""
)
def test_for_ever_on_every_get(stand: Stand, kind: str, action: Action, reason: str) -> None:
    put(stand, kind)
    stand.put("beside.raw", b"beside", "H1")
    rule = stand.proxy.add(Rule(action, method="GET", key=r"a\.raw", times=None))
    begun = time.monotonic()
    is_slow = isinstance(action, Stall | Delay)  # on a busy machine, others may be it too, and are not to end as such
    run = stand.restore(stall_timeout_s=0.3 if is_slow else 10, patience_s=0.2)
    assert time.monotonic() - begun < 10
    stand.assert_no_wrong_ok(run)
    if rule.fired == 0 or (kind == "small" and isinstance(action, SetHeader | IgnoreRange)):
        assert kind == "small", "a whole object has no range to be wrong"
        return
    said = run["a.raw"].removeprefix("FAILURE - ")
    assert re.search(reason, said), said
    assert run["beside.raw"].startswith("OK - Downloaded"), "best effort: the others are restored"
    assert run.status == "PARTIAL FAILURE"
    assert not stand.path("a.raw").exists()
    if kind != "large":
        assert stand.others == []
    else:
        assert len(stand.leftovers("part")) == len(stand.leftovers("journal")), "only what can be resumed may stay"
    stand.proxy.clear()
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()
    assert stand.others == []


# --- no retry where another try gives the same ------------------------------------------------------------------------

PERMANENT = [
    (Status(403), r"S3 denies access: the connection's user needs s3:GetObject on this bucket \(AccessDenied\)"),
    (Status(403, "InvalidAccessKeyId"), r"check the Airflow connection \(InvalidAccessKeyId\)"),
    (Status(403, "SignatureDoesNotMatch"), r"check the secret key in the Airflow connection \(SignatureDoesNotMatch\)"),
    (Status(400, "ExpiredToken"), r"renew the Airflow connection \(ExpiredToken\)"),
    (Status(404), r"Object is not in S3 \(NoSuchKey\)"),
    (Status(404, "NoSuchBucket"), r"Bucket does not exist in S3 \(NoSuchBucket\)"),
    (Status(403, "InvalidObjectState"), r"Object is archived and must be restored in S3 first \(InvalidObjectState\)"),
    (Status(403, "RequestTimeTooSkewed"), r"The clock of this worker differs too much"),
    (Status(418, "Teapot"), r"S3 refuses: Teapot \(Teapot\)"),
]


@pytest.mark.parametrize(
    ("action", "reason"), PERMANENT, ids=lambda value: repr(value) if isinstance(value, Action) else ""
)
@kinds
def test_no_retry_and_a_reason_that_says_what_to_do(stand: Stand, kind: str, action: Action, reason: str) -> None:
    put(stand, kind)
    stand.proxy.add(Rule(action, times=None))
    run = stand.restore()
    assert re.search(reason, run["a.raw"]), run["a.raw"]
    assert f"s3://{BUCKET}/{stand.key('a.raw')}" in run["a.raw"], "names the object"
    methods = [exchange.method for exchange in stand.proxy.exchanges if "a.raw" in exchange.path]
    if kind == "small":
        assert methods in (["GET"], ["GET", "GET"])  # a 400 is asked again the client's way
    else:
        assert methods[0] == "HEAD"
        assert methods.count("HEAD") == 1
        assert methods.count("GET") <= 2  # the same question with GET: a HEAD error has no text
    assert stand.others == []


@pytest.mark.parametrize("kind", ["parts", "large"])
@pytest.mark.parametrize("action", [Status(403), Status(404), Status(403, "InvalidObjectState")], ids=repr)
def test_permanent_midway_is_not_retried(stand: Stand, kind: str, action: Action) -> None:
    """As when the credentials end or the object goes while it is fetched."""
    put(stand, kind)
    rule = stand.proxy.add(Rule(action, method="GET", nth=2, times=None))
    run = stand.restore(max_concurrency=1 if kind == "parts" else 2)
    assert run["a.raw"].startswith("FAILURE - ")
    assert rule.fired <= 5, "one for each connection, one more without the version"
    stand.proxy.clear()
    assert stand.restore().status == "SUCCESS"
    stand.assert_right()
    assert stand.others == []


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
@kinds
def test_archived_object(stand: Stand, kind: str, storage_class: str) -> None:
    data = put(stand, kind, storage_class=storage_class)
    run = stand.restore()
    assert run["a.raw"].startswith(
        f"FAILURE - Object is archived in class {storage_class} and must be restored in S3 first (InvalidObjectState)"
    )
    assert stand.server.count() == 1, "no retry"
    assert stand.server.writes == [], "S2: no RestoreObject"
    stand.server.client().restore_object(Bucket=BUCKET, Key=stand.key("a.raw"), RestoreRequest={"Days": 1})
    stand.server.finish_restore(BUCKET, stand.key("a.raw"))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert stand.path("a.raw").read_bytes() == data


@pytest.mark.parametrize(
    ("code", "reason"), [("NoSuchKey", "Object is not in S3"), ("AccessDenied", "S3 denies access")], ids=str
)
@kinds
def test_missing_object_with_and_without_the_right_to_list(
    unversioned: Stand, kind: str, code: str, reason: str
) -> None:
    stand = unversioned
    put(stand, kind)
    stand.server.delete(BUCKET, stand.key("a.raw"))
    if code == "AccessDenied":
        stand.server.deny("s3:ListBucket")
    run = stand.restore()
    assert run["a.raw"].startswith(f"FAILURE - {reason}")
    assert f"({code})" in run["a.raw"]


# --- the object changes -----------------------------------------------------------------------------------------------


def replace_midway(stand: Stand, part: int, *others: bytes) -> list[int]:
    """Put other objects in its place, one each time the GET of this part of 1 MiB comes. Returns when, as a list."""
    waiting = list(others)
    came: list[int] = []
    lock = threading.Lock()

    def on_request(request) -> None:
        with lock:
            if request.operation == "GetObject" and request.range and span(request.range)[0] == part * MIB and waiting:
                came.append(part)
                stand.server.upload(BUCKET, stand.key("a.raw"), waiting.pop(0), part_size=MIB)

    stand.server.on_request = on_request
    return came


def test_replaced_midway_by_the_same_bytes_starts_over_once(unversioned: Stand) -> None:
    """412: another ETag (here by another part size), the same bytes: the second round is right."""
    stand = unversioned
    put(stand, "parts", part_size=2 * MIB)
    came = replace_midway(stand, 3, PARTS)
    assert stand.restore(max_concurrency=1)["a.raw"].startswith("OK - Downloaded")
    assert came == [3]
    stand.assert_right()
    assert [request.status for request in stand.gets()].count(412) >= 1
    assert stand.others == []


def test_replaced_midway_by_other_bytes_is_a_failure(unversioned: Stand) -> None:
    stand = unversioned
    put(stand, "parts")
    replace_midway(stand, 3, raw_bytes(len(PARTS), "other"))
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected ")
    assert not stand.path("a.raw").exists()
    assert stand.others == []


def test_replaced_again_and_again_is_started_over_once_only(unversioned: Stand) -> None:
    stand = unversioned
    put(stand, "parts")
    came = replace_midway(stand, 3, *(raw_bytes(len(PARTS), seed) for seed in range(20)))
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Object was replaced in S3 during the download (PreconditionFailed)")
    assert len(came) == 2, "started over once, then given up"
    assert stand.server.count("HeadObject") == 2
    assert stand.others == []


def test_412_for_ever(stand: Stand) -> None:
    put(stand, "parts")
    stand.proxy.add(Rule(Status(412), method="GET", times=None))
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - Object was replaced in S3 during the download (PreconditionFailed)")
    # A store may not know If-Match, so the first GET is tried without.
    assert [exchange.method for exchange in stand.proxy.exchanges] == ["HEAD", "GET", "GET"] * 2, "and all once more"
    assert stand.others == []


def test_replaced_midway_in_a_versioned_bucket_goes_on_with_its_version(stand: Stand) -> None:
    put(stand, "parts")
    came = replace_midway(stand, 3, raw_bytes(len(PARTS), "other"))
    assert stand.restore()["a.raw"].startswith("OK - Downloaded")
    assert came == [3]
    stand.assert_right()


@pytest.mark.parametrize("size", [len(PARTS), len(PARTS) + 5])
def test_replaced_midway_where_if_match_is_ignored(unversioned: Stand, size: int) -> None:
    """Such stores exist: the answer's own ETag and size are looked at."""
    stand = unversioned
    put(stand, "parts")
    stand.proxy.add(Rule(IgnoreIfMatch(), times=None))
    replace_midway(stand, 3, raw_bytes(size, "other"))
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith("FAILURE - ")
    assert not stand.path("a.raw").exists()
    assert stand.others == []
    assert stand.server.bytes_sent() < 3 * len(PARTS)


def test_replaced_where_neither_if_match_nor_etag_is_there(unversioned: Stand) -> None:
    """Nothing but the hash can tell, and does."""
    stand = unversioned
    put(stand, "parts")
    stand.proxy.add(Rule(IgnoreIfMatch(), times=None), Rule(MissingHeader("ETag"), times=None))
    replace_midway(stand, 3, raw_bytes(len(PARTS), "other"))
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download")
    assert not stand.path("a.raw").exists()
    assert stand.others == []


def test_one_answer_without_etag_does_not_end_if_match(stand: Stand) -> None:
    """The version that was begun with stays the one that is asked for."""
    put(stand, "parts")
    stand.proxy.add(Rule(MissingHeader("ETag"), method="GET"))
    assert stand.restore(max_concurrency=1)["a.raw"].startswith("OK - Downloaded")
    assert all("if-match" in request.headers and request.version_id for request in stand.gets())


@kinds
@pytest.mark.parametrize("change", [-1, 1, 100_000])
def test_object_of_another_size_than_file_info_says(stand: Stand, kind: str, change: int) -> None:
    """No byte more than needed is fetched, and the sizes are told."""
    data, form, part_mib = KINDS[kind]
    there = (data + bytes(200_000))[: len(data) + change]
    stand.put("a.raw", data, form, part_mib=part_mib, in_s3=there)
    run = stand.restore()
    said = f"FAILURE - Object in S3 has {len(there)} bytes, file_info says {len(data)} (wrong size)"
    assert run["a.raw"].startswith(said)
    operations = [request.operation for request in stand.server.requests]
    assert operations == ["GetObject" if kind == "small" else "HeadObject", "ListObjectVersions"]
    assert stand.others == []


@kinds
def test_object_is_empty(stand: Stand, kind: str) -> None:
    data, form, part_mib = KINDS[kind]
    stand.put("a.raw", data, form, part_mib=part_mib, in_s3=b"")
    assert stand.restore()["a.raw"].startswith(f"FAILURE - Object in S3 has 0 bytes, file_info says {len(data)}")
    assert stand.others == []


@pytest.mark.rule("H7")
@pytest.mark.parametrize("form", ["H1", "H2"])
def test_empty_file(stand: Stand, form: str) -> None:
    """H7: it cannot be fetched by range."""
    stand.put("empty.raw", b"", form)
    stand.put("wrong.raw", b"", form, in_s3=b"x")
    run = stand.restore()
    assert run["empty.raw"].startswith("OK - Downloaded and verified (0.0 MB in ")
    assert run["wrong.raw"].startswith("FAILURE - Object in S3 has 1 bytes, file_info says 0")
    assert stand.path("empty.raw").read_bytes() == b""
    assert stand.restore()["empty.raw"] == "OK - Skipped (already exists)"


def test_wrong_bytes_in_s3_are_fetched_twice_and_never_kept(stand: Stand) -> None:
    """A hash mismatch may come from the way: once more, no more."""
    stand.put("a.raw", PARTS, in_s3=raw_bytes(len(PARTS), "other"))
    run = stand.restore()
    assert run["a.raw"].startswith(f"FAILURE - Hash mismatch after download: expected {stand.file_info['a.raw'][1]}")
    assert stand.server.bytes_sent() == 2 * len(PARTS)
    assert stand.others == []
    assert not stand.path("a.raw").exists()


# --- S3 is down -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["refused", "reset", "slow down", "stall"])
def test_s3_down_with_300_files_ends_soon_with_a_line_each(stand: Stand, how: str) -> None:
    for number in range(300):
        stand.put(f"{number:03}.raw", b"%d" % number, "H1")
    if how == "refused":
        stand.proxy.stop()
    else:
        action = {"reset": Reset(), "slow down": Status(503), "stall": Delay(60)}[how]
        stand.proxy.add(Rule(action, times=None))
    begun = time.monotonic()
    run = stand.restore(patience_s=0.3, stall_timeout_s=0.2 if how == "stall" else 5.0)
    assert time.monotonic() - begun < 15
    assert len(run.lines) == 300
    assert all(line.startswith("FAILURE - ") for line in run.lines.values())
    wanted = "SlowDown" if how == "slow down" else "S3 cannot be reached"
    assert all(wanted in line for line in run.lines.values()), run.report
    assert run.status == "COMPLETE FAILURE"
    assert stand.others == []


def test_quota_of_retries_does_not_punish_a_run_that_gets_on(stand: Stand) -> None:
    """A third of all requests fails for 400 files: every good one gives a retry back."""
    for number in range(400):
        stand.put(f"{number:03}.raw", b"%d" % number, "H1")
    rule = stand.proxy.add(Rule(Status(503), method="GET", probability=0.33, times=None))
    run = stand.restore()
    assert run.status == "SUCCESS"
    stand.assert_right()
    assert rule.fired > 130


@pytest.mark.rule("A4")
def test_second_pass_heals_what_passes(stand: Stand) -> None:
    """A4: five tries of one file use up, then the other files, then it is there again."""
    for name in ("a.raw", "b.raw", "c.raw"):
        stand.put(name, raw_bytes(1000, name))
    rule = stand.proxy.add(Rule(Status(500), key="a.raw", times=5))
    run = stand.restore()
    assert rule.fired == 5
    assert run.status == "SUCCESS"
    stand.assert_right()
    keys = [exchange.path for exchange in stand.proxy.exchanges]
    assert keys[-1].endswith("a.raw"), "tried once more when all others were done"


@pytest.mark.rule("R3")
def test_error_text_of_the_server_cannot_forge_a_line(stand: Stand) -> None:
    """R3: new lines, control characters and markup in what S3 says."""
    put(stand, "small")
    message = "first\nb.raw: OK - Downloaded and verified (1.0 MB in 1.0s)\r\t\u202e<b>"

    def refuse(_request) -> None:
        raise S3Error(403, "Odd", message)

    stand.server.on_request = refuse
    run = stand.restore()
    assert list(run.lines) == ["a.raw"]
    assert run["a.raw"].startswith("FAILURE - S3 refuses: first b.raw: OK")
    assert "\u202e" not in run.report


def test_all_kinds_at_once_over_a_bad_line(stand: Stand) -> None:
    """Many faults with a probability each, many files: right in the end, one line each."""
    for number in range(40):
        stand.put(f"s/{number}", raw_bytes(20_000 + number, number), ("H1", "H2")[number % 2])
    stand.put("p.raw", PARTS)
    stand.put("l.raw", LARGE, "H1", part_mib=5)
    for seed, action in enumerate(
        (Status(503), Reset(), Cut(after=9_000), Reset(after=15_000), Status(500), Delay(0.01))
    ):
        stand.proxy.add(Rule(action, probability=0.1, seed=seed, times=None))
    run = stand.restore()
    assert run.status == "SUCCESS", run.report
    stand.assert_right()
    assert stand.others == []
    assert len(stand.proxy.faults_by_kind()) >= 4
