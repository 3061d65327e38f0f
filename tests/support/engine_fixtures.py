"""A stand for restores: S3 stand-in, fault proxy before it, a destination, and the product's own engine. All real.

stand.put("a.raw", data)            uploads as the host does, and notes what `file_info` says of it
run = stand.restore()               one run of the engine in this process
run["a.raw"]                        what the report says of the file
with stand.child() as child: ...    the same in a process of its own, to be killed
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

import s3_restore
from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec, build_file_specs
from s3_restore.model.outcomes import RestoreSummary
from s3_restore.model.settings import RestoreSettings
from s3_restore.model.status_report import ReportHeader, render_report
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore, client_config
from tests.support import raw_files
from tests.support.fault_proxy import FaultProxy
from tests.support.raw_files import MIB
from tests.support.records import is_record_of_what_is_there
from tests.support.s3_objects import StoredObject
from tests.support.s3_stand_in import RecordedRequest, S3StandIn

BUCKET = "alphakraken-prid001"
PREFIX = "test1/2025_01"
QUICK = {"max_concurrency": 4, "stall_timeout_s": 5.0, "patience_s": 2.0}
"""Settings of all runs here: waits between tries are not what is tested."""

_REPOSITORY = Path(__file__).resolve().parents[2]
_SESSION = boto3.session.Session()
_LIMIT_S = 60


def engine_client(endpoint_url: str, settings: RestoreSettings, proxies: Mapping[str, str] | None = None) -> Any:
    """A client with the product's own configuration, without Airflow around it."""
    config = client_config(settings.max_concurrency, settings.stall_timeout_s)
    return _SESSION.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDFORTESTS",
        aws_secret_access_key="secret-for-tests",
        config=config.merge(Config(s3={"addressing_style": "path"}, proxies=dict(proxies or {}))),
    )


@lru_cache(maxsize=256)
def _hashes(data: bytes | Path, form: str, part_mib: float) -> tuple:
    return tuple(raw_files.file_info({"": data}, form, part_mib)[""])


_STORED: dict[tuple, StoredObject] = {}


@dataclass(frozen=True)
class Run:
    """What one run says."""

    summary: RestoreSummary
    report: str

    @classmethod
    def of(cls, summary: RestoreSummary, destination: Path) -> "Run":
        now = datetime.now(tz=UTC)
        header = ReportHeader("sample", "PRID001", BUCKET, PREFIX, now, str(destination))
        return cls(summary, render_report(header, summary))

    @property
    def lines(self) -> dict[str, str]:
        """Path -> what the report says of it."""
        files = self.report.partition("Files:\n------\n")[2].partition("\n\nSummary:")[0]
        return dict(line.split(": ", 1) for line in files.splitlines())

    def __getitem__(self, path: str) -> str:
        return self.lines[path]

    @property
    def status(self) -> str:
        return self.report.rstrip().rpartition("Status: ")[2]


