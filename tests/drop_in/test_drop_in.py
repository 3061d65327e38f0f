"""The feature in a deployment that has packages `impl`, `common` and `shared` of its own (design_docs/DROP_IN.md).

`host/` stands for AlphaKraken, made like its main of August 2026. Everything after the copy happens in a process
that has nothing but the copied tree on its path.
"""

import hashlib
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

from airflow_src.install.adapter import missing_names, names_asked_for, names_of
from airflow_src.install.sources import OLD_MARK
from demo.mongo_server import DATABASE, MongoServer
from tests.support import airflow_lines
from tests.support.airflow_lines import find_modules
from tests.support.raw_files import file_info, raw_bytes
from tests.support.s3_stand_in import S3StandIn

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "airflow_src/plugins"
BUCKET, PROJECT = "alphakraken-prid001", "PRIDDROPIN"
ID, LOST, NO_PROJECT = "20250115_drop_in.d", "20250115_drop_in_lost.raw", "20250115_drop_in_no_project.raw"
FALLBACK = "_FALLBACK"
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
said["of_fallback"] = get_backed_up_raw_file_ids("_FALLBACK")
said["queues"] = sorted({task.queue for dag_id in ("s3_downloader", "s3_batch_downloader")
                         for task in bag.dags[dag_id].tasks})
import common, common.constants, impl, impl.handler_impl, plugins.s3.s3_utils, shared.db.models
names = ("common", "common.constants", "impl", "impl.handler_impl", "plugins.s3.s3_utils", "shared",
         "shared.db.models", "callbacks", "s3_restore", "s3_downloader_impl.handler_impl")
