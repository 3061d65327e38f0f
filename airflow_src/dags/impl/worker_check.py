"""Says whether this machine can restore, before the first restore: one line each, and what to do for each red one.

    python "$DAGS/impl/worker_check.py"            in the environment of the worker
    python "$DAGS/impl/worker_check.py" --post     also posts a test message to the webhook

It asks what a restore would ask, and writes nothing but a file without a name on the output. It needs no run and no
scheduler. The exit code is 1 when a line is red.
"""

# Imports of ours stand in the checks: one that fails is a red line, and not the end.
# ruff: noqa: PLC0415

import contextlib
import importlib
import io
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GIB = 1024**3
_PACKAGES = ("mongoengine", "pymongo", "boto3", "botocore", "urllib3", "awscrt", "yaml", "pytz")


@dataclass(frozen=True)
class Line:
    """What one check has found: ``ok``, ``RED``, or ``--`` for what cannot be known here."""

    mark: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.mark:<4}{self.name:<14}{self.text}"


class RedError(Exception):
    """A check failed. ``str()`` of it is one line: what is so, and what to do."""


class UnknownHereError(Exception):
    """A check cannot be made on this machine. ``str()`` of it is one line: why, and where it can."""


def check_packages() -> str:
    """What the DAGs import is there, and our own packages are the ones beside this file."""
    missing = []
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise RedError(
            f"{', '.join(missing)} cannot be imported: install what make packages names into {sys.executable}"
        )
    try:
        from common.callbacks import on_failure_callback  # noqa: F401
        from impl.handler_impl import validate  # noqa: F401
        from s3_restore.run.restorer import Restorer  # noqa: F401
    except ImportError as error:
        raise RedError(
            f"{error}: set PYTHONPATH to the DAG folder and the plugin folder; where it is set, another package of "
            "that name comes first"
        ) from None
    return f"Python {sys.version.split()[0]}, all that is imported is there"


def check_settings() -> str:
    """The settings file can be read, and all of it is understood."""
    from common.notifications import read_notification_settings
    from impl.host import (
        YamlKeys,
        get_path,
        get_s3_upload_config,
        is_s3_upload_enabled,
        settings_path,
    )
    from impl.restore_job import read_restore_settings

    if not is_s3_upload_enabled():
        raise RedError(f"{settings_path()}: expected backup.backup_type 's3'")
    get_path(YamlKeys.Locations.OUTPUT)
    get_s3_upload_config()
    read_restore_settings()
    read_notification_settings()
    return str(settings_path())


def check_mongodb() -> str:
    """MongoDB answers, lets this user read, and has raw files."""
    from common.secrets_in_logs import without_secrets
    from impl.host import find_raw_file_ids

    found = find_raw_file_ids({}, 1)
    user = os.environ.get("MONGO_USER")
    host = without_secrets(os.environ.get("MONGO_HOST") or "localhost")  # it may be a URL with a password in it
    where = f"{host}:{os.environ.get('MONGO_PORT') or '27017'}"
    answer = f"{where} answers, {f'as {user}' if user else 'without a user'}"
    if not found:
        raise RedError(f"{answer}, but krakendb has no raw file: check MONGO_HOST; is it the right database?")
    return f"{answer}, and has raw files"


def check_s3() -> str:
    """The connection can be used, and S3 answers for an object that should be there."""
    from impl.host import find_raw_file_ids, get_raw_file
    from impl.restore_job import open_store
    from impl.s3_utils import reconstruct_s3_paths
    from s3_restore.model.exceptions import ObjectStoreError

    store, _ = open_store()
    # A document without a path or without files says nothing about S3.
    there: dict[str, Any] = {"$nin": [None, "", {}]}
    backed_up = {"backup_status": "upload_done", "s3_upload_path": there, "file_info": there}
    for raw_file_id in find_raw_file_ids(backed_up, 1):
        raw_file = get_raw_file(raw_file_id)
        paths = reconstruct_s3_paths(raw_file.s3_upload_path, raw_file.file_info) if raw_file else {}
        if not paths:
            break
        bucket, key = next(iter(paths.values()))
        try:
            store.head(bucket, key)
        except ObjectStoreError as error:
            raise RedError(
                f"s3://{bucket}/{key}: {error}. Check endpoint_url, keys and rights of the connection aws_default"
            ) from None
        return f"answers for s3://{bucket}/{key}"
    raise UnknownHereError("the connection aws_default can be used; no raw file has a backup that could be asked for")


def check_output() -> str:
    """The output location is there, can be written to, and has room."""
    from impl.host import YamlKeys, get_path
    from s3_restore.disk.destination import free_bytes

    output = get_path(YamlKeys.Locations.OUTPUT)
    if not output.is_dir():
        raise RedError(f"{output} is missing: mount it on this machine; the folder itself is never created")
    try:
        with tempfile.TemporaryFile(dir=output) as file:
            file.write(b"s3_downloader")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RedError(
            f"{output} cannot be written to ({error.strerror}): give user {os.geteuid()} the right, or mount it so"
        ) from None
    mounted = "a mount point" if output.is_mount() else "no mount point of its own"
    return f"{output}: writable, {free_bytes(output) / _GIB:.1f} GiB free, {mounted}"


