"""The import rules have no holes: each import that they should forbid is tried, in a copy of the code, and is red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.compose_parsers import REPOSITORY

ROOTS = {"impl": "dags", "common": "plugins", "shared": "plugins", "s3_restore": "plugins"}

FORBIDDEN = [
    # a room above
    ("s3_restore.model.settings", "s3_restore.disk.syscalls"),
    ("s3_restore.model.file_specs", "s3_restore.s3.s3_errors"),
    ("s3_restore.model.outcomes", "s3_restore.run.ledger"),
    ("s3_restore.disk.swap", "s3_restore.run.retries"),
    ("s3_restore.s3.byte_stream", "s3_restore.run.retries"),
    # the room beside
    ("s3_restore.disk.journal", "s3_restore.s3.s3_answers"),
    ("s3_restore.s3.s3_answers", "s3_restore.disk.hashing"),
    # a package above
    ("s3_restore.run.progress", "common.constants"),
    ("shared.db.engine", "common.constants"),
    ("common.constants", "impl.preview"),
    # the deployment, by other ways than impl.host; also from a module that is new
    ("impl.reporting", "shared.yamlsettings"),
    ("impl.new_one", "shared.db.interface"),
    ("common.new_one", "shared.db.models"),
    # S3's libraries
    ("s3_restore.model.names", "boto3"),
    ("s3_restore.disk.owners", "botocore"),
    ("s3_restore.run.look", "urllib3"),
    ("s3_restore.run.new_one", "botocore"),
    ("s3_restore.s3.fast_path", "boto3"),
    ("impl.restore_job", "boto3"),
    ("common.callbacks", "botocore"),
    # what the restore must not know
    ("s3_restore.run.failures", "airflow"),
    ("s3_restore.disk.destination", "yaml"),
    ("s3_restore.s3.s3_errors", "pymongo"),
    ("s3_restore.model.decisions", "socket"),
]


def copy_of_the_code(folder: Path) -> Path:
    shutil.copytree(REPOSITORY / "airflow_src", folder / "airflow_src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(folder / "airflow_src" / root) for root in ("dags", "plugins")]
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the rules say of all those imports at once."""
    folder = copy_of_the_code(tmp_path_factory.mktemp("forbidden"))
    for importer, imported in FORBIDDEN:
        package = importer.partition(".")[0]
        file = folder / "airflow_src" / ROOTS[package] / f"{importer.replace('.', '/')}.py"
        with file.open("a") as lines:  # in a function, where a reader may miss it
            lines.write(f"\n\ndef _forbidden():\n    import {imported}\n")
    done = linted(folder)
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN, ids=lambda name: name)
def test_forbidden_import_is_red(said: str, importer: str, imported: str) -> None:
    assert f"{importer} -> {imported} (l." in said


def test_the_code_as_it_is_is_green_and_a_room_that_nobody_ordered_is_red(tmp_path: Path) -> None:
    folder = copy_of_the_code(tmp_path)
    assert linted(folder).returncode == 0
    room = folder / "airflow_src/plugins/s3_restore/extra"
    room.mkdir()
    (room / "__init__.py").touch()
    done = linted(folder)
    assert done.returncode == 1
    assert "s3_restore.extra" in done.stdout
