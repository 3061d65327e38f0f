"""Issue 11: stores and networks that are not like AWS. Tolerant in reading, strict in proving (S4, S5, H8).

Each test draws from a kind by a seed, or takes every value of it: what one store does today another does tomorrow.
"""

import hashlib
import json
import logging
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials

import s3_restore
from s3_restore.model import reasons
from s3_restore.model.exceptions import ObjectStoreError, TransientStoreError
from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run import retries
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.engine_fixtures import BUCKET, PREFIX, QUICK, Run, engine_client
from tests.support.odd_store import DROP, Bend, OddAnswer, OddRequest, OddStore, Zeros
from tests.support.raw_files import MIB, file_info, raw_bytes

SMALL = raw_bytes(300_000, "small")
PARTS = raw_bytes(5 * MIB + 77, "parts")
LARGE = raw_bytes(17 * MIB + 1, "large")
PASSING_STATUSES = (
    408, 425, 429, 499, 500, 502, 503, 504, 507, 508, 509, 510, *range(520, 531), 540, 561, *range(597, 600), 999,
)  # fmt: skip
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"x" * 3000 + b"</body></html>"
ENDLESS_PARTS = b"".join((
    b"<GetObjectAttributesResponse><ObjectParts><Part><Size>", b"9" * 5000,
    b"</Size><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></ObjectParts></GetObjectAttributesResponse>",
))  # fmt: skip
ERROR_DOCUMENT = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>m</Message></Error>"


class Odd:
    """A stand for restores from an odd store."""

    def __init__(self, store: OddStore, destination: Path) -> None:
        self.store = store
        self.destination = destination
        self.data: dict[str, bytes] = {}
        self.file_info: dict[str, list] = {}

    def put(self, path: str, data: bytes, form: str = "H2", *, part_mib: float = 1, damaged: bool = False) -> None:
        self.data[path] = data
        self.file_info[path] = file_info({path: data}, form, part_mib)[path]
        part_size = int(part_mib * MIB)
        self.store.put(f"{BUCKET}/{PREFIX}/{path}", data, part_size=part_size if len(data) >= part_size else 0)
        if damaged:
            (self.destination / path).write_bytes(bytes([data[0] ^ 1]) + data[1:])

    def restorer(self, **settings: Any) -> Restorer:
        chosen = RestoreSettings.from_mapping(QUICK | settings)
        return Restorer(S3ObjectStore(engine_client(self.store.url, chosen)), self.destination, chosen)

    def specs(self) -> list[FileSpec]:
        return [
            FileSpec(path, BUCKET, f"{PREFIX}/{path}", item[0], parse_expected_hash(item))
            for path, item in self.file_info.items()
        ]

    def restore(self, **settings: Any) -> Run:
        return Run.of(self.restorer(**settings).run(self.specs()), self.destination)

    def assert_right(self, run: Run) -> None:
        assert run.status == "SUCCESS", run.report
        for path, data in self.data.items():
            assert (self.destination / path).read_bytes() == data
        assert sorted(path.name for path in self.destination.iterdir()) == sorted(self.data)

    def count(self, kind: str) -> int:
        return sum(request.kind == kind for request in self.store.requests)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Odd]:
    destination = tmp_path / "output"
    destination.mkdir()
    with OddStore() as store:
        yield Odd(store, destination)


# --- bends: each makes of a right answer one that stores, or what is before them, are known to give -------------------


def of_kind(kinds: str, change: Callable[[OddAnswer], object]) -> Bend:
    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        if request.kind in kinds.split() and answer.status < 300:
            change(answer)
        return None

    return bend


def etag_as(form: str) -> Callable[[OddAnswer], object]:
    return lambda answer: answer.headers.update(ETag=form.format(answer.headers["ETag"].strip('"')))


def framed(how: str) -> Callable[[OddAnswer], object]:
    return lambda answer: setattr(answer, "framing", how)


def refuse(status: int, body: bytes = b"", **headers: str) -> Callable[[OddAnswer], object]:
    return lambda answer: answer.become(status, body, **headers)


def told_version_refused(status: int | str) -> Bend:
    """By a status, or by DROP."""

    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        if "versionId" in request.query:
            if isinstance(status, str):
                return status
            answer.become(status, b"<Error><Code>NotImplemented</Code></Error>")
        elif answer.status < 300:
            answer.headers["x-amz-version-id"] = "v1"
        return None

    return bend


def dropped(kinds: str) -> Bend:
    return lambda request, _answer: DROP if request.kind in kinds.split() else None


def parts_told(count: str, length: str | None = None) -> Callable[[OddAnswer], object]:
    def change(answer: OddAnswer) -> None:
        answer.headers["x-amz-mp-parts-count"] = count
        if length:
            answer.headers["Content-Length"] = length

    return change


def content_range_as(form: str) -> Callable[[OddAnswer], object]:
    def change(answer: OddAnswer) -> None:
        told = answer.headers.pop("Content-Range", "").removeprefix("bytes ")
        if told and form:
            answer.headers["Content-Range"] = form.format(told)

    return change


def if_match_refused(status: int) -> Bend:
    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if "if-match" in request.headers:
            answer.become(status, b"<Error><Code>Fault</Code></Error>", Content_Type="application/xml")

    return bend


def attributes_are(answer_with: Callable[[OddRequest, OddAnswer], object]) -> Bend:
    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        if request.kind != "attributes":
            return None
        return DROP if answer_with(request, answer) == DROP else None

    return bend


def of_versions(change: Callable[[OddAnswer], object]) -> Bend:
    """The odd store itself knows no versions: whatever it would answer is changed."""

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "versions":
            change(answer)

    return bend


def twice(name: str) -> Callable[[OddAnswer], object]:
    """As a proxy that adds a header where it should replace it."""

    def change(answer: OddAnswer) -> None:
        if name in answer.headers:
            answer.headers[name.lower()] = answer.headers[name]

    return change