def check_pool() -> str:
    """The pool is there; without it ``download_files`` never starts."""
    from common.constants import Pools

    name = Pools.S3_DOWNLOAD_POOL
    try:
        from airflow.models.pool import Pool

        pool = Pool.get_pool(name)
    except Exception as error:  # noqa: BLE001 (workers of Airflow 3 need not reach its database)
        raise UnknownHereError(
            f"this machine does not reach Airflow's database ({type(error).__name__}): airflow pools get {name} "
            "where the scheduler runs"
        ) from None
    if pool is None:
        raise RedError(f'{name} is missing: airflow pools set {name} 2 "Limit concurrent S3 downloads"')
    return f"{name} has {pool.slots} slots"


def check_webhook(*, post: bool) -> str:
    """The webhook is set; with ``post`` a message is posted to it."""
    from common.callbacks import post_or_raise
    from impl.host import get_ops_alerts_webhook_url

    if not get_ops_alerts_webhook_url():
        raise UnknownHereError("none is set: failures are only logged (general.notifications.ops_alerts_webhook_url)")
    if not post:
        return "is set; --post posts a test message"
    try:
        post_or_raise(f"Test of the S3 downloader's notifications from {socket.gethostname()}")
    except Exception as error:  # noqa: BLE001 (without its text, which may carry the URL)
        why = f"HTTP status {error.code}" if hasattr(error, "code") else type(error).__name__
        raise RedError(
            f"the test message could not be posted ({why}): check ops_alerts_webhook_url, and the way from this machine"
        ) from None
    return "a test message was posted: look whether it is shown; if not, see ops_alerts_format"


def check_hashing() -> str:
    """Which code computes MD5, and why it is not the native one."""
    from s3_restore.disk import md5_backend

    return md5_backend.DESCRIPTION


def run_checks(*, post: bool = False) -> Iterator[Line]:
    """Make all checks, one after the other; each says its line at once, and one cause is red once."""
    checks: list[tuple[str, Callable[[], str], tuple[str, ...]]] = [
        ("packages", check_packages, ()),
        ("settings", check_settings, ("packages",)),
        ("MongoDB", check_mongodb, ()),
        ("S3", check_s3, ("packages", "settings", "MongoDB")),
        ("output", check_output, ("packages", "settings")),
        ("pool", check_pool, ()),
        ("webhook", lambda: check_webhook(post=post), ("packages", "settings")),
        ("hashing", check_hashing, ("packages",)),
    ]
    red: set[str] = set()
    for name, check, needed in checks:
        if first := next((each for each in needed if each in red), ""):
            yield Line("--", name, f"cannot be looked at before {first} is mended")
            continue
        line = _line(name, check)
        if line.mark == "RED":
            red.add(name)
        yield line


def _line(name: str, check: Callable[[], str]) -> Line:
    try:
        return Line("ok", name, check())
    except UnknownHereError as error:
        return Line("--", name, str(error))
    except Exception as error:  # noqa: BLE001 (whatever it is, the other lines are wanted)
        text = str(error) if type(error).__name__ in _FOR_PEOPLE else f"{type(error).__name__}: {error}"
        return Line("RED", name, " ".join(text.split()))


_FOR_PEOPLE = ("RedError", "SettingsError", "DatabaseUnavailableError", "AirflowFailException", "ValueError")


def worker_line() -> str:
    """Which machine, settings and hashing a task has, in one line for its log."""
    from impl.host import settings_path

    return f"Worker {socket.gethostname()}, settings {settings_path()}, hashing with {check_hashing()}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what libraries log and print meanwhile: the lines are what is wanted."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _find_our_packages(file: Path) -> None:
    """Let Python find our packages as Airflow does, whatever the command line was."""
    from airflow.configuration import conf

    folders: list[Any] = [file.parents[1], conf.get("core", "plugins_folder", fallback="")]
    sys.path[0:1] = [str(folder) for folder in folders if folder]


def main(arguments: list[str]) -> int:
    """Print the lines; 1 when one is red."""
    if set(arguments) - {"--post"}:
        print(__doc__)  # noqa: T201
        return 2
    red = 0
    print(f"S3 downloader on {socket.gethostname()}")  # noqa: T201
    out = sys.stdout
    with _quiet():
        for line in run_checks(post="--post" in arguments):
            print(line, file=out, flush=True)
            red += line.mark == "RED"
    print("Ready to restore" if not red else f"{red} to mend, then check again")  # noqa: T201
    return 1 if red else 0


if __name__ == "__main__":
    # Outside of a task, Airflow 3 looks for connections in the environment alone, unless it is told to look where its
    # other commands do. Where the worker may not ask the metadata database, that is what it finds all the same.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    _find_our_packages(Path(__file__).resolve())
    sys.exit(main(sys.argv[1:]))
