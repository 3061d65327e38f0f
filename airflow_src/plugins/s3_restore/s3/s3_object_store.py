"""The object store of ``object_store`` on S3: which requests are made, and what is done where a store is not like AWS.

Requests made: GetObject, HeadObject; GetObjectAttributes for healing and ListObjectVersions where the newest version is
not the backup, which every store may refuse (S2); RestoreObject only in ``bring_back``, for which a setting must ask.
Retries are not made here but by the caller, who knows from which byte to go on; so the client should come from
``client_config``.

What a store does not know or refuses of the optional requests is remembered for the run, so that it is asked once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import ObjectChangedError, ObjectStoreError, PermanentStoreError, TransientStoreError
from s3_restore.model.object_store import ObjectVersion, PartChecksum, PartsTold, bare_etag
from s3_restore.s3 import s3_answers
from s3_restore.s3.byte_stream import S3ByteStream
from s3_restore.s3.fast_path import Answer, Body, FastPath
from s3_restore.s3.optional_requests import OptionalRequest, UnknownForm
from s3_restore.s3.s3_errors import errors_of_requests, refusal
from s3_restore.s3.version_list import VersionList

_CONNECT_TIMEOUT_S = 10
_PARTS_A_PAGE = 1000
_PASSING_FAILURES = 2
_MAX_PARTS = 10_000
_SUCCESS = (HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION, HTTPStatus.PARTIAL_CONTENT)
# By which stores refuse If-Match where they do not know it; 412: they compare it with something else.
_NO_IF_MATCH = (HTTPStatus.BAD_REQUEST, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_IMPLEMENTED)
_NO_CODE = ("", "404")  # S3 says in its answer what it does not have
# Refusals that are about the user or the object: without naming the version they would be the same.
_NOT_ABOUT_VERSIONS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "NoSuchBucket",
                       "RequestTimeTooSkewed", "InvalidObjectState", "InvalidRange"}  # fmt: skip


def client_config(max_connections: int, stall_timeout_s: float, of_connection: Config | None = None) -> Config:
    """Settings for the boto3 client that S3ObjectStore works best with.

    Args:
        max_connections: how many requests may be under way at once.
        stall_timeout_s: seconds without a byte after which a connection counts as broken.
        of_connection: what the user set; another signature, or none, stays as it is there.

    """
    chosen: Any = getattr(of_connection, "signature_version", None)
    return Config(
        signature_version=chosen if chosen is UNSIGNED else chosen or "s3v4",
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
        self._fast_path = FastPath(client)
        self._may_name_versions = True
        self._naming = UnknownForm()
        self._may_match = True
        self._knows_if_match = False
        self._knows_ranges = False
        self._answers_head = True
        self._heads = UnknownForm()
        self._part_numbers = OptionalRequest(_PASSING_FAILURES)
        self._attributes = OptionalRequest(_PASSING_FAILURES)
        self._version_list = VersionList(self._send)

    # --- what is needed --------------------------------------------------------------------------------------------

    def head(self, bucket: str, key: str, size: int | None = None) -> ObjectVersion:
        """Describe the newest version of an object (HeadObject; where that does not tell, GetObject of one byte)."""
        refused: ObjectStoreError | None = None
        if self._answers_head:
            try:
                version = self._head(bucket, key, size)
            except TransientStoreError as error:
                if not self._heads.failed():
                    raise
                refused = error
            except PermanentStoreError as error:
                refused = error
            else:
                self._heads.went_well()
                if version:
                    return version
        # The error of a HEAD has no text and so no reason: that of a GET has. Some stores and proxies know no HEAD.
        version = self._head_by_get(bucket, key, size)
        if refused:
            self._answers_head = False
            logging.info("S3 refuses HEAD (%s) and answers GET: that is asked from now on", refused.code)
        return version

    def _head(self, bucket: str, key: str, size: int | None) -> ObjectVersion | None:
        """Ask by HEAD; None where its answer does not tell the size.

        One of 0 bytes may be that of the answer itself, which has none: what is expected to have bytes is asked again.
        """
        answer = self._send("HEAD", bucket, key)
        answer.body.close()
        if answer.status != HTTPStatus.OK:
            raise refusal(answer, _where(bucket, key))
        told = s3_answers.content_length(answer)
        told = size if told is None else told
        if told is None or (told == 0 and size):
            return None
        s3_answers.check_is_object(answer, size)
        return s3_answers.version_of(answer, told)

    def _head_by_get(self, bucket: str, key: str, size: int | None) -> ObjectVersion:
        answer = self._send("GET", bucket, key, headers={"Range": "bytes=0-0"})
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is empty
            answer.body.close()
            answer = self._send("GET", bucket, key)
        if answer.status not in _SUCCESS:
            raise refusal(answer, _where(bucket, key))
        answer.body.close()
        s3_answers.check_is_object(answer, size)
        told = s3_answers.whole_size(answer, size)
        if told is None:
            raise TransientStoreError(store_reasons.NO_LENGTH.of(), "NoContentLength")
        return s3_answers.version_of(answer, told)

    @contextmanager
    def open_range(  # noqa: PLR0913, PLR0917 (one request)
        self,
        bucket: str,
        key: str,
        start: int,
        length: int | None,
        version: ObjectVersion | None,
        size: int | None = None,
    ) -> Iterator[S3ByteStream]:
        """Open a range of an object, or all of it (GetObject with If-Match, VersionId, Range)."""
        headers = {}
        if length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        answer = self._matching(bucket, key, version, headers)
        if answer.status not in _SUCCESS:
            raise refusal(answer, _where(bucket, key))
        try:
            s3_answers.check_is_object(answer, version.size if version else size)
            whole = s3_answers.check_range(answer, start, length, version, size, knows_ranges=self._knows_ranges)
            answered = s3_answers.version_of(answer, whole)
            s3_answers.check_same(answered, version)
            self._knows_ranges = self._knows_ranges or answer.status == HTTPStatus.PARTIAL_CONTENT
            yield S3ByteStream(answer.body, answered, whole if length is None else length)
        finally:
            answer.body.close()

    # --- what helps ------------------------------------------------------------------------------------------------

    def part_size(self, bucket: str, key: str, version: ObjectVersion | None, size: int, etag: str) -> int | None:
        """Bytes of the object's first part; None when S3 does not tell (HeadObject with PartNumber, first and last).

        A wrong answer would make a right file look corrupted, so the object must be the expected one, and the last part
        has to fit.
        """
        if not self._part_numbers.is_told or (version and version.etag != etag):
            return None
        with self._part_numbers.asked() as is_worth_it:
            return self._part_size(bucket, key, version, size, etag) if is_worth_it else None

    def _part_size(self, bucket: str, key: str, version: ObjectVersion | None, size: int, etag: str) -> int | None:
        first = self._part(bucket, key, version, 1)
        if first is None:
            return None
        count, part_size, told_etag = first
        # Some stores tell the ETag of the part here, and not that of the object.
        if not version and told_etag != etag and self.head(bucket, key, size).etag != etag:
            return None
        last = self._part(bucket, key, version, count) if count > 1 else first
        if last is None or (count - 1) * part_size + last[1] != size:
            logging.info("S3 tells parts of s3://%s/%s that do not add up: they do not count", bucket, key)
            return None
        return part_size

    def _part(self, bucket: str, key: str, version: ObjectVersion | None, number: int) -> tuple[int, int, str] | None:
        """Count of parts, bytes of this one, and the ETag that is told with it; None when there is no such answer."""
        answer = self._naming_version("HEAD", bucket, key, version, {"partNumber": str(number)}, {})
        answer.body.close()
        told = answer.headers.get("x-amz-mp-parts-count", "")
        if answer.status not in _SUCCESS:
            error = refusal(answer, _where(bucket, key))
            if isinstance(error, TransientStoreError):
                raise error
            self._part_numbers.is_told = answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED)
            return None
        s3_answers.check_is_object(answer, None)
        length = s3_answers.content_length(answer)
        if not told and answer.status == HTTPStatus.OK:
            self._part_numbers.is_told = False  # AWS answers 206, also for an object without parts
        count = s3_answers.number(told)
        if not count or not length:
            return None
        return count, length, s3_answers.version_of(answer, length).etag

    def part_checksums(self, bucket: str, key: str, version: ObjectVersion) -> PartsTold:
        """Checksums of the object's parts (GetObjectAttributes); none when the store does not tell all of them.

        A help, not a need. Several stores do not know the question and answer it with the whole object, so an answer
        that does not look like one is not read on.
        """
        if not self._attributes.is_told:
            return PartsTold()
        with self._attributes.asked() as is_worth_it:
            return self._part_checksums(bucket, key, version) if is_worth_it else PartsTold()

    def _part_checksums(self, bucket: str, key: str, version: ObjectVersion) -> PartsTold:
        found: list[PartChecksum] = []
        start, marker = 0, 0
        until = time.monotonic() + s3_answers.MAX_DOCUMENT_SECONDS
        while time.monotonic() < until and len(found) < _MAX_PARTS:
            headers = {
                "x-amz-object-attributes": "ETag,ObjectParts,ObjectSize",
                "x-amz-max-parts": str(_PARTS_A_PAGE),
                **({"x-amz-part-number-marker": str(marker)} if marker else {}),
            }
            answer = self._naming_version("GET", bucket, key, version, {"attributes": ""}, headers)
            document, count = s3_answers.read_document(answer, "GetObjectAttributesResponse")
            if document is None:
                self._attributes.is_told = False
                logging.info("S3 does not tell part checksums (%d): not asked again in this run", answer.status)
                return PartsTold(bytes_fetched=count)
            parts = document.find("ObjectParts")
            page = s3_answers.part_checksums(parts, start) if parts is not None else None
            if not page or bare_etag(document.findtext("ETag", version.etag)) != version.etag:
                return PartsTold()
            found += page
            start = page[-1].start + page[-1].length
            if parts is None or parts.findtext("IsTruncated", "").strip().lower() != "true":
                return PartsTold(found if start == version.size else ())
            following = s3_answers.number(parts.findtext("NextPartNumberMarker", "")) or 0
            if following <= marker or start >= version.size:
                return PartsTold()
            marker = following
        return PartsTold()

    def versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """All versions of an object, newest first (one page of ListObjectVersions)."""
        return self._version_list.versions(bucket, key, partial(self._is_well, bucket, key))

    def _is_well(self, bucket: str, key: str) -> bool:
        """Whether the store answers what every store knows."""
        try:
            self.head(bucket, key)
        except TransientStoreError:
            return False
        except ObjectStoreError:
            pass
        return True

    # --- the only request that writes ------------------------------------------------------------------------------

    def bring_back(self, bucket: str, key: str, version: ObjectVersion, days: int) -> None:
        """Ask S3 to make an archived object readable for some days (RestoreObject).

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
            with errors_of_requests():
                self._client.restore_object(**arguments)
        except ClientError as error:
            response = error.response
            details = response.get("Error") or {}
            if details.get("Code") != "RestoreAlreadyInProgress":
                status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if status == HTTPStatus.NOT_FOUND and details.get("Code", "") in _NO_CODE:  # of a gateway
                    raise TransientStoreError(store_reasons.NO_SENSE.of(status), str(status)) from None
                raise refusal(Answer(status, {}, Body(_Nothing()), details), _where(bucket, key)) from None

    # --- requests --------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        bucket: str,
        key: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        with errors_of_requests():
            return self._fast_path.send(method, bucket, key, query, headers)

    def _naming_version(  # noqa: PLR0913, PLR0917 (one request)
        self,
        method: str,
        bucket: str,
        key: str,
        version: ObjectVersion | None,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Answer:
        """Make a request for exactly this version; without naming it where the store or the user's rights forbid that.

        In a versioned bucket, naming a version takes rights of its own (s3:GetObjectVersion); and some stores tell
        versions and do not know them. Whoever cannot name them gets the newest version, and If-Match and the checks of
        the answer tell when it is another one.
        """
        if not version or not version.version_id or not (self._may_name_versions or version.is_older):
            return self._send(method, bucket, key, query, headers)
        error: ObjectStoreError
        try:
            answer = self._send(method, bucket, key, {**query, "versionId": version.version_id}, headers)
            is_replaced = answer.status == HTTPStatus.PRECONDITION_FAILED and self._knows_if_match
            if is_replaced or (not query and self._is_of(answer, version)):  # some ignore a query as a whole
                self._naming.went_well()
            if answer.status in _SUCCESS or version.is_older or answer.status == HTTPStatus.PRECONDITION_FAILED:
                return answer
            error = refusal(answer, _where(bucket, key))
        except TransientStoreError as broken:
            error = broken
        is_refusal = isinstance(error, PermanentStoreError) and error.code not in _NOT_ABOUT_VERSIONS
        if not is_refusal and not (isinstance(error, TransientStoreError) and self._naming.failed()):
            raise error
        answer = self._send(method, bucket, key, query, headers)
        if self._is_of(answer, version):
            self._may_name_versions = False
            logging.info("S3 refuses requests that name a version (%s): the newest is asked for instead", error.code)
        return answer

    def _matching(self, bucket: str, key: str, version: ObjectVersion | None, headers: Mapping[str, str]) -> Answer:
        """Make a GET with If-Match; without it where the store does not know that: its answer tells the ETag, too."""
        if not version or not version.if_match or not self._may_match:
            return self._naming_version("GET", bucket, key, version, {}, headers)
        answer = self._naming_version("GET", bucket, key, version, {}, {**headers, "If-Match": version.if_match})
        if self._is_of(answer, version):
            self._knows_if_match = True
        if self._knows_if_match or answer.status not in _NO_IF_MATCH:
            return answer
        answer.body.close()
        refused = answer.status
        answer = self._naming_version("GET", bucket, key, version, {}, headers)
        if not self._is_of(answer, version):
            return answer
        if s3_answers.version_of(answer, version.size).etag == version.etag:
            self._may_match = False
            logging.info("S3 refuses If-Match (%d): the ETag of each answer is compared instead", refused)
        elif refused == HTTPStatus.PRECONDITION_FAILED:
            answer.body.close()
            raise ObjectChangedError(store_reasons.REPLACED.of("PreconditionFailed"), "PreconditionFailed")
        return answer

    @staticmethod
    def _is_of(answer: Answer, version: ObjectVersion) -> bool:
        """Whether it is of an object: a login page or an error says nothing of what the store knows."""
        return answer.status in _SUCCESS and s3_answers.is_object(answer, version.size)


class _Nothing:
    """No body."""

    def readinto(self, _view: memoryview) -> int:
        return 0

    def close(self) -> None:
        pass


def _where(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"