LASTING: dict[str, Bend] = {
    "weak ETag": of_kind("HEAD GET part", etag_as('W/"{}"')),
    "ETag without quotes": of_kind("HEAD GET part", etag_as("{}")),
    "strong at HEAD, weak at GET": of_kind("GET", etag_as('W/"{}"')),
    "weak at HEAD, strong at GET": of_kind("HEAD", etag_as('W/"{}"')),
    **{f"ETag twice at {kinds}": of_kind(kinds, twice("ETag")) for kinds in ("HEAD", "GET", "HEAD GET part")},
    "Content-Range twice": of_kind("GET", twice("Content-Range")),
    "no ETag": of_kind("HEAD GET part", lambda answer: answer.headers.pop("ETag", None)),
    "no ETag at HEAD": of_kind("HEAD", lambda answer: answer.headers.pop("ETag", None)),
    "ETag of an encrypted object": of_kind("HEAD GET part", etag_as('"0123456789abcdef0123456789abcdef"')),
    "chunked": of_kind("GET", framed("chunked")),
    "until close": of_kind("GET", framed("close")),
    "chunked at HEAD": of_kind("HEAD GET", framed("chunked")),
    "no length at all": of_kind("HEAD GET", framed("close")),
    "Content-Range without the size": of_kind(
        "GET",
        lambda answer: (
            "Content-Range" in answer.headers
            and answer.headers.update({"Content-Range": re.sub(r"/\d+$", "/*", answer.headers["Content-Range"])})
        ),
    ),
    **{
        f"Content-Range as {form!r}": of_kind("GET", content_range_as(form))
        for form in ("", "Bytes {}", "bytes={}", "bytes  {}", "{}")
    },
    "success of a proxy that may have changed something": of_kind("GET", lambda answer: setattr(answer, "status", 203)),
    **{f"If-Match refused by {status}": if_match_refused(status) for status in (400, 412, 501)},
    "numbers without an end": lambda request, answer: (
        answer.headers.update({"x-amz-mp-parts-count": "9" * 5000, "Content-Length": "9" * 5000})
        if request.kind == "part"
        else None
    ),
    "parts without an end": attributes_are(lambda _request, answer: answer.become(200, ENDLESS_PARTS)),
    "no bytes at HEAD, as its answer has none": of_kind(
        "HEAD part", lambda answer: answer.headers.update({"Content-Length": "0"})
    ),
    "the whole as the part from first to last": of_kind(
        "GET",
        lambda answer: (
            answer.status == 200
            and answer.end
            and answer.headers.update({"Content-Range": f"bytes 0-{answer.end - 1}/{answer.end}"})
        ),
    ),
    "early hints": of_kind(
        "HEAD GET", lambda answer: setattr(answer, "interim", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    ),
    "two interim answers": of_kind(
        "HEAD GET part",
        lambda answer: setattr(answer, "interim", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
    ),
    "content type of a web page": of_kind(
        "HEAD GET", lambda answer: answer.headers.update({"Content-Type": "text/html"})
    ),
    **{
        f"version refused by {status}": told_version_refused(status)
        for status in (400, 403, 404, 405, 406, 500, 501, 503, 505, DROP)
    },
    **{
        f"HEAD refused by {status}": of_kind("HEAD part", refuse(status))
        for status in (400, 401, 403, 404, 405, 406, 500, 501, 503)
    },
    "HEAD refused by drop": dropped("HEAD part"),
    "PartNumber drop": dropped("part"),
    **{f"PartNumber {status}": of_kind("part", refuse(status)) for status in (400, 403, 405, 416, 500, 501, 503, 520)},
    "PartNumber with the whole size": of_kind("part", parts_told("4")),
    "PartNumber with nonsense": of_kind("part", parts_told("many", "many")),
    "PartNumber with another upload's parts": of_kind("part", parts_told("6", str(10**6))),
    "PartNumber with no length": of_kind("part", parts_told("0", "0")),
    "attributes are the object": attributes_are(lambda _request, answer: answer.become(200, LARGE)),
    "attributes are a small document": attributes_are(lambda _request, answer: answer.become(200, b"<html/>")),
    "attributes are nothing": attributes_are(lambda _request, answer: answer.become(200)),
    "attributes are cut": attributes_are(
        lambda _request, answer: (
            answer.become(200, b"<GetObjectAttributesResponse>" + b" " * 999),
            setattr(answer, "most", 99),
        )
    ),
    "attributes are cut off by a drop": attributes_are(lambda _request, _answer: DROP),
    **{
        f"attributes refused by {status}": attributes_are(lambda _request, answer, status=status: answer.become(status))
        for status in (301, 400, 403, 404, 405, 500, 503, 520)
    },
}
FILES: dict[str, dict] = {
    "small": {"data": SMALL, "form": "H1"},
    "empty": {"data": b"", "form": "H1"},
    "parts": {"data": PARTS, "form": "H2"},
    "parts of unknown size": {"data": PARTS, "form": "H3", "part_mib": 2},
    "large": {"data": LARGE, "form": "H1", "part_mib": 5},
    "damaged": {"data": PARTS, "form": "H2", "damaged": True},
    "damaged, parts of unknown size": {"data": PARTS, "form": "H3", "part_mib": 2, "damaged": True},
}


@pytest.mark.rule("S5")
@pytest.mark.parametrize("data", [SMALL, PARTS, LARGE])
def test_an_answer_of_nothing_at_all_is_passing(odd: Odd, data: bytes) -> None:
    """Of a gateway whose store restarts: an object has an ETag, or bytes where it should have some."""
    odd.put("a", data, "H1", part_mib=5)

    def nothing(request: OddRequest, answer: OddAnswer) -> None:
        if request.number < 6:
            answer.become(200)

    odd.store.bend = nothing
    odd.assert_right(odd.restore())


@pytest.mark.rule("S4")
def test_one_answer_of_the_whole_to_a_range_is_passing_where_ranges_are_known(odd: Odd) -> None:
    """A proxy that is before the store in passing, or one of several."""
    odd.put("parts", PARTS)
    asked: list[int] = []

    def whole_once(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "GET" and answer.status == 206:
            asked.append(request.number)
            if len(asked) == 3:
                del answer.headers["Content-Range"]
                answer.status, answer.start, answer.end = 200, 0, len(PARTS)

    odd.store.bend = whole_once
    odd.assert_right(odd.restore(max_concurrency=1))
    assert len(asked) > 3


@pytest.mark.rule("S4")
@pytest.mark.parametrize("name", list(LASTING))
def test_a_store_that_always_answers_like_this_is_restored_from(odd: Odd, name: str) -> None:
    """All kinds of file at once from a store with one oddity."""
    for path, options in FILES.items():
        odd.put(path, **options)
    odd.store.bend = LASTING[name]
    odd.assert_right(odd.restore(max_concurrency=2))


@pytest.mark.rule("S4")
@pytest.mark.parametrize("seed", range(40))
def test_stores_with_several_oddities_and_passing_faults(odd: Odd, seed: int) -> None:
    """Drawn: two lasting oddities, and passing faults of every kind on every third request."""
    chance = random.Random(seed)
    for path in chance.sample(list(FILES), 3):
        odd.put(path, **FILES[path])
    lasting = [LASTING[name] for name in chance.sample(list(LASTING), 2)]
    lock = threading.Lock()

    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        ends = [each(request, answer) for each in lasting]
        with lock:
            fault = chance.choice(["status", "document", "page", "drop", "cut", "", "", "", "", "", "", ""])
            status = chance.choice(PASSING_STATUSES)
        if DROP in ends or fault == "drop":
            return DROP
        if fault == "status":
            answer.become(status, b"<html>some gateway</html>", Content_Type="text/html")
        elif fault == "document" and request.kind == "GET":
            answer.become(200, ERROR_DOCUMENT, Content_Type="application/xml")
        elif fault == "page":
            answer.become(200, LOGIN_PAGE, Content_Type="text/html; charset=utf-8")
        elif fault == "cut":
            answer.most = chance.randrange(0, 200_000)
        return None

    odd.store.bend = bend
    odd.assert_right(odd.restore(patience_s=20, max_concurrency=2))


# --- passing answers --------------------------------------------------------------------------------------------------


@pytest.mark.rule("S5")
@pytest.mark.parametrize("kind", ["HEAD", "GET"])
@pytest.mark.parametrize("status", PASSING_STATUSES)
def test_statuses_that_may_pass(odd: Odd, status: int, kind: str) -> None:
    """Official or not: gateways and proxies have numbers of their own."""
    odd.put("a", PARTS)
    seen: list[OddRequest] = []

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == kind and not seen:
            seen.append(request)
            answer.become(status, b"<html>busy</html>")

    odd.store.bend = bend
    odd.assert_right(odd.restore())
    assert seen


@pytest.mark.rule("S4", fails_when="a proxy's words of 200, in JSON or plain text, are taken for the object")
@pytest.mark.parametrize("kind", ["HEAD", "GET"])
@pytest.mark.parametrize("path", ["small", "parts", "large", "empty"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (LOGIN_PAGE, "text/html"),
        (ERROR_DOCUMENT, "application/xml"),
        (ERROR_DOCUMENT, "text/xml"),
        (b"", "text/html"),
        (b'{"status":"maintenance"}', "application/json"),
        (b"upstream is warming up", "text/plain; charset=utf-8"),
    ],
    ids=["page", "error", "error as text", "nothing", "json", "plain"],
)
def test_a_document_in_the_objects_stead_is_passing(
    odd: Odd, kind: str, path: str, body: bytes, content_type: str
) -> None:
    odd.put(path, **FILES[path])
    seen: list[OddRequest] = []

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == kind and len(seen) < 2:
            seen.append(request)
            answer.become(200, body, Content_Type=content_type)

    odd.store.bend = bend
    odd.assert_right(odd.restore())


@pytest.mark.rule("S4")
@pytest.mark.parametrize("body", [LOGIN_PAGE, ERROR_DOCUMENT], ids=["page", "error"])
@pytest.mark.parametrize("status", [500, 501, 503, 505])
def test_a_document_is_no_proof_that_a_store_knows_versions(odd: Odd, status: int, body: bytes) -> None:
    """The first request that names a version meets a document of 200; all others are refused in passing words."""
    odd.put("parts", PARTS)
    odd.put("large", LARGE, "H1", part_mib=5)
    refused = told_version_refused(status)
    seen: list[OddRequest] = []

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        refused(request, answer)
        if "versionId" in request.query and not seen:
            seen.append(request)
            answer.become(200, body, Content_Type="text/html")

    odd.store.bend = bend
    odd.assert_right(odd.restore(patience_s=20))
    assert seen


@pytest.mark.rule("S4", fails_when="any answer for an older version counts as proof that the store knows versions")
@pytest.mark.parametrize("status", [400, 403, 500, 501, 503, 505])
def test_an_error_for_an_older_version_is_no_proof_that_a_store_knows_versions(odd: Odd, status: int) -> None:
    """An older version can only be asked for by its name, so what comes is the answer, whatever it is."""
    odd.put("a", SMALL)
    odd.store.bend = told_version_refused(status)
    store = S3ObjectStore(engine_client(odd.store.url, RestoreSettings()))
    key = f"{PREFIX}/a"
    newest = store.head(BUCKET, key)
    older = replace(newest, version_id="v0", is_older=True)
    with pytest.raises(ObjectStoreError), store.open_range(BUCKET, key, 0, 10, older):
        pass
    for _ in range(2):  # the first that are passing may be
        with suppress(TransientStoreError), store.open_range(BUCKET, key, 0, 10, newest):
            pass
    with store.open_range(BUCKET, key, 0, 10, newest) as body:
        assert body.remaining == 10


def test_a_page_that_stays_says_what_it_is(odd: Odd) -> None:
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    odd.store.bend = of_kind("HEAD GET", refuse(200, LOGIN_PAGE, Content_Type="text/html"))
    run = odd.restore(patience_s=0.3)
    for path in "ab":
        assert run[path].startswith("FAILURE - S3 sent a document (text/html) in the object's stead")


def test_an_object_of_another_size_that_is_a_web_page_fails_at_once(odd: Odd) -> None:
    """It has S3's own ETag: somebody really uploaded that."""
    odd.put("a", SMALL, "H1")
    odd.store.put(f"{BUCKET}/{PREFIX}/a", LOGIN_PAGE)
    odd.store.bend = of_kind("GET", lambda answer: answer.headers.update({"Content-Type": "text/html"}))
    run = odd.restore(patience_s=100)
    assert run["a"].startswith(
        f"FAILURE - Object in S3 has {len(LOGIN_PAGE)} bytes, file_info says 300000 (wrong size)"
    )
    assert odd.count("GET") == 1


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://s3.example.org/x?token=SECRET", "S3 redirects to https://s3.example.org: check endpoint_url"),
        ("http://u:SECRET@s3.example.org:9000/x", "S3 redirects to http://s3.example.org:9000: check endpoint_url"),
        ("/login", "S3 redirects and does not say where to: check endpoint_url"),
        ("", "S3 redirects and does not say where to: check endpoint_url"),
    ],
)
def test_a_redirect_is_one_line_that_names_where_to(odd: Odd, status: int, location: str, said: str) -> None:
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    odd.store.bend = of_kind("HEAD GET", refuse(status, Location=location))
    run = odd.restore(patience_s=100)
    for path in "ab":
        assert run[path].startswith(f"FAILURE - {said} in the Airflow connection ({status})")
        assert "SECRET" not in run[path]
    assert len(odd.store.requests) < 15


def odd_location(chance: random.Random) -> str:
    """Something that is no URL, or no good one; what is between the characters may be anything."""
    scheme = chance.choice(["http://", "https://", "//", "http:", "ht!tp://", "http:///", "://", ""])
    secret = chance.choice(["", "", "u:SECRET@", "SECRET@", "u:SECRET[@", "u:SECRET#@"])
    hosts = [
        "s3.example.org",
        "[::1",
        "[v1.x]",
        "::1]",
        "exa mple",
        "",
        "%zz",
        "x" * 300,
        "\x7f\xfc",
        "a..b",
        "[]",
        "-",
    ]
    ports = ["", ":", ":port", ":99999", ":-1", ":80:80", ":8 0", ":0x50", ":\xb2", ":" + "9" * 50]
    rest = chance.choice(["", "/", "/x?token=SECRET", "#", "\\x", "/[", "?SECRET"])
    return scheme + secret + chance.choice(hosts) + chance.choice(ports) + rest


@pytest.mark.parametrize("seed", range(60))
def test_a_redirect_to_something_that_is_no_url_is_one_line_at_once(odd: Odd, seed: int) -> None:
    """The address is read by several layers below, for which each of these is another kind of error."""
    chance = random.Random(seed)
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    locations = [odd_location(chance) for _ in range(4)]
    status = chance.choice([301, 302, 303, 307, 308])
    for location in locations:
        before = len(odd.store.requests)
        odd.store.bend = of_kind("HEAD GET", refuse(status, Location=location))
        run = odd.restore(patience_s=100)
        for path in "ab":
            said = r"FAILURE - S3 redirects (to \S+|and does not say where to): check endpoint_url in the Airflow "
            assert re.match(rf"{said}connection \({status}\): s3://", run[path]), (location, run[path])
            assert "SECRET" not in run[path]
            assert len(run[path]) < 500
        assert len(odd.store.requests) - before < 15, location


def test_a_redirect_to_a_good_address_still_names_it_among_odd_ones(odd: Odd) -> None:
    odd.put("a", SMALL, "H1")
    odd.store.bend = of_kind("HEAD GET", refuse(307, Location="https://[2001:db8::1]:9000/x"))
    assert odd.restore(patience_s=100)["a"].startswith("FAILURE - S3 redirects to https://[2001:db8::1]:9000: check ")


@pytest.mark.parametrize("status", [401, 403])
def test_a_firewall_is_not_taken_for_s3(odd: Odd, status: int) -> None:
    page = b"<html><head><title>\n Web Page  Blocked &amp; logged </title></head></html>"
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    odd.store.bend = of_kind("HEAD GET", refuse(status, page, Content_Type="text/html"))
    run = odd.restore(patience_s=100)
    said = "A firewall or proxy between worker and S3 refuses the request with a web page (Web Page Blocked & logged)"
    for path in "ab":
        assert run[path].startswith(f"FAILURE - {said} ({status})")
        assert "older versions" not in run[path]
    assert odd.count("versions") == 0, "it is not S3 that says something of an object"


def test_a_proxy_that_wants_a_password(odd: Odd) -> None:
    odd.put("a", SMALL, "H1")
    odd.store.bend = of_kind("GET", refuse(407, b"<html>Proxy</html>", Content_Type="text/html"))
    said = "A proxy before S3 asks for a password: check proxies in config_kwargs of the Airflow connection (407)"
    assert odd.restore(patience_s=100)["a"].startswith(f"FAILURE - {said}")


def restore_by_tunnel(odd: Odd, status: int, patience_s: float) -> str:
    """The line of a file whose store is behind https, where the proxy answers like this."""
    odd.put("a", SMALL, "H1")
    odd.store.bend = lambda _request, answer: answer.become(status, b"<html>Proxy</html>")
    settings = RestoreSettings.from_mapping(QUICK | {"patience_s": patience_s})
    client = engine_client("https://s3.example.org", settings, proxies={"https": odd.store.url})
    run = Run.of(Restorer(S3ObjectStore(client), odd.destination, settings).run(odd.specs()), odd.destination)
    assert {request.method for request in odd.store.requests} == {"CONNECT"}
    return run["a"]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (407, "A proxy before S3 asks for a password: check proxies in config_kwargs of the Airflow connection (407)"),
        (400, "A firewall or proxy between worker and S3 refuses the connection (400)"),
        (403, "A firewall or proxy between worker and S3 refuses the connection (403)"),
        (404, "A firewall or proxy between worker and S3 refuses the connection (404)"),
        (405, "A firewall or proxy between worker and S3 refuses the connection (405)"),
    ],
)
def test_a_proxy_that_refuses_a_tunnel_is_said_at_once(odd: Odd, status: int, said: str) -> None:
    assert restore_by_tunnel(odd, status, patience_s=100) == f"FAILURE - {said}"
    assert len(odd.store.requests) < 5


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_that_makes_no_tunnel_in_passing(odd: Odd, status: int) -> None:
    said = restore_by_tunnel(odd, status, patience_s=0.3)
    assert said.startswith("FAILURE - Network error: the proxy between worker and S3 cannot be reached (")
    assert len(odd.store.requests) > 5


