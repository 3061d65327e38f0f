"""A whole Airflow 2.11 on one machine, to be used like that of the demo: webserver and scheduler, which parses too.

SQLite allows Airflow 2 one task at a time (SequentialExecutor). The REST API is `/api/v1`, and open to everybody on the
loopback interface.
"""

import os
import re
import secrets
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from demo.airflow_api import AirflowApi, Answer
from demo.airflow_stack import AirflowStack
from demo.processes import LOCALHOST, ChildProcess

_LOG_LINE = re.compile(r"^\[[\d-]{10}T[^\]]+\] \{[^}]+\} (?P<level>[A-Z]+) - (?P<event>.*)$")
_EXCEPTION = re.compile(r"^(?:\w+\.)+(\w+(?:Exception|Error|Exit): .*)$")


class Airflow2Api(AirflowApi):
    """The REST API of Airflow 2, answering as that of Airflow 3 where our tests ask."""

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request to `/api/v1` and return the answer, also when its status is an error."""
        return self._send(method, f"/api/v1{path}", body)

    def is_healthy(self) -> bool:
        """Say whether database and scheduler report health."""
        answer = self.request("GET", "/health")
        if answer.status != HTTPStatus.OK:
            return False
        return all(answer.body[part]["status"] == "healthy" for part in ("metadatabase", "scheduler"))

    def create_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool; one that is there already is left as it is."""
        answer = self.request("POST", "/pools", {"name": name, "slots": slots, "description": description})
        assert answer.status in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.CONFLICT}, answer.body

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> Answer:
        """Trigger a run. 200 and `dag_run_id` in the body; 400 if the params refuse `conf`."""
        return self.request("POST", f"/dags/{dag_id}/dagRuns", {"conf": conf})

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(f"{path}?stringify=false")["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[dict[str, Any]]:
        """Return the log of a task, one dict per line: `event` is the text, `level` such as `error`."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        # The texts of hosts and of their logs, as the source of a Python list.
        content = str(self.get(path)["content"]).replace("\\n", "\n").replace("\\'", "'")
        records: list[dict[str, Any]] = []
        for line in content.splitlines():
            start = _LOG_LINE.match(line)
            records.append({"level": start["level"].lower(), "event": start["event"]} if start else {"event": line})
        return records

    def task_errors(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Return the texts of all errors in the log of a task, and of the exceptions."""
        records = self.task_log(dag_id, run_id, task_id, try_number)
        errors = [record["event"] for record in records if record.get("level") in {"error", "critical"}]
        return errors + [found[1] for record in records if (found := _EXCEPTION.match(record["event"]))]


class Airflow2Stack(AirflowStack):
    """Airflow 2.11 with our DAG, pool and connection, on any free port.

    Its webserver takes so long to listen that another program may have taken a preferred port by then.
    """

    def __init__(self, *arguments: Any, preferred_port: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)

    def _make_api(self) -> Airflow2Api:
        return Airflow2Api(self.url)

    def _settings_of_this_line(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_urlsafe(48),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": LOCALHOST,
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            # Else the webserver of a busy machine ends itself.
            "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
            "AIRFLOW__WEBSERVER__WEB_SERVER_WORKER_TIMEOUT": "600",
            # This executor calls `airflow` by its bare name.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }

    def _make_home(self) -> None:
        super()._make_home()
        (self.home / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\n')

    def _other_parts(self) -> list[ChildProcess]:
        return [self._part("webserver")]
