"""Commands of the documents, run as they stand there: only places, names and passwords are filled in.

`tests/documents/test_documents.py` holds that each has a test.
"""

import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from demo.airflow_stack import DAG_ID
from demo.processes import LOCALHOST, ChildProcess, accepts_connections, environment, pick_port, wait_until
from demo.sample_files import FOLDER, RAW, SAMPLES, differences
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.documented_commands import REPOSITORY, the_command

# Every call of the command line takes 5 s, and many times that on a busy machine.
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="the documents are about Airflow 3"),
]

BINARIES = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def _nothing_restored_yet(stand: Stand) -> None:
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)


def shell(script: str, cwd: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def on_the_stand(script: str, stand: Stand) -> str:
    """Run a script whose `airflow` is that of the stand; returns what it printed."""
    path = f"{stand.airflow.command.parent}:{BINARIES}:{os.environ['PATH']}"
    call = shell(f"set -e\n{script}", stand.home, environment({"PATH": path}))
    assert call.returncode == 0, call.stdout + call.stderr
    return call.stdout


def run_ids(dag_id: str, stand: Stand) -> set[str]:
    return {run["dag_run_id"] for run in stand.airflow.api.get(f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]}


@pytest.mark.long
def test_install_steps(stand: Stand, tmp_path: Path):
    """The steps of INSTALL.md, in an Airflow that has nothing of ours; then its removal."""
    clone, dags, plugins, output = (tmp_path / name for name in ("clone", "dags", "plugins", "output"))
    for folder in (clone, dags, plugins, output):
        folder.mkdir()
    shutil.copytree(REPOSITORY / "airflow_src", clone / "airflow_src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(REPOSITORY / name, clone)
    (migrated,) = stand.airflow.home.glob("airflow-*.db")
    database = shutil.copy(migrated, tmp_path / "airflow.db")
    install = (REPOSITORY / "design_docs/INSTALL.md").read_text()
    settings = yaml.safe_load(re.search(r"^```yaml\n(locations:.*?)^```$", install, re.MULTILINE | re.DOTALL)[1])
    assert settings["locations"]["output"]["absolute_path"].startswith("/fs/pool/")
    settings["locations"]["output"]["absolute_path"] = str(output)
    (tmp_path / "alphakraken.yaml").write_text(yaml.safe_dump(settings))
    connection = re.search(r'^```json\n(\{\n  "conn_type".*?)^```$', install, re.MULTILINE | re.DOTALL)[1]
    for shown, real in (
        ("SECRET_ACCESS_KEY", stand.s3.secret_key),
        ("ACCESS_KEY_ID", stand.s3.access_key),
        ("https://s3.example.org", stand.s3.endpoint_url),
    ):
        assert shown in connection
        connection = connection.replace(shown, real)
    variables = environment(
        {
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "ALPHAKRAKEN_YAML": str(tmp_path / "alphakraken.yaml"),
            "DAGS": str(dags),
            "PLUGINS": str(plugins),
            "PYTHONPATH": f"{dags}:{plugins}",
            # The environment has it all; what else would be installed would be seen.
            "PIP_DRY_RUN": "1",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **stand.mongo.environment(),
        }
    )
    for name in ("MAKEFLAGS", "MAKELEVEL"):  # of the make that runs the tests: below it, another one says where it is
        variables.pop(name, None)

    def do(beginning: str, document: str = "design_docs/INSTALL.md") -> str:
        call = shell(f"set -e\n{the_command(beginning, document).replace('…', connection)}", clone, variables)
        assert call.returncode == 0, f"{beginning}:\n{call.stdout}{call.stderr}"
        return call.stdout

    assert "has all of them, nothing is to be changed" in do('make install DAGS="$DAGS"')
    assert "Would install" not in do("make packages")
    assert (clone / "s3_downloader.txt").read_text() == "", "nothing is missing here"
    do("airflow pools set s3_download_pool 2")
    assert pool_slots(database) == 2
    do("airflow connections add aws_default")
    checked = do('python "$DAGS/impl/worker_check.py"')
    assert checked.endswith("Ready to restore\n"), checked
    assert "ok  pool          s3_download_pool has 2 slots\n" in checked
    do("airflow dags test s3_downloader")

    assert differences(RAW, stand.instrument, output / RAW.project_id) == []
    (report,) = (output / RAW.project_id).glob("_download_status_*.txt")
    assert report.read_text().endswith("Status: SUCCESS\n")
    do("airflow pools set s3_download_pool 4", "design_docs/SIZING.md")
    assert pool_slots(database) == 4
    assert "No data found" in do("airflow dags list-import-errors", "design_docs/OPERATING.md")
    do("airflow db clean", "design_docs/SCALING.md")
    assert do('make uninstall DAGS="$DAGS"').startswith("Removed ")
    assert [path.name for folder in (dags, plugins) for path in folder.rglob("*") if path.is_file()] == []
    do("airflow dags delete --yes s3_downloader")
    assert pool_slots(database) is None


def pool_slots(database: str) -> int | None:
    with sqlite3.connect(database) as connection:
        found = connection.execute("select slots from slot_pool where pool = 's3_download_pool'").fetchall()
    connection.close()
    return found[0][0] if found else None


def test_command_line(stand: Stand):
    before = run_ids(DAG_ID, stand)

    on_the_stand(the_command("airflow dags unpause s3_downloader"), stand)
    on_the_stand(the_command("airflow dags trigger s3_downloader"), stand)

    (run_id,) = run_ids(DAG_ID, stand) - before
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert differences(RAW, stand.instrument, stand.project_output) == []
    look = the_command("cat /fs/pool/output/{PROJECT_ID}", "CLAUDE.md")
    shown = on_the_stand(look.replace("/fs/pool/output/{PROJECT_ID}", str(stand.project_output)), stand)
    assert f"{RAW.raw_file_id}: OK - Downloaded and verified (" in shown


@pytest.fixture(scope="module")
def users(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A second api-server of the same Airflow, at which users log in; its address, and a password for each."""
    home = tmp_path_factory.mktemp("users")
    passwords = {name: secrets.token_urlsafe(12) for name in ("operator", "viewer")}
    (home / "passwords.json").write_text(json.dumps(passwords))
    port = pick_port()
    url = f"http://{LOCALHOST}:{port}"
    variables = {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "operator:user,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
    }
    server = ChildProcess(
        "The api-server with users",
        [BINARIES / "airflow", "api-server", "--apps", "core"],
        home / "api-server.log",
        stand.airflow._environment | variables,
        home,
    )
    try:
        server.start()
        wait_until(lambda: accepts_connections(port), [server], "The api-server with users", 180)
        yield url, passwords
    finally:
        server.stop()


def filled_in(command: str, url: str, user: str, password: str) -> str:
    for shown, real in (("http://127.0.0.1:8080", url), ("USER", user), ("PASSWORD", password)):
        assert shown in command
        command = command.replace(shown, real)
    return command


REST = "design_docs/REST.md"


def asked(users: tuple[str, dict[str, str]], how: str, raw_file_id: str, user: str = "operator", password: str = ""):
    """The block of curl or Python in the document, for a raw file and a user."""
    url, passwords = users
    script = filled_in(the_command(how, REST), url, user, password or passwords[user])
    assert RAW.raw_file_id in script
    return script.replace(RAW.raw_file_id, raw_file_id)


CURL, PYTHON = "AIRFLOW=http://127.0.0.1:8080", "import sys"


@pytest.fixture(params=[CURL, PYTHON], ids=["curl", "python"])
def how(request: pytest.FixtureRequest) -> str:
    if request.param == CURL and not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    return request.param


def run_block(how: str, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if how == CURL:
        return shell(script, folder, environment({}))
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment({}), capture_output=True, text=True, check=False)


def test_rest_with_curl(stand: Stand, users, tmp_path: Path):
    if not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    script = asked(users, "AIRFLOW=http://127.0.0.1:8080", RAW.raw_file_id)

    call = run_block(CURL, script, tmp_path)

    assert call.returncode == 0, call.stderr
    result = json.loads(call.stdout)
    assert result["status"] == "SUCCESS", call.stderr
    assert differences(RAW, stand.instrument, stand.project_output) == []
    document = (REPOSITORY / REST).read_text()
    shown = json.loads(re.search(r'^```json\n(\{\n  "mode".*?)^```$', document, re.MULTILINE | re.DOTALL)[1])
    assert result.keys() == shown.keys()


def test_rest_with_the_client(stand: Stand, users, tmp_path: Path):
    call = run_block(PYTHON, asked(users, "import sys", RAW.raw_file_id), tmp_path)

    assert call.returncode == 0, call.stderr
    assert "'status': 'SUCCESS'" in call.stdout, call.stdout
    assert differences(RAW, stand.instrument, stand.project_output) == []


@pytest.mark.parametrize(
    ("user", "password", "raw_file_id", "answer"),
    [
        ("operator", "wrong", RAW.raw_file_id, "Airflow answers: .*Invalid credentials"),
        ("viewer", "", RAW.raw_file_id, "Airflow answers: .*Forbidden"),
        ("operator", "", "ab", "Airflow answers: .*'ab' is too short"),
    ],
    ids=["wrong password", "viewer", "refused conf"],
)
def test_rest_blocks_say_what_airflow_refused(
    stand: Stand, users, tmp_path: Path, how, *, user, password, raw_file_id, answer
):
    before = run_ids(DAG_ID, stand)

    call = run_block(how, asked(users, how, raw_file_id, user, password), tmp_path)

    assert call.returncode == 1
    assert re.search(f"^{answer}", call.stderr, re.MULTILINE), call.stderr
    assert call.stderr.count("Airflow answers") == 1, "nothing was asked after that"
    assert call.stdout == ""
    assert run_ids(DAG_ID, stand) == before


@pytest.mark.long
def test_rest_blocks_print_the_reason_of_every_end(stand: Stand, users, tmp_path: Path, how):
    refused, failed = "20250115_no_backup.raw", "20250115_not_in_s3.raw"
    stand.store({**stand.document(RAW.raw_file_id), "_id": refused, "s3_upload_path": ""})
    missing = {f"{failed}/gone.bin": [3, "9" * 32]}
    stand.store({**stand.document(RAW.raw_file_id), "_id": failed, "file_info": missing})

    for raw_file_id, reason in (
        (RAW.raw_file_id.upper(), f"validate_parameters failed: RawFile not found: .*Did you mean '{RAW.raw_file_id}'"),
        (refused, f"validate_parameters failed: No S3 backup for '{refused}': s3_upload_path is empty"),
        (failed, f"download_files failed: 1/1 files failed. First: {failed}/gone.bin: Object is not in S3"),
    ):
        call = run_block(how, asked(users, how, raw_file_id), tmp_path)

        assert call.returncode == 1
        assert re.search(f"^{reason}", call.stdout + call.stderr, re.MULTILINE), call.stdout + call.stderr


@pytest.mark.long
def test_batches(stand: Stand):
    """All five at once, each on a project that no other test fills."""
    project, raw_file_id = "PRIDDOC", "20250115_documented.d"
    stand.store({**stand.document(FOLDER.raw_file_id), "_id": raw_file_id, "project_id": project})
    command = the_command("airflow dags trigger s3_batch_downloader", "design_docs/OPERATING.md").replace(
        "PRID001", project
    )
    before = run_ids("s3_batch_downloader", stand)

    on_the_stand(command, stand)

    started = run_ids("s3_batch_downloader", stand) - before
    api = stand.airflow.api
    assert {api.wait_for_run("s3_batch_downloader", run_id, 300) for run_id in started} == {"success"}
    summaries = [api.xcom("s3_batch_downloader", run_id, "summarize") for run_id in started]
    statuses = sorted(tuple(sorted((row["raw_file_id"], row["status"]) for row in each["files"])) for each in summaries)
    assert statuses == sorted(
        [
            tuple(sorted((sample.raw_file_id, "SUCCESS") for sample in SAMPLES)),
            ((raw_file_id, "SUCCESS"),),
            ((raw_file_id, "SUCCESS"),),
            ((raw_file_id, "SUCCESS"),),
            ((raw_file_id, "PLANNED"),),
        ]
    )
    for sample in SAMPLES:
        assert differences(sample, stand.instrument, stand.project_output) == []
