"""`make up` and `make down` with a compose that only notes how it was called."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.packaging.compose_parsers import COMPOSE_FILE, REPOSITORY, ComposeProject


@pytest.fixture
def project(tmp_path: Path) -> ComposeProject:
    """As after a first `make up`."""
    return ComposeProject.create(tmp_path)


def run_make(project: ComposeProject, target: str, exit_code: int = 0) -> tuple[int, str, list[str]]:
    """Run make with the stub; gives its exit code, its messages, and the calls of compose."""
    noted = project.folder / "calls"
    compose = project.folder / "compose"
    compose.write_text(f'#!/bin/sh\necho "$*" >> {noted}\nexit {exit_code}\n')
    compose.chmod(0o755)
    result = subprocess.run(
        ["make", "--no-print-directory", "-f", REPOSITORY / "Makefile", target, f"COMPOSE={compose}"],
        cwd=project.folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stderr, noted.read_text().splitlines() if noted.exists() else []


def test_up_builds_then_waits_for_what_stays_up(project: ComposeProject) -> None:
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    airflow = {name for name in services if name.startswith("airflow-") and services[name].get("restart") != "no"}

    code, messages, calls = run_make(project, "up")

    assert code == 0, messages
    assert calls[0] == "up --build --detach"
    assert calls[1].startswith("up --detach --wait ")
    # One-shot services end, and `--wait` would take that for a failure.
    assert set(calls[1].split()[3:]) == airflow
    assert len(calls) == 2


def test_first_up_writes_secrets_of_its_own(project: ComposeProject) -> None:
    before = project.env_file.read_text()
    project.env_file.unlink()

    code, messages, calls = run_make(project, "up")

    assert code == 0, messages
    assert len(calls) == 2
    assert project.env_file.read_text() != before
    assert all(project.variables()[name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "AIRFLOW_FERNET_KEY"))


def test_up_refuses_an_output_folder_that_is_not_there(project: ComposeProject) -> None:
    """Else the container engine would create it, on the disk instead of on the share that is not mounted."""
    project.set_variable("KRAKEN_OUTPUT_DIR", "/nowhere/output")

    code, messages, calls = run_make(project, "up")

    assert code != 0
    assert "KRAKEN_OUTPUT_DIR=/nowhere/output in .env is no folder: is the share mounted?" in messages
    assert calls == []


def test_up_stops_at_the_first_failure(project: ComposeProject) -> None:
    code, _, calls = run_make(project, "up", exit_code=1)
    assert code != 0
    assert calls == ["up --build --detach"]


def test_down_keeps_the_volumes(project: ComposeProject) -> None:
    code, messages, calls = run_make(project, "down")
    assert code == 0, messages
    assert calls == ["down"]
