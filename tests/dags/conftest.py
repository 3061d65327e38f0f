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

SOURCE = Path(__file__).parents[2] / "airflow_src"
DAGS, PLUGINS = SOURCE / "dags", SOURCE / "plugins"

if "AIRFLOW_HOME" not in os.environ:
    # Before the first import of Airflow, which writes its settings into this folder.
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-of-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """All DAGs of the folder, by Airflow's own loader."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 (seconds)

    return DagBag(DAGS)


@pytest.fixture(scope="session")
def dag(dag_bag: Any) -> Any:
    """The downloader."""
    return dag_bag.dags["s3_downloader"]


_PROBE = """
import json, sys
from pathlib import Path
import airflow.plugins_manager as plugins_manager
from airflow.dag_processing.dagbag import BundleDagBag
plugins_manager.ensure_plugins_loaded()
from airflow.configuration import conf
folder = Path(conf.get("core", "dags_folder"))
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
modules = {name: file for name, file in files.items() if isinstance(file, str)}
json.dump({
    "dags": sorted(bag.dags),
    "import_errors": bag.import_errors,
    "plugin_errors": plugins_manager._get_plugins()[1],
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
        [sys.executable, "-c", _PROBE, result],
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
