"""Connection to MongoDB with the read-only user (D1)."""

import os

import mongoengine

_DATABASE = "krakendb"
_TIMEOUT_MS = 10_000
_HIGHEST_PORT = 65_535


def connect_db() -> None:
    """Connect as ``MONGO_HOST``, ``MONGO_PORT``, ``MONGO_USER`` and ``MONGO_PASSWORD`` say.

    Without a user: no authentication. Nothing is sent until the first query.

    Raises:
        ValueError: if ``MONGO_PORT`` is no number.

    """
    user = os.environ.get("MONGO_USER") or None
    port = os.environ.get("MONGO_PORT") or "27017"
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise ValueError(f"Environment variable MONGO_PORT: expected a number from 1 to {_HIGHEST_PORT}, got {port!r}")
    credentials = (
        {"username": user, "password": os.environ.get("MONGO_PASSWORD", ""), "authentication_source": _DATABASE}
        if user
        else {}
    )
    mongoengine.disconnect()  # a forked worker, or a changed environment, needs a connection of its own
    mongoengine.connect(
        db=_DATABASE,
        host=os.environ.get("MONGO_HOST") or "localhost",
        port=int(port),
        serverSelectionTimeoutMS=_TIMEOUT_MS,
        connectTimeoutMS=_TIMEOUT_MS,
        socketTimeoutMS=3 * _TIMEOUT_MS,
        retryWrites=False,
        uuidRepresentation="standard",  # said, so that mongoengine does not warn in every task log
        **credentials,
    )
