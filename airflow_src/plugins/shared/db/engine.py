"""Connection to MongoDB with the read-only user (D1)."""

import os
import threading

import mongoengine

from s3_restore.model.exceptions import UnusableValueError
from shared.db import reasons

_DATABASE = "krakendb"
_TIMEOUT_MS = 10_000
_HIGHEST_PORT = 65_535

_lock = threading.Lock()
_connected_as: tuple[object, ...] = ()


def connect_db() -> None:
    """Connect as ``MONGO_HOST``, ``MONGO_PORT``, ``MONGO_USER`` and ``MONGO_PASSWORD`` say.

    Without a user: no authentication. Nothing is sent until the first query. A connection is kept for the next one.
    A forked process and a changed environment get one of their own.

    Raises:
        ValueError: if ``MONGO_PORT`` is no number.

    """
    host = os.environ.get("MONGO_HOST") or "localhost"
    user = os.environ.get("MONGO_USER") or None
    password = os.environ.get("MONGO_PASSWORD", "")
    port = os.environ.get("MONGO_PORT") or "27017"
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise UnusableValueError(reasons.MONGO_PORT.of(_HIGHEST_PORT, repr(port)))
    global _connected_as  # noqa: PLW0603 (mongoengine's connection is one for the process, too)
    wanted = (os.getpid(), host, port, user, password)
    with _lock:  # a dry run asks from several threads
        if wanted == _connected_as and _is_connected():
            return
        credentials = {"username": user, "password": password, "authentication_source": _DATABASE} if user else {}
        mongoengine.disconnect()
        mongoengine.connect(
            db=_DATABASE,
            host=host,
            port=int(port),
            serverSelectionTimeoutMS=_TIMEOUT_MS,
            connectTimeoutMS=_TIMEOUT_MS,
            socketTimeoutMS=3 * _TIMEOUT_MS,
            retryWrites=False,
            uuidRepresentation="standard",  # named, so that mongoengine does not warn in every task log
            **credentials,
        )
        _connected_as = wanted


def _is_connected() -> bool:
    """Whether mongoengine still has a connection; somebody may have closed it."""
    try:
        mongoengine.get_connection()
    except mongoengine.ConnectionFailure:
        return False
    return True
