"""PostgreSQL, Redis, Airflow's services and two workers, as docker-compose.yaml describes them; see `Fleet`."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from demo.airflow_api import AirflowApi
from demo.airflow_stack import DAG_ID
from demo.mongo_server import MongoServer
from demo.processes import (
    LOCALHOST,
    ChildProcess,
    Startable,
    accepts_connections,
    pick_port,
    run_to_end,
    stop_all,
    wait_until,
)
from tests.fleet.compose_services import ComposeServices
from tests.fleet.servers import PostgresServer, RedisServer
from tests.packaging.compose_parsers import REPOSITORY, ComposeProject

PROGRAMS = REPOSITORY / ".venv-fleet" / "bin"
WORKERS = ("worker-1", "worker-2")
QUEUE = "kraken_queue_s3_download"

# What happens after minutes with Airflow's own values (OPERATING.md, "When a worker dies") happens here after seconds.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}
IMPATIENT_WITH_QUEUES = {
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "4",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "1",
}

_READY_SECONDS = 180


class Fleet(Startable):
    """The whole service: `with Fleet(home, connection, mongo, webhook_url) as fleet: fleet.api.trigger(...)`.

    Every service has an AIRFLOW_HOME of its own, as in its container, and they share the folder for logs, as with the
    volume. Both workers share the output folder.

    Args:
        home: empty folder for all of it.
        aws_connection: the connection `aws_default`.
        mongo: where the raw_file documents are, with the reader as the worker's user.
        webhook_url: for notifications.

    Attributes:
        api: the REST API, with the user that airflow-init.sh has created.
        postgres: Airflow's database.
        redis: the broker.
        output: the output location.
        workers: name -> process, of those that were started.
    """

    def __init__(
        self, home: Path, aws_connection: Mapping[str, Any], mongo: MongoServer, webhook_url: str = ""
    ) -> None:
        self._home = home
        self._port = pick_port()
        self.output = home / "output"
        self.output.mkdir(parents=True)
        project = _project(home / "compose", self.output, self._port, aws_connection, mongo)
        self._services = ComposeServices(project, PROGRAMS)
        self._services.place(
            {
                "airflow-apiserver:8080": f"{LOCALHOST}:{self._port}",
                "/opt/airflow/envs": str(_settings(home / "envs", self.output, webhook_url)),
                **{f"/opt/airflow/{name}": str(REPOSITORY / "airflow_src" / name) for name in _FOLDERS},
            }
        )
        variables = project.variables()
        self.api = AirflowApi(
            f"http://{LOCALHOST}:{self._port}",
            login={"username": variables["AIRFLOW_ADMIN_USER"], "password": variables["AIRFLOW_ADMIN_PASSWORD"]},
        )
        database = self._services.environment("postgres", home)
        assert database["POSTGRES_USER"] == database["POSTGRES_DB"]
        self.postgres = PostgresServer(database["POSTGRES_USER"], database["POSTGRES_PASSWORD"], home / "postgres.log")
        self.redis = RedisServer(
            self._services.command("redis"), self._services.environment("redis", home), home / "redis"
        )
        self._services.place(
            {
                "postgres:5432": f"{LOCALHOST}:{self.postgres.port}",
                "redis:6379": f"{LOCALHOST}:{self.redis.port}",
            }
        )
        self._scheduler_health_port = str(pick_port())
        self._processes: dict[str, ChildProcess] = {}
        self.workers: dict[str, ChildProcess] = {}

    def start(self) -> None:
        """Start everything in the order that compose keeps to, and return when all is healthy.

        Raises:
            StartError: a part did not get ready.
        """
        self.postgres.start()
        self.redis.start(self._services.healthcheck("redis")[-1])
        self._run_init()
        for service in _SERVICES:
            self.start_service(service)
        wait_until(self._is_api_server_well, self.running, "The API server", _READY_SECONDS)
        for name in WORKERS:
            self.start_worker(name)
        wait_until(self.api.is_healthy, self.running, "Airflow", _READY_SECONDS)
        wait_until(lambda: self.api.knows_dag(DAG_ID), self.running, f"The DAG {DAG_ID}", _READY_SECONDS)
        wait_until(lambda: not self.unhealthy("airflow-worker"), self.running, WORKERS[0], _READY_SECONDS)

    @property
    def running(self) -> list[ChildProcess]:
        """All processes that should run."""
        return [self.postgres.process, self.redis.process, *self._processes.values(), *self.workers.values()]

    def start_service(self, service: str, variables: Mapping[str, str] | None = None) -> None:
        """Start a service, again if it runs, and return at once; `variables` are further ones."""
        if service in self._processes:
            self._processes[service].stop()
        process = self._process(service, service, self._services.command(service), variables or {})
        self._processes[service] = process
        process.start()

    def start_worker(self, name: str) -> None:
        """Start a worker and return at once."""
        command = self._services.command("airflow-worker")
        if name != WORKERS[0]:
            # Two on one machine need two names; each container has a host name of its own.
            command += ["--celery-hostname", f"{name}@%h"]
        log_server = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(pick_port()), "FLEET_HOST": name}
        self.workers[name] = self._process("airflow-worker", name, command, log_server)
        self.workers[name].start()

    def stop_workers(self) -> None:
        """End all workers as `docker compose stop` does."""
        stop_all(self.workers.values(), grace_seconds=30)
        self.workers.clear()

    def unhealthy(self, service: str) -> str:
        """Run the health check of a service; return why it is not healthy, or an empty text.

        That of `airflow-worker` asks the first worker, the one with the name that a container's has.
        """
        check = run_to_end(self._services.healthcheck(service), self._environment(service, service))
        assert check.returncode in {0, 1}, check.stderr
        return check.stderr if check.returncode else ""

    def stop(self) -> None:
        """End all processes."""
        stop_all([*self.workers.values(), *self._processes.values()], grace_seconds=15)
        self.redis.stop()
        self.postgres.stop()

    def _is_api_server_well(self) -> bool:
        return accepts_connections(self._port) and not self.unhealthy("airflow-apiserver")

    def _run_init(self) -> None:
        service = "airflow-init"
        init = run_to_end(self._services.command(service), self._environment(service, service), timeout_seconds=300)
        assert init.returncode == 0, init.stdout + init.stderr
        assert init.stdout.endswith("airflow-init: done\n")

    def _process(self, service: str, name: str, command: list[str], variables: Mapping[str, str]) -> ChildProcess:
        environment = {**self._environment(service, name), **variables}
        return ChildProcess(name, command, self._home / f"{name}.log", environment, Path(environment["AIRFLOW_HOME"]))

    def _environment(self, service: str, name: str) -> dict[str, str]:
        """Return the variables of one container, whose home is made if it is missing."""
        home = self._home / "homes" / name
        if not home.exists():
            logs = self._home / "logs"
            logs.mkdir(exist_ok=True)
            (home / "config").mkdir(parents=True)
            (home / "logs").symlink_to(logs)
            shutil.copy(Path(__file__).with_name("airflow_local_settings.py"), home / "config")
        return {
            **self._services.environment(service, home),
            **IMPATIENT,
            # A container listens on its own interfaces; here all share one, and nothing may listen beyond it.
            "AIRFLOW__API__HOST": LOCALHOST,
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": LOCALHOST,
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": self._scheduler_health_port,
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_local_settings.host_name",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }


# The triggerer is left out: no task of ours defers.
_SERVICES = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor")
_FOLDERS = ("dags", "plugins", "docker")


def _project(
    folder: Path, output: Path, port: int, aws_connection: Mapping[str, Any], mongo: MongoServer
) -> ComposeProject:
    """Do what an operator does: let make_env.py write the .env, and edit it to name the existing S3 and MongoDB."""
    folder.mkdir(parents=True)
    project = ComposeProject.create(folder)
    for name, value in {
        "COMPOSE_PROFILES": "",
        "KRAKEN_OUTPUT_DIR": str(output),
        "AIRFLOW_CONN_AWS_DEFAULT": f"'{json.dumps(aws_connection)}'",
        "AIRFLOW_BASE_URL": f"http://{LOCALHOST}:{port}",
        "AIRFLOW_PORT": str(port),
        **mongo.environment(),
    }.items():
        project.set_variable(name, value)
    return project


def _settings(folder: Path, output: Path, webhook_url: str) -> Path:
    """Copy the settings files, with the output folder in place of its mount point, and return their folder."""
    shutil.copytree(REPOSITORY / "airflow_src/envs", folder)
    file = folder / "alphakraken.local.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["locations"]["output"]["absolute_path"] = str(output)
    settings["general"]["notifications"]["ops_alerts_webhook_url"] = webhook_url
    file.write_text(yaml.safe_dump(settings))
    return folder
