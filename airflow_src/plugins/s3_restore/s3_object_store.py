"""The object store of ``object_store`` on S3, through a boto3 client: connection, signing, request and answer.

Requests made: GetObject, HeadObject, and GetObjectAttributes where the store has it (S2); RestoreObject only in
``bring_back``, for which a setting must ask. Retries are not made here but
by the caller, who knows from which byte to go on; so the client should come from ``client_config``.
"""

from __future__ import annotations

import http.client
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3.exceptions
from botocore import exceptions as botocore_exceptions
from botocore.config import Config

from s3_restore.hashing import CHECKSUM_ALGORITHMS
from s3_restore.lean_get_object import LeanGetObject
from s3_restore.object_store import (
    ObjectChangedError,
    ObjectStoreError,
    ObjectVersion,
    PartChecksum,
    PermanentStoreError,
    StoreUnreachableError,
    TransientStoreError,
)

_CONNECT_TIMEOUT_S = 10
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
_MAX_ATTRIBUTE_PARTS = 1000

# What S3 says -> what an operator can do about it. The code follows in brackets.
_PERMANENT = {
    "NoSuchKey": "Object is not in S3",
    "NoSuchVersion": "Object version is not in S3 any more",
    "NoSuchBucket": "Bucket does not exist in S3",
    "AccessDenied": "S3 denies access: the connection's user needs s3:GetObject on this bucket",
    "AllAccessDisabled": "S3 denies access: all access to this object is disabled",
    "AccountProblem": "S3 denies access: there is a problem with the AWS account",
    "InvalidAccessKeyId": "S3 does not know the access key: check the Airflow connection",
    "SignatureDoesNotMatch": "S3 refuses the signature: check the secret key in the Airflow connection",
    "ExpiredToken": "S3 credentials have expired: renew the Airflow connection",
    "InvalidToken": "S3 refuses the session token: renew the Airflow connection",
    "TokenRefreshRequired": "S3 credentials have expired: renew the Airflow connection",
    "RequestTimeTooSkewed": "The clock of this worker differs too much from that of S3",
    "PermanentRedirect": "Bucket is in another region: check backup.s3.region in the YAML",
    "AuthorizationHeaderMalformed": "Bucket is in another region: check backup.s3.region in the YAML",
    "IllegalLocationConstraintException": "Bucket is in another region: check backup.s3.region in the YAML",
    "InvalidObjectState": "Object is archived and must be restored in S3 first",
    "InvalidRange": "Object in S3 is shorter than it should be",
    "InvalidBucketName": "Not a valid bucket name",
    "KeyTooLongError": "The key is too long for S3",
    "MethodNotAllowed": "Object was deleted in S3 (its newest version is a delete marker)",
    "403": "S3 denies access: the connection's user needs s3:GetObject on this bucket",
    "404": "Object is not in S3",
    "400": "S3 refuses the request",
}
_TRANSIENT_CODES = {
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted", "TooManyRequests",
}  # fmt: skip
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504, 509}

_PERMANENT_CLIENT_ERRORS = (
    botocore_exceptions.NoCredentialsError,
    botocore_exceptions.PartialCredentialsError,
    botocore_exceptions.CredentialRetrievalError,
    botocore_exceptions.ParamValidationError,
    botocore_exceptions.InvalidRegionError,
    botocore_exceptions.NoRegionError,
)
_BODY_ERRORS = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    botocore_exceptions.HTTPClientError,
    botocore_exceptions.IncompleteReadError,
    botocore_exceptions.ResponseStreamingError,
    OSError,
)


def client_config(max_connections: int, stall_timeout_s: float) -> Config:
    """Settings for the boto3 client that S3ObjectStore works best with.

    Args:
        max_connections: how many requests may be under way at once.
        stall_timeout_s: seconds without a byte after which a connection counts as broken.

    """
    return Config(
        signature_version="s3v4",
        max_pool_connections=max_connections,
        connect_timeout=min(_CONNECT_TIMEOUT_S, stall_timeout_s),
        read_timeout=stall_timeout_s,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 1},
        # Its own check would need the whole object in one response; the instrument's hash proves more.
        response_checksum_validation="when_required",
        request_checksum_calculation="when_required",
    )


