"""A deployment to restore into: settings file, read-only MongoDB user, S3 server, output folder. Everything is real."""

import atexit
import ctypes
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import mongoengine
import pymongo
import pytest
import yaml
from botocore.loaders import JSONFileLoader, Loader

from demo.mongo_server import DATABASE, MongoServer
from tests.support.raw_files import MIB, file_info
from tests.support.records import is_record_of_what_is_there
from tests.support.s3_stand_in import S3StandIn

if "AIRFLOW_HOME" not in os.environ:
    # Before the first import of Airflow, which writes its settings into this folder.
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-of-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

SECRET_KEY = "a-secret-key-that-no-log-may-show"


@dataclass
class RecordingTaskInstance:
    """Stands for Airflow's task instance, of which the tasks use nothing but ``xcom_push``."""

    dag_id: str = "s3_downloader"
    task_id: str = "download_files"
    run_id: str = "manual__2025-02-04T14:30:22+00:00"
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class Kraken:
    """The deployment. Objects go to `bucket` of the S3 stand-in `s3`, files to `destination`."""

    project_id = "PRID001"
    bucket = "alphakraken-prid001"

    def __init__(self, folder: Path, s3: S3StandIn, mongo: MongoServer, patch: pytest.MonkeyPatch) -> None:
        self.s3 = s3
        self.mongo = mongo
        self.ti = RecordingTaskInstance()
        self.output = folder / "output"
        self.output.mkdir()
        self.destination = self.output / self.project_id
        self.yaml_path = folder / "alphakraken.yaml"
        self.settings: dict[str, Any] = {
            "general": {"notifications": {"ops_alerts_webhook_url": ""}},
            "locations": {"output": {"absolute_path": str(self.output)}},
            "backup": {"backup_type": "s3", "s3": {"region": "eu-central-1", "bucket_prefix": "alphakraken"}},
            # Waits between tries are not what is tested here.
            "s3_download": {"patience_s": 2, "stall_timeout_s": 5},
        }
        self.write_yaml()
        self._patch = patch
        patch.setenv("ALPHAKRAKEN_YAML", str(self.yaml_path))
        for name, value in mongo.environment().items():
            patch.setenv(name, value)
        self.connect_s3(s3.url)
        self._writer = mongo.client(mongo.writer)
        self._stored: list[str] = []
        patch.setattr(tempfile, "tempdir", str(folder))  # markers of attempts that were told of

    # --- what is there ---------------------------------------------------------------------------------------------

    def write_yaml(self) -> None:
        self.yaml_path.write_text(yaml.safe_dump(self.settings))

    def connect_s3(self, endpoint_url: str, login: str = "AKIDFORTESTS", **extra: Any) -> None:
        """Point the Airflow connection `aws_default` somewhere."""
        connection = {
            "conn_type": "aws",
            "login": login,
            "password": SECRET_KEY,
            "extra": {"endpoint_url": endpoint_url, "region_name": "eu-central-1", **extra},
        }
        self._patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    def store(self, raw_file_id: str, **fields: Any) -> dict[str, Any]:
        """Write a document as the host does; `fields` replace the usual ones."""
        document = {
            "_id": raw_file_id,
            "original_name": raw_file_id,
            "instrument_id": "test1",
            "status": "done",
            "project_id": self.project_id,
            "backup_status": "upload_done",
            "s3_upload_path": f"s3://{self.bucket}",
            "file_info": {},
            **fields,
        }
        self._stored.append(raw_file_id)
        self._writer[DATABASE]["raw_file"].replace_one({"_id": raw_file_id}, document, upsert=True)
        return document

    def document(self, raw_file_id: str) -> dict[str, Any]:
        return self._writer[DATABASE]["raw_file"].find_one({"_id": raw_file_id})

    def back_up(
        self,
        files: Mapping[str, bytes],
        raw_file_id: str = "20250115_sample.raw",
        *,
        form: str = "H2",
        part_mib: int = 100,
        prefix: str = "",
        **fields: Any,
    ) -> str:
        """Upload files and write their document as the uploader of the host does; returns the raw file id."""
        for path, data in files.items():
            self.s3.upload(self.bucket, f"{prefix}{path}", data, part_size=part_mib * MIB)
        info = file_info(files, form, part_mib)
        self.store(
            raw_file_id, **{"file_info": info, "s3_upload_path": f"s3://{self.bucket}/{prefix}".rstrip("/"), **fields}
        )
        return raw_file_id

    # --- what is done ----------------------------------------------------------------------------------------------

    def validate(self, raw_file_id: Any, **conf: Any) -> dict[str, Any]:
        from impl.handler_impl import validate_s3_download_parameters  # noqa: PLC0415 (Airflow takes seconds)

        return validate_s3_download_parameters(self.ti, params={"raw_file_id": raw_file_id, **conf})

    def download(self, raw_file_id: Any, **conf: Any) -> dict[str, Any]:
        from impl.handler_impl import download_raw_file_from_s3  # noqa: PLC0415 (Airflow takes seconds)

        return download_raw_file_from_s3(self.ti, params={"raw_file_id": raw_file_id, **conf})

    def fail_to_download(self, raw_file_id: Any, **conf: Any) -> str:
        """Download where at least one file must fail; returns the text of the exception."""
        from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

        with pytest.raises(AirflowFailException) as caught:
            self.download(raw_file_id, **conf)
        assert_one_clear_line(caught.value)
        return str(caught.value)

    def refuse(self, raw_file_id: Any, **conf: Any) -> str:
        """Validate where it must fail without a retry; returns the text of the exception."""
        from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

        before = sorted(self.output.rglob("*"))
        with pytest.raises(AirflowFailException) as caught:
            self.validate(raw_file_id, **conf)
        assert_one_clear_line(caught.value)
        assert sorted(self.output.rglob("*")) == before, "R4: a failed validation leaves nothing behind"
        return str(caught.value)

    # --- what came of it -------------------------------------------------------------------------------------------

    @property
    def reports(self) -> list[Path]:
        """All reports, the oldest first."""
        return sorted(self.destination.glob("_download_status_*.txt"), key=lambda path: path.stat().st_mtime_ns)

    @property
    def report(self) -> str:
        return self.reports[-1].read_text(encoding="utf-8")

    def line(self, relative_path: str) -> str:
        """What the newest report says of one file."""
        lines = self.report.partition("Files:\n------\n")[2].partition("\n\nSummary:\n")[0].split("\n")
        (found,) = [line for line in lines if line.startswith(f"{relative_path}: ")]
        return found.removeprefix(f"{relative_path}: ")

    def others(self, *expected: str) -> list[str]:
        """Files below the destination that are neither expected nor a report: temporary, set aside, strays."""
        found = [path.relative_to(self.destination) for path in self.destination.rglob("*") if not path.is_dir()]
        return sorted(
            str(path)
            for path in found
            if str(path) not in expected
            and not path.name.startswith("_download_status_")
            and not is_record_of_what_is_there(self.destination / path)
        )

    def close(self) -> None:
        mongoengine.disconnect_all()
        for raw_file_id in self._stored:
            self._writer[DATABASE]["raw_file"].delete_one({"_id": raw_file_id})
        self._writer.close()