class Stand:
    """See the module."""

    def __init__(self, server: S3StandIn, proxy: FaultProxy, destination: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.destination = destination
        self.data: dict[str, bytes | Path] = {}
        self.file_info: dict[str, list] = {}

    # --- what is in S3 and in the database ---------------------------------------------------------------------------

    def put(
        self,
        path: str,
        data: bytes | Path,
        form: str = "H2",
        *,
        part_mib: float = 1,
        in_s3: bytes | None = None,
        **options,
    ) -> bytes | Path:
        """Upload one file (or other bytes in its place) and note its hashes as they were at the instrument."""
        options.setdefault("part_size", int(part_mib * MIB))
        self.upload(path, data if in_s3 is None else in_s3, **options)
        self.data[path] = data
        self.file_info[path] = list(_hashes(data, form, part_mib))
        return data

    def upload(self, path: str, data: bytes | Path, **options) -> None:
        """Put a new version of an object there; what the server computes of the same bytes is computed once."""
        known = (data, *sorted(options.items()))
        if known not in _STORED:
            _STORED[known] = self.server.upload(BUCKET, self.key(path), data, **options)
        else:
            self.server.create_bucket(BUCKET)
            self.server._store(replace(_STORED[known], key=self.key(path), version_id=None))

    @staticmethod
    def key(path: str) -> str:
        return f"{PREFIX}/{path}"

    def specs(self) -> list[FileSpec]:
        parsed = {path: (item[0], parse_expected_hash(item)) for path, item in self.file_info.items()}
        return build_file_specs(parsed, {path: (BUCKET, self.key(path)) for path in parsed})

    # --- runs --------------------------------------------------------------------------------------------------------

    def restorer(self, **settings: Any) -> Restorer:
        chosen = RestoreSettings.from_mapping(QUICK | settings)
        return Restorer(S3ObjectStore(engine_client(self.proxy.url, chosen)), self.destination, chosen)

    def restore(self, **settings: Any) -> Run:
        return Run.of(self.restorer(**settings).run(self.specs()), self.destination)

    @contextlib.contextmanager
    def child(self, *, unprivileged: bool = False, **settings: Any) -> Iterator["Child"]:
        """The same run in a process of its own; whatever is left of it in the end is killed."""
        work = {
            "endpoint_url": self.proxy.url,
            "destination": str(self.destination),
            "file_info": self.file_info,
            "settings": QUICK | settings,
            "unprivileged": unprivileged,
        }
        python_path = os.pathsep.join((str(_REPOSITORY), str(Path(s3_restore.__file__).parents[1])))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.engine_child"],
            cwd=_REPOSITORY,
            env={**os.environ, "PYTHONPATH": python_path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        child = Child(process, json.dumps(work))
        try:
            yield child
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    # --- what is on disk ---------------------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        return self.destination / path

    def damage(self, path: str, *offsets: int) -> Path:
        """Put the file there with one wrong bit at each offset."""
        data = self.data[path]
        content = bytearray(data if isinstance(data, bytes) else data.read_bytes())
        for offset in offsets:
            content[offset] ^= 0x10
        return self.place(path, bytes(content))

    def place(self, path: str, content: bytes) -> Path:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_bytes(content)
        return self.path(path)

    @property
    def others(self) -> list[str]:
        """Names of everything below the destination that is neither a folder nor a file of `file_info`.

        Nor the record of a version that is set aside, as long as that version is there.
        """
        return sorted(
            str(path.relative_to(self.destination))
            for path in self.destination.rglob("*")
            if not path.is_dir()
            and str(path.relative_to(self.destination)) not in self.file_info
            and not is_record_of_what_is_there(path)
        )

    def leftovers(self, suffix: str = "part") -> list[Path]:
        return sorted(self.destination.rglob(f".s3dl.*.{suffix}"))

    def assert_right(self, *paths: str) -> None:
        """These files (all, if none are named) have the right bytes."""
        for path in paths or self.data:
            data = self.data[path]
            expected = data if isinstance(data, bytes) else data.read_bytes()
            assert self.path(path).read_bytes() == expected, f"{path}: wrong bytes on disk"

    def assert_no_wrong_ok(self, run: Run) -> None:
        """W1: a final path holds right bytes or nothing, and OK is said of right bytes only; every file has a line."""
        assert set(run.lines) == set(self.file_info)
        for path, said in run.lines.items():
            if self.path(path).exists():
                self.assert_right(path)
            assert said.startswith("FAILURE - ") or (said.startswith("OK - ") and self.path(path).exists())

    # --- what was on the wire ----------------------------------------------------------------------------------------

    def gets(self, path: str | None = None) -> list[RecordedRequest]:
        return [
            request
            for request in self.server.requests
            if request.operation == "GetObject" and (path is None or request.key == self.key(path))
        ]

    def ranges(self, path: str | None = None) -> list[tuple[int, int]]:
        """First byte and the byte after the last one of every ranged GET that reached the server, sorted."""
        return sorted(span(request.range) for request in self.gets(path) if request.range)


def span(header: str | None) -> tuple[int, int]:
    first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", header or "").groups()
    return int(first), int(last) + 1


@dataclass
class Child:
    """A run in a process of its own."""

    process: subprocess.Popen
    work: str
    result: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""

    def start(self) -> "Child":
        self.process.stdin.write(self.work + "\n")
        self.process.stdin.flush()
        return self

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(_LIMIT_S) == -signal.SIGKILL

    def end(self) -> Mapping[str, Any]:
        """Wait for its end; returns `lines` of the report, `error`, `rss_before` and `rss_peak` in bytes."""
        out, self.log = self.process.communicate(timeout=_LIMIT_S)
        assert self.process.returncode == 0, self.log
        self.result = json.loads(out)
        return self.result

    @property
    def numbers(self) -> tuple[int, int]:
        """Open files and threads now."""
        process = psutil.Process(self.process.pid)
        return process.num_fds(), process.num_threads()


class Gate:
    """Stops requests at the server, so that a test knows how far a run is.

    Args:
        server: its `on_request` is taken.
        starts: first bytes of the ranged GETs to stop; None stops every GET.
    """

    def __init__(self, server: S3StandIn, *starts: int) -> None:
        self._missing = set(starts)
        self._all = threading.Event()
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._starts = frozenset(starts)
        server.on_request = self._meet

    def _meet(self, request: RecordedRequest) -> None:
        if request.operation != "GetObject" or not request.range:
            return
        start = span(request.range)[0]
        if start not in self._starts:
            return
        with self._lock:
            self._missing.discard(start)
            if not self._missing:
                self._all.set()
        self._open.wait(_LIMIT_S)

    def wait(self) -> None:
        """Until all of them have come."""
        assert self._all.wait(_LIMIT_S), f"no request came that starts at {sorted(self._missing)}"

    def open(self) -> None:
        self._open.set()


def identity(path: Path) -> tuple[int, int, int]:
    """Inode, mtime and mode: what must not change of a file that is right."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_mode
