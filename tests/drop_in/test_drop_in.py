"""The feature in a deployment that has packages `impl`, `common` and `shared` of its own (design_docs/DROP_IN.md).

`host/` stands for AlphaKraken, written from what is known of its layout. Everything after the copy happens in a process
that has nothing but the copied tree on its path.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.mongo_server import DATABASE, MongoServer
from tests.support import airflow_lines
from tests.support.airflow_lines import find_modules
from tests.support.raw_files import file_info, raw_bytes
from tests.support.s3_stand_in import S3StandIn

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "airflow_src/drop_in/copy_into_host.py"
BUCKET, PROJECT = "alphakraken-prid001", "PRIDDROPIN"
ID, LOST = "20250115_drop_in.d", "20250115_drop_in_lost.raw"
FILES = {f"{ID}/analysis.tdf": raw_bytes(200_000, 1), f"{ID}/1234.m/m.method": raw_bytes(70_000, 2)}

# Runs after the text of `airflow_lines`, which is not on the path of the process.
_CHILD = """
import json, sys
from airflow.configuration import conf
errors = plugin_errors()
bag = load_dags(Path(conf.get("core", "dags_folder")))
said = {"dags": sorted(bag.dags), "import_errors": bag.import_errors, "plugin_errors": errors}
dag = bag.dags["s3_downloader"]

class TaskInstance:
    dag_id, run_id = "s3_downloader", "manual__1"
    def __init__(self, task_id): self.task_id = task_id
    def xcom_push(self, key, value): pass

def run(raw_file_id):
    result = {}
    for task_id in ("validate_parameters", "download_files"):
        task, ti = dag.get_task(task_id), TaskInstance(task_id)
        try:
            result[task_id] = task.python_callable(ti, params={"raw_file_id": raw_file_id})
        except Exception as error:
            result[task_id] = f"{type(error).__name__}: {error}"
            callbacks = task.on_failure_callback
            for callback in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
                callback({"ti": ti, "params": {"raw_file_id": raw_file_id}, "exception": error})
    return result

said["runs"] = {raw_file_id: run(raw_file_id) for raw_file_id in sys.argv[2:]}
from s3_downloader_impl.host import get_backed_up_raw_file_ids
said["of_project"] = get_backed_up_raw_file_ids("PRIDDROPIN")
import common, common.callbacks, impl, impl.s3_utils, shared.db.models
names = ("common", "common.callbacks", "impl", "impl.s3_utils", "shared", "shared.db.models", "callbacks",
         "s3_restore", "s3_downloader_impl.handler_impl")