def assert_one_clear_line(error: BaseException) -> None:
    """No stack of chained exceptions to dig through, no second line."""
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert "\n" not in str(error)
    assert str(error)


@pytest.fixture(scope="session")
def _airflow() -> Iterator[None]:
    """Import Airflow before any test captures logs: its import replaces the handlers of the root logger.

    And do once what botocore and the Amazon provider do for each of hundreds of clients: read the description of S3
    and the list of services, and walk the whole stack for the name of an operator, for the header User-Agent. That was
    two thirds of the time of most tests.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook  # noqa: PLC0415 (seconds, as the next one)

    import impl.handler_impl  # noqa: F401, PLC0415 (only for tests that need it)

    parse = lru_cache(JSONFileLoader().load_file)
    services = lru_cache(Loader().list_available_services)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _self, path: parse(path))
        patch.setattr(Loader, "list_available_services", lambda _self, type_name: services(type_name))
        patch.setattr(AwsGenericHook, "_get_caller", lambda _self: "Unknown")
        yield


@pytest.fixture
def s3() -> Iterator[S3StandIn]:
    with S3StandIn() as server:
        yield server


@pytest.fixture
def kraken(
    _airflow: None, tmp_path: Path, s3: S3StandIn, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kraken]:
    deployment = Kraken(tmp_path, s3, mongo_server, monkeypatch)
    yield deployment
    deployment.close()


class CommandRecorder(pymongo.monitoring.CommandListener):
    """Notes which commands this process sends to MongoDB while it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self.commands: list[str] = []

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        if self.on:
            self.commands.append(event.command_name)

    def succeeded(self, event: object) -> None:
        pass

    def failed(self, event: object) -> None:
        pass


@pytest.fixture(scope="session")
def _command_recorder() -> CommandRecorder:
    recorder = CommandRecorder()
    pymongo.monitoring.register(recorder)  # for good: pymongo has no way back
    return recorder


@pytest.fixture
def mongo_commands(_command_recorder: CommandRecorder) -> Iterator[list[str]]:
    """Commands sent by clients that are made during the test."""
    _command_recorder.commands = []
    _command_recorder.on = True
    yield _command_recorder.commands
    _command_recorder.on = False


_CAPABILITY_VERSION_3 = 0x20080522
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}


@pytest.fixture
def unprivileged() -> Callable[[Callable[[], Any]], Any]:
    """Call something in a thread that has no right to ignore file modes, even if the tests run as root."""

    def call(work: Callable[[], Any]) -> Any:
        results: list[Any] = []
        errors: list[BaseException] = []

        def run() -> None:
            if os.geteuid() == 0:
                header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
                number = _SYS_CAPSET[os.uname().machine]
                if ctypes.CDLL(None, use_errno=True).syscall(number, header, (ctypes.c_uint32 * 6)()):
                    raise OSError(ctypes.get_errno(), "capset")
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 (raised again by the caller's thread)
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return call