@pytest.mark.parametrize("status", [400, 403, 404, 418, 501, 505])
def test_what_does_not_pass_fails_at_once(odd: Odd, status: int) -> None:
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    odd.store.bend = of_kind("HEAD GET", refuse(status))
    begun = time.monotonic()
    run = odd.restore(patience_s=300)
    assert time.monotonic() - begun < 20
    assert run.status == "COMPLETE FAILURE"
    assert len(odd.store.requests) < 10


GATEWAY_PAGES = [
    (b"404 page not found\n", "text/plain; charset=utf-8"),
    (b"default backend - 404", "text/plain"),
    (b"<html><head><title>404 Not Found</title></head></html>", "text/html"),
    (b'{"message":"no Route matched with those values"}', "application/json"),
]


@pytest.mark.rule("S5", fails_when="a 404 of a gateway is taken for S3's word that there is no such object")
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("body", "content_type"), GATEWAY_PAGES)
def test_a_gateway_without_its_store_is_waited_for(odd: Odd, body: bytes, content_type: str, data: bytes) -> None:
    """While a store restarts, the gateway before it knows no such address: no answer of S3, which speaks XML."""
    odd.put("a", data)
    until = time.monotonic() + 1

    def bend(_request: OddRequest, answer: OddAnswer) -> None:
        if time.monotonic() < until:
            answer.become(404, body, Content_Type=content_type)

    odd.store.bend = bend
    odd.assert_right(odd.restore(patience_s=20))


