"""The product's restore, called as its DAG's task calls it below Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import boto3
from botocore.config import Config

from benchmarks.jobs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Job
from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore, client_config


def prepare(job: Job) -> Callable[[], None]:
    """Make and warm a client; the result restores."""
    settings = RestoreSettings()
    config = client_config(settings.max_concurrency, settings.stall_timeout_s)
    client = boto3.client(
        "s3",
        endpoint_url=job.endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        verify=job.ca_bundle or None,
        config=config.merge(Config(s3={"addressing_style": "path"})),
    )
    store = S3ObjectStore(client)
    specs = [FileSpec(file.path, BUCKET, file.path, file.size, parse_expected_hash(file.stored)) for file in job.files]
    destination = Path(job.destination)
    destination.mkdir(parents=True, exist_ok=True)
    store.head(BUCKET, job.files[0].path)

    def restore() -> None:
        summary = Restorer(store, destination, settings).run(specs)
        failed = [outcome for outcome in summary.outcomes if not outcome.ok]
        if failed or len(summary.outcomes) != len(specs):
            raise RuntimeError(f"{len(failed)} of {len(specs)} files failed, the first: {failed[:1]}")

    return restore
