"""AlphaKraken as the S3 downloader sees it, and the only module that knows the host: the names of `impl/host.py`.

`make install DEST=…` copies it to `plugins/s3_downloader_impl/host.py`. Where the host's names differ, that copy is the
one file to change (design_docs/DROP_IN.md).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mongoengine
import pymongo
from common.paths import get_internal_output_path
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from shared.keys import FALLBACK_PROJECT_ID, EnvVars, InternalPaths

from common.constants import AIRFLOW_QUEUE_PREFIX
from s3_restore.model.exceptions import RestoreError

# Not the host's function of this name: a restore needs the hash in all forms in which it is stored.
from s3_restore.model.expected_hash import parse_file_info_item
from s3_restore.model.reasons import Group
from s3_restore.model.settings_reasons import WRONG_KEY
from shared import yamlsettings
from shared.db.engine import connect_db
from shared.db.interface import get_raw_file_by_id
from shared.db.models import RawFile

__all__ = ["RawFile", "parse_file_info_item"]

# --- where: the two choices of a deployment ---------------------------------------------------------------------------

# The queue of all tasks; a worker must serve it (docker-compose.yaml).
S3_DOWNLOAD_QUEUE = f"{AIRFLOW_QUEUE_PREFIX}s3_download"

# Folder below the output mount, which must be there; empty: files go to output/{project_id}/, where the results are.
# "s3_downloads" keeps them apart.
SUBFOLDER = ""

YamlKeys = yamlsettings.YamlKeys
_LONGEST_QUERY_MS = 5_000
_LONGEST_WAIT_S = 15

_HOST = Group("The host")
_LOCATION = _HOST.reason("unknown_location", "Location …: expected …", "a bug here; please report it")
_UNREACHABLE = _HOST.reason(
    "mongodb_unreachable", "MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT, and that it runs (…)", "do so"
)
_LOGIN = _HOST.reason(
    "mongodb_login", "MongoDB refuses user or password: check MONGO_USER and MONGO_PASSWORD (code …)", "do so"
)
_DENIED = _HOST.reason(
    "mongodb_denied", "MongoDB denies reading: the user needs the role 'read' on krakendb (code …)", "grant the role"
)
_REFUSES = _HOST.reason("mongodb_refuses", "MongoDB refuses the query (code …)", "ask whoever runs the database")
_MONGODB = _HOST.reason("mongodb_cannot_be_asked", "MongoDB cannot be asked (…)", "ask whoever runs the database")


class SettingsError(RestoreError):
    """The host's YAML file is missing or wrong. ``str()`` of it is one line."""


class DatabaseUnavailableError(RestoreError):
    """MongoDB did not answer. ``str()`` of it is one line, without credentials."""


# --- database: only finds -------------------------------------------------------------------------------------------


def get_raw_file(raw_file_id: str) -> Any:
    """Find a raw file by its id; None when there is none."""
    with _answering():
        try:
            return get_raw_file_by_id(raw_file_id)
        except mongoengine.DoesNotExist:
            return None


def get_backed_up_raw_file_ids(project_id: str) -> list[str]:
    """Find the ids of all raw files of a project that have a backup in S3, in their order."""
    # The host reads a project_id that is null or missing as the fallback project: the default of its model.
    stored = [project_id, None] if project_id == FALLBACK_PROJECT_ID else [project_id]
    with _answering():
        connect_db()
        found = RawFile.objects(__raw__={"project_id": {"$in": stored}, "s3_upload_path": {"$nin": [None, ""]}})
        return sorted(str(raw_file_id) for raw_file_id in found.no_dereference().scalar("id"))


def find_raw_file_ids(where: Mapping[str, Any], limit: int) -> list[str]:
    """Find ids of raw files with one query that has a bound; ``where`` in MongoDB's language."""
    with _answering():
        connect_db()
        found = RawFile.objects(__raw__=dict(where)).no_dereference().limit(limit).max_time_ms(_LONGEST_QUERY_MS)
        return [str(raw_file_id) for raw_file_id in found.scalar("id")]


def get_file_infos(raw_file_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Find the ``file_info`` of raw files by their ids; those that do not exist, or have none, are left out."""
    with _answering():
        connect_db()
        found = RawFile.objects(id__in=list(raw_file_ids)).no_dereference().max_time_ms(_LONGEST_QUERY_MS)
        return {
            str(raw_file_id): info for raw_file_id, info in found.scalar("id", "file_info") if isinstance(info, dict)
        }


@contextmanager
def _answering() -> Iterator[None]:
    """Bound the wait, which is 30 s for the host, and turn what the driver raises into one line for the operator."""
    try:
        with pymongo.timeout(_LONGEST_WAIT_S):
            yield
    except OperationFailure as error:
        reason = {18: _LOGIN, 13: _DENIED}.get(error.code or 0, _REFUSES)
        raise DatabaseUnavailableError(reason.of(error.code)) from None
    except (ConnectionFailure, mongoengine.ConnectionFailure) as error:
        raise DatabaseUnavailableError(_UNREACHABLE.of(type(error).__name__)) from None
    except (PyMongoError, mongoengine.errors.MongoEngineException) as error:
        raise DatabaseUnavailableError(_MONGODB.of(type(error).__name__)) from None


# --- settings -------------------------------------------------------------------------------------------------------


def get_path(location: str) -> Path:
    """Folder of a location, as the worker sees it; ``absolute_path`` in the host's YAML is as the cluster sees it."""
    if location != YamlKeys.Locations.OUTPUT:
        raise SettingsError(_LOCATION.of(repr(location), repr(YamlKeys.Locations.OUTPUT)))
    return Path(get_internal_output_path()) / SUBFOLDER


def settings_path() -> Path:
    """Which settings file messages name: the one that the host's loader takes."""
    return Path(InternalPaths.ENVS_PATH) / f"alphakraken.{os.environ.get(EnvVars.ENV_NAME)}.yaml"


def is_s3_upload_enabled() -> bool:
    """Whether backups go to S3."""
    return bool(yamlsettings.is_s3_upload_enabled())


def get_s3_upload_config() -> dict[str, Any]:
    """Settings of the S3 backup: ``region``."""
    return dict(yamlsettings.get_s3_upload_config() or {})


def get_s3_download_settings() -> dict[str, Any]:
    """Optional settings of the downloader (``s3_download``); empty when there are none."""
    return _section("s3_download")


def get_notification_settings() -> dict[str, Any]:
    """Everything below ``general.notifications``; empty when there is nothing."""
    return _section("general", "notifications")


def get_ops_alerts_webhook_url() -> str:
    """Where failures are posted to; empty for nowhere."""
    return str(get_notification_settings().get("ops_alerts_webhook_url") or "")


def _section(*keys: str) -> dict[str, Any]:
    node: Any = yamlsettings.YAMLSETTINGS
    for number, key in enumerate(keys, start=1):
        node = node.get(key) or {}
        if not isinstance(node, dict):
            where, got = repr(".".join(keys[:number])), type(node).__name__
            raise SettingsError(WRONG_KEY.of(settings_path(), where, "keys and values", got))
    return dict(node)
