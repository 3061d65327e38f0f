"""Runs real compose parsers on a copy of what a user has: docker-compose.yaml, .env and airflow_src."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yaml"
# podman-compose asks podman for its version before it does anything; parsing needs nothing else of it.
_PODMAN_VERSION = "#!/bin/sh\necho podman version 5.4.0\n"


def available_parsers() -> dict[str, list[str]]:
    """Return the command of each parser that this machine has; podman-compose comes with .venv."""
    parsers = {"podman-compose": [str(Path(sys.executable).with_name("podman-compose"))]}
    if docker_compose := shutil.which("docker-compose"):
        parsers["docker-compose"] = [docker_compose]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        parsers["docker compose"] = [docker, "compose"]
    return parsers


@dataclass
class ComposeProject:
    """A folder with a compose file and a .env, as after `make up` on a fresh clone."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "ComposeProject":
        """Lay the files out in `folder` and let make_env.py write the .env."""
        for name in ("docker-compose.yaml", ".env.example"):
            shutil.copy(REPOSITORY / name, folder / name)
        (folder / "airflow_src").symlink_to(REPOSITORY / "airflow_src")
        subprocess.run(
            [sys.executable, str(REPOSITORY / "airflow_src/docker/make_env.py"), str(folder)],
            check=True,
            capture_output=True,
        )
        stub = folder / "bin" / "podman"
        stub.parent.mkdir()
        stub.write_text(_PODMAN_VERSION)
        stub.chmod(0o755)
        return cls(folder)

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    def variables(self) -> dict[str, str]:
        """Return the variables of .env, without quotes."""
        lines = self.env_file.read_text().splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name: value.strip("'") for name, _, value in pairs}

    def set_variable(self, name: str, value: str) -> None:
        """Replace the value of a variable in .env."""
        lines = self.env_file.read_text().splitlines()
        changed = [f"{name}={value}" if line.startswith(f"{name}=") else line for line in lines]
        assert changed != lines, f"{name} has that value already, or is not in .env"
        self.env_file.write_text("\n".join(changed) + "\n")

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run `<command> config` with an environment that holds no variable of ours: all must come from .env."""
        return subprocess.run(
            [*command, "config"],
            cwd=self.folder,
            env={"PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def parse(self, command: list[str]) -> dict[str, Any]:
        """Return what the parser made of the file: variables filled in, anchors resolved."""
        result = self.run(command)
        assert result.returncode == 0, result.stderr
        parsed: dict[str, Any] = yaml.safe_load(result.stdout)
        return parsed
