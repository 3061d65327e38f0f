"""A server that speaks MongoDB's protocol and enforces users and roles: SecantusDB, a stand-in for MongoDB.

It runs as a process of its own and is never imported: it is GPL and no part of the product.
"""

import secrets
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from demo.processes import LOCALHOST, ChildProcess, Startable, accepts_connections, environment, pick_port, wait_until

DATABASE = "krakendb"

_ANSWER_MILLISECONDS = 5000


@dataclass(frozen=True)
class MongoUser:
    """A user of the database `krakendb`, with a password made up for this run."""

    name: str
    role: str
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class MongoServer(Startable):
    """A running server with authentication: `with MongoServer(folder) as mongo: mongo.client(mongo.reader)`.

    Attributes:
        host, port: where it listens.
        reader: user with the role `read`, as the product has it.
        writer: user with the role `readWrite`, as only the uploader has it.
    """

    def __init__(self, folder: Path, log_file: Path | None = None, preferred_port: int | None = None) -> None:
        self.host = LOCALHOST
        self.port = pick_port(preferred_port)
        self.reader = MongoUser("kraken_read", "read")
        self.writer = MongoUser("kraken_readwrite", "readWrite")
        self._folder = folder
        self._log_file = log_file or folder.with_suffix(".log")
        self.process = self._server(with_auth=False)

    def client(self, user: MongoUser | None, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """Return a pymongo client logged in as this user; `options` go to MongoClient. Close it when done."""
        login = {} if user is None else {"username": user.name, "password": user.password, "authSource": DATABASE}
        return pymongo.MongoClient(
            self.host, self.port, serverSelectionTimeoutMS=_ANSWER_MILLISECONDS, **{**login, **options}
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which the product finds this server, as the read-only user."""
        return {
            "MONGO_HOST": self.host,
            "MONGO_PORT": str(self.port),
            "MONGO_USER": self.reader.name,
            "MONGO_PASSWORD": self.reader.password,
        }

    def start(self) -> None:
        """Start with an empty database and two users. Returns when it answers to both.

        Users can only be made while it runs without authentication, so it is started twice.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        self._start(with_auth=False, as_user=None)
        with self.client(None) as client:
            for user in (self.reader, self.writer):
                client[DATABASE].command(
                    "createUser", user.name, pwd=user.password, roles=[{"role": user.role, "db": DATABASE}]
                )
        self.process.stop()
        self._start(with_auth=True, as_user=self.reader)

    def stop(self) -> None:
        """End it; its folder stays."""
        self.process.stop()

    def _start(self, *, with_auth: bool, as_user: MongoUser | None) -> None:
        self.process = self._server(with_auth=with_auth)
        self.process.start()
        wait_until(lambda: self._answers(as_user), [self.process], "The MongoDB server", timeout_seconds=60)

    def _answers(self, user: MongoUser | None) -> bool:
        if not accepts_connections(self.port):
            return False
        with self.client(user) as client:
            try:
                client[DATABASE].command("ping")
            except PyMongoError:
                return False
        return True

    def _server(self, *, with_auth: bool) -> ChildProcess:
        return ChildProcess(
            "MongoDB server",
            [
                Path(sys.executable).with_name("secantusd-py"),
                *("--host", self.host, "--port", str(self.port), "--storage-path", self._folder),
                *("--standalone", "--cache-size", "128M"),
                *(["--auth"] if with_auth else []),
            ],
            self._log_file,
            environment({}),
        )
