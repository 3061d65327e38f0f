"""`make install` into a running Airflow that has DAGs and plugins of its own: to a green trigger, upgrade, removal.

The DAG folder is a sub folder of Airflow's, as in a bundle that several people share (X7).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest

from demo.airflow_stack import DAG_ID, POOL, POOL_DESCRIPTION, POOL_SLOTS, AirflowStack
from demo.processes import wait_until
from demo.sample_files import RAW, differences
from demo.stand import Stand, product_environment
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.documented_commands import REPOSITORY

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(500),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="one running Airflow is enough; its folders are the same on 2.11"),
]

_THEIRS = """
from datetime import datetime
from airflow.sdk import DAG
from mine.names import NAME
dag = DAG(NAME, schedule=None, start_date=datetime(2025, 1, 1))
"""


class Administrator:
    """Somebody with a clone, an Airflow that runs, and folders of their own in it."""

    def __init__(self, stand: Stand, home: Path) -> None:
        self.stand = stand
        self.clone = home / "clone"
        self.dags, self.plugins = home / "airflow/dags", home / "airflow/plugins"
        self.ours = self.dags / "restore"
        self.ours.mkdir(parents=True)
        (self.plugins / "mine").mkdir(parents=True)
        (self.plugins / "mine/names.py").write_text('NAME = "nightly"\n')
        (self.plugins / ".airflowignore").write_text("mine/")
        (self.dags / "nightly.py").write_text(_THEIRS)
        self.clone.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "airflow_src", self.clone / "airflow_src", ignore=ignored)
        for name in ("Makefile", "pyproject.toml", "requirements.txt"):
            shutil.copy(REPOSITORY / name, self.clone)
        self.airflow = AirflowStack(
            home / "airflow_home",
            stand.s3.airflow_connection(),
            {
                **product_environment(stand.settings_file, stand.mongo),
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
                "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
                "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "2",
                "PYTHONPATH": os.pathsep.join(map(str, (self.ours, self.plugins))),
            },
        )
        # The migrated database of the session's Airflow: migrating takes long.
        self.airflow.home.mkdir(parents=True)
        for migrated in stand.airflow.home.glob("airflow-*.db"):
            shutil.copy(migrated, self.airflow.home)

    def make(self, target: str, *variables: str) -> str:
        ran = subprocess.run(
            ["make", "--no-print-directory", target, *variables, f"AIRFLOW_PYTHON={sys.executable}"],
            cwd=self.clone,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, self.airflow.processes, what, 90)

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.airflow.api.get("/dags?limit=100")["dags"]}

    def restore(self) -> str:
        """Trigger a restore, and return the log of its download."""
        shutil.rmtree(self.stand.project_output, ignore_errors=True)
        answer = self.airflow.api.trigger(DAG_ID, {"raw_file_id": RAW.raw_file_id})
        assert answer.status == HTTPStatus.OK, answer.body
        run_id = answer.body["dag_run_id"]
        assert self.airflow.api.wait_for_run(DAG_ID, run_id) == "success"
        assert differences(RAW, self.stand.instrument, self.stand.project_output) == []
        return "\n".join(str(record["event"]) for record in self.airflow.api.task_log(DAG_ID, run_id, "download_files"))


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): path.read_text().rstrip("\n") for path in files}


def release(clone: Path, version: str, said: str) -> None:
    """Make a later version in the clone: it says something else in the log."""
    project, run = clone / "pyproject.toml", clone / "airflow_src/dags/impl/restore_run.py"
    project.write_text(re.sub(r'^version = ".*"$', f'version = "{version}"', project.read_text(), flags=re.MULTILINE))
    text = run.read_text()
    assert "Starting download:" in text
    run.write_text(text.replace("Starting download:", f"{said}:"))


def test_from_a_clone_to_a_restored_file_then_upgrade_then_removal(stand: Stand, tmp_path: Path):
    admin = Administrator(stand, tmp_path)
    airflow, api = admin.airflow, admin.airflow.api
    folders = (f"DAGS={admin.ours}", f"PLUGINS={admin.plugins}")
    before = contents(admin.dags.parent)
    try:
        airflow.start()
        wait_until(api.is_healthy, airflow.processes, "Airflow", 180)
        admin.wait_for(lambda: admin.dag_ids() == {"nightly"}, "the DAG that was there before")
        api.create_pool(POOL, POOL_SLOTS, POOL_DESCRIPTION)

        said = admin.make("install", *folders)
        assert f"Packages: {sys.executable} has all of them" in said
        assert f"PYTHONPATH={admin.ours}:{admin.plugins}" in said
        admin.wait_for(lambda: admin.dag_ids() == {"nightly", DAG_ID, "s3_batch_downloader"}, "our DAGs")
        assert "Starting download:" in admin.restore()

        release(admin.clone, "99.1.0", "Beginning")
        assert re.match(r"Upgraded s3-downloader \S+ to 99\.1\.0: ", admin.make("install", *folders))
        airflow.restart_scheduler()
        assert "Beginning:" in admin.restore()
        assert api.import_errors() == []

        assert admin.make("uninstall", *folders).startswith("Removed ")
        admin.wait_for(lambda: admin.dag_ids() == {"nightly"}, "their DAG alone")
        assert contents(admin.dags.parent) == before
        assert api.import_errors() == []

        # A package of the administrator's has the name of one of ours: under other names, and with our settings.
        (admin.plugins / "common").mkdir()
        (admin.plugins / "common/__init__.py").write_text('"""Theirs."""\n')
        refused = subprocess.run(
            ["make", "install", *folders], cwd=admin.clone, capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
        assert "DEST=…, the folder that has dags and plugins" in refused.stderr
        admin.make("install", f"DEST={admin.dags.parent}")
        airflow.restart_scheduler()
        admin.wait_for(lambda: DAG_ID in admin.dag_ids(), "our DAGs")
        assert "Beginning:" in admin.restore()
        assert (admin.plugins / "common/__init__.py").read_text() == '"""Theirs."""\n'
    finally:
        airflow.stop()
