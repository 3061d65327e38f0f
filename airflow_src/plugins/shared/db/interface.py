"""Questions to the database. Only finds (D1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import mongoengine
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from shared.db.engine import connect_db
from shared.db.models import RawFile

_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13


class DatabaseUnavailableError(Exception):
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


@contextmanager
def _answering() -> Iterator[None]:
    """Connect, and turn what the driver raises into one line for the operator."""
    try:
        connect_db()
        yield
    except OperationFailure as error:
        said = {
            _AUTHENTICATION_FAILED: "MongoDB refuses user or password: check MONGO_USER and MONGO_PASSWORD",
            _UNAUTHORIZED: "MongoDB denies reading: the user needs the role 'read' on krakendb",
        }.get(error.code or 0, "MongoDB refuses the query")
        raise DatabaseUnavailableError(f"{said} (code {error.code})") from None
    except ConnectionFailure as error:
        said = "MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT, and that it runs"
        raise DatabaseUnavailableError(f"{said} ({type(error).__name__})") from None
    except (PyMongoError, mongoengine.errors.MongoEngineException, mongoengine.ConnectionFailure) as error:
        raise DatabaseUnavailableError(f"MongoDB cannot be asked ({type(error).__name__})") from None
    except ValueError as error:
        raise DatabaseUnavailableError(str(error)) from None
