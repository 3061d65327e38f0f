"""A deployment that restores from a real store, through a proxy that counts: the task callables, MongoDB, reports."""

import contextlib
import json
import logging
import multiprocessing
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from demo.mongo_server import MongoServer
from tests.stores.capabilities import Capabilities
from tests.stores.objects import Bucket
from tests.stores.servers import Store
from tests.support import raw_files
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.fork_server import fork_server
from tests.support.kraken import Kraken
from tests.support.raw_files import MIB

ID = "20250115_sample.d"
LIMIT_S = 120


class Lab(Kraken):
    """See the module. Objects go to `bucket` of the store by its owner's own client, and so never through the proxy.

    Args:
        folder: for settings and restored files.
        store: the S3 server.
        seen: what it can.
        proxy: before the store; `proxy.exchanges` has all that the product asks.
        mongo: with the documents.
        patch: for the environment.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        seen: Capabilities,
        proxy: FaultProxy,
        *,
        mongo: MongoServer,
        patch: pytest.MonkeyPatch,
    ) -> None:
        super().__init__(folder, proxy, mongo, patch)  # type: ignore[arg-type] (of it, only its url is used)
        self.store_server = store
        self.seen = seen
        self.proxy = proxy
        self.client = store.client()
        self.content = Bucket(self.client, f"kraken-{secrets.token_hex(6)}").create()
        self.bucket = self.content.name
        self.files: dict[str, bytes] = {}
        self.settings["s3_download"] = {"stall_timeout_s": 30, "patience_s": 60}
        self.write_yaml()
        self.connect_as()

    def connect_as(self, access_key: str = "", secret_key: str = "", **extra: Any) -> None:
        """Point the Airflow connection at the store, with its owner's keys if no others are given."""
        connection = {
            "conn_type": "aws",
            "login": access_key or self.store_server.access_key,
            "password": secret_key or self.store_server.secret_key,
            "extra": {"endpoint_url": self.proxy.url, "region_name": "eu-central-1", **extra},
        }
        self._patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    # --- what is in the store and in the database --------------------------------------------------------------------

    def upload(self, path: str, data: bytes, *, part_size: int | None = None, in_store: bytes | None = None) -> None:
        """Put a file there as the instrument's uploader would, or other bytes in its place."""
        self.files[path] = data
        body = data if in_store is None else in_store
        self.content.put(path, body, part_size if self.seen.uploads_parts else None)

    def note(self, info: Mapping[str, list[Any]], raw_file_id: str = ID, **fields: Any) -> str:
        """Write the document of a raw file with these hashes; returns its id."""
        upload_path = f"s3://{self.bucket}"
        self.store(raw_file_id, **{"file_info": dict(info), "s3_upload_path": upload_path, **fields})
        return raw_file_id

    def back_up(  # type: ignore[override] (of this store, to this bucket)
        self, files: Mapping[str, bytes], *, form: str = "H2", part_mib: int = 5
    ) -> str:
        """Upload files as the instrument's uploader does, and note them; returns the raw file id."""
        for path, data in files.items():
            self.upload(path, data, part_size=part_mib * MIB if len(data) > part_mib * MIB else None)
        return self.note(raw_files.file_info(files, form, part_mib))

    # --- what came of it ---------------------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        return self.destination / path

    def place(self, path: str, content: bytes) -> Path:
        """Put a file where the restore would."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_bytes(content)
        return self.path(path)

    def assert_restored(self, *paths: str) -> None:
        """These files (all, if none are named) have the right bytes, and nothing else lies beside them."""
        wrong = [path for path in paths or self.files if not self._is_right(path)]
        assert not wrong, f"not restored: {wrong}\n{self.report}"
        assert self.others(*self.files) == []

    def assert_nothing_there(self, *paths: str) -> None:
        """No byte is on these final paths (all, if none are named), and no temporary file beside them."""
        assert [path for path in paths or self.files if self.path(path).exists()] == [], self.report
        assert self.others(*self.files) == []

    def _is_right(self, path: str) -> bool:
        return self.path(path).is_file() and self.path(path).read_bytes() == self.files[path]

    # --- what was on the wire ----------------------------------------------------------------------------------------

    @property
    def gets(self) -> list[Exchange]:
        """All requests for objects that the product made."""
        return [each for each in self.proxy.exchanges if each.method == "GET"]

    @contextlib.contextmanager
    def wire(self) -> Iterator["Wire"]:
        """Count what is asked and answered meanwhile."""
        wire = Wire(self.proxy, len(self.proxy.exchanges))
        yield wire
        wire.stop()

    # --- a process of its own ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def child(self, raw_file_id: str = ID) -> Iterator["Child"]:
        """The download task in a process of its own; whatever is left of it in the end is killed."""
        names = ("ALPHAKRAKEN_", "MONGO_", "AIRFLOW_", "AWS_", "NO_PROXY", "no_proxy")
        variables = {name: value for name, value in os.environ.items() if name.startswith(names)}
        folder = self.output.parent
        job = Job(raw_file_id, variables, str(folder / "child.json"), str(folder / "child.log"))
        process = server().Process(target=main, args=(job,), daemon=True)
        process.start()
        child = Child(process, Path(job.result_file), Path(job.log_file))
        try:
            yield child
        finally:
            child.kill()

    def close(self) -> None:
        self.client.close()
        super().close()


@dataclass
class Wire:
    """What went over the wire between two moments; the end is open until `stop`."""

    proxy: FaultProxy
    first: int
    last: int | None = None

    def stop(self) -> None:
        self.last = len(self.proxy.exchanges)

    @property
    def exchanges(self) -> list[Exchange]:
        return self.proxy.exchanges[self.first : self.last]

    @property
    def bytes(self) -> int:
        """Of all answers' bodies."""
        return sum(exchange.bytes_sent for exchange in self.exchanges)

    def count(self, query: str) -> int:
        """Requests with this in their query."""
        return sum(query in exchange.query for exchange in self.exchanges)

    def __str__(self) -> str:
        lines = [
            f"{each.method} {each.path}?{each.query} {each.range} {each.status} {each.bytes_sent}"
            for each in self.exchanges
        ]
        return "\n".join(lines)


