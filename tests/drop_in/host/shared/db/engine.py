"""The host's connection."""

import os

import mongoengine


def connect_db() -> None:
    """Connect, once for each process."""
    if "default" not in mongoengine.connection._connections:
        mongoengine.connect(
            "krakendb",
            host=os.environ["MONGO_HOST"],
            port=int(os.environ["MONGO_PORT"]),
            username=os.environ["MONGO_USER"],
            password=os.environ["MONGO_PASSWORD"],
            authentication_source="krakendb",
            uuidRepresentation="standard",
        )
