"""The RawFile document as the uploader of the host writes it (design_docs/S3_BACKUP_DESIGN.md). Read-only here."""

from mongoengine import DictField, Document, StringField

from s3_restore.model.expected_hash import parse_file_info_item

__all__ = ["RawFile", "parse_file_info_item"]


class RawFile(Document):
    """A raw file and where its backup is. Fields that restoring does not need are left out and ignored."""

    # A read-only user may not create an index, so nothing may try to (D1).
    meta = {"collection": "raw_file", "strict": False, "auto_create_index": False}  # noqa: RUF012 (mongoengine's way)

    id = StringField(max_length=255, primary_key=True)
    project_id = StringField(max_length=32)
    backup_status = StringField(max_length=32)
    s3_upload_path = StringField(max_length=1024)
    file_info = DictField()
