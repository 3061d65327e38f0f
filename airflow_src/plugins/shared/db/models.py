"""The RawFile document as the uploader of the host writes it (data_contract.md, "MongoDB"). Read-only here."""

from collections.abc import Sequence

from mongoengine import DictField, Document, StringField

from s3_restore.expected_hash import ExpectedHash, parse_expected_hash


class RawFile(Document):
    """A raw file and where its backup is. Fields that restoring does not need are left out and ignored."""

    # D1: a read-only user may not create an index, so nothing may try to.
    meta = {"collection": "raw_file", "strict": False, "auto_create_index": False}  # noqa: RUF012 (mongoengine's way)

    id = StringField(max_length=255, primary_key=True)
    project_id = StringField(max_length=32)
    backup_status = StringField(max_length=32)
    s3_upload_path = StringField(max_length=1024)
    file_info = DictField()


def parse_file_info_item(item: Sequence[object] | None) -> tuple[object, ExpectedHash | None]:
    """Read one value of ``file_info``: ``[size, md5]``, ``[size, md5, "etag__100"]`` or ``[size, "hex-N"]``.

    Returns:
        Size in bytes as it is stored, and the expected hash; None for what is missing or malformed.

    """
    size = item[0] if isinstance(item, (list, tuple)) and item else None
    return size, parse_expected_hash(item)
