"""One run of the engine in a process of its own: work as one JSON line on stdin, result as JSON on stdout."""

import ctypes
import json
import logging
import os
import sys
from pathlib import Path

import psutil

from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import build_file_specs
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.engine_fixtures import BUCKET, Run, Stand, engine_client

_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}


def _peak_bytes() -> int:
    """Of this process only: ru_maxrss would be that of the parent, which exec hands down."""
    status = Path("/proc/self/status").read_bytes()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(b"VmHWM:")).split()[1])


def _give_up_capabilities() -> None:
    """From here on file modes count for root too. (Another user could not read the interpreter's own folders.)"""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None, use_errno=True).syscall(_SYS_CAPSET[os.uname().machine], header, (ctypes.c_uint32 * 6)()):
            raise OSError(ctypes.get_errno(), "capset")


def main() -> None:
    work = json.loads(sys.stdin.readline())
    logging.basicConfig(level=logging.INFO)
    settings = RestoreSettings.from_mapping(work["settings"])
    client = engine_client(work["endpoint_url"], settings)
    parsed = {path: (item[0], parse_expected_hash(item)) for path, item in work["file_info"].items()}
    specs = build_file_specs(parsed, {path: (BUCKET, Stand.key(path)) for path in parsed})
    destination = Path(work["destination"])
    if work["unprivileged"]:
        _give_up_capabilities()
    rss_before = psutil.Process().memory_info().rss
    result: dict[str, object] = {}
    try:
        summary = Restorer(S3ObjectStore(client), destination, settings).run(specs)
        result["lines"] = Run.of(summary, destination).lines
    except Exception as error:  # noqa: BLE001 (told to the test)
        result["error"] = f"{type(error).__name__}: {error}"
    result["rss_before"] = rss_before
    result["rss_peak"] = _peak_bytes()
    print(json.dumps(result))  # noqa: T201 (its only output)


if __name__ == "__main__":
    main()
