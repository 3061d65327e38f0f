"""Questions to the database. Only finds (D1)."""

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
    try:
        connect_db()
        return cast("RawFile | None", RawFile.objects(id=raw_file_id).no_dereference().first())
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
