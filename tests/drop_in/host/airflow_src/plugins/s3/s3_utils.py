"""The host has a module of this name: its uploads."""


class S3UploadFailedException(Exception):  # noqa: N818 (the host's name)
    """An upload failed."""
