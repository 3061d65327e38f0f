"""Requests to S3 with a third of the processor time that a boto3 client takes, and answers as they came.

What costs in a client is not the network but building each request from the service model, resolving the endpoint and
parsing the answer: each in Python, one thread at a time. Here the client does that once for each bucket, without
sending anything; from then on the bucket's URL is reused with other keys, signed by the client's own signer (so that
credentials are renewed and other signatures count) and sent through its own connections. The answers are read here and
not by botocore, which reads some of them whole into memory and calls others errors that are none.

Whatever leads to another region is left to the client. So is everything where a botocore lacks the inner parts that are
used here: this is the only module that knows them.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http import client as http_client
from typing import Any
from urllib.parse import quote

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004
from urllib3.util import parse_url

from s3_restore.model.exceptions import CredentialsError

_REDIRECTS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.TEMPORARY_REDIRECT}
_MOVED = {301, 302, 303, 307, 308}  # whatever leads to another address
_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject"}
# Where they come from signing; RuntimeError: what was renewed has expired, by this machine's clock.
_OF_TOKEN_SERVICE = (ClientError, ConnectionError, HTTPClientError, RuntimeError)
_CONTEXT = ("auth_type", "signing", "client_config")  # of a request: what decides how it is signed
_ARGUMENTS = {"range": "Range", "if-match": "IfMatch", "versionId": "VersionId", "partNumber": "PartNumber"}


class Answer:
    """What came back for one request; to be closed.

    Attributes:
        status: of HTTP.
        headers: by lower-case name; what came several times alike counts once.
        body: what follows, read as it arrives.
        error: code and more of an error that the client has read already; empty when the body is still to be read.

    """

    def __init__(
        self, status: int, headers: Mapping[str, str], body: Body, error: Mapping[str, Any] | None = None
    ) -> None:
        self.status = int(status)
        self.headers = {name.lower(): _said_once(value) for name, value in headers.items()}
        self.body = body
        self.error = error or {}


class Body:
    """Bytes that follow the head of an answer.

    Args:
        raw: urllib3's response, botocore's wrapping of it, or anything with ``readinto`` and ``close``.

    """

    def __init__(self, raw: Any) -> None:
        self._raw = getattr(raw, "_raw_stream", raw)
        # urllib3 reads into a new object with each read and copies; the response below it fills the buffer itself.
        self._http = getattr(self._raw, "_original_response", None)
        self._read_ahead = True
        # Below that is the connection: by TLS it gives 16 KiB at a time, and each layer above it costs as much again.
        self._receive_into: Callable[[memoryview], int] | None = getattr(self._http, "receive_into", None)

    def read_some(self, view: memoryview) -> int:
        """Fill ``view`` with what is there, waiting only while nothing is; 0 at the end.

        Filling a whole buffer at once would lose what is in it when the connection breaks.
        """
        http = self._http
        if http is None:
            count: int = self._raw.readinto(view)
            return count
        if http.fp is None:
            return 0
        if http.chunked:
            data = http.read1(len(view))
            view[: len(data)] = data
            return len(data)
        if http.length is not None:
            view = view[: http.length]
        if not view:
            return 0
        if self._read_ahead or len(view) <= io.DEFAULT_BUFFER_SIZE:
            # What was read along with the head first: ``readinto1`` would wait for more, and lose it on an error.
            data = http.fp.read1(len(view))
            count = len(data)
            view[:count] = data
            self._read_ahead = self._read_ahead and count == len(view) < io.DEFAULT_BUFFER_SIZE
        else:
            count = (self._receive_into or http.fp.readinto1)(view)
        if http.length is not None:
            http.length -= count
        return count

    def read(self, most: int, seconds: float) -> tuple[bytes, bool]:
        """Read a document, and never more than ``most`` bytes or for much longer than ``seconds``.

        Returns:
            What came, and whether that is all of it.

        """
        until = time.monotonic() + seconds
        data = bytearray(most)
        view = memoryview(data)
        filled = 0
        while filled < most and time.monotonic() < until:
            count = self.read_some(view[filled : filled + 65536])
            if not count:
                missing = getattr(self._http, "length", 0)
                return bytes(data[:filled]), not missing
            filled += count
        return bytes(data[:filled]), False

    def close(self) -> None:
        """Give the connection back when all was read, else end it."""
        http = self._http
        if http is not None:
            if not http.isclosed() and not http.chunked and http.length == 0:
                http.close()  # ends the response, and not the connection below it
            if http.isclosed():
                self._raw.release_conn()
        self._raw.close()


class FastPath:
    """Sends requests for objects; safe to use from several threads.

    Args:
        client: a boto3 S3 client.

    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._signer: Any = getattr(client, "_request_signer", None)
        self._session: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
        self._buckets: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._thread = threading.local()
        self._learning = threading.Lock()
        if self._signer is None or self._session is None:
            logging.info("This botocore lacks the parts of the fast path: requests go the client's way")
        else:
            _read_patiently(self._session)
        client.meta.events.register("before-call.s3.HeadBucket", self._once_only)

    def send(
        self,
        method: str,
        bucket: str,
        key: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request without a body.

        Args:
            method: ``GET`` or ``HEAD``.
            bucket: of the object.
            key: of the object; empty for the bucket itself.
            query: parameters of the URL.
            headers: of the request, beside those that sign it.

        Returns:
            The answer, whatever its status.

        Raises:
            CredentialsError: if it cannot be signed.
            BotoCoreError: if S3 cannot be reached.

        """
        query, headers = query or {}, headers or {}
        if self._signer is None or self._session is None:
            return self._by_client(method, bucket, key, query, headers)
        bucket_url, context = self._buckets.get(bucket) or self._learn(bucket)
        response = self._send(method, bucket_url + quote(key, safe="/~"), context, query, headers)
        answer = Answer(response.status_code, response.headers, Body(response.raw))
        if _leads_elsewhere(method, answer) and not self._is_unknown_to_client(key, query):
            answer.body.close()
            self._buckets.pop(bucket, None)  # the client may learn another region now
            return self._by_client(method, bucket, key, query, headers)
        return answer

    def _learn(self, bucket: str) -> tuple[str, Mapping[str, Any]]:
        """Have the client build and sign a request for the bucket, and keep what it would have sent it to."""
        thread = threading.get_ident()
        seen: list[AWSRequest] = []

        def note(request: Any, **_: Any) -> None:
            if threading.get_ident() == thread:
                seen.append(request)

        def answer(request: Any, **_: Any) -> AWSResponse | None:
            return AWSResponse(request.url, 200, {}, _Nothing()) if threading.get_ident() == thread else None

        events = self._client.meta.events
        with self._learning:
            if bucket in self._buckets:  # another thread was faster
                return self._buckets[bucket]
            events.register_last("before-sign.s3.HeadObject", note)
            events.register_first("before-send.s3.HeadObject", answer)
            try:
                self._client.head_object(Bucket=bucket, Key="k")
            except _OF_TOKEN_SERVICE as error:  # as nothing is sent to S3
                raise CredentialsError from error
            finally:
                events.unregister("before-sign.s3.HeadObject", note)
                events.unregister("before-send.s3.HeadObject", answer)
        url = seen[-1].url.partition("?")[0].removesuffix("k")
        learnt = (url, {name: seen[-1].context[name] for name in _CONTEXT if name in seen[-1].context})
        self._buckets[bucket] = learnt
        return learnt

    def _send(
        self, method: str, url: str, context: Mapping[str, Any], query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Any:
        if query:
            url += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
        request = AWSRequest(method, url, headers={"User-Agent": "s3-downloader", **headers})
        request.context.update(context)
        operation = _OPERATIONS[method]
        try:
            self._signer.sign(operation, request)
        except _OF_TOKEN_SERVICE as error:
            raise CredentialsError from error
        prepared = request.prepare()
        prepared.stream_output = True
        # Whoever listens to the client's requests, or answers them in its stead, still does.
        answers = self._client.meta.events.emit(f"before-send.s3.{operation}", request=prepared)
        answered = next((answer for _, answer in answers if answer is not None), None)
        return answered if answered is not None else self._session.send(prepared)

    # --- the client's way --------------------------------------------------------------------------------------

    @staticmethod
    def _is_unknown_to_client(key: str, query: Mapping[str, str]) -> bool:
        return not key or not query.keys() <= _ARGUMENTS.keys()

    def _by_client(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Answer:
        if self._is_unknown_to_client(key, query):
            return Answer(HTTPStatus.NOT_IMPLEMENTED, {}, Body(io.BytesIO()), {"Code": "NotImplemented"})
        known = {name.lower(): value for name, value in {**headers, **query}.items()}
        arguments: dict[str, Any] = {
            argument: known[name.lower()] for name, argument in _ARGUMENTS.items() if name.lower() in known
        }
        if "PartNumber" in arguments:
            arguments["PartNumber"] = int(arguments["PartNumber"])
        call: Callable[..., Mapping[str, Any]]
        call = self._client.get_object if method == "GET" else self._client.head_object
        self._thread.head_buckets = 0
        try:
            response = call(Bucket=bucket, Key=key, **arguments)
        except ClientError as error:
            metadata = error.response.get("ResponseMetadata", {})
            if "HTTPStatusCode" not in metadata:
                raise CredentialsError from error
            status, fields = metadata["HTTPStatusCode"], metadata.get("HTTPHeaders", {})
            return Answer(status, fields, Body(io.BytesIO()), error.response.get("Error") or {"Code": str(status)})
        metadata = response["ResponseMetadata"]
        return Answer(metadata["HTTPStatusCode"], metadata["HTTPHeaders"], Body(response.get("Body") or io.BytesIO()))

    def _once_only(self, **_: Any) -> tuple[Any, Mapping[str, Any]] | None:
        """Answer a HeadBucket that is made within a HeadBucket.

        After a redirect that names no region, botocore asks for the bucket's region with a HeadBucket; where that is
        redirected too, it would ask again for ever.
        """
        self._thread.head_buckets = getattr(self._thread, "head_buckets", 0) + 1
        if self._thread.head_buckets == 1:
            return None
        return AWSResponse("", 200, {}, _Nothing()), {"ResponseMetadata": {"HTTPHeaders": {}}}


def _said_once(value: str) -> str:
    """What a header says: some proxies send it two or three times alike, and then it comes joined."""
    for times in (2, 3) if ", " in value else ():
        once = value[: len(value) // times - 1]
        if once and ", ".join([once] * times) == value:
            return once
    return value


def _leads_elsewhere(method: str, answer: Answer) -> bool:
    """Whether an answer may mean that the bucket is in another region."""
    if answer.status == HTTPStatus.BAD_REQUEST:
        return method == "GET" or "x-amz-bucket-region" in answer.headers
    return answer.status in _REDIRECTS


class _Nothing:
    """An empty body."""

    @staticmethod
    def stream(*_: Any, **__: Any) -> Any:
        return iter(())


def credentials_of(client: Any) -> Any:
    """The credentials that a boto3 client signs with, None for none; botocore has no public way."""
    return getattr(getattr(client, "_request_signer", None), "_credentials", None)


# --- reading the head of an answer -----------------------------------------------------------------------------


def _read_patiently(session: Any) -> None:
    """Have a session's new connections read answers with ``_PatientResponse``."""
    classes = getattr(session, "_pool_classes_by_scheme", None)
    if not isinstance(classes, dict):
        return
    for scheme, pool in list(classes.items()):
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": _PatientResponse})
        classes[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})


