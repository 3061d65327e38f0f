"""The bytes of one answer, handed on as they arrive."""

from __future__ import annotations

import time

from s3_restore.model import store_reasons
from s3_restore.model.exceptions import TransientStoreError
from s3_restore.model.object_store import ObjectVersion
from s3_restore.s3.fast_path import Body
from s3_restore.s3.s3_errors import errors_of_bodies

_READ_FOR_S = 1.0  # then what came so far is handed on, so that a slow connection shows its progress


class S3ByteStream:
    """The body of one response. See ``object_store.ByteStream``."""

    def __init__(self, body: Body, version: ObjectVersion, remaining: int) -> None:
        self.version = version
        self.remaining = remaining
        self._body = body
        self._error: TransientStoreError | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as bytes arrive within a second; 0 only at the end."""
        view = buffer[: min(len(buffer), self.remaining)]
        if not view:
            return 0
        filled = 0
        until = time.monotonic() + _READ_FOR_S
        try:
            with errors_of_bodies():
                while self._error is None and filled < len(view):
                    count = self._body.read_some(view[filled:])
                    if not count:
                        raise TransientStoreError(store_reasons.ENDED_EARLY.of(), "IncompleteBody")  # noqa: TRY301
                    filled += count
                    if time.monotonic() > until:
                        break
        except TransientStoreError as error:
            self._error = error  # what came before counts; the next call tells
        if not filled and self._error:
            raise self._error
        self.remaining -= filled
        return filled
