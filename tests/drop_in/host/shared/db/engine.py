"""The host's connection: no time-outs of its own, and a second call of connect is a warning."""

import logging
import os

from mongoengine import ConnectionFailure, connect

from shared.keys import EnvVars

DB_NAME = "krakendb"
DB_HOST = os.environ.get(EnvVars.MONGO_HOST, "some_host")
DB_PORT = int(os.environ.get(EnvVars.MONGO_PORT, "12345"))
DB_USER = os.environ.get(EnvVars.MONGO_USER, "pika")
DB_PASSWORD = os.environ.get(EnvVars.MONGO_PASSWORD, "chu")


def connect_db() -> None:
    """Connect."""
    try:
        connect(
            DB_NAME, host=DB_HOST, port=DB_PORT, username=DB_USER, password=DB_PASSWORD, authentication_source=DB_NAME
        )
    except ConnectionFailure as error:
        logging.warning(f"Failed to connect to db: {error}")
