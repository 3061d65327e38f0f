"""Which packages an Airflow lacks, or has too old, for the downloader.

What is installed stays, from the oldest version that was tested (`floors.txt`) on; only what is missing or older is to
be changed, to the version in our `requirements.txt`. Asks the Python of that Airflow, and changes nothing.
"""

# ruff: noqa: T201 (a command that speaks to whoever types it)

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_src.install.sources import SOURCE

FLOORS = Path(__file__).parent / "floors.txt"
_SHADOWS = ("impl", "common", "shared", "s3_restore")
# Without PYTHONPATH and the current folder: what is installed, and nothing else.
_ASK = """
import importlib.metadata, importlib.util, json, sys
asked = json.loads(sys.argv[1])
from packaging.version import Version
said = {"python": sys.version.split()[0], "installed": {}, "shadows": {}}
for name, floor in asked["floors"].items():
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        said["installed"][name] = [None, False]
    else:
        said["installed"][name] = [found, Version(found) >= Version(floor)]
for name in asked["shadows"]:
    spec = importlib.util.find_spec(name)
    if spec is not None:
        said["shadows"][name] = spec.origin or str(list(spec.submodule_search_locations or []))
print(json.dumps(said))
"""
# pip decides what else it must change for the packages that are asked for; asked with --dry-run, it changes nothing.
_ASK_PIP = """
import importlib.metadata, json, subprocess, sys
command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", *json.loads(sys.argv[1])]
said = {}
for package in json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["install"]:
    name, version = package["metadata"]["name"], package["metadata"]["version"]
    try:
        said[name] = [importlib.metadata.version(name), version]
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(said))
"""
_PIP_TIMEOUT_S = 300


class UnknownError(Exception):
    """The Python of that Airflow cannot be asked. ``str()`` of it is one line."""


@dataclass(frozen=True)
class Change:
    """A package that must be changed; ``installed`` is None for one that is missing."""

    name: str
    installed: str | None
    floor: str
    tested: str

    def __str__(self) -> str:
        found = f"{self.installed} is too old, at least {self.floor} is needed" if self.installed else "is missing"
        return f"{self.name} {found}: {self.tested} is the tested version"

    @property
    def requirement(self) -> str:
        """For pip."""
        return f"{self.name}=={self.tested}"


@dataclass(frozen=True)
class Found:
    """What the Python of an Airflow has.

    Attributes:
        python: its path.
        changes: to be made.
        shadows: names of our packages -> an installed package that comes before the DAG and the plugin folder.

    """

    python: str
    changes: tuple[Change, ...]
    shadows: dict[str, str]


def find_airflow_python(given: str) -> str:
    """The Python to ask: the one given, else the one beside the command `airflow`.

    Raises:
        UnknownError: if there is none.

    """
    if given:
        return given
    airflow = shutil.which("airflow")
    beside = Path(airflow).with_name("python") if airflow else None
    if beside is None or not beside.exists():
        raise UnknownError("AIRFLOW_PYTHON does not say which Python Airflow has, and no command airflow is here")
    return str(beside)


def look(python: str) -> Found:
    """Ask a Python for its packages.

    Raises:
        UnknownError: if it does not answer.

    """
    floors, tested = read_floors(), _read_tested()
    asked = json.dumps({"floors": floors, "shadows": _SHADOWS})
    try:
        ran = subprocess.run(  # noqa: S603
            [python, "-I", "-c", _ASK, asked], capture_output=True, text=True, timeout=120, check=False
        )
        said: dict[str, Any] = json.loads(ran.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UnknownError(
            f"{python} cannot be asked for its packages ({type(error).__name__}): is it Airflow's?"
        ) from None
    if tuple(map(int, said["python"].split(".")[:2])) < (3, 11):
        raise UnknownError(f"{python} is Python {said['python']}: the downloader needs 3.11 or newer")
    changes = [
        Change(name, found, floors[name], tested[name])
        for name, (found, is_enough) in said["installed"].items()
        if not is_enough
    ]
    return Found(python, tuple(changes), said["shadows"])


def changed_beside(found: Found) -> list[str]:
    """What pip would replace beside the packages that are asked for, one line each: it asks a package index.

    Raises:
        UnknownError: if pip does not answer.

    """
    asked = json.dumps([change.requirement for change in found.changes])
    try:
        ran = subprocess.run(  # noqa: S603
            [found.python, "-I", "-c", _ASK_PIP, asked], capture_output=True, timeout=_PIP_TIMEOUT_S, check=True
        )
        said: dict[str, list[str]] = json.loads(ran.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        raise UnknownError(f"{found.python} -m pip does not say what else it would change") from None
    ours = {change.name for change in found.changes}
    return [f"{name} {old} would become {new}" for name, (old, new) in sorted(said.items()) if name not in ours]


def read_floors() -> dict[str, str]:
    """Name -> the oldest version that was tested."""
    return dict(re.findall(r"^([\w.-]+)>=(\S+)", FLOORS.read_text(encoding="utf-8"), re.MULTILINE))


def _read_tested() -> dict[str, str]:
    text = (SOURCE.parent / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def main(arguments: list[str]) -> None:
    """`make packages`: print what to install, as lines of a requirements file; beside it, for people, what changes."""
    try:
        found = look(find_airflow_python(arguments[0] if arguments else ""))
    except UnknownError as error:
        raise SystemExit(str(error)) from None
    for change in found.changes:
        print(change.requirement)
        print(change, file=sys.stderr)
    try:
        beside = changed_beside(found) if found.changes else []
    except UnknownError as error:
        beside = [str(error)]
    for line in beside:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
