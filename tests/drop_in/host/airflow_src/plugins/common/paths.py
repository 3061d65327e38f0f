"""Folders as the worker sees them."""

from pathlib import Path

from shared.keys import InternalPaths


def get_internal_output_path() -> Path:
    """The output mount."""
    return Path(InternalPaths.MOUNTS_PATH) / InternalPaths.OUTPUT
