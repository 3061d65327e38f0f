"""The host's documents: more fields than a restore needs, and a default for the project."""

from mongoengine import DateTimeField, DictField, Document, IntField, StringField

from shared.keys import FALLBACK_PROJECT_ID


class RawFile(Document):
    """A raw file."""

    meta = {"strict": False}  # noqa: RUF012 (mongoengine's way)

    id = StringField(max_length=255, required=True, primary_key=True)
    collision_flag = StringField(max_length=32, default=None)
    original_name = StringField(max_length=255, required=True)
    instrument_id = StringField(max_length=32)
    project_id = StringField(max_length=32, default=FALLBACK_PROJECT_ID)
    status = StringField(max_length=32)
    size = IntField(min_value=-1)
    created_at = DateTimeField()
    backup_status = StringField(max_length=32, default=None)
    s3_upload_path = StringField(max_length=1024, default=None)
    file_info = DictField()


def parse_file_info_item(item: list) -> tuple:
    """Size and hash, the host's way: no other form than its own."""
    return (item[0], item[1]) if item else item
