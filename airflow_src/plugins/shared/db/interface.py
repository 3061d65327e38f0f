"""Questions to the database. Only finds (D1)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import mongoengine
from bson.errors import BSONError
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from s3_restore.model.exceptions import RestoreError, UnusableValueError
from shared.db import reasons
from shared.db.engine import connect_db
from shared.db.models import RawFile

_OF_CODE = {18: reasons.MONGODB_LOGIN, 13: reasons.MONGODB_DENIED}
_LONGEST_QUERY_MS = 5_000


class DatabaseUnavailableError(RestoreError):
    """MongoDB did not answer. ``str()`` of it is one line for the operator, without credentials."""


def get_raw_file(raw_file_id: str) -> RawFile | None:
    """Find a raw file by its id; None when there is none.

    Raises:
        DatabaseUnavailableError: if MongoDB cannot be reached or refuses.

    """
    with _answering():
        return cast("RawFile | None", RawFile.objects(id=raw_file_id).no_dereference().first())


def get_backed_up_raw_file_ids(project_id: str) -> list[str]:
    """Find the ids of all raw files of a project that have a backup in S3, in their order.

    Raises:
        DatabaseUnavailableError: if MongoDB cannot be reached or refuses.

    """
    with _answering():
        found = RawFile.objects(project_id=project_id, s3_upload_path__nin=[None, ""])
        return [str(raw_file_id) for raw_file_id in found.no_dereference().order_by("id").scalar("id")]


def find_raw_file_ids(where: Mapping[str, Any], limit: int) -> list[str]:
    """Find ids of raw files, in no order, with one query that has a bound.

    Args:
        where: conditions in MongoDB's language, best on ``_id``, which has an index.
        limit: most ids.

    Raises:
        DatabaseUnavailableError: if MongoDB cannot be reached or refuses, or needs longer than a few seconds.

    """
    with _answering():
        found = RawFile.objects(__raw__=dict(where)).no_dereference().limit(limit).max_time_ms(_LONGEST_QUERY_MS)
        return [str(raw_file_id) for raw_file_id in found.scalar("id")]


def get_file_infos(raw_file_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Find the ``file_info`` of raw files by their ids; those that do not exist, or have none, are left out.

    Raises:
        DatabaseUnavailableError: if MongoDB cannot be reached or refuses, or needs longer than a few seconds.

    """
    with _answering():
        found = RawFile.objects(id__in=list(raw_file_ids)).no_dereference().max_time_ms(_LONGEST_QUERY_MS)
        return {
            str(raw_file_id): info for raw_file_id, info in found.scalar("id", "file_info") if isinstance(info, dict)
        }


@contextmanager
def _answering() -> Iterator[None]:
    """Connect, and turn what the driver raises into one line for the operator."""
    try:
        connect_db()
        yield
    except OperationFailure as error:
        reason = _OF_CODE.get(error.code or 0, reasons.MONGODB_REFUSES)
        raise DatabaseUnavailableError(reason.of(error.code)) from None
    except ConnectionFailure as error:
        raise DatabaseUnavailableError(reasons.MONGODB_UNREACHABLE.of(type(error).__name__)) from None
    except (PyMongoError, BSONError, mongoengine.errors.MongoEngineException, mongoengine.ConnectionFailure) as error:
        raise DatabaseUnavailableError(reasons.MONGODB_CANNOT_BE_ASKED.of(type(error).__name__)) from None
    except UnusableValueError as error:
        raise DatabaseUnavailableError(error.failure) from None
