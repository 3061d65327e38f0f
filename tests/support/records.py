"""The records of versions that are set aside, as a person would find them on disk."""

import json
from pathlib import Path


def is_record_of_what_is_there(path: Path) -> bool:
    """Whether a file is a record, and the version that it describes is beside it."""
    if not (path.name.startswith(".s3dl.") and path.name.endswith(".aside")):
        return False
    said = json.loads(path.read_bytes())
    aside = path.with_name(said["aside"])
    return aside.exists() and (aside.stat().st_ino, aside.stat().st_size) == (said["inode"], said["size"])
