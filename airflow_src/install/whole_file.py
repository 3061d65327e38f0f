"""Writes a file so that whoever reads it sees the old one or the new one, also where the disk is full."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def begun(target: Path) -> Path:
    """Where a file is before it is complete: what was killed meanwhile leaves it there."""
    return target.with_name(f".{target.name}.new")


def write_whole(target: Path, content: bytes, *, keeps_attributes: bool = False) -> None:
    """Write a file that appears complete or not at all.

    Args:
        target: where.
        content: what.
        keeps_attributes: whether mode and owner of the one that is there stay.

    Raises:
        OSError: if it cannot be written; what was there is as it was.

    """
    new = begun(target)
    new.write_bytes(content)
    if keeps_attributes and target.exists():
        shutil.copymode(target, new)
        with contextlib.suppress(OSError):
            os.chown(new, target.stat().st_uid, target.stat().st_gid)
    new.replace(target)
