"""The host's questions to the database."""

from shared.db.engine import connect_db
from shared.db.models import RawFile


def get_raw_file_by_id(raw_file_id: str) -> RawFile:
    """Find a raw file; raises DoesNotExist."""
    connect_db()
    return RawFile.objects.get(id=raw_file_id)
