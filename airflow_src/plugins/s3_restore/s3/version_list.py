"""The versions of an object (one page of ListObjectVersions): a help that a store need not know (S4, S7)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import PermanentStoreError, TransientStoreError
from s3_restore.model.object_store import ObjectVersion
from s3_restore.s3 import s3_answers
from s3_restore.s3.fast_path import Answer
from s3_restore.s3.optional_requests import OptionalRequest, UnknownForm

if TYPE_CHECKING:
    pass

_FAILURES_OF_UNKNOWN = 8  # it takes longer than a gateway that restarts, and files depend on it
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ENTRY_BYTES = 1000  # of one version in a list, beside its key
_LIST = "ListVersionsResult"
_WHO_CAME_BACK = {"x-amz-optional-object-attributes": "RestoreStatus"}


class VersionList:
    """Lists versions, and learns what the store knows of that.

    Args:
        send: sends a request: method, bucket, key, query, headers.

    """

    def __init__(self, send: Callable[..., Answer]) -> None:
        self._send = send
        self._asking = OptionalRequest(_FAILURES_OF_UNKNOWN)
        self._coming_back = UnknownForm()
        self._may_not_list: PermanentStoreError | None = None

    def versions(self, bucket: str, key: str, is_store_well: Callable[[], bool]) -> Sequence[ObjectVersion]:
        """All versions of an object, newest first; none where the store does not list them.

        Args:
            bucket: of the object.
            key: of the object.
            is_store_well: whether the store answers what every store knows.

        Raises:
            ObjectStoreError: when it may list them, and not to this user, or not now.

        """
        with self._asking.asked(is_store_well) as is_worth_it:
            if is_worth_it:
                return self._list(bucket, key)
        if self._may_not_list:
            raise self._may_not_list
        return ()

    def _list(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        # The key itself comes before all others that begin like it. The page fits into what is read of a document.
        page = min(1000, s3_answers.MAX_DOCUMENT_BYTES // (_ENTRY_BYTES + 3 * len(key.encode())))
        query = {"versions": "", "prefix": key, "encoding-type": "url", "max-keys": str(page)}
        answer = self._send("GET", bucket, "", query)
        document, _ = s3_answers.read_document(answer, _LIST)
        if document is not None:
            listed = s3_answers.listed_versions(document, key)
            if any(version.archived for version in listed):
                return self._with_those_that_came_back(bucket, key, query) or listed
            return listed
        if answer.status == HTTPStatus.OK and _NOT_IN_XML.search(key):  # which says nothing of other keys
            raise PermanentStoreError(store_reasons.LIST_UNREADABLE.of(), "NoList")
        self._asking.is_told = False
        if answer.status == HTTPStatus.FORBIDDEN:
            self._may_not_list = PermanentStoreError(store_reasons.MAY_NOT_LIST_VERSIONS.of(), "AccessDenied")
            raise self._may_not_list
        logging.info("S3 does not list versions (%d): not asked again in this run", answer.status)
        return ()

    def _with_those_that_came_back(self, bucket: str, key: str, query: Mapping[str, str]) -> Sequence[ObjectVersion]:
        """The list with what came back from an archive, which has to be asked for; none where that is refused."""
        try:
            answer = self._send("GET", bucket, "", query, _WHO_CAME_BACK)
            document, _ = s3_answers.read_document(answer, _LIST)
        except TransientStoreError:
            if self._coming_back.failed():
                return ()
            raise
        if document is None:
            return ()
        self._coming_back.went_well()
        return s3_answers.listed_versions(document, key)