said["modules"] = {name: sys.modules[name].__file__ for name in names}
said["path"] = sys.path
json.dump(said, open(sys.argv[1], "w"))
"""


def copy_into(dest: Path | str) -> subprocess.CompletedProcess[str]:
    """What `make install DEST=…` runs."""
    command = [sys.executable, "-m", "airflow_src.install", "install", "", "", str(dest), sys.executable]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


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
            {"_id": NO_PROJECT, "file_info": file_info({NO_PROJECT: b"1"}), **common, "project_id": None},
            {"_id": f"{NO_PROJECT}2", "file_info": {}, **{key: common[key] for key in common if key != "project_id"}},
            {"_id": f"{NO_PROJECT}3", "file_info": {}, **common, "project_id": FALLBACK},
        ]
        s3.upload(BUCKET, NO_PROJECT, b"1")
        (tmp_path / "envs").mkdir()
        mongo[DATABASE]["raw_file"].insert_many(documents)
        settings = {
            "locations": {"output": {"absolute_path": "/as/the/cluster/sees/it"}},
            "backup": {"backup_type": "s3", "s3": {"region": "eu-central-1"}},
            "s3_download": {"patience_s": 2},
        }
        (tmp_path / "envs/alphakraken.sandbox.yaml").write_text(yaml.safe_dump(settings))
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
            "HOST_ENVS": str(tmp_path / "envs"),
            "ENV_NAME": "sandbox",
            "PYTHONPATH": os.pathsep.join(map(str, (source / "dags", source / "plugins", source, host))),
            "PYTHONDONTWRITEBYTECODE": "1",
            **mongo_server.environment(),
        }
        try:
            child = Path(airflow_lines.__file__).read_text() + _CHILD
            ran = subprocess.run(
                [sys.executable, "-c", child, tmp_path / "said.json", ID, LOST, NO_PROJECT, "20250115_unknown.raw"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr
            ids = [document["_id"] for document in documents]
            after = list(mongo[DATABASE]["raw_file"].find({"_id": {"$in": ids}}).sort("_id"))
            assert after == sorted(documents, key=lambda document: document["_id"]), "the database is only read"
        finally:
            mongo[DATABASE]["raw_file"].delete_many({"_id": {"$regex": "^20250115_drop_in"}})
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
    assert said["queues"] == ["kraken_queue_s3_download"]

    # A raw file without a project is one of the fallback project there, however it is stored.
    assert said["of_fallback"] == [NO_PROJECT, f"{NO_PROJECT}2", f"{NO_PROJECT}3"]
    assert (tmp_path / "mounts/output" / FALLBACK / NO_PROJECT).read_bytes() == b"1"

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
        "common.constants": source / "plugins/common/constants.py",
        "impl": source / "dags/impl/__init__.py",
        "impl.handler_impl": source / "dags/impl/handler_impl.py",
        "plugins.s3.s3_utils": source / "plugins/s3/s3_utils.py",
        "shared": host / "shared/__init__.py",
        "shared.db.models": host / "shared/db/models.py",
        "callbacks": source / "plugins/callbacks.py",
        "s3_restore": source / "plugins/s3_restore/__init__.py",
        "s3_downloader_impl.handler_impl": source / "plugins/s3_downloader_impl/handler_impl.py",
    }


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_airflow_runs_no_copied_module_as_a_plugin_but_the_page(host: Path, syntax: str):
    folder = host / "airflow_src/plugins"
    before = sorted(find_modules(folder, syntax))
    assert copy_into(host / "airflow_src").returncode == 0
    found = {path for path in find_modules(folder, syntax) if path.endswith(".py")} - set(before)
    assert [Path(path).name for path in found] == ["s3_restores_page.py"]


def test_page_comes_with_all_its_files(host: Path):
    assert copy_into(host / "airflow_src").returncode == 0
    for path in [SOURCE / "s3_restores_page.py", *(SOURCE / "s3_restores_page_files").iterdir()]:
        assert (host / "airflow_src/plugins" / path.relative_to(SOURCE)).read_text().endswith(path.read_text()), path


def test_no_file_of_the_host_is_replaced(host: Path):
    taken = host / "airflow_src/dags/s3_downloader.py"
    taken.write_text("mine = True\n")
    before = contents(host)
    ran = copy_into(host / "airflow_src")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"Nothing was done: not everything there is ours:\n  {taken} is there\n")
    assert contents(host) == before


def test_second_copy_updates_ours_and_keeps_an_adapter_that_was_changed(host: Path):
    assert copy_into(host / "airflow_src").returncode == 0
    package = host / "airflow_src/plugins/s3_downloader_impl"
    copied = contents(host)
    (package / "host.py").write_text("changed = 'by the host'\n")
    (package / "constants.py").unlink()

    ran = copy_into(host / "airflow_src")

    assert ran.returncode == 0, ran.stderr
    assert "Kept, since they were changed here:\n  s3_downloader_impl/host.py\n" in ran.stdout
    assert re.search("It lacks DatabaseUnavailableError, .*find_raw_file_ids", ran.stdout), "what it must have now"
    adapter = "airflow_src/plugins/s3_downloader_impl/host.py"
    assert contents(host) == {**copied, adapter: b"changed = 'by the host'\n"}


def test_an_adapter_that_nobody_changed_is_brought_up_to_date(host: Path):
    assert copy_into(host / "airflow_src").returncode == 0
    plugins = host / "airflow_src/plugins"
    new = contents(plugins)
    adapter, listed = plugins / "s3_downloader_impl/host.py", plugins / ".s3_downloader.json"
    known = json.loads(listed.read_text())
    adapter.write_text("of = 'an older version'\n")
    known["files"]["s3_downloader_impl/host.py"] = hashlib.sha256(adapter.read_bytes()).hexdigest()
    listed.write_text(json.dumps(known))

    ran = copy_into(host / "airflow_src")

    assert "Kept" not in ran.stdout
    assert contents(plugins) == new


def test_what_the_former_script_copied_is_taken_over(host: Path):
    """`make drop-in` left no list, but its mark in the first line of each file."""
    package = host / "airflow_src/plugins/s3_downloader_impl"
    package.mkdir()
    (package / "constants.py").write_text(f"{OLD_MARK}\nold = True\n")
    (package / "host.py").write_text("changed = 'by the host'\n")
    ran = copy_into(host / "airflow_src")
    assert ran.returncode == 0, ran.stderr
    assert "old" not in (package / "constants.py").read_text()
    assert (package / "host.py").read_text() == "changed = 'by the host'\n"


def test_removal_leaves_the_host_as_it_was(host: Path):
    before = contents(host)
    assert copy_into(host / "airflow_src").returncode == 0
    command = [sys.executable, "-m", "airflow_src.install", "uninstall", "", "", str(host / "airflow_src")]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert contents(host) == before
    assert not (host / "airflow_src/plugins/s3_restore").exists()


def test_lint_of_the_host_is_green_with_our_files_in_it(host: Path):
    """Its ruff has all rules on, and formats; the marks in the first lines of our files keep both away."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("no ruff in this environment")
    assert copy_into(host / "airflow_src").returncode == 0
    ours = [host / f"airflow_src/{name}" for name in ("plugins/s3_restore", "plugins/s3_downloader_impl")]
    ours += [host / f"airflow_src/dags/{name}.py" for name in ("s3_downloader", "s3_batch_downloader")]
    for command in (["check", "--select", "ALL"], ["format", "--check"]):
        ran = subprocess.run([ruff, *command, "--isolated", *ours], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-2000:]
    for file in [*ours[0].rglob("*.py"), *ours[1].rglob("*.py"), *ours[2:]]:
        assert "\n# type: ignore\n" in file.read_text().split('"""')[0], f"{file}: a type checker reads it"


@pytest.mark.parametrize(("dest", "says"), [("", "say where"), ("/nowhere", "/nowhere/dags is no folder")])
def test_wrong_destination_is_refused_with_one_line(dest: str, says: str):
    ran = copy_into(dest)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Nothing was done: ")
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_adapter_has_every_name_that_is_asked_of_it():
    ours = names_of(REPOSITORY / "airflow_src/dags/impl/host.py") - {"AIRFLOW_QUEUE_PREFIX"}
    assert ours >= {"get_raw_file", "S3_DOWNLOAD_QUEUE"}
    adapter = REPOSITORY / "airflow_src/install/alphakraken.py"
    assert ours - names_of(adapter) == set()
    assert "get_notification_settings" in names_asked_for(), "which common asks for"
    assert missing_names(adapter) == []
