"""The host's settings, read once."""

import os
from pathlib import Path

import yaml

YAMLSETTINGS = yaml.safe_load(Path(os.environ["HOST_YAML"]).read_text())


class YamlKeys:
    """Keys."""

    class Locations:
        """Locations."""

        BACKUP = "backup"
        OUTPUT = "output"


def get_path(path_key: str) -> Path:
    """A folder as the cluster sees it."""
    return Path(YAMLSETTINGS["locations"][path_key]["absolute_path"])


def is_s3_upload_enabled() -> bool:
    """Whether backups go to S3."""
    return YAMLSETTINGS["backup"]["backup_type"] == "s3"


def get_s3_upload_config() -> dict:
    """Settings of S3."""
    return YAMLSETTINGS["backup"]["s3"]
