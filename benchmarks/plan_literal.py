"""The plan taken literally: ``download_file`` with chunks of 500 MB, then the MD5 of what was written, file by file.

The hash is read with hashlib.file_digest, which is faster than the host's ``get_file_hash`` (8 KiB reads).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks.jobs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Job

_CHUNK = 500 * 1024**2


def prepare(job: Job) -> Callable[[], None]:
    """Make and warm a client; the result restores."""
    client = boto3.client(
        "s3",
        endpoint_url=job.endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        verify=job.ca_bundle or None,
        config=Config(s3={"addressing_style": "path"}),
    )
    config = TransferConfig(multipart_threshold=_CHUNK, multipart_chunksize=_CHUNK, max_concurrency=10)
    client.head_object(Bucket=BUCKET, Key=job.files[0].path)

    def restore() -> None:
        for file in job.files:
            path = Path(job.destination) / file.path
            if path.exists():
                if _md5(path) == file.stored[1]:
                    continue
                path.unlink()
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, file.path, str(path), Config=config)
            if _md5(path) != file.stored[1]:
                raise RuntimeError(f"{file.path}: hash differs after the download")

    return restore


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
