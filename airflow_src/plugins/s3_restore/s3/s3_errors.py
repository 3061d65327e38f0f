"""What S3's refusals and broken connections mean: the store's errors, each one line for an operator."""

from __future__ import annotations

import html
import http.client
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import urllib3.exceptions
from botocore import exceptions as botocore_exceptions

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import (
    CredentialsError,
    ObjectChangedError,
    ObjectStoreError,
    PermanentStoreError,
    StoreUnreachableError,
    TransientStoreError,
)
from s3_restore.s3.fast_path import Answer

_MAX_ERROR_BYTES = 64 * 1024
_MAX_ERROR_SECONDS = 10
_MOST_CHARACTERS = 200
_NOT_S3 = "NotS3"  # code of a refusal by something in between: its status says nothing of an object

# What S3's refusals mean, by its error code or the HTTP status.
_PERMANENT = {
    "NoSuchKey": store_reasons.MISSING,
    "404": store_reasons.MISSING,
    "NoSuchVersion": store_reasons.VERSION_MISSING,
    "NoSuchBucket": store_reasons.NO_BUCKET,
    "AccessDenied": store_reasons.ACCESS_DENIED,
    "403": store_reasons.ACCESS_DENIED,
    "AllAccessDisabled": store_reasons.ACCESS_DISABLED,
    "AccountProblem": store_reasons.ACCOUNT_PROBLEM,
    "InvalidAccessKeyId": store_reasons.UNKNOWN_ACCESS_KEY,
    "SignatureDoesNotMatch": store_reasons.WRONG_SECRET_KEY,
    "ExpiredToken": store_reasons.CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": store_reasons.CREDENTIALS_EXPIRED,
    "InvalidToken": store_reasons.WRONG_SESSION_TOKEN,
    "RequestTimeTooSkewed": store_reasons.CLOCK_SKEWED,
    "PermanentRedirect": store_reasons.OTHER_REGION,
    "AuthorizationHeaderMalformed": store_reasons.OTHER_REGION,
    "IllegalLocationConstraintException": store_reasons.OTHER_REGION,
    "InvalidObjectState": store_reasons.ARCHIVED_SOMEHOW,
    "InvalidRange": store_reasons.TOO_SHORT,
    "InvalidBucketName": store_reasons.BAD_BUCKET_NAME,
    "KeyTooLongError": store_reasons.KEY_TOO_LONG,
    "MethodNotAllowed": store_reasons.DELETED,
    "400": store_reasons.BAD_REQUEST,
    "407": store_reasons.PROXY_PASSWORD,
}
_TRANSIENT_CODES = {
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted", "TooManyRequests",
    "IDPCommunicationError",
}  # fmt: skip
# Of 4xx, official or not: time-outs, too many requests, a client that went away. Of the others see `_is_passing`.
_PASSING_4XX = {408, 420, 425, 429, 444, 449, 460, 499}
_LASTING_5XX = {501, 505}  # what was asked is not known there, and will not be a minute later

