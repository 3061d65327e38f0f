"""The services of docker-compose.yaml as processes of this machine: their environment, command and health check.

Nothing is repeated here: a real compose parser reads the file with a `.env` that make_env.py has written, and the
image's own variables come from the Dockerfile. Only places differ, and each place is named once.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.packaging.compose_parsers import REPOSITORY, ComposeProject, available_parsers


class ComposeServices:
    """What compose would start, with the places of a container replaced by those of this machine.

    Args:
        project: the folder with docker-compose.yaml and .env.
        programs: folder of `python` and `airflow`, in place of the image's.
    """

    def __init__(self, project: ComposeProject, programs: Path) -> None:
        self._services: dict[str, dict[str, Any]] = project.parse(available_parsers()["podman-compose"])["services"]
        self._programs = programs
        self._places: dict[str, str] = {}

    def place(self, places: Mapping[str, str]) -> None:
        """Say where something is: a path or a `host:port` of the containers -> the same on this machine."""
        self._places |= places

    def environment(self, service: str, home: Path) -> dict[str, str]:
        """Return the variables that the container would have: the image's and those of the compose file.

        Args:
            service: its name.
            home: in place of the container's AIRFLOW_HOME and its user's home.

        Raises:
            ValueError: one still holds a path or a server that only the containers have.
        """
        described = self._services[service]
        homes = {"/opt/airflow": str(home), "/home/airflow": str(home)}
        variables = {**(_image() if "build" in described else {}), **(described.get("environment") or {})}
        placed = {name: self._placed(str(value), homes) for name, value in variables.items()}
        foreign = re.compile(rf"/opt/(airflow|kraken)|/home/airflow|[@/]({'|'.join(self._services)}):\d+")
        for name, value in placed.items():
            if foreign.search(value):
                raise ValueError(f"{service}: {name} is of the container, and no place on this machine is known for it")
        return {**placed, "PATH": f"{self._programs}:/usr/local/bin:/usr/bin:/bin"}

    def command(self, service: str) -> list[str]:
        """Return program and arguments."""
        return [self._placed(part) for part in self._services[service]["command"]]

    def healthcheck(self, service: str) -> list[str]:
        """Return program and arguments of the health check."""
        kind, *command = self._services[service]["healthcheck"]["test"]
        return [self._placed(part) for part in (["sh", "-c", *command] if kind == "CMD-SHELL" else command)]

    def _placed(self, value: str, further: Mapping[str, str] | None = None) -> str:
        places = {**self._places, **(further or {})}
        # The longest first: /opt/airflow/dags is another place than /opt/airflow.
        for place in sorted(places, key=len, reverse=True):
            value = value.replace(place, places[place])
        return value


def _image() -> dict[str, str]:
    """Return the variables that the Dockerfile sets."""
    text = (REPOSITORY / "airflow_src/Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    return dict(part.split("=", 1) for part in shlex.split(line))
