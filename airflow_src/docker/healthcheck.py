"""Container health check: asks the running process, without starting another Airflow.

Usage: ``python healthcheck.py api-server|scheduler|dag-processor|triggerer|worker``. Ends with 0 when healthy, else
with 1 and one line that says what is wrong (``docker inspect`` shows it).

``airflow jobs check`` imports all of Airflow, 5 s of CPU at every check. Here the API server and the scheduler answer
for themselves over HTTP. DAG processor and triggerer have no port of their own, so the API server is asked for the
age of their heartbeats. A worker answers Celery's ping through the broker.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT_S = 10
_API_PORT = "AIRFLOW__API__PORT"
_EXECUTION_API = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
_SCHEDULER_PORT = "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"
_BROKER = "AIRFLOW__CELERY__BROKER_URL"


class Unhealthy(Exception):  # noqa: N818 - the name is the verdict
    """The process that was asked is not well; the text says why."""


def _get(host: str, port: int, path: str) -> bytes:
    """Return the body of a 200 answer.

    Raises:
        Unhealthy: No connection, no answer in time, or another status.
    """
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        raise Unhealthy(f"{host}:{port}{path}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:  # noqa: PLR2004
        raise Unhealthy(f"{host}:{port}{path}: HTTP {response.status}")
    return body


def check_api_server(environ: Mapping[str, str]) -> None:
    """Raise Unhealthy unless the API server of this container answers."""
    _get("127.0.0.1", int(environ.get(_API_PORT, "8080")), "/api/v2/version")


def check_scheduler(environ: Mapping[str, str]) -> None:
    """Raise Unhealthy unless the scheduler of this container has a fresh heartbeat (it answers 503 when stale)."""
    _get("127.0.0.1", int(environ.get(_SCHEDULER_PORT, "8974")), "/health")


def check_heartbeat(component: str, environ: Mapping[str, str]) -> None:
    """Raise Unhealthy unless the API server knows a fresh heartbeat of ``dag_processor`` or ``triggerer``."""
    api = urlsplit(environ[_EXECUTION_API])
    body = _get(api.hostname or "", api.port or 80, "/api/v2/monitor/health")
    try:
        status = json.loads(body)[component]["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unhealthy(f"{component}: unexpected answer of the API server: {body[:200]!r}") from error
    if status != "healthy":
        raise Unhealthy(f"{component}: the API server reports {status!r}")


def check_worker(environ: Mapping[str, str]) -> None:
    """Raise Unhealthy unless the Celery worker of this container answers a ping through the broker."""
    from celery import Celery  # noqa: PLC0415 - only this check needs it

    worker = f"celery@{socket.gethostname()}"
    app = Celery(broker=environ[_BROKER], set_as_current=False)
    app.conf.broker_connection_retry = False
    try:
        answers = app.control.inspect(destination=[worker], timeout=TIMEOUT_S, limit=1).ping()
    except Exception as error:  # noqa: BLE001 - kombu passes on whatever its transport raises
        # Not the text: it may hold the broker's URL and with it the password.
        raise Unhealthy(f"{worker}: the broker cannot be reached ({type(error).__name__})") from None
    finally:
        app.close()
    if not answers:
        raise Unhealthy(f"{worker}: no answer to a ping within {TIMEOUT_S} s")


def check(role: str, environ: Mapping[str, str]) -> None:
    """Raise Unhealthy unless the service of this role is well.

    Raises:
        Unhealthy: It is not, or there is no such role.
    """
    if role == "api-server":
        check_api_server(environ)
    elif role == "scheduler":
        check_scheduler(environ)
    elif role in {"dag-processor", "triggerer"}:
        check_heartbeat(role.replace("-", "_"), environ)
    elif role == "worker":
        check_worker(environ)
    else:
        raise Unhealthy(f"unknown role {role!r}")


if __name__ == "__main__":
    try:
        check(sys.argv[1] if len(sys.argv) > 1 else "", os.environ)
    except Unhealthy as unhealthy:
        sys.exit(f"unhealthy: {unhealthy}")