def test_a_gateway_that_stays_without_its_store_is_told_from_a_missing_object(odd: Odd) -> None:
    odd.put("a", SMALL, "H1")
    odd.store.bend = of_kind("HEAD GET", refuse(404, b"<html><title>404 Not Found</title></html>"))
    run = odd.restore(patience_s=0.3)
    assert run["a"] == (
        "FAILURE - A firewall or proxy between worker and S3 refuses the request with a web page (404 Not Found) (404)"
    )


def test_new_credentials_that_have_expired_already_are_one_clear_line(odd: Odd) -> None:
    """By a clock that is hours ahead; botocore says so in an error of Python's own."""
    odd.put("a", SMALL, "H1")
    odd.put("b", PARTS)
    expired = {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": "2020-01-01T00:00:00Z"}
    client = engine_client(odd.store.url, RestoreSettings())
    client._request_signer._credentials = RefreshableCredentials.create_from_metadata(expired, lambda: expired, "x")
    run = Run.of(Restorer(S3ObjectStore(client), odd.destination).run(odd.specs()), odd.destination)
    for path in "ab":
        assert run[path].startswith("FAILURE - S3 cannot be asked: the AWS token service "), run[path]
        assert run[path].endswith("the refreshed credentials are still expired. (RuntimeError)")
    assert odd.store.requests == []


# --- what is asked, and what it costs ---------------------------------------------------------------------------------


def test_requests_of_a_restore_in_the_normal_case(odd: Odd) -> None:
    odd.put("small", SMALL, "H1")
    odd.put("parts", PARTS)
    odd.put("large", LARGE, "H1", part_mib=5)
    odd.assert_right(odd.restore())
    kinds = [(request.path.rpartition("/")[2], request.kind) for request in odd.store.requests]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        ("small", "GET"): 1,
        ("parts", "HEAD"): 1,
        ("parts", "GET"): 6,
        ("large", "HEAD"): 1,
        ("large", "GET"): 3,
    }


