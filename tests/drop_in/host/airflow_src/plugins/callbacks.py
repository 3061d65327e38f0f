"""The host's callback writes the database; here it leaves a file, so that a test sees that it was called."""

import os
from pathlib import Path
from typing import Any

from plugins.s3.s3_utils import S3UploadFailedException

__all__ = ["S3UploadFailedException"]


def on_failure_callback(_context: Any) -> None:
    """Note the call."""
    Path(os.environ["HOST_CALLBACK_WAS_CALLED"]).touch()
