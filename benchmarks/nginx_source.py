"""nginx over a folder as S3 source: answers HEAD and ranged GET with If-Match, path-style, at the speed of the wire."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.certificates import Certificate

if TYPE_CHECKING:
    from typing import Self

_CONFIG = """\
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    {temporary_paths}
    log_format transfers escape=json
        '{{"method":"$request_method","uri":"$uri","status":$status,"bytes":$body_bytes_sent,"range":"$http_range"}}';
    access_log {folder}/access.log transfers;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    server {{
        listen {address}:{port}{ssl};
        {certificate}
        root {root};
        # What a folder cannot answer: listings come from a file, part checksums are not known.
        if ($args ~ "(^|&)prefix=") {{ rewrite ^ /listing.xml last; }}
        if ($args ~ "(^|&)attributes") {{ return 501; }}
        if (-d $request_filename) {{ return 404; }}
        location = /listing.xml {{ types {{}} default_type application/xml; }}
    }}
}}
"""
# The server chooses one cipher for all: left to the clients, Go takes the short key, and OpenSSL the long one.
_TLS = """\
ssl_certificate {pair.certificate};
        ssl_certificate_key {pair.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_prefer_server_ciphers on;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384;"""
_OPTIONAL_MODULES = ("proxy", "fastcgi", "uwsgi", "scgi")


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class NginxSource:
    """One nginx, from ``with`` to the end of it.

    Args:
        folder: for its configuration and logs.
        root: folder whose subfolders are the buckets.
        certificate: for TLS; None for plain HTTP.
        address: to listen on.
        prefix: command that it is started with, to be in another network namespace.

    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        certificate: Certificate | None = None,
        address: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._root = root
        self._certificate = certificate
        self._address = address
        self._prefix = prefix
        self._port = free_port() if not prefix else 8080
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Endpoint for S3 clients."""
        return f"{'https' if self._certificate else 'http'}://{self._address}:{self._port}"

    @property
    def ca_bundle(self) -> str:
        """Path of the certificate to trust; empty for plain HTTP."""
        return str(self._certificate.certificate) if self._certificate else ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        config = self._folder / "nginx.conf"
        config.write_text(self._config())
        command = [*self._prefix, _nginx(), "-p", str(self._folder), "-c", str(config), "-e", "error.log"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._wait_until_it_listens()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)

    def _config(self) -> str:
        built = subprocess.run([_nginx(), "-V"], check=True, capture_output=True, text=True).stderr
        modules = [name for name in _OPTIONAL_MODULES if f"--without-http_{name}_module" not in built]
        lines = "".join(f"{name}_temp_path {self._folder}/{name};\n    " for name in ["client_body", *modules])
        pair = self._certificate
        return _CONFIG.format(
            user="user root;" if os.getuid() == 0 else "",
            folder=self._folder,
            temporary_paths=lines,
            address=self._address,
            port=self._port,
            ssl=" ssl" if pair else "",
            certificate=_TLS.format(pair=pair) if pair else "",
            root=self._root,
        )

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            try:
                socket.create_connection((self._address, self._port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        log = self._folder / "error.log"
        raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else 'no log'}")

    def log_position(self) -> int:
        """Position in the access log once all requests so far are in it (nginx logs a request when it ends)."""
        log = self._folder / "access.log"
        size = -1
        while size != (size := log.stat().st_size):
            time.sleep(0.4)
        return size

    def bytes_sent_since(self, position: int) -> int:
        """Body bytes of all GET answers since a ``log_position``."""
        end = self.log_position()
        with (self._folder / "access.log").open("rb") as log:
            log.seek(position)
            lines = log.read(end - position).splitlines()
        return sum(request["bytes"] for request in map(json.loads, lines) if request["method"] == "GET")


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise RuntimeError("nginx is not installed; `make bench-setup` as root installs it")
    return found
