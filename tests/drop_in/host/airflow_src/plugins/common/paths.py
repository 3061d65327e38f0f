"""Folders as the worker sees them."""

import os
from pathlib import Path


def get_internal_output_path() -> Path:
    """The output mount."""
    return Path(os.environ["HOST_MOUNTS"]) / "output"