_PERMANENT_CLIENT_ERRORS = (
    botocore_exceptions.NoCredentialsError,
    botocore_exceptions.PartialCredentialsError,
    botocore_exceptions.CredentialRetrievalError,
    botocore_exceptions.ParamValidationError,
    botocore_exceptions.InvalidRegionError,
    botocore_exceptions.NoRegionError,
    botocore_exceptions.UnknownSignatureVersionError,
    botocore_exceptions.UnsupportedSignatureVersionError,
)
_BODY_ERRORS = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    botocore_exceptions.HTTPClientError,
    botocore_exceptions.IncompleteReadError,
    botocore_exceptions.ResponseStreamingError,
    OSError,
)
_DROPPED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_PASSING_CLIENT_ERRORS = (
    botocore_exceptions.ConnectionError,
    botocore_exceptions.HTTPClientError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>")


@contextmanager
def errors_of_requests() -> Iterator[None]:
    """Turn what is raised while a request is sent into the store's errors."""
    try:
        yield
    except CredentialsError as error:
        raise _of_token_service(error.__cause__ or error) from None
    except _PERMANENT_CLIENT_ERRORS as error:
        if is_passing(error):
            raise _of_token_service(error) from None
        failure = store_reasons.CANNOT_BE_ASKED.of(_one_line(error), _kind(error))
        raise PermanentStoreError(failure, _kind(error)) from None
    except botocore_exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise PermanentStoreError(store_reasons.CERTIFICATE.of(), "SSLError") from None
        raise StoreUnreachableError(store_reasons.TLS_FAILED.of(), "SSLError") from None
    except botocore_exceptions.ProxyConnectionError as error:
        raise _of_proxy(error) from None
    except (botocore_exceptions.ConnectionError, botocore_exceptions.HTTPClientError, *_BODY_ERRORS) as error:
        kind = _kind(error)
        # Somebody took the connection and dropped it: a store that restarts, or a network that does, is likelier than
        # a wrong address.
        error_type = TransientStoreError if _was_dropped(error) else StoreUnreachableError
        raise error_type(store_reasons.UNREACHABLE.of(kind), kind) from None
    except (botocore_exceptions.BotoCoreError, ValueError, KeyError) as error:
        raise TransientStoreError(store_reasons.NO_SENSE.of(_kind(error)), _kind(error)) from None


@contextmanager
def errors_of_bodies() -> Iterator[None]:
    """Turn what is raised while a body is read into the store's errors."""
    try:
        yield
    except (*_BODY_ERRORS, ValueError) as error:
        raise TransientStoreError(store_reasons.BROKE.of(_kind(error)), _kind(error)) from None


def is_passing(error: BaseException) -> bool:
    """Whether an error of a boto3 client may be gone with another try."""
    if isinstance(error, botocore_exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _is_passing(status, str(error.response.get("Error", {}).get("Code", "")))
    if isinstance(error, botocore_exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    if isinstance(error, botocore_exceptions.CredentialRetrievalError):
        return _is_passing_of_container(error)
    return isinstance(error, _PASSING_CLIENT_ERRORS)


def _is_passing_of_container(error: botocore_exceptions.CredentialRetrievalError) -> bool:
    """Whether what gives a container its credentials (ECS, EKS) is only away.

    botocore asks it three times within 3 s, and then calls that the same as a refusal.
    """
    if error.kwargs.get("provider") != "container-role":
        return False
    status = re.search(r"non 200 response (\d{3})", str(error.kwargs.get("error_msg", "")))
    return _is_passing(int(status[1]), "") if status else True


def refusal(answer: Answer, where: str) -> ObjectStoreError:
    """Make the error that an answer is, which is no object; closes it.

    Args:
        answer: with a status that is not 200 or 206.
        where: ``s3://bucket/key``, for the reason.

    """
    text, details = _document(answer)
    status = answer.status
    code = str(details.get("Code", "")) or str(status)
    if status == HTTPStatus.PRECONDITION_FAILED or code == "PreconditionFailed":
        return ObjectChangedError(store_reasons.REPLACED.of("PreconditionFailed"), code)
    if _is_passing(status, code):
        return TransientStoreError(store_reasons.OVERLOADED.of(code), code)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return TransientStoreError(store_reasons.NO_SENSE.of(status), code)
    if status == HTTPStatus.NOT_FOUND and not details and _is_of_gateway(answer, text):
        return TransientStoreError(store_reasons.WEB_PAGE.of(_title(text), status), _NOT_S3)
    if status < HTTPStatus.BAD_REQUEST and code not in _PERMANENT:
        return _redirect(answer, code, where)
    if _is_web_page(answer, text) and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        failure = store_reasons.WEB_PAGE.of(_title(text), status)
        code = _NOT_S3
    elif code == "InvalidObjectState" and details.get("StorageClass"):
        failure = store_reasons.ARCHIVED.of(details["StorageClass"], code)
    elif reason := _PERMANENT.get(code):
        failure = reason.of(code)
    else:
        failure = store_reasons.REFUSED.of(_one_line(details.get("Message", "")) or "no reason given", code)
    return PermanentStoreError(failure.ending(f": {where}"), code)


def as_client_error(error: ObjectStoreError, operation: str) -> botocore_exceptions.ClientError:
    """Make the error that boto3 raises for a refusal, for callers that expect that."""
    details = {"Code": error.code or "Unknown", "Message": str(error)}
    return botocore_exceptions.ClientError({"Error": details}, operation)


def _document(answer: Answer) -> tuple[str, Mapping[str, Any]]:
    """Text of an answer, and the elements of the error that it may be."""
    if answer.error:
        answer.body.close()
        return "", answer.error
    try:
        data, _ = answer.body.read(_MAX_ERROR_BYTES, _MAX_ERROR_SECONDS)
    except (*_BODY_ERRORS, ValueError):
        data = b""
    finally:
        answer.body.close()
    try:
        root = ET.fromstring(data)  # noqa: S314 (expat limits entities; the size is limited)
        details = {child.tag.rpartition("}")[2]: child.text or "" for child in root}
    except (ET.ParseError, ValueError):
        details = {}
    return data.decode(errors="replace"), details if "Code" in details else {}


def _is_passing(status: int, code: str) -> bool:
    if code in _TRANSIENT_CODES or status in _PASSING_4XX:
        return True
    # Proxies and gateways have numbers of their own (520 to 530, 598 and more): all say that they got nowhere.
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _LASTING_5XX


def _redirect(answer: Answer, code: str, where: str) -> PermanentStoreError:
    target = _origin(answer.headers.get("location", ""))
    failure = store_reasons.REDIRECTED.of(target, code) if target else store_reasons.REDIRECTED_NOWHERE.of(code)
    return PermanentStoreError(failure.ending(f": {where}"), code)


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, and nothing that may be secret; empty where it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return _one_line(f"{parts.scheme or 'http'}://{shown}" + (f":{port}" if port else ""))


def _is_web_page(answer: Answer, text: str) -> bool:
    if not text.strip():
        return False  # some stores refuse with nothing, of whatever type
    kind = answer.headers.get("content-type", "").lower()
    return "html" in kind or text.lstrip().lower().startswith(("<!doctype html", "<html"))


def _is_of_gateway(answer: Answer, text: str) -> bool:
    """Whether something in between says that it knows no such address, as it does while the store behind it restarts.

    S3 says what is wrong in XML, or nothing at all.
    """
    kind = answer.headers.get("content-type", "").lower()
    return bool(text.strip()) and (_is_web_page(answer, text) or kind.startswith(("text/plain", "application/json")))


def _title(text: str) -> str:
    found = _TITLE.search(text)
    return _one_line(html.unescape((found[1] or found[2]) if found else "")) or "without a title"


def _of_proxy(error: botocore_exceptions.ProxyConnectionError) -> ObjectStoreError:
    """A proxy that cannot be reached, or that makes no tunnel to a store behind https."""
    # botocore's own text has only the proxy's address; the answer to CONNECT is in what it wraps.
    refused = re.search(r"Tunnel connection failed: (\d{3})", str(error.kwargs.get("error", "")))
    if refused and not _is_passing(int(refused[1]), ""):
        reason = store_reasons.PROXY_PASSWORD if refused[1] == "407" else store_reasons.PROXY_REFUSES
        return PermanentStoreError(reason.of(refused[1]), _NOT_S3)
    kind = _kind(error)
    return StoreUnreachableError(store_reasons.PROXY_UNREACHABLE.of(kind), kind)


def _of_token_service(error: BaseException) -> ObjectStoreError:
    """Temporary credentials could not be renewed: of the service that gives them, and not of S3."""
    kind = _kind(error)
    if is_passing(error):
        return StoreUnreachableError(store_reasons.TOKEN_SERVICE_AWAY.of(kind), kind)
    return PermanentStoreError(store_reasons.TOKEN_SERVICE_REFUSES.of(_one_line(error), kind), kind)


def _one_line(words: object) -> str:
    text = " ".join(str(words).split())
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _was_dropped(error: BaseException) -> bool:
    """Whether a connection was made, and then ended by the other side."""
    inner: BaseException | None = error
    for _ in range(6):
        if inner is None or isinstance(inner, _DROPPED):
            break
        causes = (*inner.args, inner.__cause__, inner.__context__)
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    return isinstance(inner, _DROPPED)


def _kind(error: BaseException) -> str:
    """Name of the innermost cause, which says more than the wrappers around it."""
    inner = error
    for _ in range(5):
        following = next((arg for arg in (*inner.args, inner.__cause__) if isinstance(arg, BaseException)), None)
        if following is None:
            break
        inner = following
    return type(inner).__name__