class S3ObjectStore:
    """An ObjectStore on a boto3 S3 client; safe to use from several threads."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._get_object = LeanGetObject(client)
        self._may_name_versions = True

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Describe the newest version of an object (HeadObject)."""
        try:
            with _errors_of_requests(bucket, key):
                response = self._client.head_object(Bucket=bucket, Key=key)
                return _version_of(response, int(response["ContentLength"]))
        except PermanentStoreError as error:
            if error.code.isdigit():
                self._ask_for_the_reason(bucket, key)
            raise

    def _ask_for_the_reason(self, bucket: str, key: str) -> None:
        """A HEAD error has no body and so no code; the same GET has both. Raises it."""
        with self.open_range(bucket, key, 0, None, None):
            pass

    @contextmanager
    def open_range(
        self, bucket: str, key: str, start: int, length: int | None, version: ObjectVersion | None
    ) -> Iterator[S3ByteStream]:
        """Open a range of an object, or all of it (GetObject with If-Match, VersionId, Range)."""
        arguments: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if length is not None:
            arguments["Range"] = f"bytes={start}-{start + length - 1}"
        if version and version.etag:
            arguments["IfMatch"] = f'"{version.etag}"'
        with _errors_of_requests(bucket, key):
            response = self._naming_version(self._get_object, version, arguments)
        stream = S3ByteStream(response["Body"])
        try:
            stream.version = _check_answer(response, start, length, version)
            stream.remaining = stream.version.size if length is None else length
            yield stream
        finally:
            stream.close()

    def part_size(self, bucket: str, key: str, version: ObjectVersion | None, size: int) -> int | None:
        """Bytes of the object's first part; None when S3 does not tell (HeadObject with PartNumber, first and last).

        A wrong answer would make a right file look corrupted, so the last part has to fit.
        """

        def head_part(number: int) -> Mapping[str, Any]:
            arguments: dict[str, Any] = {"Bucket": bucket, "Key": key, "PartNumber": number}
            return self._naming_version(self._client.head_object, version, arguments)

        try:
            with _errors_of_requests(bucket, key):
                first = head_part(1)
                count, part_size = int(first.get("PartsCount", 0)), int(first["ContentLength"])
                if not count:
                    return None
                last = int(head_part(count)["ContentLength"]) if count > 1 else part_size
        except PermanentStoreError:
            return None
        if (count - 1) * part_size + last != size:
            raise TransientStoreError("S3 gave an answer that makes no sense (its parts do not add up)", "PartSize")
        return part_size

    def part_checksums(self, bucket: str, key: str, version: ObjectVersion) -> Sequence[PartChecksum]:
        """Checksums of the object's parts (GetObjectAttributes); empty when the store does not tell all of them."""
        arguments: dict[str, Any] = {
            "Bucket": bucket,
            "Key": key,
            "ObjectAttributes": ["ETag", "ObjectParts", "ObjectSize"],
            "MaxParts": _MAX_ATTRIBUTE_PARTS,
        }
        found: list[PartChecksum] = []
        start = 0
        try:
            while True:
                with _errors_of_requests(bucket, key):
                    response = self._naming_version(self._client.get_object_attributes, version, arguments)
                if response.get("ETag", version.etag).strip('"') != version.etag:
                    return ()
                parts = response.get("ObjectParts", {})
                for part in parts.get("Parts", ()):
                    checksum = _part_checksum(part, start)
                    if checksum is None:
                        return ()
                    found.append(checksum)
                    start += checksum.length
                if not parts.get("IsTruncated"):
                    break
                marker = parts.get("NextPartNumberMarker")
                if not marker or marker == arguments.get("PartNumberMarker"):
                    return ()
                arguments["PartNumberMarker"] = marker
        except PermanentStoreError as error:
            # A help, not a need: whoever may not ask, or asks a store that has no such request, fetches everything.
            logging.info("S3 does not tell part checksums of %s (%s)", key, error.code or error)
            return ()
        return found if start == version.size else ()

    def _naming_version(
        self, request: Callable[..., Mapping[str, Any]], version: ObjectVersion | None, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Make a request for exactly this version; without naming it where the user may not.

        In a versioned bucket, naming a version takes rights of its own (s3:GetObjectVersion). Whoever has only
        s3:GetObject gets the newest version, and If-Match and the checks of the answer tell when it is another one.
        """
        if not version or not version.version_id or not self._may_name_versions:
            return request(**arguments)
        try:
            return request(**arguments, VersionId=version.version_id)
        except botocore_exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != http.client.FORBIDDEN:
                raise
            response = request(**arguments)
            self._may_name_versions = False
            logging.info("S3 denies s3:GetObjectVersion: the newest version is asked for, guarded by its ETag")
            return response

    def bring_back(self, bucket: str, key: str, version: ObjectVersion, days: int) -> None:
        """Ask S3 to make an archived object readable for some days (RestoreObject): the only request that writes.

        Raises:
            ObjectStoreError: if S3 refuses.

        """
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": "Standard"}}
        if version.storage_class != "INTELLIGENT_TIERING":  # that one moves the object back for good
            request["Days"] = days
        arguments: dict[str, Any] = {"Bucket": bucket, "Key": key, "RestoreRequest": request}
        if version.version_id:
            arguments["VersionId"] = version.version_id
        try:
            with _errors_of_requests(bucket, key):
                self._client.restore_object(**arguments)
        except PermanentStoreError as error:
            if error.code != "RestoreAlreadyInProgress":
                raise


class S3ByteStream:
    """The body of one response. See ``object_store.ByteStream``."""

    version: ObjectVersion
    remaining: int

    def __init__(self, body: Any) -> None:
        self._body = getattr(body, "_raw_stream", body)  # urllib3's response, without botocore's own wrapping
        # urllib3 reads into a new object of each read and copies; the response below it fills the buffer itself.
        self._source = getattr(self._body, "_original_response", None) or self._body

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as bytes arrive; 0 only at the end."""
        view = buffer[: min(len(buffer), self.remaining)]
        if not view:
            return 0
        try:
            count: int = self._source.readinto(view)
        except _BODY_ERRORS as error:
            raise TransientStoreError(f"Connection to S3 broke ({_kind(error)})", _kind(error)) from None
        if not count:
            raise TransientStoreError("Connection to S3 ended too early", "IncompleteBody")
        self.remaining -= count
        return count

    def close(self) -> None:
        """Give the connection back when all was read, else end it."""
        if self._source is not self._body and self._source.isclosed():
            self._body.release_conn()
        self._body.close()


@contextmanager
def _errors_of_requests(bucket: str, key: str) -> Iterator[None]:
    """Turn what botocore raises into the store's errors, each one line for an operator."""
    where = f"s3://{bucket}/{key}"
    try:
        yield
    except botocore_exceptions.ClientError as error:
        raise _from_client_error(error, where) from None
    except _PERMANENT_CLIENT_ERRORS as error:
        reason = " ".join(str(error).split())
        raise PermanentStoreError(f"S3 cannot be asked: {reason} ({_kind(error)})", _kind(error)) from None
    except botocore_exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            reason = "The certificate of S3 is not trusted: check endpoint_url and verify in the Airflow connection"
            raise PermanentStoreError(f"{reason} (SSLError)", "SSLError") from None
        raise TransientStoreError("Network error: TLS connection to S3 failed (SSLError)", "SSLError") from None
    except (botocore_exceptions.ConnectionError, botocore_exceptions.HTTPClientError, *_BODY_ERRORS) as error:
        raise StoreUnreachableError(f"Network error: S3 cannot be reached ({_kind(error)})", _kind(error)) from None
    except (botocore_exceptions.BotoCoreError, ValueError, KeyError) as error:
        raise TransientStoreError(f"S3 gave an answer that makes no sense ({_kind(error)})", _kind(error)) from None


def _from_client_error(error: botocore_exceptions.ClientError, where: str) -> ObjectStoreError:
    details: Mapping[str, Any] = error.response.get("Error", {})
    code = str(details.get("Code", "")) or "Unknown"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == http.client.PRECONDITION_FAILED or code == "PreconditionFailed":
        return ObjectChangedError("Object was replaced in S3 during the download (PreconditionFailed)", code)
    if code in _TRANSIENT_CODES or status in _TRANSIENT_STATUS:
        return TransientStoreError(f"S3 is overloaded or not well ({code})", code)
    said = (
        _PERMANENT.get(code) or f"S3 refuses: {' '.join(str(details.get('Message', '')).split()) or 'no reason given'}"
    )
    if code == "InvalidObjectState" and details.get("StorageClass"):
        said = f"Object is archived in class {details['StorageClass']} and must be restored in S3 first"
    return PermanentStoreError(f"{said} ({code}): {where}", code)


def _kind(error: BaseException) -> str:
    """Name of the innermost cause, which says more than the wrappers around it."""
    inner = error
    for _ in range(5):
        following = next((arg for arg in (*inner.args, inner.__cause__) if isinstance(arg, BaseException)), None)
        if following is None:
            break
        inner = following
    return type(inner).__name__


def _version_of(response: Mapping[str, Any], size: int) -> ObjectVersion:
    storage_class = str(response.get("StorageClass", ""))
    restore = str(response.get("Restore", ""))
    return ObjectVersion(
        size=size,
        etag=str(response.get("ETag", "")).strip('"'),
        # "null" is what S3 calls the version of an object from before versioning; asking for it by name needs a right
        # (s3:GetObjectVersion) that nothing else here needs.
        version_id="" if response.get("VersionId") == "null" else str(response.get("VersionId") or ""),
        storage_class=storage_class,
        archived=(storage_class in _ARCHIVE_CLASSES or bool(response.get("ArchiveStatus")))
        and 'ongoing-request="false"' not in restore,
        coming_back='ongoing-request="true"' in restore,
    )


def _check_answer(
    response: Mapping[str, Any], start: int, length: int | None, version: ObjectVersion | None
) -> ObjectVersion:
    """Check that a GetObject answer is what was asked for; proxies and some stores answer otherwise."""
    content_length = response.get("ContentLength")
    content_range = _content_range(response)
    if length is None:
        if content_range:
            raise TransientStoreError(f"S3 sent a part ({response['ContentRange']}), the whole was asked for", "Range")
        if content_length is None:
            raise TransientStoreError("S3 did not say how long the object is", "NoContentLength")
        answered = _version_of(response, int(content_length))
    elif content_range:
        first, last, total = (int(number) for number in content_range.groups())
        if (first, last) != (start, start + length - 1):
            asked = f"bytes {start}-{start + length - 1}"
            raise TransientStoreError(f"S3 sent another range ({content_range[0]}) than asked for ({asked})", "Range")
        answered = _version_of(response, total)
    elif start == 0 and content_length == length and version and version.size == length:
        answered = _version_of(response, length)  # the range was the whole, and came as the whole
    else:
        raise PermanentStoreError("S3 ignores ranges: it sent another part of the object than asked for", "Range")
    if content_length is not None and length is not None and int(content_length) != length:
        raise TransientStoreError(f"S3 announced {content_length} bytes where {length} were asked for", "ContentLength")
    if version and answered.etag and version.etag and answered.etag != version.etag:
        raise ObjectChangedError("Object was replaced in S3 during the download (ETag differs)", "ETag")
    if version and answered.size != version.size:
        raise ObjectChangedError("Object was replaced in S3 during the download (size differs)", "Size")
    return answered


def _content_range(response: Mapping[str, Any]) -> re.Match[str] | None:
    """First byte, last byte and size of the object; None when the answer is no part of it."""
    said = str(response.get("ContentRange") or "")
    found = _CONTENT_RANGE.fullmatch(said)
    if said and not found:
        raise TransientStoreError(f"S3 sent a range that makes no sense ({said})", "Range")
    return found


def _part_checksum(part: Mapping[str, Any], start: int) -> PartChecksum | None:
    for algorithm in CHECKSUM_ALGORITHMS:
        value = part.get(f"Checksum{algorithm}")
        if value and isinstance(part.get("Size"), int) and part["Size"] > 0:
            # Some stores write the composite form "value-N" here; the value is what counts.
            return PartChecksum(start, part["Size"], algorithm, str(value))
    return None
