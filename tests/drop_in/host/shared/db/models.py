"""The host's documents: more fields than a restore needs."""

from mongoengine import DateTimeField, DictField, Document, FloatField, StringField


class RawFile(Document):
    """A raw file."""

    meta = {"strict": False}  # noqa: RUF012 (mongoengine's way)

    id = StringField(max_length=255, primary_key=True)
    original_name = StringField(max_length=255)
    instrument_id = StringField(max_length=50)
    project_id = StringField(max_length=32)
    status = StringField(max_length=32)
    size = FloatField()
    created_at = DateTimeField()
    backup_status = StringField(max_length=32)
    s3_upload_path = StringField()
    file_info = DictField()


def parse_file_info_item(item: list) -> tuple:
    """Size and hash, the host's way: no other form than its own."""
    size, md5 = item[:2]
    return size, md5