@pytest.mark.rule("S4")
@pytest.mark.parametrize("name", [name for name in LASTING if name.startswith("attributes")])
def test_what_a_store_does_not_know_is_asked_once_in_a_run(odd: Odd, name: str) -> None:
    for number in range(6):
        odd.put(f"{number}", PARTS, damaged=True)
    odd.store.bend = LASTING[name]
    run = odd.restore(max_concurrency=1)
    odd.assert_right(run)
    assert odd.count("attributes") <= (2 if re.search("500|503|520|cut", name) else 1)
    wasted = odd.store.bytes_sent - 6 * len(PARTS)
    assert wasted < 8 * MIB, "at most 1 MiB was read, some more was in buffers of the kernel"
    assert run.summary.bytes_fetched - 6 * len(PARTS) <= MIB


class Together:
    """Holds back the first request of a kind until so many have come that they would all be asked at once."""

    def __init__(self, kind: str, bend: Bend) -> None:
        self._kind = kind
        self._bend = bend
        self._others = threading.Event()

    def __call__(self, request: OddRequest, answer: OddAnswer) -> str | None:
        if request.kind == self._kind:
            self._others.wait(0.5)  # nothing sets it: what else would be asked meanwhile has come by then
        return self._bend(request, answer)


@pytest.mark.rule("S4")
@pytest.mark.parametrize("form", ["attributes", "part", "versions"])
def test_what_a_store_does_not_know_is_asked_once_by_all_connections_together(odd: Odd, form: str) -> None:
    """Eight files at once: seven wait for what the first learns."""
    for number in range(8):
        odd.put(f"{number}", PARTS, "H3" if form == "part" else "H2", part_mib=2, damaged=form == "attributes")
    if form == "versions":
        odd.store._state.objects.clear()
    bends = {"attributes": LASTING["attributes are the object"], "part": LASTING["PartNumber 501"]}
    odd.store.bend = Together(form, bends.get(form, lambda _request, _answer: None))
    run = odd.restore(max_concurrency=8)
    assert odd.count(form) == 1
    if form == "versions":
        assert {line.partition(":")[0] for line in run.lines.values()} == {"FAILURE - Object is not in S3 (NoSuchKey)"}
    else:
        odd.assert_right(run)


LISTINGS: dict[str, Bend] = {
    **{
        f"{status}": of_versions(lambda answer, status=status: answer.become(status, b"<Error/>"))
        for status in (301, 307, 400, 401, 404, 405, 406, 411, 416, 501, 505)
    },
    "the list of objects": of_versions(
        lambda answer: answer.become(200, b"<ListBucketResult><Name>b</Name></ListBucketResult>")
    ),
    "an empty list": of_versions(lambda answer: answer.become(200, b"<ListVersionsResult/>")),
    "a page": of_versions(lambda answer: answer.become(200, LOGIN_PAGE, Content_Type="text/html")),
    "the object": of_versions(lambda answer: answer.become(200, LARGE)),
    "nothing": of_versions(lambda answer: answer.become(200)),
    "always 500": of_versions(lambda answer: answer.become(500)),
    "always 503": of_versions(lambda answer: answer.become(503)),
    "always dropped": dropped("versions"),
}