said["modules"] = {name: sys.modules[name].__file__ for name in names}
said["path"] = sys.path
json.dump(said, open(sys.argv[1], "w"))
"""


def copy_into(dest: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, str(dest)], capture_output=True, text=True, timeout=60, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    tree = tmp_path / "host"
    shutil.copytree(Path(__file__).parent / "host", tree, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


@pytest.fixture
def said(host: Path, tmp_path: Path, mongo_server: MongoServer) -> Any:
    """What the process in the host's tree told, after a restore that succeeds and two that do not."""
    ran = copy_into(host / "airflow_src")
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "mounts/output").mkdir(parents=True)
    with S3StandIn() as s3, mongo_server.client(mongo_server.writer) as mongo:
        for path, data in FILES.items():
            s3.upload(BUCKET, path, data)
        common = {"project_id": PROJECT, "backup_status": "upload_done", "s3_upload_path": f"s3://{BUCKET}"}
        documents = [
            {"_id": ID, "file_info": file_info(FILES), "instrument_id": "test1", "unknown_field": 1, **common},
            {"_id": LOST, "file_info": file_info({LOST: b"lost"}), **common},
        ]
        mongo[DATABASE]["raw_file"].insert_many(documents)
        settings = {
            "locations": {"output": {"absolute_path": "/as/the/cluster/sees/it"}},
            "backup": {"backup_type": "s3", "s3": {"region": "eu-central-1"}},
            "s3_download": {"retry_wait_s": 0.001},
        }
        (tmp_path / "host.yaml").write_text(yaml.safe_dump(settings))
        connection = {"conn_type": "aws", "login": "AK", "password": "sk", "extra": {"endpoint_url": s3.url}}
        source = host / "airflow_src"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        environment |= {
            "AIRFLOW_HOME": str(tmp_path / "airflow_home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(source / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(source / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "HOST_CALLBACK_WAS_CALLED": str(tmp_path / "called"),
            "HOST_MOUNTS": str(tmp_path / "mounts"),
            "HOST_YAML": str(tmp_path / "host.yaml"),
            "PYTHONPATH": os.pathsep.join(map(str, (source / "dags", source / "plugins", host))),
            "PYTHONDONTWRITEBYTECODE": "1",
            **mongo_server.environment(),
        }
        try:
            child = Path(airflow_lines.__file__).read_text() + _CHILD
            ran = subprocess.run(
                [sys.executable, "-c", child, tmp_path / "said.json", ID, LOST, "20250115_unknown.raw"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr
            after = list(mongo[DATABASE]["raw_file"].find({"project_id": PROJECT}).sort("_id"))
            assert after == sorted(documents, key=lambda document: document["_id"]), "the database is only read"
        finally:
            mongo[DATABASE]["raw_file"].delete_many({"project_id": PROJECT})
    return {**json.loads((tmp_path / "said.json").read_text()), "log": ran.stdout + ran.stderr}


def test_feature_works_in_the_host_and_leaves_it_alone(said, host: Path, tmp_path: Path):
    assert said["import_errors"] == {}
    assert said["plugin_errors"] == {}
    assert said["dags"] == ["acquisition_handler", "s3_batch_downloader", "s3_downloader"]
    assert not any(str(REPOSITORY / "airflow_src") in entry for entry in said["path"])

    # The restore: below the worker's mount, not where the cluster sees it.
    output = tmp_path / "mounts/output" / PROJECT
    assert said["runs"][ID]["download_files"]["status"] == "SUCCESS", said["log"]
    assert {path: (output / path).read_bytes() for path in FILES} == FILES
    assert said["runs"][ID]["validate_parameters"]["destination"] == str(output)
    assert Path(said["runs"][ID]["download_files"]["report_path"]).parent == output
    assert said["of_project"] == [ID, LOST]

    # Failures: our line in the log, and nothing of the host's callback.
    assert re.match(r"AirflowFailException: 1/1 files failed\. See: .*NoSuchKey", said["runs"][LOST]["download_files"])
    unknown = said["runs"]["20250115_unknown.raw"]
    assert unknown["validate_parameters"].startswith("AirflowFailException: RawFile not found: '20250115_unknown.raw'")
    assert f"Task s3_downloader.download_files failed for raw file '{LOST}'" in said["log"]
    assert not (tmp_path / "called").exists(), "the host's callback writes the database"

    # The host's own files and modules.
    before, now = contents(Path(__file__).parent / "host"), contents(host)
    assert {path: now.get(path) for path in before} == before
    source = host / "airflow_src"
    assert {name: Path(file) for name, file in said["modules"].items()} == {
        "common": source / "plugins/common/__init__.py",
        "common.callbacks": source / "plugins/common/callbacks.py",
        "impl": source / "dags/impl/__init__.py",
        "impl.s3_utils": source / "dags/impl/s3_utils.py",
        "shared": host / "shared/__init__.py",
        "shared.db.models": host / "shared/db/models.py",
        "callbacks": source / "plugins/callbacks.py",
        "s3_restore": source / "plugins/s3_restore/__init__.py",
        "s3_downloader_impl.handler_impl": source / "plugins/s3_downloader_impl/handler_impl.py",
    }


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_airflow_runs_no_copied_module_as_a_plugin(host: Path, syntax: str):
    assert copy_into(host / "airflow_src").returncode == 0
    folder = host / "airflow_src/plugins"
    assert [path for path in find_modules(folder, syntax) if path.endswith(".py")] == []


def test_no_file_of_the_host_is_replaced(host: Path):
    taken = host / "airflow_src/dags/s3_downloader.py"
    taken.write_text("mine = True\n")
    before = contents(host)
    ran = copy_into(host / "airflow_src")
    assert ran.returncode == 1
    assert ran.stderr == ("Nothing was copied: these files of the host would be replaced: dags/s3_downloader.py\n")
    assert contents(host) == before


def test_second_copy_updates_ours_and_keeps_the_adapter(host: Path):
    assert copy_into(host / "airflow_src").returncode == 0
    package = host / "airflow_src/plugins/s3_downloader_impl"
    copied = contents(host)
    (package / "host.py").write_text("changed = 'by the host'\n")
    (package / "constants.py").write_text((package / "constants.py").read_text() + "old = True\n")

    ran = copy_into(host / "airflow_src")

    assert ran.returncode == 0, ran.stderr
    assert "Kept plugins/s3_downloader_impl/host.py" in ran.stdout
    adapter = "airflow_src/plugins/s3_downloader_impl/host.py"
    assert contents(host) == {**copied, adapter: b"changed = 'by the host'\n"}


@pytest.mark.parametrize(("dest", "says"), [("", "say where to"), ("/nowhere", "/nowhere has no folder 'dags'")])
def test_wrong_destination_is_refused_with_one_line(dest: str, says: str):
    ran = copy_into(dest)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Nothing was copied: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1


def names_of(module: Path) -> set[str]:
    """What a module defines or imports at its top."""
    found = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_adapter_has_every_name_of_our_own_host_module():
    ours = names_of(REPOSITORY / "airflow_src/dags/impl/host.py")
    assert "get_raw_file" in ours
    assert ours - names_of(REPOSITORY / "airflow_src/drop_in/alphakraken.py") == set()
