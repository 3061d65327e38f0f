"""Reads S3's answers tolerantly: what the proof of the bytes does not need may be missing, or be as each store likes.

Nothing here trusts an answer further than it must: the expected hash decides about the bytes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import unquote_plus

from s3_restore.model import store_reasons
from s3_restore.model.checksums import known_algorithms
from s3_restore.model.exceptions import ObjectChangedError, PermanentStoreError, TransientStoreError
from s3_restore.model.object_store import ObjectVersion, PartChecksum, bare_etag
from s3_restore.s3.fast_path import Answer
from s3_restore.s3.s3_errors import errors_of_bodies, refusal

MAX_DOCUMENT_BYTES = 1024**2
MAX_DOCUMENT_SECONDS = 30
_CONTENT_RANGE = re.compile(r"(?i)(?:bytes)?[\s=:]*(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_MOST_DIGITS = 19  # more are no number of bytes
_ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
_S3_ETAG = re.compile(r"[0-9a-f]{32}(-\d{1,5})?")
_DOCUMENT_TYPE = re.compile(r"(?i)[/+](xml|html)")
_WORDS_TYPE = re.compile(r"(?i)[/+]json|text/plain")  # of documents, and of raw files' own


def number(text: str) -> int | None:
    """A number of bytes or parts; None for what is none, or has digits without an end."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def content_length(answer: Answer) -> int | None:
    """The length that an answer announces; None where it does not.

    Raises:
        TransientStoreError: if it is no length.

    """
    header = answer.headers.get("content-length")
    if header is None:
        return None
    # The same header twice comes joined; what says two different things says nothing.
    values = {value.strip() for value in header.split(",")}
    told = number(values.pop()) if len(values) == 1 else None
    if told is None:
        raise TransientStoreError(store_reasons.NO_SENSE.of("Content-Length"), "ContentLength")
    return told


def version_of(answer: Answer, size: int) -> ObjectVersion:
    """Describe the version of an object that an answer's headers tell of."""
    headers = answer.headers
    etag = headers.get("etag", "").strip()
    storage_class = headers.get("x-amz-storage-class", "")
    restore = headers.get("x-amz-restore", "")
    version_id = headers.get("x-amz-version-id", "")
    return ObjectVersion(
        size=size,
        etag=bare_etag(etag),
        # Of a weak one the HTTP standard says that If-Match never matches it.
        if_match="" if etag.startswith("W/") else etag,
        # "null" is what S3 calls the version of an object from before versioning; asking for it by name needs a right
        # (s3:GetObjectVersion) that nothing else here needs.
        version_id="" if version_id == "null" else version_id,
        storage_class=storage_class,
        archived=(storage_class in _ARCHIVE_CLASSES or bool(headers.get("x-amz-archive-status")))
        and 'ongoing-request="false"' not in restore,
        coming_back='ongoing-request="true"' in restore,
        last_modified=_date(headers.get("last-modified", "")),
        is_etag_of_bytes=not headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        and "x-amz-server-side-encryption-customer-algorithm" not in headers,
    )


def whole_size(answer: Answer, known: int | None) -> int | None:
    """Bytes of the whole object by an answer of 200 or 206; ``known`` where it does not tell, None for unknown."""
    if answer.status == HTTPStatus.PARTIAL_CONTENT or "content-range" in answer.headers:
        found = content_range(answer)
        return int(found[3]) if found and found[3] != "*" else known
    length = content_length(answer)
    return known if length is None else length


def content_range(answer: Answer) -> re.Match[str] | None:
    """First byte, last byte and size of the object (``*`` for unknown); None when the answer is no part of it."""
    header = answer.headers.get("content-range", "").strip()
    found = _CONTENT_RANGE.fullmatch(header)
    if header and not found:
        raise TransientStoreError(store_reasons.BAD_RANGE.of(header), "Range")
    return found


def check_is_object(answer: Answer, size: int | None) -> None:
    """Tell an object from what somebody sends in its stead with 200: an error, a login page, nothing at all.

    Args:
        answer: of 200 or 206.
        size: bytes that the object should have; None for unknown.

    Raises:
        TransientStoreError: if it is none.

    """
    if not is_object(answer, size):
        kind = answer.headers.get("content-type", "") or "of no type"
        raise TransientStoreError(store_reasons.DOCUMENT.of(kind), "NoObject")


def is_object(answer: Answer, size: int | None) -> bool:
    """Whether an answer of 200 or 206 is of an object, as far as its headers tell (``check_is_object``)."""
    kind = answer.headers.get("content-type", "")
    if "content-range" in answer.headers or _S3_ETAG.fullmatch(bare_etag(answer.headers.get("etag", ""))):
        return True
    whole = whole_size(answer, None)
    if whole == 0 and size and not answer.headers.get("etag"):
        return False  # nothing at all, as of a gateway whose store is away
    if _WORDS_TYPE.search(kind):
        return whole in (size, None)  # without a length, what is too short ends early
    return not _DOCUMENT_TYPE.search(kind) or whole == size