class _PatientResponse(http_client.HTTPResponse):
    """Reads over every interim answer (1xx), and gives a head as a whole only so much time.

    ``http.client`` knows no interim answer but 100: after a 103 it would take the real answer for that of the next
    request. And its time limit is for each read, so that a head that drips has none.
    """

    def __init__(self, sock: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.receive_into = sock.recv_into  # for whoever has read all that was read ahead
        limit = sock.gettimeout()
        if limit:
            self.fp: Any = io.BufferedReader(_Limited(self.fp.detach(), 2 * limit))

    def begin(self) -> None:
        super().begin()
        if self.status in _MOVED and not _is_url(self.headers.get("location", "")):
            del self.headers["location"]  # urllib3 reads it even where nobody follows, and would drop the answer
        limited = getattr(self.fp, "raw", None)
        if isinstance(limited, _Limited):
            limited.until = None

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK:
                return version, status, reason
            http_client.parse_headers(self.fp)


def _is_url(text: str) -> bool:
    try:
        parse_url(text)
    except ValueError:
        return False
    return True


class _Limited(io.RawIOBase):
    """Reads from another raw stream; while ``until`` is set, not beyond that time."""

    def __init__(self, raw: Any, seconds: float) -> None:
        super().__init__()
        self._raw = raw
        self.until: float | None = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError("timed out")
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
