"""Five S3 servers, each on a free port of the loopback interface, with data in a folder that is given, ended surely.

`STORES` has one for each name. `missing()` says why one cannot be had here; `make stores-setup` installs them.
"""

import contextlib
import importlib.metadata
import json
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import boto3
from botocore.config import Config

from demo.processes import LOCALHOST, ChildProcess, Startable, accepts_connections, environment, run_to_end, wait_until

REGION = "eu-central-1"
REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = REPOSITORY / ".venv-stores"
_SESSION = boto3.session.Session()  # one for all: reading the service model takes 0.2 s


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A free port that stays ours until a server listens on it.

    The socket that keeps it is bound and never listens: with SO_REUSEADDR, as all servers here set it, a server can
    listen on the port beside it, and nobody gets it who asks for any free one.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((LOCALHOST, 0))
        yield int(keeper.getsockname()[1])


class Store(Startable):
    """An S3 server; `with STORES["nanio"](folder) as store: store.client().list_buckets()`.

    Args:
        folder: for data, settings and logs; its size is that of the objects.
    """

    name: ClassVar[str]
    starts_within_s: ClassVar[int] = 60

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.access_key = f"AK{secrets.token_hex(9).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.port = 0
        self.reader: tuple[str, str] | None = None
        """Keys of a second user named `reader`, who owns nothing; where there can be one."""
        self.children: list[ChildProcess] = []

    @staticmethod
    def missing() -> str:
        """Say what is not installed; empty when all is there."""
        raise NotImplementedError

    @staticmethod
    def version() -> str:
        """Its version, for the table of what was seen."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOCALHOST}:{self.port}"

    def start(self) -> None:
        """Start it and return when it answers."""
        with reserved_port() as self.port:
            self.up()

    def up(self) -> None:
        """Start what serves, on the port that it has; also again after `down`. Only from the main thread."""
        self._run(self.name, self._command(), self._variables())
        wait_until(lambda: accepts_connections(self.port), self.children, self.name, self.starts_within_s)

    def down(self) -> None:
        """End what serves at once, as when it crashes; what it wrote stays."""
        self.children.pop().kill()

    def stop(self) -> None:
        """End it with everything that it started; the last one first."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def client(self, **options: Any) -> Any:
        """A boto3 client with its owner's keys, to put there what is to be restored. Close it when done."""
        return _SESSION.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                proxies={},
                retries={"total_max_attempts": 2, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            **options,
        )

    def _command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def _variables(self) -> Mapping[str, str]:
        return {}

    def _run(self, name: str, command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> None:
        log_file = self.folder / f"{name.replace(' ', '-')}.log"
        child = ChildProcess(name, command, log_file, environment({"HOME": str(self.folder), **(variables or {})}))
        self.children.append(child)
        child.start()


def _not_installed(*programs: Path) -> str:
    lacking = [str(path.relative_to(REPOSITORY)) for path in programs if not path.exists()]
    return f"{lacking[0]} is not there (make stores-setup)" if lacking else ""


def _first_version(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    assert found, f"no version in {text!r}"
    return found[0]


class Nanio(Store):
    """nanio: buckets are folders, objects are files."""

    name = "nanio"
    _program = INSTALLED / "bin/nanio"

    @staticmethod
    def missing() -> str:
        return _not_installed(Nanio._program)

    @staticmethod
    def version() -> str:
        (metadata,) = INSTALLED.glob("lib/python*/site-packages/nanio-*.dist-info")
        return _first_version(metadata.name)

    def _command(self) -> Sequence[str | Path]:
        return [
            *(self._program, "serve", "--host", LOCALHOST, "--port", str(self.port), "--region", REGION),
            *("--data-dir", self.folder / "data"),
        ]

    def _variables(self) -> Mapping[str, str]:
        return {"NANIO_ACCESS_KEY": self.access_key, "NANIO_SECRET_KEY": self.secret_key}


class Rclone(Store):
    """`rclone serve s3` over a local folder."""

    name = "rclone serve s3"
    _program = INSTALLED / "bin/rclone"

    @staticmethod
    def missing() -> str:
        return _not_installed(Rclone._program)

    @staticmethod
    def version() -> str:
        return _first_version(run_to_end([Rclone._program, "version"]).stdout)

    def _command(self) -> Sequence[str | Path]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            *(self._program, "serve", "s3", data, "--addr", f"{LOCALHOST}:{self.port}"),
            *("--config", self.folder / "rclone.conf", "--cache-dir", self.folder / "cache"),
        ]

    def _variables(self) -> Mapping[str, str]:
        return {"RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"'}


class S3rver(Store):
    """s3rver, on Node.js; its one pair of keys is built in."""

    name = "s3rver"
    _program = INSTALLED / "node_modules/.bin/s3rver"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.access_key = self.secret_key = "S3RVER"

    @staticmethod
    def missing() -> str:
        return _not_installed(S3rver._program) or ("" if shutil.which("node") else "Node.js is not installed")

    @staticmethod
    def version() -> str:
        return str(json.loads((INSTALLED / "node_modules/s3rver/package.json").read_text())["version"])

    def _command(self) -> Sequence[str | Path]:
        return [
            *(self._program, "--directory", self.folder / "data", "--address", LOCALHOST, "--port", str(self.port)),
            *("--silent", "--no-vhost-buckets"),
        ]


class Moto(Store):
    """moto, the server of the demo and of the other tests."""

    name = "moto"

    @staticmethod
    def missing() -> str:
        return ""

    @staticmethod
    def version() -> str:
        return importlib.metadata.version("moto")

    def _command(self) -> Sequence[str | Path]:
        return [Path(sys.executable).with_name("moto_server"), "-H", LOCALHOST, "-p", str(self.port)]


class CephRgw(Store):
    """Ceph's RADOS gateway over a whole cluster: one monitor, one storage daemon that keeps objects in memory.

    No manager runs, and none of Ceph's own authentication: what is tested is the gateway, which checks keys as always.
    All daemons run in the foreground as our children, and none writes outside the folder.
    """

    name = "Ceph RGW"
    starts_within_s = 120
    _cluster_id = "4c0e9e7c-9a3c-4a0e-8a55-3f5d9ee10a2e"
    _disk_id = "8a55a8ae-0e0e-4c0e-9a3c-3f5d9ee10a2e"
    _memory_bytes = 3 << 30

    @staticmethod
    def missing() -> str:
        lacking = [
            program
            for program in ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
            if not shutil.which(program)
        ]
        return f"{lacking[0]} is not installed (make stores-setup)" if lacking else ""

    @staticmethod
    def version() -> str:
        return _first_version(run_to_end(["radosgw", "--version"]).stdout)

    def start(self) -> None:
        for name in ("monitor", "disk", "gateway", "run"):
            (self.folder / name).mkdir(exist_ok=True)
        with reserved_port() as port:  # the only one that has to be known beforehand; the others are any free ones
            self._write_settings(port)
            self._prepare_monitor(port)
            self._run("monitor", ["ceph-mon", *self._settings, "-i", "a", "-f"])
            wait_until(lambda: accepts_connections(port), self.children, "Ceph's monitor", self.starts_within_s)
        self._do("ceph", *self._settings, "osd", "new", self._disk_id)
        self._do("ceph-osd", *self._settings, "-i", "0", "--mkfs", "--osd-uuid", self._disk_id)
        self._run("disk", ["ceph-osd", *self._settings, "-i", "0", "-f"])
        self.up()
        self._add_user("kraken", self.access_key, self.secret_key)
        self.reader = ("AKREADERREADERREADER", secrets.token_hex(20))
        self._add_user("reader", *self.reader)

    def _add_user(self, name: str, access_key: str, secret_key: str) -> None:
        self._do(
            *("radosgw-admin", *self._settings, "user", "create", "--uid", name, "--display-name", name),
            *("--access-key", access_key, "--secret", secret_key),
        )

    def up(self) -> None:
        frontend = f"beast endpoint={LOCALHOST}:{self.port}"  # 0 at first: any free one
        self._run("gateway", ["radosgw", *self._settings, "-n", "client.admin", "-f", "--rgw-frontends", frontend])
        wait_until(self._listens, self.children, self.name, self.starts_within_s)

    @property
    def _settings(self) -> tuple[str, str]:
        return "-c", str(self.folder / "ceph.conf")

    def _listens(self) -> bool:
        """Find out whether the gateway listens, and where."""
        ports = self.children[-1].listening_ports()
        self.port = ports[0] if ports else self.port
        return bool(ports)

    def _do(self, *command: str | Path) -> None:
        ended = run_to_end(command, environment({"HOME": str(self.folder)}), timeout_seconds=self.starts_within_s)
        if ended.returncode:
            raise self.children[-1].error(f"is there, but {command[0]} fails: {ended.stderr[-2000:]}")

    def _prepare_monitor(self, port: int) -> None:
        map_file = self.folder / "monmap"
        address = f"v2:{LOCALHOST}:{port}"
        self._do("monmaptool", "--create", "--fsid", self._cluster_id, "--addv", "a", f"[{address}]", map_file)
        self._do("ceph-mon", *self._settings, "--mkfs", "-i", "a", "--monmap", map_file)

    def _write_settings(self, port: int) -> None:
        (self.folder / "ceph.conf").write_text(f"""\
[global]
fsid = {self._cluster_id}
mon host = v2:{LOCALHOST}:{port}
mon initial members = a
public network = {LOCALHOST}/32
cluster network = {LOCALHOST}/32
# No keys between the daemons, and so no encryption either.
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
# One copy of everything, on one disk, however full the machine's own is.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 0
mon data avail warn = 0
run dir = {self.folder}/run
admin socket =
pid file =
log file =
log to stderr = true
[mon.a]
mon data = {self.folder}/monitor
[osd.0]
osd data = {self.folder}/disk
osd objectstore = memstore
memstore device bytes = {self._memory_bytes}
[client.admin]
rgw data = {self.folder}/gateway
# There is no other gateway to tell of changes; one that was killed would be waited for.
rgw cache enabled = false
# Work in the background that pays in days.
rgw dynamic resharding = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
""")


STORES: Mapping[str, type[Store]] = {store.name: store for store in (CephRgw, Rclone, Nanio, S3rver, Moto)}