@pytest.mark.parametrize("name", list(LISTINGS))
def test_without_versions_a_missing_object_is_missing_and_no_more_is_said(odd: Odd, name: str) -> None:
    """Only a refusal for lack of a right is worth words; what a store does not know is no reason to wait for long."""
    for number in range(12):
        odd.put(f"{number}", SMALL, "H1")
    odd.put("there", PARTS)
    odd.store._state.objects = {path: kept for path, kept in odd.store._state.objects.items() if "there" in path}
    odd.store.bend = LISTINGS[name]
    begun = time.monotonic()
    run = odd.restore(patience_s=5, max_concurrency=4)
    assert time.monotonic() - begun < 15
    where = f"s3://{BUCKET}/{PREFIX}"
    for number in range(12):
        assert run[f"{number}"] == f"FAILURE - Object is not in S3 (NoSuchKey): {where}/{number}"
    assert run["there"].startswith("OK - ")
    most = {"an empty list": 12, "always 500": 8, "always 503": 8, "always dropped": 8}
    assert odd.count("versions") <= most.get(name, 1)


def test_a_list_that_fails_while_the_store_is_down_is_waited_for(odd: Odd) -> None:
    """That a store does not know the request is believed only where it answers others."""
    odd.put("a", SMALL, "H1")
    odd.store._state.objects.clear()
    asked = threading.Event()

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "versions":
            asked.set()
        if asked.is_set() and len(odd.store.requests) < 40:
            answer.become(503)
        elif request.kind == "versions":
            answer.become(200, b"<ListVersionsResult/>")

    odd.store.bend = bend
    run = odd.restore(patience_s=20)
    assert run["a"].startswith("FAILURE - Object is not in S3 (NoSuchKey)")
    assert len(odd.store.requests) >= 40


@pytest.mark.rule("S4")
def test_bytes_of_an_answer_that_is_the_object_are_counted(odd: Odd) -> None:
    odd.put("a", PARTS, damaged=True)
    odd.store.bend = attributes_are(
        lambda _request, answer: (answer.become(200, SMALL), setattr(answer, "framing", "chunked"))
    )
    assert odd.restore().summary.bytes_fetched == len(PARTS) + len(SMALL)


def test_versions_are_named_once_where_the_store_refuses_that(odd: Odd) -> None:
    odd.put("parts", PARTS)
    odd.store.bend = told_version_refused(501)
    odd.assert_right(odd.restore(max_concurrency=1))
    assert sum("versionId" in request.query for request in odd.store.requests) == 1


def test_head_is_tried_once_where_it_is_refused(odd: Odd) -> None:
    for number in range(5):
        odd.put(f"{number}", PARTS)
    odd.store.bend = LASTING["HEAD refused by 405"]
    odd.assert_right(odd.restore(max_concurrency=1))
    assert odd.count("HEAD") == 1


