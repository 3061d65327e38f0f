"""The YAML settings of the deployment: one file, found by the environment, read anew for each question."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from s3_restore.model import settings_reasons
from s3_restore.model.exceptions import RestoreError
from s3_restore.model.reasons import Failure
from s3_restore.model.settings import shown

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_ENVS_FOLDER = Path(__file__).resolve().parents[2] / "envs"


class YamlKeys:
    """Keys of the YAML file."""

    class Locations:
        """Names of locations."""

        OUTPUT = "output"


class SettingsError(RestoreError):
    """The YAML file is missing or wrong. ``str()`` of it is one line that names the file and the key."""


def settings_path() -> Path:
    """Where the settings are: ``ALPHAKRAKEN_YAML``, else ``envs/alphakraken.${ENV_NAME}.yaml``."""
    explicit = os.environ.get("ALPHAKRAKEN_YAML")
    return Path(explicit) if explicit else _ENVS_FOLDER / f"alphakraken.{os.environ.get('ENV_NAME') or 'local'}.yaml"


def _unreadable(path: Path, why: str | None) -> Failure:
    """Say also how the file was found, to somebody who meant another one."""
    if os.environ.get("ALPHAKRAKEN_YAML"):
        return settings_reasons.SETTINGS_UNREADABLE.of(path, why)
    env_name = os.environ.get("ENV_NAME")
    env_name_is = repr(env_name) if env_name else "not set"
    return settings_reasons.SETTINGS_NOT_SET.of(path, why, socket.gethostname(), env_name_is)


def _settings() -> tuple[Mapping[str, Any], Path]:
    path = settings_path()
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(_unreadable(path, error.strerror)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(settings_reasons.NO_YAML.of(path, f"no UTF-8 at byte {error.start}")) from None
    except yaml.YAMLError as error:
        raise SettingsError(settings_reasons.NO_YAML.of(path, _what_and_where(error))) from None
    except RecursionError:
        raise SettingsError(settings_reasons.NO_YAML.of(path, "too many levels")) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The parser's own slips, such as for the date 2025-99-99. Without their text, as above.
        kind = type(error).__name__
        raise SettingsError(settings_reasons.NO_YAML.of(path, f"a value cannot be read ({kind})")) from None
    if not isinstance(loaded, dict):
        raise SettingsError(settings_reasons.NO_MAPPING.of(path, type(loaded).__name__))
    return loaded, path


def _what_and_where(error: yaml.YAMLError) -> str:
    """Say what is wrong and in which line, but not what stands there: it may be a secret, and this goes to a log."""
    mark = getattr(error, "problem_mark", None)
    what = " ".join(str(getattr(error, "problem", None) or type(error).__name__).split())
    return f"{what}, line {mark.line + 1}, column {mark.column + 1}" if mark else what


def get_setting(dotted_key: str, kind: type, default: Any = ..., *, is_secret: bool = False) -> Any:
    """Read one setting.

    Args:
        dotted_key: such as ``locations.output.absolute_path``.
        kind: expected type.
        default: for a key that is missing or empty; without one it must be there.
        is_secret: whether the value may be one, so that no error shows it.

    Raises:
        SettingsError: that names the file, the key, what was expected and what was there.

    """
    node, path = _settings()
    value: Any = node
    for key in dotted_key.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if default is not ... and value in (None, ""):
        return default
    return _checked(path, dotted_key, value, kind, is_secret=is_secret)


def _checked(path: Path, key: str, value: Any, kind: type, *, is_secret: bool) -> Any:
    if not isinstance(value, kind) or (kind is str and not value):
        got = type(value).__name__ if is_secret else _got(value)
        raise SettingsError(settings_reasons.WRONG_KEY.of(path, repr(key), kind.__name__, got))
    return value


def _got(value: object) -> str:
    """Describe a wrong value. What lists and the like hold is not shown: it may be a secret, and this goes to a log."""
    if value is None:
        return "nothing"
    name = type(value).__name__
    return name if isinstance(value, (dict, list, set, tuple)) else f"{name} {shown(value)}"


def get_path(location: str) -> Path:
    """Folder of a location, as the worker sees it.

    Raises:
        SettingsError: if it is not configured, or not absolute.

    """
    key = f"locations.{location}.absolute_path"
    path = Path(get_setting(key, str))
    if not path.is_absolute() or _CONTROL_CHARACTER.search(str(path)):
        raise SettingsError(
            settings_reasons.WRONG_KEY.of(settings_path(), repr(key), "an absolute path", repr(str(path)))
        )
    return path


def is_s3_upload_enabled() -> bool:
    """Whether backups go to S3 (``backup.backup_type: s3``).

    Raises:
        SettingsError: if the settings cannot be read.

    """
    return bool(get_setting("backup.backup_type", str, default="") == "s3")


def get_s3_upload_config() -> dict[str, Any]:
    """Settings of the S3 backup: ``region``, ``bucket_prefix``.

    Raises:
        SettingsError: if they are not configured.

    """
    region = get_setting("backup.s3.region", str, default=None)
    if region is None:
        get_setting("backup.s3", dict)
    return dict(get_setting("backup.s3", dict))


def get_s3_download_settings() -> dict[str, Any]:
    """Optional settings of the downloader (``s3_download``); empty when there are none.

    Raises:
        SettingsError: if the settings cannot be read.

    """
    return dict(get_setting("s3_download", dict, default={}))


def get_notification_settings() -> dict[str, Any]:
    """Everything below ``general.notifications``; empty when there is nothing.

    Raises:
        SettingsError: if the settings cannot be read.

    """
    # The webhook's URL may stand a level too high, and whoever knows it can post there.
    return dict(get_setting("general.notifications", dict, default={}, is_secret=True))


def get_ops_alerts_webhook_url() -> str:
    """Where failures are posted to; empty for nowhere.

    Raises:
        SettingsError: if the settings cannot be read.

    """
    key = "general.notifications.ops_alerts_webhook_url"
    url = get_notification_settings().get(key.rpartition(".")[2])
    return "" if url in (None, "") else str(_checked(settings_path(), key, url, str, is_secret=True))
