"""AlphaKraken as the S3 downloader sees it, and the only module that knows the host: the names of `impl/host.py`.

`make drop-in` copies it to `plugins/s3_downloader_impl/host.py`. Where the host's names differ, that copy is the one
file to change (design_docs/DROP_IN.md).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mongoengine
from common.paths import get_internal_output_path
from pymongo.errors import PyMongoError

# Not the host's function of this name: a restore needs the hash in all forms in which it is stored.
from s3_restore.expected_hash import parse_file_info_item
from shared import yamlsettings
from shared.db.engine import connect_db
from shared.db.interface import get_raw_file_by_id
from shared.db.models import RawFile

__all__ = ["RawFile", "parse_file_info_item"]

YamlKeys = yamlsettings.YamlKeys


class SettingsError(Exception):
    """The host's YAML file is missing or wrong. ``str()`` of it is one line."""


class DatabaseUnavailableError(Exception):
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
    with _answering():
        connect_db()
        found = RawFile.objects(project_id=project_id, s3_upload_path__nin=[None, ""])
        return sorted(str(raw_file_id) for raw_file_id in found.no_dereference().scalar("id"))


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (PyMongoError, mongoengine.ConnectionFailure, mongoengine.OperationError) as error:
        raise DatabaseUnavailableError(f"MongoDB cannot be asked ({type(error).__name__})") from None


# --- settings -------------------------------------------------------------------------------------------------------


def get_path(location: str) -> Path:
    """Folder of a location, as the worker sees it; ``absolute_path`` in the host's YAML is as the cluster sees it."""
    if location != YamlKeys.Locations.OUTPUT:
        raise SettingsError(f"Location {location!r}: expected {YamlKeys.Locations.OUTPUT!r}")
    return Path(get_internal_output_path())


def settings_path() -> Path:
    """Which settings file messages name."""
    return Path(f"alphakraken.{os.environ.get('ENV_NAME') or 'local'}.yaml")


def is_s3_upload_enabled() -> bool:
    """Whether backups go to S3."""
    return bool(yamlsettings.is_s3_upload_enabled())


def get_s3_upload_config() -> dict[str, Any]:
    """Settings of the S3 backup: ``region``."""
    return dict(yamlsettings.get_s3_upload_config() or {})


def get_s3_download_settings() -> dict[str, Any]:
    """Optional settings of the downloader (``s3_download``); empty when there are none."""
    return _section("s3_download")


def get_ops_alerts_webhook_url() -> str:
    """Where failures are posted to; empty for nowhere."""
    return str(_section("general", "notifications").get("ops_alerts_webhook_url") or "")


def _section(*keys: str) -> dict[str, Any]:
    node: Any = yamlsettings.YAMLSETTINGS
    for number, key in enumerate(keys, start=1):
        node = node.get(key) or {}
        if not isinstance(node, dict):
            raise SettingsError(f"{settings_path()}: key {'.'.join(keys[:number])!r}: expected keys and values")
    return dict(node)
