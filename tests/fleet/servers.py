"""Debian's PostgreSQL and Redis on free ports of the loopback interface, empty at every start."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demo.processes import LOCALHOST, ChildProcess, environment, pick_port, run_to_end, wait_until

VERSIONS = Path("/usr/lib/postgresql")
_SYSTEM_USER = "postgres"
_UNACKNOWLEDGED = "unacked"  # the name that kombu gives it


class PostgresServer:
    """A PostgreSQL server with one user, who owns a database of the same name.

    It refuses to run as root, so root lends it the system's user `postgres`; that user cannot enter a folder of root's,
    which is why the data are in a temporary folder of their own.

    Args:
        user: also the name of the database.
        password: of that user; asked for over TCP.
        log_file: gets its output.
    """

    def __init__(self, user: str, password: str, log_file: Path) -> None:
        self.port = pick_port()
        self._user = user
        self._password = password
        self._programs = max(VERSIONS.glob("*/bin"), key=lambda folder: int(folder.parent.name))
        self._folder = Path(tempfile.mkdtemp(prefix="kraken-postgres-"))
        self.process = ChildProcess(
            "PostgreSQL",
            self._as_server(
                *("postgres", "-D", self._folder / "data", "-p", str(self.port)),
                *("-c", f"listen_addresses={LOCALHOST}", "-c", f"unix_socket_directories={self._folder}"),
                *("-c", "fsync=off"),  # nothing here outlives the machine
            ),
            log_file,
            environment({}),
            self._folder,
        )

    def start(self) -> None:
        """Start it with an empty database and return when it answers."""
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if os.getuid() == 0:
            for path in (self._folder, password_file):
                shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
        self._run(
            *("initdb", "-D", self._folder / "data", "--encoding=UTF8", "--locale=C", "--no-sync"),
            *("--username", self._user, "--pwfile", password_file, "--auth=scram-sha-256"),
        )
        self.process.start()
        wait_until(self._is_ready, [self.process], "PostgreSQL", timeout_seconds=60)
        self._run("createdb", "--host", LOCALHOST, "--port", str(self.port), "--username", self._user, self._user)

    def connections(self) -> int:
        """Return how many clients are connected, this one left out."""
        count = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        where = ("--host", LOCALHOST, "--port", str(self.port), "--username", self._user)
        return int(self._run("psql", *where, "--no-align", "--tuples-only", "--command", count, self._user))

    def stop(self) -> None:
        """End it and remove its data."""
        self.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_ready(self) -> bool:
        check = [self._programs / "pg_isready", "--host", LOCALHOST, "--port", str(self.port), "--username", self._user]
        return run_to_end(check).returncode == 0

    def _run(self, *command: str | Path) -> str:
        call = run_to_end(self._as_server(*command), environment({"PGPASSWORD": self._password}), self._folder)
        assert call.returncode == 0, f"{command[0]}: {call.stdout}{call.stderr}"
        return call.stdout

    def _as_server(self, program: str, *arguments: str | Path) -> Sequence[str | Path]:
        command = [self._programs / program, *arguments]
        if os.getuid() != 0:
            return command
        user = _SYSTEM_USER
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *command]


class RedisServer:
    """A Redis server, started with the very command of docker-compose.yaml.

    Args:
        command: of the service `redis`, its program first or in a line for the shell.
        variables: of the service.
        folder: for its data.
    """

    def __init__(self, command: Sequence[str], variables: dict[str, str], folder: Path) -> None:
        self.port = pick_port()
        here = f"redis-server --bind {LOCALHOST} --port {self.port} --dir {folder}"
        self.process = ChildProcess(
            "Redis",
            [part.replace("redis-server", here) for part in command],
            folder / "redis.log",
            environment(variables),
            folder,
        )
        self._folder = folder
        self._variables = environment(variables)

    def start(self, healthcheck: str) -> None:
        """Start it and return when the health check of the service says so."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.process.start()
        check = healthcheck.replace("redis-cli", f"redis-cli -p {self.port}")
        wait_until(
            lambda: run_to_end(["sh", "-c", check], self._variables).returncode == 0,
            [self.process],
            "Redis",
            timeout_seconds=60,
        )

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue for a worker."""
        return int(self._cli("llen", queue))

    def unacknowledged(self) -> int:
        """Return how many messages were taken by a worker that has not ended their tasks, or is dead."""
        return int(self._cli("hlen", _UNACKNOWLEDGED))

    def redeliver(self, queue: str) -> None:
        """Put all of those back, as Celery does when `visibility_timeout` is over."""
        for tag in self._cli("hkeys", _UNACKNOWLEDGED).split():
            message, _exchange, _routing_key = json.loads(self._cli("hget", _UNACKNOWLEDGED, tag))
            self._cli("lpush", queue, json.dumps(message))
            self._cli("hdel", _UNACKNOWLEDGED, tag)

    def _cli(self, *command: str) -> str:
        variables = {**self._variables, "REDISCLI_AUTH": self._variables["REDIS_PASSWORD"]}
        call = run_to_end(["redis-cli", "-p", str(self.port), *command], variables)
        assert call.returncode == 0, call.stderr
        return call.stdout

    def stop(self) -> None:
        """End it."""
        self.process.stop()