# --- H8 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("H8")
@pytest.mark.parametrize("part_size", [15 * MIB, 10 * MIB, 10 * 10**6, 3 * 10**6, 7 * MIB])
def test_a_part_size_that_nobody_told_is_found(odd: Odd, part_size: int) -> None:
    """s3cmd, Cyberduck, SDKs; the store knows no PartNumber."""
    data = raw_bytes(2 * part_size + 12_345, "any part size")
    odd.put("missing", data, "H3", part_mib=part_size / MIB)
    odd.put("right", data, "H3", part_mib=part_size / MIB)
    (odd.destination / "right").write_bytes(data)
    run = odd.restore()
    odd.assert_right(run)
    assert run["right"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H8")
@pytest.mark.parametrize("form", ["H3"])
def test_parts_of_another_upload_do_not_make_a_right_file_wrong(odd: Odd, form: str) -> None:
    """The object was uploaded again, with other parts; what is on disk is right, and nobody can tell."""
    odd.put("a", PARTS, form, part_mib=2.9)
    other = raw_bytes(len(PARTS), "other")
    odd.store.put(f"{BUCKET}/{PREFIX}/a", other, part_size=2 * MIB)
    (odd.destination / "a").write_bytes(PARTS)

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "part":
            last = request.query["partNumber"] == "3"
            answer.headers |= {
                "x-amz-mp-parts-count": "3",
                "Content-Length": str(len(PARTS) - 4 * MIB if last else 2 * MIB),
            }

    odd.store.bend = bend
    run = odd.restore()
    assert run["a"].startswith("FAILURE - ")
    assert (odd.destination / "a").read_bytes() == PARTS
    assert [path.name for path in odd.destination.iterdir()] == ["a"]


@pytest.mark.rule("S4", fails_when="an optional request that cannot be made at all fails the file")
def test_a_right_file_needs_no_word_of_a_store_that_cannot_be_asked(odd: Odd) -> None:
    """Its part size is a usual one; that S3 is asked for it first is a help, and no need."""
    odd.put("a", PARTS, "H3", part_mib=5)
    (odd.destination / "a").write_bytes(PARTS)
    client = engine_client(odd.store.url, RestoreSettings())
    client._request_signer._credentials = None
    run = Run.of(Restorer(S3ObjectStore(client), odd.destination).run(odd.specs()), odd.destination)
    assert run["a"] == "OK - Skipped (already exists)"


@pytest.mark.rule("H8")
def test_the_parts_that_the_store_tells_of_this_very_upload_count(odd: Odd) -> None:
    odd.put("a", PARTS, "H3", part_mib=2.9)

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "part":
            size = int(2.9 * MIB)
            length = size if request.query["partNumber"] == "1" else len(PARTS) - size
            answer.headers |= {"x-amz-mp-parts-count": "2", "Content-Length": str(length)}
            answer.status = 206

    odd.store.bend = bend
    odd.assert_right(odd.restore())


# --- patience ---------------------------------------------------------------------------------------------------------


def until(seconds: float, bend: Bend) -> Bend:
    """Bend for so long, counted from the first request."""
    begun: list[float] = []

    def for_a_while(request: OddRequest, answer: OddAnswer) -> str | None:
        begun.append(time.monotonic())
        return bend(request, answer) if begun[-1] - begun[0] < seconds else None

    return for_a_while


@pytest.mark.rule("S5")
@pytest.mark.parametrize("how", ["503", "reset", "both"])
def test_an_outage_that_is_shorter_than_the_patience_is_sat_out(odd: Odd, how: str) -> None:
    """25 s of 503 against 300 s of patience, ten times as fast."""
    for path, options in FILES.items():
        odd.put(path, **options)
    chance = random.Random(1)

    def bend(_request: OddRequest, answer: OddAnswer) -> str | None:
        if how == "reset" or (how == "both" and chance.random() < 0.5):
            return DROP
        answer.become(503)
        return None

    odd.store.bend = until(2.5, bend)
    odd.assert_right(odd.restore(patience_s=30))


@pytest.mark.rule("S5")
def test_each_connection_is_cut_after_a_few_kib(odd: Odd) -> None:
    """Bytes that arrived count as progress, however few: more tries than any count, longer than the patience."""
    odd.put("a", PARTS)
    odd.store.bend = of_kind("GET", lambda answer: setattr(answer, "most", 5_000))
    run = odd.restore(patience_s=0.5)
    odd.assert_right(run)
    assert odd.count("GET") > 1000
    assert odd.store.bytes_sent == len(PARTS), "no byte came twice"


@pytest.mark.rule("H6", fails_when="a HEAD that tells no size is taken to tell that of file_info")
@pytest.mark.parametrize("name", ["no length at all", "chunked at HEAD", "no bytes at HEAD, as its answer has none"])
def test_a_right_file_is_not_wrong_by_a_size_that_the_store_did_not_tell(odd: Odd, name: str) -> None:
    """The size in the database is what is wrong."""
    odd.put("a", PARTS)
    (odd.destination / "a").write_bytes(PARTS)
    before = (odd.destination / "a").stat()
    odd.file_info["a"] = [len(PARTS) - 4, *odd.file_info["a"][1:]]
    odd.store.bend = LASTING[name]

    run = odd.restore()

    assert run["a"].startswith("OK - Skipped")
    assert (odd.destination / "a").stat().st_ino == before.st_ino


@pytest.mark.rule("S5")
def test_each_connection_stalls_after_some_bytes(odd: Odd) -> None:
    """The buffer that was being filled is not lost."""
    odd.put("a", raw_bytes(400_000, "stalls"), "H1")
    released = threading.Event()

    class Stalling(OddStore):
        def _send(self, client, request: OddRequest, answer: OddAnswer) -> bool:
            answer.headers["Content-Length"] = str(answer.end - answer.start)
            answer.end = min(answer.end, answer.start + 50_000)
            super()._send(client, request, answer)
            released.wait(30)
            return False

    with Stalling() as store:
        odd.store, before = store, odd.store
        store.put(f"{BUCKET}/{PREFIX}/a", odd.data["a"])
        odd.assert_right(odd.restore(stall_timeout_s=0.3, patience_s=1))
        assert len(store.requests) == 8
        released.set()
        odd.store = before


@pytest.mark.rule("S5")
def test_a_connection_that_drips_is_cut_and_a_store_that_only_drips_ends(odd: Odd) -> None:
    odd.put("a", PARTS)
    ended = threading.Event()

    class Dripping(OddStore):
        def _send(self, client, request: OddRequest, answer: OddAnswer) -> bool:
            if request.kind != "GET":
                return super()._send(client, request, answer)
            length = answer.end - answer.start
            fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            client.sock.sendall(f"HTTP/1.1 206 X\r\nContent-Length: {length}\r\n{fields}\r\n".encode())
            for at in range(answer.start, answer.end):
                client.sock.sendall(answer.body[at : at + 1])
                if ended.wait(0.05):
                    break
            return False

    with Dripping() as store:
        odd.store, before = store, odd.store
        store.put(f"{BUCKET}/{PREFIX}/a", PARTS, part_size=MIB)
        begun = time.monotonic()
        run = odd.restore(stall_timeout_s=0.5, min_speed_bytes_s=1000, patience_s=1)
        assert time.monotonic() - begun < 30
        said = r"FAILURE - Connection to S3 is too slow \(\d+ bytes in \d+s, min_speed_bytes_s is 1000\)"
        assert re.fullmatch(said, run["a"]), run["a"]
        ended.set()
        odd.store = before


def test_a_slow_line_is_no_dripping_one(odd: Odd) -> None:
    """Slower than the floor would end here: 100 kB/s against 1 kB/s, with a pause now and then."""
    data = raw_bytes(300_000, "slow")
    odd.put("a", data, "H1")

    class Slow(OddStore):
        def _send(self, client, request: OddRequest, answer: OddAnswer) -> bool:
            client.sock.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 300000\r\n\r\n")
            for at in range(0, 300_000, 10_000):
                client.sock.sendall(answer.body[at : at + 10_000])
                time.sleep(0.05)
            return False

    with Slow() as store:
        odd.store, before = store, odd.store
        store.put(f"{BUCKET}/{PREFIX}/a", data)
        odd.assert_right(odd.restore(stall_timeout_s=0.4, patience_s=0.5))
        assert len(store.requests) == 1
        odd.store = before


def test_three_requests_of_a_hundred_are_lost(odd: Odd) -> None:
    for number in range(300):
        odd.put(f"{number}", raw_bytes(2000, number), "H1")
    chance = random.Random(3)
    lock = threading.Lock()

    def bend(_request: OddRequest, _answer: OddAnswer) -> str | None:
        with lock:
            return DROP if chance.random() < 0.03 else None

    odd.store.bend = bend
    odd.assert_right(odd.restore(patience_s=5))


def test_a_stop_ends_a_wait_at_once(odd: Odd) -> None:
    odd.put("a", PARTS)
    asked = threading.Event()

    def bend(_request: OddRequest, answer: OddAnswer) -> None:
        answer.become(503)
        if len(odd.store.requests) > 3:
            asked.set()

    odd.store.bend = bend
    restorer = odd.restorer(patience_s=300)
    thread = threading.Thread(target=restorer.run, args=(odd.specs(),))
    thread.start()
    assert asked.wait(30)
    restorer.stop(reasons.TERMINATED.of())
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("how", ["503", "reset", "page", "cut"])
def test_a_store_that_goes_down_for_good_ends_many_files_in_one_patience(odd: Odd, how: str) -> None:
    """Whatever it answers then: the patience is that of the run, and not of each of 500 files."""
    for number in range(500):
        odd.put(f"{number:03}", raw_bytes(2000, number), "H1")

    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        if request.number < 20:
            return None
        if how == "reset":
            return DROP
        if how == "503":
            answer.become(503)
        elif how == "page":
            answer.become(200, LOGIN_PAGE, Content_Type="text/html")
        else:
            answer.most = 0
        return None

    odd.store.bend = bend
    begun = time.monotonic()
    run = odd.restore(patience_s=1.0)
    assert time.monotonic() - begun < 20
    assert run.status == "PARTIAL FAILURE"
    assert len(run.lines) == 500
    assert len(odd.store.requests) < 400


@pytest.mark.rule("S5")
def test_a_store_that_never_answered_is_given_up_sooner(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong endpoint is told within a minute, and once that is known nothing is asked any more."""
    monkeypatch.setattr(retries, "NEVER_ANSWERED_S", 0.5)
    for number in range(100):
        odd.put(f"{number:03}", b"%d" % number, "H1")
    odd.store.stop()
    begun = time.monotonic()
    run = odd.restore(patience_s=300)
    assert 0.5 < time.monotonic() - begun < 20
    assert all("Network error: S3 cannot be reached (" in line for line in run.lines.values())


# --- memory -----------------------------------------------------------------------------------------------------------

BIG = Zeros(300 * MIB)
QUIRKS: dict[str, Bend] = {
    "none": lambda _request, _answer: None,
    "attributes are the object": attributes_are(
        lambda _request, answer: (answer.become(200), setattr(answer, "body", BIG), setattr(answer, "end", len(BIG)))
    ),
    "attributes are the object, chunked": attributes_are(
        lambda _request, answer: (
            answer.become(200),
            setattr(answer, "body", BIG),
            setattr(answer, "end", len(BIG)),
            setattr(answer, "framing", "chunked"),
        )
    ),
    "chunked": LASTING["chunked"],
    "until close": LASTING["until close"],
    "HEAD refused": LASTING["HEAD refused by 405"],
    "errors are the object": of_kind(
        "HEAD",
        lambda answer: (answer.become(503), setattr(answer, "body", BIG), setattr(answer, "end", len(BIG))),
    ),
}


@pytest.mark.rule("S4")
@pytest.mark.parametrize("name", list(QUIRKS))
def test_memory_does_not_grow_with_the_object_whatever_the_store_answers(odd: Odd, name: str, tmp_path: Path) -> None:
    """Peak over idle of a process of its own, and bytes on the wire; healing asks for everything there is."""
    path, part = f"{BUCKET}/{PREFIX}/big.raw", 100 * MIB
    digest = hashlib.md5(b"".join([hashlib.md5(bytes(part)).digest()] * 3)).hexdigest()
    odd.store.put(path, BIG, etag=f"{digest}-3")
    with (odd.destination / "big.raw").open("wb") as file:
        file.write(b"x")
        file.truncate(len(BIG))
    odd.store.bend = until(0.5, QUIRKS[name]) if name.startswith("errors") else QUIRKS[name]
    work = {
        "endpoint_url": odd.store.url,
        "destination": str(odd.destination),
        "file_info": {"big.raw": [len(BIG), None, f"{digest}-3__100"]},
        "settings": QUICK | {"patience_s": 10},
        "unprivileged": False,
    }
    repository = Path(__file__).resolve().parents[2]
    python_path = os.pathsep.join((str(repository), str(Path(s3_restore.__file__).parents[1])))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.engine_child"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": python_path},
        input=json.dumps(work) + "\n",
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    result = json.loads(done.stdout)
    assert result["lines"]["big.raw"].startswith("OK - Self-healed ("), result
    peak = result["rss_peak"] - result["rss_before"]
    logging.info("%s: %.0f MiB over idle, %.0f MiB sent", name, peak / MIB, odd.store.bytes_sent / MIB)
    assert peak < 64 * MIB
    assert odd.store.bytes_sent < len(BIG) + 16 * MIB


@pytest.mark.rule("S4", fails_when="the list is asked for in one form only")
@pytest.mark.parametrize("status", [400, 403, 411, 500, 501, 503, 505, DROP])
def test_archived_versions_are_listed_where_the_store_refuses_headers_that_it_does_not_know(
    odd: Odd, status: int | str
) -> None:
    """Whether an archived version came back is asked for by a header that is new (2023) and not of every store."""
    older = (
        f"<Version><Key>{PREFIX}/a</Key><VersionId>v0</VersionId><IsLatest>false</IsLatest><Size>9</Size>"
        "<StorageClass>GLACIER</StorageClass></Version>"
    )

    def bend(request: OddRequest, answer: OddAnswer) -> str | None:
        if request.kind != "versions":
            return None
        if not any(name.lower() == "x-amz-optional-object-attributes" for name in request.headers):
            answer.become(200, f"<ListVersionsResult>{older}</ListVersionsResult>".encode())
        elif isinstance(status, str):
            return status
        else:
            answer.become(status, b"<Error><Code>NotImplemented</Code></Error>")
        return None

    odd.store.bend = bend
    store = S3ObjectStore(engine_client(odd.store.url, RestoreSettings()))
    for _ in range(2):  # the first that are passing may be
        with suppress(TransientStoreError):
            store.versions(BUCKET, f"{PREFIX}/a")
    for _ in range(10):
        assert [version.version_id for version in store.versions(BUCKET, f"{PREFIX}/a")] == ["v0"]


@pytest.mark.rule("S4")
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_list_of_versions_that_is_an_object_is_not_read_to_its_end(odd: Odd, framing: str) -> None:
    odd.put("a", SMALL, "H1")
    odd.store._state.objects.clear()

    def bend(request: OddRequest, answer: OddAnswer) -> None:
        if request.kind == "versions":
            answer.become(200)
            answer.body, answer.end, answer.framing = BIG, len(BIG), framing

    odd.store.bend = bend
    assert odd.restore(patience_s=100)["a"].startswith("FAILURE - Object is not in S3 (NoSuchKey)")
    assert odd.store.bytes_sent < 16 * MIB, "at most 1 MiB was read, some more was in buffers of the kernel"