# --- children --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a child needs to know."""

    raw_file_id: str
    variables: dict[str, str]
    result_file: str
    log_file: str


@dataclass
class Child:
    """The task in a process of its own."""

    process: Any
    result_file: Path
    log_file: Path
    result: dict[str, Any] = field(default_factory=dict)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(LIMIT_S)

    @property
    def was_killed(self) -> bool:
        return self.process.exitcode == -signal.SIGKILL

    def end(self) -> dict[str, Any]:
        """Wait for its end; `status`, or `error` with its text, and `memory_growth` in bytes."""
        self.process.join(LIMIT_S)
        assert self.result_file.exists(), f"exit code {self.process.exitcode}\n{self.log_file.read_text()[-4000:]}"
        self.result = json.loads(self.result_file.read_text())
        return self.result


def server() -> ForkServerContext:
    """The context whose processes are forked from one that has imported Airflow, which takes seconds."""
    return fork_server("tests.stores.preloaded")


def main(job: Job) -> None:
    """Run the task once and write what came of it."""
    with Path(job.log_file).open("a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        logging.basicConfig(stream=log, level=logging.INFO, force=True)
        # As in a task of Airflow: locks of pools are unnamed then, and nothing tracks them.
        multiprocessing.set_start_method("fork", force=True)
        os.environ.update(job.variables)
        from impl.handler_impl import download_raw_file_from_s3  # noqa: PLC0415 (imported already, in the server)

        result: dict[str, Any] = {}
        before = _reset_peak_memory()
        try:
            result |= download_raw_file_from_s3(None, params={"raw_file_id": job.raw_file_id})
        except Exception as error:  # noqa: BLE001 (told to the test)
            traceback.print_exc()
            result["error"] = f"{type(error).__name__}: {error}"
        result["memory_growth"] = _memory("VmHWM") - before
        temporary = Path(f"{job.result_file}.tmp")
        temporary.write_text(json.dumps(result))
        temporary.rename(job.result_file)


def _reset_peak_memory() -> int:
    """Forget the peak so far; returns the bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{name} is not in /proc/self/status of {sys.platform}")
