"""The DAG folder, loaded as Airflow loads it."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import airflow_lines
from tests.support.airflow_lines import load_dags

SOURCE = Path(__file__).parents[2] / "airflow_src"
DAGS, PLUGINS = SOURCE / "dags", SOURCE / "plugins"

if "AIRFLOW_HOME" not in os.environ:
    # Before the first import of Airflow, which writes its settings into this folder.
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-of-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """All DAGs of the folder, by Airflow's own loader."""
    return load_dags(DAGS)


@pytest.fixture(scope="session")
def dag(dag_bag: Any) -> Any:
    """The downloader."""
    return dag_bag.dags["s3_downloader"]


# Runs after `airflow_lines`, whose text stands before it: the process has no folder of ours but those of the settings.
_PROBE = """
import json, sys
from airflow.configuration import conf
errors = plugin_errors()
bag = load_dags(Path(conf.get("core", "dags_folder")))
files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
modules = {name: file for name, file in files.items() if isinstance(file, str)}
json.dump({
    "dags": sorted(bag.dags),
    "import_errors": bag.import_errors,
    "plugin_errors": errors,
    "modules": modules,
    "path": sys.path,
}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="session")
def airflow_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of a real deployment has loaded: it knows our folders from Airflow's settings alone.

    Keys: ``dags``, ``import_errors``, ``plugin_errors``, ``modules`` (name -> file), ``path``.
    """
    folder = tmp_path_factory.mktemp("airflow_process")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    result = folder / "result.json"
    ran = subprocess.run(
        [sys.executable, "-c", Path(airflow_lines.__file__).read_text() + _PROBE, result],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    loaded: dict[str, Any] = json.loads(result.read_text())
    return loaded
