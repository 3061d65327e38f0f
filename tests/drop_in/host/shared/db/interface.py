"""The host's questions to the database."""

from typing import Any

from shared.db.engine import connect_db
from shared.db.models import RawFile


def get_raw_file_by_id(raw_file_id: str) -> Any:
    """Find a raw file; None when there is none."""
    connect_db()
    return RawFile.objects(id=raw_file_id).first()