def check_range(  # noqa: PLR0913 (what was asked for)
    answer: Answer,
    start: int,
    length: int | None,
    version: ObjectVersion | None,
    size: int | None,
    *,
    knows_ranges: bool = False,
) -> int:
    """Check that an answer is the range that was asked for; proxies and some stores answer otherwise.

    Args:
        answer: of 200 or 206.
        start: first byte that was asked for.
        length: bytes that were asked for; None for the whole object.
        version: that was asked for, if one was.
        size: bytes that the object should have; None for unknown.
        knows_ranges: whether the store answered a range before, so that another try may go well.

    Returns:
        Bytes of the whole object, as far as is known.

    """
    found = content_range(answer)
    announced = content_length(answer)
    size = version.size if version else size
    if length is None:
        if found and (int(found[1]) != 0 or found[3] not in (str(int(found[2]) + 1), "*")):
            raise TransientStoreError(store_reasons.PART_NOT_WHOLE.of(found[0]), "Range")
        if announced is None and size is None:
            raise TransientStoreError(store_reasons.NO_LENGTH.of(), "NoContentLength")
        return size if announced is None and size is not None else announced or 0
    if found:
        if (int(found[1]), int(found[2])) != (start, start + length - 1):
            asked = f"bytes {start}-{start + length - 1}"
            raise TransientStoreError(store_reasons.OTHER_RANGE.of(found[0], asked), "Range")
    elif answer.status != HTTPStatus.PARTIAL_CONTENT and not (
        start == 0 and announced in (length, None) and size == length  # the range may be the whole
    ):
        error = TransientStoreError if knows_ranges else PermanentStoreError
        raise error(store_reasons.IGNORES_RANGES.of(), "Range")
    if announced is not None and announced != length:
        raise TransientStoreError(store_reasons.OTHER_LENGTH.of(announced, length), "ContentLength")
    if found and found[3] != "*":
        return int(found[3])
    return size if size is not None else start + length


def check_same(answered: ObjectVersion, version: ObjectVersion | None) -> None:
    """Make sure that an answer is of the version that was asked for, as far as it tells."""
    if version and answered.etag and version.etag and answered.etag != version.etag:
        raise ObjectChangedError(store_reasons.REPLACED.of("ETag differs"), "ETag")
    if version and answered.size != version.size:
        raise ObjectChangedError(store_reasons.REPLACED.of("size differs"), "Size")


# --- documents -------------------------------------------------------------------------------------------------


def read_document(answer: Answer, root: str) -> tuple[ET.Element | None, int]:
    """Read an XML document of limited size.

    Returns:
        Its root element, None when it is no document of that kind; and how much of something else was read.

    Raises:
        TransientStoreError: when the answer is a passing error.

    """
    if answer.status != HTTPStatus.OK:
        error = refusal(answer, "")
        if isinstance(error, TransientStoreError):
            raise error
        return None, 0
    try:
        if (content_length(answer) or 0) > MAX_DOCUMENT_BYTES:
            return None, 0
        with errors_of_bodies():
            data, _ = answer.body.read(MAX_DOCUMENT_BYTES, MAX_DOCUMENT_SECONDS)
    finally:
        answer.body.close()
    document = parse(data, root)
    return document, 0 if document is not None else len(data)


def parse(document: bytes, root: str) -> ET.Element | None:
    """The root element of an XML document, with plain names; None when it is no document of that kind."""
    try:
        found = ET.fromstring(document)  # noqa: S314 (expat limits entities; the size is limited)
    except (ET.ParseError, ValueError):
        return None
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    return found if found.tag == root else None


def part_checksums(parts: ET.Element, start: int) -> Sequence[PartChecksum] | None:
    """Checksums of consecutive parts from ``start`` on, of one page; None when one has none."""
    found = []
    for part in parts.iter("Part"):
        size = number(part.findtext("Size", ""))
        told = ((name, part.findtext(f"Checksum{name}")) for name in known_algorithms())
        algorithm, value = next(((name, value) for name, value in told if value), ("", ""))
        if not value or not size:
            return None
        # Some stores write the composite form "value-N" here; the value is what counts.
        found.append(PartChecksum(start, size, algorithm, value))
        start += size
    return found


def listed_versions(document: ET.Element, key: str) -> Sequence[ObjectVersion]:
    """Versions of one object in the store's order, newest first; delete markers are left out."""
    encoded = document.findtext("EncodingType") == "url"
    found = []
    for element in document.iter("Version"):
        fields = {child.tag: child.text or "" for child in [*element, *element.iterfind("RestoreStatus/*")]}
        name = unquote_plus(fields.get("Key", "")) if encoded else fields.get("Key", "")
        if name != key or number(fields.get("Size", "")) is None or not fields.get("VersionId"):
            continue
        found.append(_listed(fields))
    return found


def _listed(fields: Mapping[str, str]) -> ObjectVersion:
    etag, storage_class = fields.get("ETag", "").strip(), fields.get("StorageClass", "")
    return ObjectVersion(
        size=int(fields["Size"]),
        etag=bare_etag(etag),
        if_match="" if etag.startswith("W/") else etag,
        version_id=fields["VersionId"],
        storage_class=storage_class,
        archived=storage_class in _ARCHIVE_CLASSES and not fields.get("RestoreExpiryDate"),
        coming_back=fields.get("IsRestoreInProgress", "").strip().lower() == "true",
        last_modified=_date(fields.get("LastModified", "")),
        is_older=fields.get("IsLatest", "").strip().lower() != "true",
    )


def _date(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text)
        except (ValueError, TypeError):
            continue
    return None
