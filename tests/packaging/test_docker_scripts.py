"""The scripts that run in containers, for real: with HTTP servers, an S3 server, bash and node."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.s3_server import S3Server
from tests.packaging.compose_parsers import REPOSITORY

DOCKER = REPOSITORY / "airflow_src/docker"


def run_script(name: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCKER / name), *arguments],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


# --------------------------------------------------------------------------------------------- healthcheck.py


@pytest.fixture
def answering() -> Iterator[Callable[[dict[str, tuple[int, str]]], int]]:
    """Call with path -> (status, body); gives the port of an HTTP server that answers so, and 404 else."""
    servers = []

    def start(answers: dict[str, tuple[int, str]]) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (404, ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def port_variables(port: int) -> dict[str, str]:
    return {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(port),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }


HEARTBEATS = {
    "metadatabase": {"status": "healthy"},
    "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": "2026-11-23T21:28:31+00:00"},
    "triggerer": {"status": "unhealthy", "latest_triggerer_heartbeat": None},
}


@pytest.mark.parametrize(
    ("role", "path", "answer", "verdict"),
    [
        ("api-server", "/api/v2/version", (200, '{"version":"3.3.2"}'), None),
        ("api-server", "/api/v2/version", (500, ""), "HTTP 500"),
        ("scheduler", "/health", (200, ""), None),
        ("scheduler", "/health", (503, ""), "HTTP 503"),
        ("dag-processor", "/api/v2/monitor/health", (200, json.dumps(HEARTBEATS)), None),
        ("triggerer", "/api/v2/monitor/health", (200, json.dumps(HEARTBEATS)), "triggerer: the API server reports"),
        ("triggerer", "/api/v2/monitor/health", (200, "{}"), "unexpected answer"),
        ("triggerer", "/api/v2/monitor/health", (200, "<html>"), "unexpected answer"),
        ("kitchen", "/", (200, ""), "unknown role 'kitchen'"),
    ],
)
def test_health_check(
    answering: Callable[[dict[str, tuple[int, str]]], int],
    role: str,
    path: str,
    answer: tuple[int, str],
    verdict: str | None,
) -> None:
    result = run_script("healthcheck.py", role, env=port_variables(answering({path: answer})))

    if verdict is None:
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode == 1
        assert verdict in result.stderr
        assert result.stderr.count("\n") == 1, "one line, no stack"


@pytest.mark.parametrize("role", ["api-server", "scheduler", "dag-processor", "triggerer"])
def test_health_check_of_a_dead_process(role: str) -> None:
    result = run_script("healthcheck.py", role, env=port_variables(1))
    assert result.returncode == 1
    assert "Connection refused" in result.stderr


# ------------------------------------------------------------------------------------- create_local_bucket.py


def test_local_bucket_is_created_with_versioning_and_may_exist(s3_server: S3Server) -> None:
    bucket = "packaging-local-bucket"
    env = {
        "LOCAL_S3_BUCKET": bucket,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(s3_server.airflow_connection()),
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    first = run_script("create_local_bucket.py", env=env)
    second = run_script("create_local_bucket.py", env=env)

    assert first.stdout == f"bucket {bucket} created at {s3_server.endpoint_url}, versioning is on\n", first.stderr
    assert second.returncode == 0, second.stderr
    client = s3_server.client()
    assert client.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    client.delete_bucket(Bucket=bucket)
    client.close()


@pytest.mark.parametrize("connection", ["aws://geheim@", '{"login": "geheim"}', '["geheim"]', '"geheim"'])
def test_bad_connection_is_named_but_not_shown(connection: str) -> None:
    result = run_script(
        "create_local_bucket.py", env={"LOCAL_S3_BUCKET": "bucket", "AIRFLOW_CONN_AWS_DEFAULT": connection}
    )
    assert result.returncode == 1
    assert result.stderr.startswith("create_local_bucket: AIRFLOW_CONN_AWS_DEFAULT must be JSON")
    assert "geheim" not in result.stderr


# ------------------------------------------------------------------------------------------------ make_env.py


def test_env_is_private_and_never_overwritten(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / ".env.example", tmp_path)
    assert run_script("make_env.py", str(tmp_path), env={}).returncode == 0
    written = tmp_path / ".env"
    before = written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600

    again = run_script("make_env.py", str(tmp_path), env={})

    assert again.returncode == 1
    assert "left alone" in again.stderr
    assert written.read_text() == before


def test_env_never_repeats_a_secret(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(REPOSITORY / ".env.example", folder)
        result = run_script("make_env.py", str(folder), env={})
        texts.append((folder / ".env").read_text())
        secret = next(line for line in texts[-1].splitlines() if line.startswith("AIRFLOW_ADMIN_PASSWORD="))
        assert secret.partition("=")[2] not in result.stdout
    different = {a.partition("=")[0] for a, b in zip(*(text.splitlines() for text in texts), strict=True) if a != b}
    assert len(different) == 12
    assert all("PASSWORD" in name or "KEY" in name or "SECRET" in name or "CONN" in name for name in different)


# -------------------------------------------------------------------------------------------- airflow-init.sh

ADMIN = {
    "AIRFLOW_ADMIN_USER": "admin",
    "AIRFLOW_ADMIN_PASSWORD": "geheim",
    "AIRFLOW_ADMIN_EMAIL": "admin@example.org",
}


def run_init(
    folder: Path, env: dict[str, str], failing: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run airflow-init.sh with an `airflow` that notes its arguments, and fails when they begin with `failing`."""
    noted = folder / "calls"
    noted.touch()
    airflow = folder / "airflow"
    airflow.write_text(
        f'#!/bin/sh\necho "$*" >> {noted}\ncase "$*" in "{failing or "nothing"}"*) exit 1 ;; esac\nexit 0\n'
    )
    airflow.chmod(0o755)
    result = subprocess.run(
        ["bash", str(DOCKER / "airflow-init.sh")],
        env={"PATH": f"{folder}:/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return result, noted.read_text().splitlines()


def test_init_migrates_then_creates_pool_and_user(tmp_path: Path) -> None:
    from common.constants import Pools  # noqa: PLC0415 - only this test needs the project's code

    result, calls = run_init(tmp_path, ADMIN, failing="pools get")

    assert result.returncode == 0, result.stderr
    assert calls[0] == "db migrate"
    assert calls[1:3] == [
        f"pools get {Pools.S3_DOWNLOAD_POOL}",
        f"pools set {Pools.S3_DOWNLOAD_POOL} 2 Limit concurrent S3 downloads",
    ]
    assert calls[3].startswith("users create --username admin")
    assert calls[3].endswith("--role Admin")
    assert "geheim" not in result.stdout + result.stderr


def test_init_leaves_the_slots_of_an_existing_pool(tmp_path: Path) -> None:
    result, calls = run_init(tmp_path, ADMIN)
    assert result.returncode == 0
    assert not [call for call in calls if call.startswith("pools set")]


@pytest.mark.parametrize("step", ["db migrate", "users create"])
def test_init_fails_when_a_step_fails(tmp_path: Path, step: str) -> None:
    result, calls = run_init(tmp_path, ADMIN, failing=step)
    assert result.returncode != 0
    assert calls[-1].startswith(step)


@pytest.mark.parametrize("name", ADMIN)
def test_init_names_what_is_missing(tmp_path: Path, name: str) -> None:
    result, calls = run_init(tmp_path, {key: value for key, value in ADMIN.items() if key != name})
    assert result.returncode != 0
    assert f"{name} is not set" in result.stderr
    assert calls == []


# ---------------------------------------------------------------------------------------------- mongo-init.js

MONGO_ENV = {"MONGO_USER": "ro", "MONGO_PASSWORD": "a", "MONGO_RW_USER": "rw", "MONGO_RW_PASSWORD": "b"}
# What mongosh offers to a script, noting the users instead of creating them.
MONGOSH = """
const created = [];
globalThis.print = () => {};
globalThis.db = { getSiblingDB: (name) => ({ createUser: (user) => created.push([name, user]) }) };
require("vm").runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"));
console.log(JSON.stringify(created));
"""


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if not found:
        pytest.skip("node is not installed")
    return found


def run_mongo_init(node: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node, "-e", MONGOSH, str(DOCKER / "mongo-init.js")], env=env, capture_output=True, text=True, check=False
    )


def test_mongo_init_creates_a_reader_and_a_writer(node: str) -> None:
    result = run_mongo_init(node, MONGO_ENV)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [
        ["krakendb", {"user": "ro", "pwd": "a", "roles": [{"role": "read", "db": "krakendb"}]}],
        ["krakendb", {"user": "rw", "pwd": "b", "roles": [{"role": "readWrite", "db": "krakendb"}]}],
    ]


@pytest.mark.parametrize("name", MONGO_ENV)
def test_mongo_init_creates_no_user_without_a_password(node: str, name: str) -> None:
    result = run_mongo_init(node, {**MONGO_ENV, name: ""})
    assert result.returncode != 0
    assert f"{name} is not set, see .env.example" in result.stderr
    assert result.stdout == ""
