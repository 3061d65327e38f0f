"""What a store tells and what it ignores, found by asking it: which cases make sense on it, and the table in STORES.md.

Asked with signed requests of our own, whose answers are read as bytes: a client would hide what is odd about them.
"""

import hashlib
import http.client
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from demo.processes import LOCALHOST
from tests.stores.keys import FIXED
from tests.stores.objects import Bucket
from tests.stores.servers import REGION, Store
from tests.support.raw_files import MIB, multipart_etag, raw_bytes

_PART = 5 * MIB
_MOST_READ = 20 * MIB
_ATTRIBUTES = {"x-amz-object-attributes": "ETag,ObjectParts,ObjectSize"}
_NO_VERSION = "000000000000000000000000000000aa"


@dataclass(frozen=True)
class Answer:
    """An answer as it came, its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code in the body, or the status where there is none."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return f"{self.status} {found[1].decode()}" if found else str(self.status)

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")


def ask(
    store: Store,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    keys: tuple[str, str] | None = None,
    signed: bool = True,
) -> Answer:
    """Send one request and read its answer to the end, whatever it is.

    Args:
        store: whom.
        method: HTTP's.
        path: quoted path, with the query.
        headers: more of them.
        keys: access key and secret, in place of the owner's.
        signed: whether to sign at all.
    """
    request = AWSRequest(method, f"{store.url}{path}", headers=dict(headers or {}))
    if signed:
        S3SigV4Auth(Credentials(*(keys or (store.access_key, store.secret_key))), "s3", REGION).add_auth(request)
    connection = http.client.HTTPConnection(LOCALHOST, store.port, timeout=30)
    try:
        connection.request(method, path, headers=dict(request.headers.items()))
        response = connection.getresponse()
        body = response.read(_MOST_READ)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    finally:
        connection.close()


@dataclass(frozen=True)
class Capabilities:
    """What was seen of a store. The texts are rows of the table; the properties below decide which cases make sense."""

    etag: str
    etag_of_parts: str
    etag_of_one_part: str
    part_number: str
    attributes: str
    if_match: str
    if_match_unquoted: str
    empty_range: str
    checksums: str
    version_ids: str
    named_version: str
    unknown_version: str
    version_list: str
    delete_marker: str
    missing_key: str
    missing_bucket: str
    wrong_secret: str
    unknown_key: str
    unsigned: str
    refused_keys: tuple[str, ...]

    @property
    def has_versions(self) -> bool:
        return self.version_ids.startswith("yes") and self.named_version == "that version"

    @property
    def lists_versions(self) -> bool:
        return self.version_list == "yes"

    @property
    def has_delete_markers(self) -> bool:
        return "delete marker" in self.delete_marker

    @property
    def uploads_parts(self) -> bool:
        return not self.etag_of_parts.startswith("none")

    @property
    def tells_part_size(self) -> bool:
        return self.part_number.startswith("count and size")

    @property
    def tells_part_checksums(self) -> bool:
        return self.attributes.startswith("parts with checksums")

    @property
    def checks_secrets(self) -> bool:
        return self.wrong_secret.startswith("403")

    @property
    def checks_access_keys(self) -> bool:
        return self.unknown_key.startswith("403")

    @property
    def refuses_unsigned(self) -> bool:
        return self.unsigned[:3] in ("400", "401", "403")


QUESTIONS: Mapping[str, str] = {
    "etag": "ETag of an upload as one",
    "etag_of_parts": "ETag of an upload in two parts",
    "etag_of_one_part": "ETag of an upload in one part",
    "part_number": "HEAD with `partNumber=1`, two parts",
    "attributes": "GetObjectAttributes",
    "if_match": "GET with the `If-Match` of another ETag",
    "if_match_unquoted": "GET with its ETag without quotes in `If-Match`",
    "empty_range": "a range of an empty object",
    "checksums": "CRC32 sent with an upload, HEAD asks for it",
    "version_ids": "version ids in a bucket that keeps versions",
    "named_version": "GET of an older `versionId`",
    "unknown_version": "GET of a `versionId` that is none",
    "version_list": "ListObjectVersions",
    "delete_marker": "GET and HEAD after a deletion in it",
    "missing_key": "GET of a key that is missing",
    "missing_bucket": "GET in a bucket that is missing",
    "wrong_secret": "GET with a wrong secret",
    "unknown_key": "GET with an unknown access key",
    "unsigned": "GET without a signature",
    "refused_keys": "keys that it cannot hold",
}
"""Each field of Capabilities in words, in the order of the table."""

assert list(QUESTIONS) == [each.name for each in fields(Capabilities)]


class Interview:
    """Asks one store everything."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client = store.client()
        self._plain = Bucket(self._client, "kraken-asked").create()
        self._small = raw_bytes(1000, "small")
        self._parts = raw_bytes(_PART + 1000, "parts")

    def run(self) -> Capabilities:
        """Ask, and close the connection."""
        try:
            self._plain.put("small", self._small)
            self._plain.put("empty", b"")
            self._put_parts("parts", self._parts)
            self._put_parts("one", self._parts[:_PART])
            found = {name: self._told(getattr(self, f"_ask_{name}")) for name in QUESTIONS if name != "refused_keys"}
            return Capabilities(**found, refused_keys=self._refused_keys())
        finally:
            self._client.close()

    def _put_parts(self, key: str, data: bytes) -> None:
        try:
            self._plain.put(key, data, _PART)
        except (ClientError, BotoCoreError):
            self._plain.put(key, data)

    @staticmethod
    def _told(question: Callable[[], str]) -> str:
        try:
            return question()
        except (ClientError, BotoCoreError) as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code")
            return f"no ({code or type(error).__name__})"
        except (http.client.HTTPException, OSError) as error:
            return f"no answer ({type(error).__name__})"

    def _get(
        self, key: str, query: str = "", method: str = "GET", bucket: str = "kraken-asked", **options: Any
    ) -> Answer:
        path = f"/{bucket}/{quote(key)}" + (f"?{query}" if query else "")
        return ask(self._store, method, path, **options)

    # --- ETags and parts -----------------------------------------------------------------------------------------

    def _form(self, key: str, data: bytes) -> str:
        told = self._get(key, method="HEAD").etag
        got = self._get(key).etag
        plain = hashlib.md5(data).hexdigest()
        folded = multipart_etag(data, _PART)
        names = {plain: "MD5", folded: f"fold of part MD5s, `-{folded.rpartition('-')[2]}`"}
        name = names.get(told.removeprefix("W/").strip('"'), "something else" if told else "none")
        weak = ", weak" if told.startswith("W/") else ""
        bare = "" if not told or '"' in told else ", without quotes"
        return f"{name}{weak}{bare}" + ("" if told == got else "; another at GET")

    def _ask_etag(self) -> str:
        return self._form("small", self._small)

    def _ask_etag_of_parts(self) -> str:
        return self._form("parts", self._parts)

    def _ask_etag_of_one_part(self) -> str:
        return self._form("one", self._parts[:_PART])

    def _ask_part_number(self) -> str:
        answer = self._get("parts", "partNumber=1", "HEAD")
        if answer.status not in (200, 206):
            return f"refused ({answer.code})"
        count = answer.headers.get("x-amz-mp-parts-count")
        is_part = answer.headers.get("content-length") == str(_PART)
        if count:
            return "count and size of the part" if is_part else "count, and the size of the whole"
        return "size of the part, no count" if is_part else "ignored"

    def _ask_attributes(self) -> str:
        answer = self._get("parts", "attributes", headers=_ATTRIBUTES)
        if answer.status != 200:
            return f"refused ({answer.code})"
        if answer.body[:100] == self._parts[:100]:
            return "the object itself"
        if b"GetObjectAttributesResponse" not in answer.body and b"GetObjectAttributesOutput" not in answer.body:
            return "something else"
        if b"<PartNumber>" not in answer.body:
            return "count of parts only" if b"PartsCount>" in answer.body else "no parts"
        return "parts with checksums" if b"<Checksum" in answer.body else "parts without checksums"

    def _ask_if_match(self) -> str:
        answer = self._get("small", headers={"If-Match": '"00000000000000000000000000000000"'})
        return "ignored" if answer.status == 200 else answer.code

    def _ask_if_match_unquoted(self) -> str:
        etag = self._get("small", method="HEAD").etag.strip('"')
        answer = self._get("small", headers={"If-Match": etag})
        return "200" if answer.status == 200 else answer.code

    def _ask_empty_range(self) -> str:
        return self._get("empty", headers={"Range": "bytes=0-0"}).code

    def _ask_checksums(self) -> str:
        self._plain.put("summed", self._small, ChecksumAlgorithm="CRC32")
        told = self._get("summed", method="HEAD", headers={"x-amz-checksum-mode": "ENABLED"}).headers
        return "told" if told.get("x-amz-checksum-crc32") else "not told"

    # --- versions ------------------------------------------------------------------------------------------------

    def _ask_version_ids(self) -> str:
        bucket = Bucket(self._client, "kraken-versions").create()
        bucket.keep_versions()
        first, second = bucket.put("v", self._small), bucket.put("v", self._parts[:500])
        if not first or not second or first == second:
            return "none"
        bucket.put("gone", self._small)
        bucket.delete("gone")
        told = self._get("v", method="HEAD", bucket=bucket.name).headers.get("x-amz-version-id")
        self._first_version = first
        return "yes" if told == second else "yes, not told by HEAD"

    def _ask_named_version(self) -> str:
        first = getattr(self, "_first_version", "")
        if not first:
            return "no versions"
        answer = self._get("v", f"versionId={quote(first, safe='')}", bucket="kraken-versions")
        if answer.status != 200:
            return f"refused ({answer.code})"
        return "that version" if answer.body == self._small else "the newest version"

    def _ask_unknown_version(self) -> str:
        answer = self._get("small", f"versionId={_NO_VERSION}")
        return "ignored" if answer.status == 200 else f"refused ({answer.code})"

    def _ask_version_list(self) -> str:
        if not getattr(self, "_first_version", ""):
            return "no versions"
        listed = self._client.list_object_versions(Bucket="kraken-versions", Prefix="v")
        sizes = [version["Size"] for version in listed.get("Versions", [])]
        return "yes" if sorted(sizes) == [500, 1000] else f"sizes {sizes}"

    def _ask_delete_marker(self) -> str:
        if not getattr(self, "_first_version", ""):
            return "no versions"
        answers = [self._get("gone", method=method, bucket="kraken-versions") for method in ("GET", "HEAD")]
        marked = [answer.headers.get("x-amz-delete-marker") == "true" for answer in answers]
        names = ["delete marker named" if mark else "nothing of a delete marker" for mark in marked]
        codes = " and ".join(answer.code for answer in answers)
        return f"{codes}; {names[0] if names[0] == names[1] else ' and '.join(names)}"

    # --- refusals ------------------------------------------------------------------------------------------------

    def _ask_missing_key(self) -> str:
        return self._get("missing").code

    def _ask_missing_bucket(self) -> str:
        return self._get("missing", bucket="kraken-missing").code

    def _ask_wrong_secret(self) -> str:
        return self._served(keys=(self._store.access_key, "wrong"))

    def _ask_unknown_key(self) -> str:
        return self._served(keys=("AKUNKNOWN", self._store.secret_key))

    def _ask_unsigned(self) -> str:
        return self._served(signed=False)

    def _served(self, **how: Any) -> str:
        answer = self._get("small", **how)
        return "served" if answer.status == 200 else answer.code

    # --- keys ----------------------------------------------------------------------------------------------------

    def _refused_keys(self) -> tuple[str, ...]:
        return tuple(key for key in FIXED if not can_hold(self._plain, f"keys/{key}"))


def can_hold(bucket: Bucket, key: str, data: bytes = b"held") -> bool:
    """Whether an object can be put under this key and is found there again, by a client that is not ours."""
    try:
        bucket.put(key, data)
        return bucket.holds(key, data)
    except (ClientError, BotoCoreError):
        return False


def capabilities_of(store: Store) -> Capabilities:
    """Ask a store that runs."""
    return Interview(store).run()


__all__ = ["QUESTIONS", "Answer", "Capabilities", "ask", "can_hold", "capabilities_of"]
