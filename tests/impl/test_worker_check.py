"""The check of a worker before its first restore: one line each, red ones with what to do (O2)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kraken import SECRET_KEY, Kraken
from tests.support.raw_files import raw_bytes
from tests.support.webhook_receiver import WebhookReceiver

REPOSITORY = Path(__file__).resolve().parents[2]
ID = "20250115_sample.raw"


@pytest.fixture
def ready(kraken: Kraken) -> Kraken:
    kraken.back_up({ID: raw_bytes(1000, "x")}, ID)
    return kraken


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str]]:
    """Exit code, and each line by its name: mark and text."""
    from impl.worker_check import main  # noqa: PLC0415 (Airflow takes seconds)

    code = main(list(arguments))
    found = {}
    for line in capsys.readouterr().out.splitlines()[1:-1]:
        mark, name, text = line.split(maxsplit=2)
        found[name] = f"{mark} {text}"
    return code, found


def test_all_that_a_restore_needs_is_said_to_be_there(ready: Kraken, capsys, mongo_commands):
    code, said = lines(capsys)
    assert list(said) == ["packages", "settings", "MongoDB", "S3", "output", "pool", "webhook", "hashing"]
    assert code == 0, said
    assert said["settings"] == f"ok {ready.yaml_path}"
    assert said["MongoDB"].endswith(f"answers, as {os.environ['MONGO_USER']}, and has raw files")
    assert said["S3"] == f"ok answers for s3://{ready.bucket}/{ID}"
    assert said["output"].startswith(f"ok {ready.output}: writable, ")
    assert said["webhook"].startswith("-- none is set")
    assert list(ready.output.iterdir()) == []
    assert ready.s3.writes == []
    assert set(mongo_commands) <= {"find", "hello", "isMaster", "ismaster", "saslStart", "saslContinue", "endSessions"}


def no_variable(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("ALPHAKRAKEN_YAML")
    patch.setenv("ENV_NAME", "nowhere")


def misspelt(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    ready.settings["s3_download"]["max_concurency"] = 4
    ready.write_yaml()


def no_mongodb(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MONGO_PASSWORD", "wrong")


def no_such_object(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    ready.s3.erase(ready.bucket, ID)


def no_s3(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    ready.connect_s3("ftp://nowhere")


def no_output(ready: Kraken, patch: pytest.MonkeyPatch) -> None:
    ready.output.rmdir()


@pytest.mark.parametrize(
    ("broken", "name", "said"),
    [
        (no_variable, "settings", "ALPHAKRAKEN_YAML is not set in the environment of this process on"),
        (misspelt, "settings", "unknown setting 'max_concurency'"),
        (no_mongodb, "MongoDB", "check MONGO_USER and MONGO_PASSWORD"),
        (no_such_object, "S3", f"/{ID}: Object is not in S3"),
        (no_s3, "S3", "Airflow connection 'aws_default' cannot be used: Invalid endpoint"),
        (no_output, "output", "is missing: mount it on this machine"),
    ],
)
def test_each_red_line_says_what_to_do(  # noqa: PLR0917 (three fixtures, three values)
    ready: Kraken, monkeypatch, capsys, broken, name, said
):
    broken(ready, monkeypatch)
    code, found = lines(capsys)
    assert code == 1
    assert found[name].startswith("RED "), found
    assert said in found[name]
    assert [text for text in found.values() if text.startswith("RED ")] == [found[name]]  # one cause, one to mend
    assert SECRET_KEY not in str(found)


@pytest.mark.parametrize("odd", [{"s3_upload_path": None}, {"s3_upload_path": ""}, {"file_info": None}, {}], ids=repr)
def test_a_document_without_a_backup_says_nothing_about_s3(kraken: Kraken, capsys, odd):
    kraken.store("0.raw", **{"file_info": {"0.raw": [1, "0" * 32]}, **odd} if odd else {})
    kraken.back_up({ID: raw_bytes(1000, "x")}, ID)
    code, found = lines(capsys)
    assert found["S3"] == f"ok answers for s3://{kraken.bucket}/{ID}"
    assert code == 0


def test_a_password_in_the_address_of_mongodb_is_not_shown(ready: Kraken, monkeypatch, capsys):
    user, password = os.environ["MONGO_USER"], os.environ["MONGO_PASSWORD"]
    address = f"mongodb://{user}:{password}@{os.environ['MONGO_HOST']}:{os.environ['MONGO_PORT']}/krakendb"
    monkeypatch.setenv("MONGO_HOST", address)
    monkeypatch.delenv("MONGO_USER")
    _, found = lines(capsys)
    assert found["MongoDB"].startswith("ok ")
    assert password not in str(found)


def test_output_that_may_not_be_written(ready: Kraken, capsys, unprivileged):
    ready.output.chmod(0o500)
    code, said = unprivileged(lambda: lines(capsys))
    ready.output.chmod(0o700)
    assert code == 1
    assert said["output"].startswith(f"RED {ready.output} cannot be written to (Permission denied): give user ")


@pytest.mark.parametrize(("status", "mark"), [(200, "ok"), (404, "RED")])
def test_a_test_message_is_posted_where_it_is_asked_for(ready: Kraken, capsys, status, mark):
    with WebhookReceiver(status=status) as hook:
        ready.settings["general"]["notifications"]["ops_alerts_webhook_url"] = f"{hook.url}/SECRET"
        ready.write_yaml()
        _, said = lines(capsys)
        assert said["webhook"] == "ok is set; --post posts a test message"
        assert hook.posts == []
        _, said = lines(capsys, "--post")
        assert hook.posts[0].json()["text"].startswith("Test of the S3 downloader's notifications from ")
    assert said["webhook"].startswith(f"{mark} ")
    assert ("HTTP status 404" in said["webhook"]) == (status == 404)
    assert "SECRET" not in str(said)


def test_it_runs_by_its_path_with_nothing_but_the_environment_of_a_worker(ready: Kraken, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "airflow_src/plugins"),
        "AIRFLOW_HOME": str(tmp_path / "home"),
    }
    call = subprocess.run(
        [sys.executable, str(REPOSITORY / "airflow_src/dags/impl/worker_check.py")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert call.returncode == 0, call.stdout + call.stderr
    assert call.stdout.endswith("Ready to restore\n")
    assert "-- " in call.stdout, "the pool: this Airflow has no database"
    assert json.dumps(call.stdout).count("RED") == 0
