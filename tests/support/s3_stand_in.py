"""A small S3 in a thread: what moto lacks (ObjectParts, part GETs, archives, IAM actions) and as fast as the wire.

    with S3StandIn() as server:
        server.put("bucket", "a.raw", data, part_size=5 * MIB, checksum="CRC32")
        client = server.client()

Objects come in through Python only; over HTTP it is read-only, as the product must be: every other
verb is answered 405 and kept in `server.writes`. Answers follow AWS S3, including its oddities: HEAD
shows a composite checksum with `-N`, GetObjectAttributes without and its ETag without quotes; parts are
listed for composite checksums only; a PartNumber request answers 206 with the ETag of the object.
Signatures are not verified, only the access key id is looked at (`access_keys`).
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from tests.support.http_wire import Connection, Head, response_head
from tests.support.s3_clients import s3_client
from tests.support.s3_errors import S3Error
from tests.support.s3_objects import StoredObject, compute
from tests.support.tcp_server import TcpServer

_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_COUNTED_WITHIN_S = 1.0
_SMALL = 1 << 16
_SUB_RESOURCES = {"acl", "tagging", "torrent", "legal-hold", "retention", "uploads", "uploadId", "policy"}


class AttributesMode(Enum):
    """How GetObjectAttributes answers."""

    AWS = "as AWS does"
    ALL_PARTS = "parts with checksums for full-object checksums too, as some other stores do"
    NO_PART_CHECKSUMS = "parts with their sizes only"
    NO_PARTS = "without ObjectParts"
    FORBIDDEN = "403 AccessDenied"
    NOT_IMPLEMENTED = "501 NotImplemented"


@dataclass
class RecordedRequest:
    """One request as it came in; `status` and `bytes_sent` (of the body) grow while it is answered."""

    operation: str
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    error_code: str | None = None
    bytes_sent: int = 0
    at: float = field(default_factory=time.monotonic)
    is_answered: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def version_id(self) -> str | None:
        return self.query.get("versionId")

    @property
    def part_number(self) -> int | None:
        value = self.query.get("partNumber")
        return int(value) if value else None

    @property
    def iam_actions(self) -> tuple[str, ...]:
        """The permissions that AWS asks for this request."""
        version = "Version" if self.version_id else ""
        return {
            "GetObject": (f"s3:GetObject{version}",),
            "HeadObject": (f"s3:GetObject{version}",),
            "GetObjectAttributes": (f"s3:GetObject{version}", f"s3:GetObject{version}Attributes"),
            "ListObjectsV2": ("s3:ListBucket",),
            "HeadBucket": ("s3:ListBucket",),
            "GetBucketLocation": ("s3:GetBucketLocation",),
            "RestoreObject": ("s3:RestoreObject",),
            "ListObjectVersions": ("s3:ListBucketVersions",),
        }.get(self.operation, (f"s3:{self.operation}",))


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    stored: StoredObject | None = None
    offset: int = 0
    size: int = 0


class S3StandIn(TcpServer):
    """The server; see the module. All methods may be called while clients are served.

    Args:
        versioning: every `put` makes a new version with an id of its own (as the real buckets do); without,
            a put replaces and no version header is sent.
        access_keys: the access key ids that are let in; None lets everybody in.
        domain: `Host: bucket.<domain>` addresses a bucket (virtual addressing).
    """

    def __init__(
        self, *, versioning: bool = True, access_keys: Iterable[str] | None = None, domain: str = "localhost"
    ) -> None:
        super().__init__()
        self.versioning = versioning
        self.access_keys = None if access_keys is None else set(access_keys)
        self.domain = domain
        self.attributes = AttributesMode.AWS
        self.on_request: Callable[[RecordedRequest], None] | None = None
        """Called before each answer, in the connection's thread: a place to replace an object midway."""
        self._buckets: dict[str, dict[str, list[StoredObject]]] = {}
        self._restores: dict[tuple[str, str, str | None], str] = {}
        self._denied: list[tuple[str, re.Pattern[str] | None]] = []
        self._allows: Callable[[str, str, str], bool] | None = None
        self._requests: list[RecordedRequest] = []
        self._versions = 0
        self._state = threading.RLock()

    # --- what tests put in -------------------------------------------------------------------

    def create_bucket(self, bucket: str) -> None:
        with self._state:
            self._buckets.setdefault(bucket, {})

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | Path,
        *,
        part_size: int | Sequence[int] | None = None,
        checksum: str | None = None,
        checksum_type: str | None = None,
        storage_class: str = "STANDARD",
        version_id: str | None = None,
        etag: str | None = None,
        encryption: str = "AES256",
        last_modified: datetime | None = None,
    ) -> StoredObject:
        """Store an object; the bucket is made when it does not exist.

        Args:
            bucket: Its name.
            key: Any text.
            data: Bytes, or a file that is served from where it is (not copied, read again for each GET).
            part_size: None is a single PUT with a plain MD5 as ETag; a number a multipart upload with `…-N`,
                also for exactly one part; a sequence gives each part's size.
            checksum: CRC32, CRC32C, CRC64NVME, SHA1, SHA256 or None.
            checksum_type: COMPOSITE or FULL_OBJECT; by default what boto3 would make of it.
            storage_class: GLACIER and DEEP_ARCHIVE must be restored before a GET.
            version_id: Instead of a generated one. The same id replaces that version.
            etag: Instead of the computed one, without quotes (SSE-KMS objects have no MD5). Then the data are not read.
            encryption: `x-amz-server-side-encryption`, "aws:kms" for instance.
            last_modified: Now, if not given.
        """
        sums = compute(data, part_size, checksum, checksum_type, need_etag=etag is None)
        stored = StoredObject(
            bucket=bucket,
            key=key,
            data=data,
            size=data.stat().st_size if isinstance(data, Path) else len(data),
            etag=sums.etag if etag is None else etag,
            version_id=version_id,
            last_modified=last_modified or datetime.now(tz=UTC),
            parts=sums.parts,
            algorithm=checksum,
            checksum=sums.checksum,
            checksum_type=sums.checksum_type,
            storage_class=storage_class,
            encryption=encryption,
        )
        return self._store(stored)

    def upload(
        self, bucket: str, key: str, data: bytes | Path, *, part_size: int = 100 << 20, **options
    ) -> StoredObject:
        """As the host's uploader does it (boto3 >= 1.36): multipart from one full part on, CRC32 per part."""
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        options.setdefault("checksum", "CRC32")
        return self.put(bucket, key, data, part_size=part_size if size >= part_size else None, **options)

    def delete(self, bucket: str, key: str) -> None:
        """With versioning a delete marker goes on top and old versions stay; without, the object is gone."""
        with self._state:
            if not self.versioning:
                self._buckets[bucket].pop(key, None)
                return
            newest = self._buckets[bucket][key][-1]
            self._store(replace(newest, data=b"", size=0, version_id=None, is_delete_marker=True))

    def erase(self, bucket: str, key: str) -> None:
        """The object is gone with all its versions."""
        with self._state:
            self._buckets[bucket].pop(key, None)

    def deny(self, action: str, key: str | None = None) -> None:
        """Answer 403 AccessDenied wherever AWS would ask for this IAM action ("s3:GetObject"), for keys like `key`.

        Without s3:ListBucket a missing key is a 403 too, as on AWS.
        """
        with self._state:
            self._denied.append((action, re.compile(key) if key else None))

    def obey(self, allows: Callable[[str, str, str], bool]) -> None:
        """Answer 403 AccessDenied to whatever `allows(action, bucket, key)` does not allow, as an IAM policy does."""
        with self._state:
            self._allows = allows

    def allow_all(self) -> None:
        """Undo every `deny` and `obey`."""
        with self._state:
            self._denied.clear()
            self._allows = None

    def finish_restore(self, bucket: str, key: str, version_id: str | None = None) -> None:
        """The archived object can be read from now on (`ongoing-request="false"`)."""
        with self._state:
            stored = self._find(bucket, key, version_id)
            until = format_datetime(datetime.now(tz=UTC) + timedelta(days=7), usegmt=True)
            self._restores[bucket, key, stored.version_id] = f'ongoing-request="false", expiry-date="{until}"'

    # --- what tests look at ------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, in the order in which they came."""
        with self._state:
            return list(self._requests)

    @property
    def writes(self) -> list[RecordedRequest]:
        """Requests that wanted to change something, RestoreObject included."""
        return [request for request in self.requests if request.method not in ("GET", "HEAD")]

    def bytes_sent(self, key: str | None = None) -> int:
        """Body bytes of GetObject sent so far, of one key or of all.

        Whoever has read the last byte may ask before this server has counted it, so that is waited for a little.
        """
        asked = [each for each in self.requests if each.operation == "GetObject" and key in (None, each.key)]
        for each in asked:
            each.is_answered.wait(_COUNTED_WITHIN_S)
        return sum(each.bytes_sent for each in asked)

    def count(self, operation: str | None = None, key: str | None = None) -> int:
        """How many requests there were, of one operation ("GetObject"), of one key."""
        return sum(operation in (None, request.operation) and key in (None, request.key) for request in self.requests)

    def forget_requests(self) -> None:
        with self._state:
            self._requests.clear()

    def client(self, **config):
        """A boto3 client for this server (`s3_client`)."""
        return s3_client(self.url, **config)

    # --- HTTP --------------------------------------------------------------------------------

    def serve(self, client: Connection) -> None:
        while (head := client.read_head()) is not None:
            client.send_continue(head)
            for _ in client.read_body(head):
                pass
            request = self._record(head)
            try:
                if self.on_request:
                    self.on_request(request)
                answer = self._answer(request, head)
            except S3Error as error:
                request.error_code = error.code
                bodiless = request.method == "HEAD" or error.status == HTTPStatus.NOT_MODIFIED
                headers = [("Content-Type", "application/xml"), *error.headers]
                answer = _Answer(error.status, headers, b"" if bodiless else error.body())
            try:
                if not self._send(client, request, answer) or head.closes():
                    return
            finally:
                request.is_answered.set()

    def _send(self, client: Connection, request: RecordedRequest, answer: _Answer) -> bool:
        """Whether the connection is still in step afterwards."""
        request.status = answer.status
        length = answer.size if answer.stored else len(answer.body)
        common = [
            ("x-amz-request-id", "STANDIN0000001"),
            ("x-amz-id-2", "stand-in"),
            ("Date", format_datetime(datetime.now(tz=UTC), usegmt=True)),
            ("Server", "AmazonS3"),
            ("Content-Length", str(length)),
        ]
        head = response_head(answer.status, [*common, *answer.headers]).encode()
        stored = answer.stored if request.method != "HEAD" else None
        if stored and isinstance(stored.data, bytes) and length <= _SMALL:
            client.sock.sendall(head + stored.data[answer.offset : answer.offset + length])
            request.bytes_sent = length
            return True
        client.sock.sendall(head + answer.body)
        if stored is None:
            return True
        for sent in stored.send(client.sock, answer.offset, length):
            request.bytes_sent += sent
        return request.bytes_sent == length

    def _record(self, head: Head) -> RecordedRequest:
        method, path, query = head.request_line()
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        host = (head.get("Host") or "").partition(":")[0]
        if host.endswith(f".{self.domain}"):
            bucket, key = host.removesuffix(f".{self.domain}"), path[1:]
        else:
            bucket, _, key = path[1:].partition("/")
        request = RecordedRequest(
            operation=_operation(method, bool(key), parameters),
            method=method,
            bucket=unquote(bucket),
            key=unquote(key),
            query=parameters,
            headers={name.lower(): value for name, value in head.headers if name.lower() != "authorization"},
        )
        with self._state:
            self._requests.append(request)
        return request

    def _answer(self, request: RecordedRequest, head: Head) -> _Answer:
        self._check_access_key(head)
        with self._state:
            answers = {
                "HeadBucket": self._head_bucket,
                "GetBucketLocation": self._bucket_location,
                "ListObjectsV2": self._list,
                "ListObjectVersions": self._list_versions,
                "GetObject": self._get,
                "HeadObject": self._get,
                "GetObjectAttributes": self._get_attributes,
                "RestoreObject": self._restore,
            }
            if request.operation not in answers:
                raise S3Error(501 if request.method in ("GET", "HEAD") else 405)
            self._check_permissions(request)
            if request.bucket not in self._buckets:
                raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=request.bucket)
            return answers[request.operation](request)

    def _check_access_key(self, head: Head) -> None:
        if self.access_keys is None:
            return
        found = re.search(r"Credential=([^/,\s]+)/", head.get("Authorization") or "")
        if not found:
            raise S3Error(403)
        if found[1] not in self.access_keys:
            text = "The AWS Access Key Id you provided does not exist in our records."
            raise S3Error(403, "InvalidAccessKeyId", text, AWSAccessKeyId=found[1])

    def _is_denied(self, action: str, bucket: str, key: str) -> bool:
        if self._allows and not self._allows(action, bucket, key):
            return True
        return any(action == other and (not like or like.search(key)) for other, like in self._denied)

    def _check_permissions(self, request: RecordedRequest) -> None:
        if any(self._is_denied(action, request.bucket, request.key) for action in request.iam_actions):
            raise S3Error(403)

    def _store(self, stored: StoredObject) -> StoredObject:
        with self._state:
            if stored.version_id is None and self.versioning:
                self._versions += 1
                stored = replace(stored, version_id=f"v{self._versions:031d}")
            versions = self._buckets.setdefault(stored.bucket, {}).setdefault(stored.key, [])
            versions[:] = [other for other in versions if other.version_id != stored.version_id]
            versions.append(stored)
            return stored

    def _find(self, bucket: str, key: str, version_id: str | None) -> StoredObject:
        versions = self._buckets.get(bucket, {}).get(key, [])
        if version_id is not None:
            found = next((stored for stored in versions if (stored.version_id or "null") == version_id), None)
            if found is None:
                raise S3Error(404, "NoSuchVersion", "The specified version does not exist.", VersionId=version_id)
            if found.is_delete_marker:
                raise S3Error(405, headers=[("x-amz-delete-marker", "true")])
            return found
        if not versions or versions[-1].is_delete_marker:
            if self._is_denied("s3:ListBucket", bucket, key):
                raise S3Error(403)
            marker = [("x-amz-delete-marker", "true")] if versions else []
            raise S3Error(404, headers=marker, Key=key)
        return versions[-1]

    def _find_for(self, request: RecordedRequest) -> StoredObject:
        return self._find(request.bucket, request.key, request.version_id)

    def _head_bucket(self, request: RecordedRequest) -> _Answer:
        return _Answer(200, [("x-amz-bucket-region", "eu-central-1"), ("Content-Type", "application/xml")])

    def _bucket_location(self, request: RecordedRequest) -> _Answer:
        return _xml("LocationConstraint", "eu-central-1")

    def _list(self, request: RecordedRequest) -> _Answer:
        query = request.query
        limit = min(int(query.get("max-keys", "1000")), 1000)
        after = query.get("continuation-token") or query.get("start-after") or ""
        shown = (lambda text: quote(text, safe="/")) if query.get("encoding-type") == "url" else escape
        current = (versions[-1] for versions in self._buckets[request.bucket].values() if versions)
        found = sorted(
            (
                stored
                for stored in current
                if not stored.is_delete_marker and stored.key.startswith(query.get("prefix", "")) and stored.key > after
            ),
            key=lambda stored: stored.key,
        )
        page = found[:limit]
        more = len(found) > len(page) > 0
        contents = "".join(
            f"<Contents><Key>{shown(stored.key)}</Key><LastModified>{stored.last_modified:%Y-%m-%dT%H:%M:%S.000Z}"
            f"</LastModified><ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
            f"<StorageClass>{stored.storage_class}</StorageClass></Contents>"
            for stored in page
        )
        token = f"<NextContinuationToken>{escape(page[-1].key)}</NextContinuationToken>" if more else ""
        encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        return _xml(
            "ListBucketResult",
            f"<Name>{request.bucket}</Name><Prefix>{shown(query.get('prefix', ''))}</Prefix><MaxKeys>{limit}</MaxKeys>"
            f"<KeyCount>{len(page)}</KeyCount>{encoding}<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}",
        )

    def _list_versions(self, request: RecordedRequest) -> _Answer:
        """One page: keys in their order, versions of each newest first; without a marker for the next."""
        query = request.query
        limit = min(int(query.get("max-keys", "1000")), 1000)
        encoded = query.get("encoding-type") == "url"
        shown = (lambda text: quote(text, safe="/")) if encoded else escape
        told = "RestoreStatus" in request.headers.get("x-amz-optional-object-attributes", "")
        keys = sorted(key for key in self._buckets[request.bucket] if key.startswith(query.get("prefix", "")))
        found = [stored for key in keys for stored in reversed(self._buckets[request.bucket][key])]
        entries = "".join(
            f"<{'DeleteMarker' if stored.is_delete_marker else 'Version'}><Key>{shown(stored.key)}</Key>"
            f"<VersionId>{stored.version_id or 'null'}</VersionId>"
            f"<IsLatest>{str(stored is self._buckets[request.bucket][stored.key][-1]).lower()}</IsLatest>"
            f"<LastModified>{stored.last_modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            + (
                "</DeleteMarker>"
                if stored.is_delete_marker
                else f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
                f"<StorageClass>{stored.storage_class}</StorageClass>{self._restore_status(stored) if told else ''}"
                "</Version>"
            )
            for stored in found[:limit]
        )
        encoding = "<EncodingType>url</EncodingType>" if encoded else ""
        more = str(len(found) > limit).lower()
        return _xml("ListVersionsResult", f"<IsTruncated>{more}</IsTruncated>{encoding}{entries}")

    def _restore_status(self, stored: StoredObject) -> str:
        state = self._restores.get((stored.bucket, stored.key, stored.version_id))
        if state is None:
            return ""
        going_on = 'request="true"' in state
        until = "" if going_on else "<RestoreExpiryDate>2099-01-01T00:00:00.000Z</RestoreExpiryDate>"
        progress = f"<IsRestoreInProgress>{str(going_on).lower()}</IsRestoreInProgress>"
        return f"<RestoreStatus>{progress}{until}</RestoreStatus>"

    def _get(self, request: RecordedRequest) -> _Answer:
        """GetObject and HeadObject: the same answer, `_send` leaves HEAD's body away."""
        stored = self._find_for(request)
        restore = self._restores.get((stored.bucket, stored.key, stored.version_id))
        _check_conditions(request, stored)
        if request.method == "GET" and stored.archived and 'request="false"' not in (restore or ""):
            text = "The operation is not valid for the object's storage class"
            raise S3Error(403, "InvalidObjectState", text, StorageClass=stored.storage_class)
        headers = [
            ("Last-Modified", format_datetime(stored.last_modified, usegmt=True)),
            ("ETag", f'"{stored.etag}"'),
            ("x-amz-server-side-encryption", stored.encryption),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "binary/octet-stream"),
        ]
        if stored.version_id:
            headers.append(("x-amz-version-id", stored.version_id))
        if stored.storage_class != "STANDARD":
            headers.append(("x-amz-storage-class", stored.storage_class))
        if restore:
            headers.append(("x-amz-restore", restore))
        span, checksum = _span(request, stored)
        if checksum and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers.append((f"x-amz-checksum-{stored.algorithm.lower()}", checksum))
            headers.append(("x-amz-checksum-type", stored.checksum_type))
        if request.part_number and stored.parts:
            headers.append(("x-amz-mp-parts-count", str(len(stored.parts))))
        if span is None:
            return _Answer(200, headers, stored=stored, size=stored.size)
        first, size = span
        headers.append(("Content-Range", f"bytes {first}-{first + size - 1}/{stored.size}"))
        return _Answer(206, headers, stored=stored, offset=first, size=size)

    def _get_attributes(self, request: RecordedRequest) -> _Answer:
        if self.attributes is AttributesMode.FORBIDDEN:
            raise S3Error(403)
        if self.attributes is AttributesMode.NOT_IMPLEMENTED:
            raise S3Error(501)
        stored = self._find_for(request)
        wanted = {name.strip() for name in request.headers.get("x-amz-object-attributes", "").split(",")}
        body = ""
        if "ETag" in wanted:
            body += f"<ETag>{stored.etag}</ETag>"
        if "Checksum" in wanted and stored.checksum:
            name = f"Checksum{stored.algorithm}"
            kind = f"<ChecksumType>{stored.checksum_type}</ChecksumType>"
            body += f"<Checksum><{name}>{stored.checksum}</{name}>{kind}</Checksum>"
        if "ObjectParts" in wanted and stored.parts and self.attributes is not AttributesMode.NO_PARTS:
            body += self._object_parts(request, stored)
        if "StorageClass" in wanted:
            body += f"<StorageClass>{stored.storage_class}</StorageClass>"
        if "ObjectSize" in wanted:
            body += f"<ObjectSize>{stored.size}</ObjectSize>"
        answer = _xml("GetObjectAttributesResponse", body)
        answer.headers.append(("Last-Modified", format_datetime(stored.last_modified, usegmt=True)))
        if stored.version_id:
            answer.headers.append(("x-amz-version-id", stored.version_id))
        return answer

    def _object_parts(self, request: RecordedRequest, stored: StoredObject) -> str:
        count = f"<PartsCount>{len(stored.parts)}</PartsCount>"
        mode = self.attributes
        listed = stored.algorithm and (stored.checksum_type == "COMPOSITE" or mode is AttributesMode.ALL_PARTS)
        if not listed and mode is not AttributesMode.NO_PART_CHECKSUMS:
            return f"<ObjectParts>{count}</ObjectParts>"
        limit = min(int(request.headers.get("x-amz-max-parts", "1000")), 1000)
        marker = int(request.headers.get("x-amz-part-number-marker", "0"))
        rest = [part for part in stored.parts if part.number > marker]
        page = rest[:limit]
        name = f"Checksum{stored.algorithm}"
        with_sums = stored.algorithm and mode is not AttributesMode.NO_PART_CHECKSUMS
        inner = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><Size>{part.size}</Size>"
            + (f"<{name}>{part.checksum}</{name}>" if with_sums else "")
            + "</Part>"
            for part in page
        )
        return (
            f"<ObjectParts><PartNumberMarker>{marker}</PartNumberMarker>"
            f"<NextPartNumberMarker>{page[-1].number if page else marker}</NextPartNumberMarker>"
            f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(len(rest) > len(page)).lower()}</IsTruncated>"
            f"{count}{inner}</ObjectParts>"
        )

    def _restore(self, request: RecordedRequest) -> _Answer:
        stored = self._find_for(request)
        if not stored.archived:
            text = "Restore is not allowed for the object's current storage class"
            raise S3Error(403, "InvalidObjectState", text, StorageClass=stored.storage_class)
        where = (stored.bucket, stored.key, stored.version_id)
        state = self._restores.get(where)
        if state is None:
            self._restores[where] = 'ongoing-request="true"'
            return _Answer(202, [])
        if 'request="true"' in state:
            raise S3Error(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
        return _Answer(200, [])


def _operation(method: str, has_key: bool, query: dict[str, str]) -> str:
    known = {
        ("HEAD", True): "HeadObject",
        ("HEAD", False): "HeadBucket",
        ("GET", True): "GetObjectAttributes" if "attributes" in query else "GetObject",
        ("GET", False): _operation_of_bucket(query),
        ("PUT", True): "PutObject",
        ("PUT", False): "CreateBucket",
        ("DELETE", True): "DeleteObject",
        ("DELETE", False): "DeleteBucket",
        ("POST", True): "RestoreObject" if "restore" in query else "PostObject",
    }
    if method in ("GET", "HEAD") and (found := _SUB_RESOURCES & query.keys()):
        return f"Get{min(found).title()}"
    return known.get((method, has_key), method)


def _operation_of_bucket(query: dict[str, str]) -> str:
    if "versions" in query:
        return "ListObjectVersions"
    return "GetBucketLocation" if "location" in query else "ListObjectsV2"


def _xml(root: str, inner: str) -> _Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {_XMLNS}>{inner}</{root}>'.encode()
    return _Answer(200, [("Content-Type", "application/xml")], body)


def _check_conditions(request: RecordedRequest, stored: StoredObject) -> None:
    def names_it(value: str) -> bool:
        return any(tag.strip().strip('"') in (stored.etag, "*") for tag in value.split(","))

    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is not None and not names_it(wanted):
        raise S3Error(412, Condition="If-Match")
    if unwanted is not None and names_it(unwanted):
        raise S3Error(304, "NotModified", headers=[("ETag", f'"{stored.etag}"')])


def _span(request: RecordedRequest, stored: StoredObject) -> tuple[tuple[int, int] | None, str | None]:
    """First byte and length (None: the whole, as 200), and the checksum that S3 shows for it."""
    if request.part_number is not None:
        if request.range:
            raise S3Error(400, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        if not 1 <= request.part_number <= max(len(stored.parts), 1):
            raise S3Error(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
        part = stored.parts[request.part_number - 1] if stored.parts else None
        offset, size = (part.offset, part.size) if part else (0, stored.size)
        return ((offset, size) if size else None), stored.part_checksum(request.part_number)
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.range or "")
    if not found or not any(found.groups()) or (all(found.groups()) and int(found[1]) > int(found[2])):
        # No range, or one that is not valid: S3 answers with the whole object.
        return None, stored.checksum_header()
    if found[1]:
        first = int(found[1])
        last = min(int(found[2]), stored.size - 1) if found[2] else stored.size - 1
    else:
        first, last = max(stored.size - int(found[2]), 0), stored.size - 1
    if first > last:
        size = str(stored.size)
        raise S3Error(416, RangeRequested=request.range, ActualObjectSize=size)
    return (first, last - first + 1), None
