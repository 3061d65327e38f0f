"""The host's settings, read once, at the import."""

import os
from pathlib import Path
from typing import Any

import yaml

from shared.keys import EnvVars, InternalPaths


class YamlKeys:
    """Keys."""

    class Locations:
        """Locations."""

        BACKUP = "backup"
        OUTPUT = "output"


def _load() -> dict[str, Any]:
    file = Path(InternalPaths.ENVS_PATH) / f"alphakraken.{os.getenv(EnvVars.ENV_NAME)}.yaml"
    if not file.exists():
        raise FileNotFoundError(f"no settings at {file}")
    return yaml.safe_load(file.read_text())


YAMLSETTINGS = _load()


def get_path(path_key: str) -> Path:
    """A folder as the cluster sees it."""
    return Path(YAMLSETTINGS["locations"][path_key]["absolute_path"])


def is_s3_upload_enabled() -> bool:
    """Whether backups go to S3."""
    return YAMLSETTINGS.get("backup", {}).get("backup_type", "local") == "s3"


def get_s3_upload_config() -> dict[str, Any]:
    """Settings of S3."""
    return YAMLSETTINGS.get("backup", {}).get("s3", {})
