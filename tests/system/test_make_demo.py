"""`make demo` as a user starts it."""

import os
import shutil

import psutil
import pytest

from demo.airflow_stack import REPOSITORY
from demo.processes import run_to_end


@pytest.mark.timeout(300)
def test_make_demo_ends_well_and_leaves_no_process(stand, tmp_path):
    """Beside a running stand, so that the preferred ports are taken; with a migrated database, as a second run has."""
    home = tmp_path / "demo"
    (home / "airflow_home").mkdir(parents=True)
    for database in stand.airflow.home.glob("airflow-*.db"):
        shutil.copy(database, home / "airflow_home")
    # We may ourselves run below make: its variables are not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    run = run_to_end(
        ["make", "demo"],
        {**environment, "DEMO_EXIT": "1", "DEMO_HOME": str(home)},
        REPOSITORY,
        timeout_seconds=280,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "Everything shown and checked" in run.stdout
    for message in (
        "Downloaded and verified",
        "Skipped (already exists)",
        "Self-healed",
        "20250115_never_measured.raw",
    ):
        assert message in run.stdout
    assert stand.s3.endpoint_url not in run.stdout
    assert not (home / "airflow").exists(), "the command with the secrets of the run"
    assert [process for process in psutil.process_iter(["cmdline", "cwd"]) if str(home) in str(process.info)] == []
