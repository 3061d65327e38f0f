"""Airflow's REST API (`/api/v2`), as far as one needs it to trigger a run and to follow it."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_TIMEOUT_SECONDS = 90  # two cores that start several processes of Airflow keep one waiting long
_POLL_SECONDS = 0.3
_ENDED = {"success", "failed"}


@dataclass(frozen=True)
class Answer:
    """What the server answered: HTTP status and the decoded JSON body (None if it was empty)."""

    status: int
    body: Any


class ApiError(RuntimeError):
    """The server answered a request with an error status."""


class RunNotEndedError(TimeoutError):
    """A run was neither `success` nor `failed` in time. The text gives the last states seen."""


class AirflowApi:
    """One Airflow, asked as an admin.

    Args:
        base_url: such as `http://127.0.0.1:8080`.
        login: `username` and `password`; None where everybody is an admin (`SIMPLE_AUTH_MANAGER_ALL_ADMINS`).
    """

    def __init__(self, base_url: str, login: dict[str, str] | None = None) -> None:
        self._base_url = base_url
        self._login = login
        self._token = ""
        # No proxy, whatever the environment says: the server is on the loopback interface.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request to `/api/v2` and return the answer, also when its status is an error.

        Raises:
            OSError: no connection.
        """
        answer = self._send(method, f"/api/v2{path}", body)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._token = self._send("POST" if self._login else "GET", "/auth/token", self._login).body["access_token"]
            answer = self._send(method, f"/api/v2{path}", body)
        return answer

    def get(self, path: str) -> Any:
        """Return the body of a GET.

        Raises:
            ApiError: any status but 200.
        """
        answer = self.request("GET", path)
        if answer.status != HTTPStatus.OK:
            raise ApiError(f"GET {path}: expected 200, got {answer.status}: {answer.body}")
        return answer.body

    def is_healthy(self) -> bool:
        """Say whether database, scheduler and dag-processor all report health."""
        health = self._send("GET", "/api/v2/monitor/health").body
        # While it starts, it may answer with a text.
        return isinstance(health, dict) and all((health.get(part) or {}).get("status") == "healthy" for part in _PARTS)

    def knows_dag(self, dag_id: str) -> bool:
        """Say whether the dag-processor has parsed this DAG."""
        return self.request("GET", f"/dags/{dag_id}").status == HTTPStatus.OK

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that could not be loaded."""
        return [error["stack_trace"] for error in self.get("/importErrors")["import_errors"]]

    def create_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool; one that is there already is left as it is."""
        answer = self.request("POST", "/pools", {"name": name, "slots": slots, "description": description})
        if answer.status not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            raise ApiError(f"Pool {name}: expected 201 or 409, got {answer.status}: {answer.body}")

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> Answer:
        """Trigger a run. 200 and `dag_run_id` in the body; 400 if the params refuse `conf`."""
        # The key must be there, else 422; null means "now, by hand".
        return self.request("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return `queued`, `running`, `success` or `failed`."""
        return str(self.get(_run_path(dag_id, run_id))["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task, in the order in which they run; None: not scheduled yet."""
        tasks = self.get(f"{_run_path(dag_id, run_id)}/taskInstances")["task_instances"]
        # Tasks that have not started sort last.
        return {task["task_id"]: task["state"] for task in sorted(tasks, key=lambda task: task["start_date"] or "~")}

    def task_tries(self, dag_id: str, run_id: str, task_id: str) -> int:
        """Return how often a task was tried so far."""
        return int(self.get(f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}")["try_number"])

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[dict[str, Any]]:
        """Return the log of a task, one dict per record: `event` is the text, `level` such as `error`."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        records = self.get(path)["content"]
        return [record if isinstance(record, dict) else {"event": record} for record in records]

    def task_errors(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Return the texts of all errors in the log of a task: of the exceptions, where a record has some."""
        errors = []
        for record in self.task_log(dag_id, run_id, task_id, try_number):
            if record.get("level") in {"error", "critical"}:
                details = [f"{error['exc_type']}: {error['exc_value']}" for error in record.get("error_detail") or []]
                errors += details or [str(record["event"])]
        return errors

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=true"
        return self.get(path)["value"]

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout_seconds: float = 120,
        tick: Callable[[dict[str, str | None]], None] = lambda _states: None,
    ) -> str:
        """Wait until a run has ended and return `success` or `failed`.

        Args:
            dag_id: the DAG.
            run_id: the run.
            timeout_seconds: how long at most.
            tick: called with the states of the tasks about three times a second.

        Raises:
            RunNotEndedError: the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            state = self.run_state(dag_id, run_id)
            tasks = self.task_states(dag_id, run_id)
            tick(tasks)
            if state in _ENDED:
                return state
            if time.monotonic() > deadline:
                raise RunNotEndedError(f"Run {run_id} is {state} after {timeout_seconds:.0f} s, its tasks: {tasks}")
            time.sleep(_POLL_SECONDS)

    def _send(self, method: str, path: str, body: object = None) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - our own http address
            self._base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return Answer(response.status, _decoded(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _decoded(error.read()))
        except http.client.HTTPException as error:
            # A server that is just starting may hang up in mid-sentence.
            raise ConnectionError(str(error)) from error


_PARTS = ("metadatabase", "scheduler", "dag_processor")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}"


def _decoded(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
