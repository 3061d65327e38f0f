"""A whole Airflow 3 on one machine: api-server, scheduler and dag-processor; SQLite and LocalExecutor.

Everything it writes is below one folder:

    <home>/airflow.db            the metadata, fresh for every start
    <home>/airflow-<version>.db  the same after `airflow db migrate`, kept, because migrating takes long
    <home>/airflow               the `airflow` command with the settings of this run (mode 0700: has its secrets)
    <home>/logs/                 logs of the tasks
    <home>/*.log                 logs of the processes
"""

import importlib.metadata
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from demo.airflow_api import AirflowApi
from demo.processes import (
    LOCALHOST,
    ChildProcess,
    Startable,
    StartError,
    environment,
    pick_port,
    run_to_end,
    stop_all,
    wait_until,
)

REPOSITORY = Path(__file__).resolve().parent.parent
DAGS_FOLDER = REPOSITORY / "airflow_src" / "dags"
PLUGINS_FOLDER = REPOSITORY / "airflow_src" / "plugins"

DAG_ID = "s3_downloader"
POOL = "s3_download_pool"
POOL_SLOTS = 2
POOL_DESCRIPTION = "Limit concurrent S3 downloads"

_START_SECONDS = 180
_DAG_SECONDS = 90


class AirflowStack(Startable):
    """Airflow with our DAG, pool and connection: `with AirflowStack(home, connection, variables) as airflow: ...`.

    Args:
        home: becomes `AIRFLOW_HOME`; created if missing.
        aws_connection: the connection `aws_default`, as a dict.
        variables: further environment variables, for all parts: settings YAML, MongoDB; they win over the stack's own.
        preferred_port: of the UI and the REST API, if it is free.
        command: where to put the `airflow` command with the settings of this run; `<home>/airflow` when None.

    Attributes:
        url: of the UI, such as `http://127.0.0.1:8080`.
        api: the REST API.
        scheduler: runs the tasks too, as children of its own.
        command: path of that command.
    """

    def __init__(
        self,
        home: Path,
        aws_connection: Mapping[str, Any],
        variables: Mapping[str, str],
        *,
        preferred_port: int | None = None,
        command: Path | None = None,
    ) -> None:
        self.home = home
        self.port = pick_port(preferred_port)
        self.url = f"http://{LOCALHOST}:{self.port}"
        self.api = self._make_api()
        self.command = command or home / "airflow"
        self._settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws_connection),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS_FOLDER),
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS_FOLDER),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # The same that a container has: our packages beside the DAG folder that Airflow adds itself.
            "PYTHONPATH": os.pathsep.join(map(str, (DAGS_FOLDER, PLUGINS_FOLDER))),
            **self._settings_of_this_line(),
            **variables,
        }
        self._environment = environment(self._settings)
        self.scheduler = self._part("scheduler", "--skip-serve-logs")
        self.processes = [self.scheduler, *self._other_parts()]

    @property
    def is_migrated(self) -> bool:
        """Whether an earlier start has left a migrated database, so that this one will be quick."""
        return self._migrated_database.exists()

    def start(self) -> None:
        """Migrate the database if no earlier start has, start all parts and return; `wait` waits for them.

        Raises:
            StartError: the migration failed; with its output.
        """
        self._make_home()
        if not self.is_migrated:
            self._migrate()
        shutil.copyfile(self._migrated_database, self.home / "airflow.db")
        for process in self.processes:
            process.start()

    def wait(self, tick: Callable[[], None] = lambda: None) -> None:
        """Wait until all parts are healthy, create the pool, and wait until our DAG is known.

        Raises:
            StartError: a part ended, the time is over, or a DAG file cannot be loaded.
        """
        wait_until(self.api.is_healthy, self.processes, "Airflow", _START_SECONDS, tick)
        self.api.create_pool(POOL, POOL_SLOTS, POOL_DESCRIPTION)
        wait_until(self._has_dag, self.processes, f"The DAG {DAG_ID}", _DAG_SECONDS, tick)

    def stop(self) -> None:
        """End all parts and remove the command with this run's secrets."""
        stop_all(self.processes)
        self.command.unlink(missing_ok=True)

    def restart_scheduler(self, variables: Mapping[str, str] | None = None) -> None:
        """Start the scheduler anew; where it still runs, it is stopped first, with the tasks that it runs.

        Of one that was killed alone, its tasks go on.

        Args:
            variables: further environment variables, for scheduler and tasks, from now on.
        """
        if self.scheduler.is_running:
            self.scheduler.stop()
        self._environment |= variables or {}
        self.processes.remove(self.scheduler)
        self.scheduler = self._part("scheduler", "--skip-serve-logs")
        self.processes.append(self.scheduler)
        self.scheduler.start()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real `airflow` command; a call takes about 5 s."""
        return run_to_end([self.command, *arguments], self._environment)

    def trigger(self, conf: Mapping[str, Any]) -> str:
        """Trigger our DAG with `airflow dags trigger` and return the run id.

        Raises:
            RuntimeError: the command failed; with its output.
        """
        call = self.cli("dags", "trigger", DAG_ID, "--conf", json.dumps(conf), "--output", "json")
        if call.returncode != 0:
            raise RuntimeError(f"`airflow dags trigger` ended with {call.returncode}:\n{call.stdout}{call.stderr}")
        # Log lines may come first; the answer is the JSON list at the end.
        return str(json.loads(call.stdout[call.stdout.index("[{") :])[0]["dag_run_id"])

    # What is not the same on Airflow 2: tests/support/airflow2_stack.py.

    def _make_api(self) -> AirflowApi:
        return AirflowApi(self.url)

    def _settings_of_this_line(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": LOCALHOST,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        }

    def _other_parts(self) -> list[ChildProcess]:
        return [self._part("api-server"), self._part("dag-processor")]

    @property
    def _migrated_database(self) -> Path:
        return self.home / f"airflow-{importlib.metadata.version('apache-airflow')}.db"

    def _has_dag(self) -> bool:
        if errors := self.api.import_errors():
            raise StartError("Airflow cannot load a DAG file:\n" + "\n".join(errors))
        return self.api.knows_dag(DAG_ID)

    def _make_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.home / "logs", ignore_errors=True)
        for old in (*self.home.glob("*.log"), *self.home.glob("airflow.db*")):
            old.unlink()
        self.command.unlink(missing_ok=True)
        self.command.touch(mode=0o700)
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self._settings.items()))
        # Whoever types it wants the answer, and not what Airflow's own code is warned of at each command.
        exports += 'export PYTHONWARNINGS="${PYTHONWARNINGS-ignore}"\n'
        self.command.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(_airflow()))} "$@"\n')

    def _migrate(self) -> None:
        call = run_to_end([_airflow(), "db", "migrate"], self._environment)
        if call.returncode != 0:
            raise StartError(f"`airflow db migrate` ended with {call.returncode}:\n{call.stdout}{call.stderr}")
        for outdated in self.home.glob("airflow-*.db"):
            outdated.unlink()
        # Renamed only now: a migration that was interrupted leaves nothing that looks complete.
        (self.home / "airflow.db").rename(self._migrated_database)

    def _part(self, name: str, *options: str) -> ChildProcess:
        return ChildProcess(
            f"Airflow's {name}", [_airflow(), name, *options], self.home / f"{name}.log", self._environment, self.home
        )


def _airflow() -> Path:
    return Path(sys.executable).with_name("airflow")
