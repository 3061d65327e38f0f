"""Create the bucket of the compose profile ``local``, with versioning as on the real buckets.

Connects with ``AIRFLOW_CONN_AWS_DEFAULT``, the very string that the worker gets: when this ends well, the worker's
endpoint and keys are right. Needs ``LOCAL_S3_BUCKET`` too. A bucket that exists is fine.
"""

import json
import os
import sys
from collections.abc import Mapping

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_CONNECTION = "AIRFLOW_CONN_AWS_DEFAULT"
_BUCKET = "LOCAL_S3_BUCKET"
_MINE_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def create_bucket(environ: Mapping[str, str]) -> str:
    """Create the bucket and switch versioning on.

    Returns:
        One line that says what was done and where.

    Raises:
        ValueError: The connection is not JSON or lacks a part; the text never shows its content.
        ClientError, BotoCoreError: The server refused or cannot be reached.
    """
    bucket = environ[_BUCKET]
    try:
        connection = json.loads(environ[_CONNECTION])
        login, password, extra = connection["login"], connection["password"], connection["extra"]
        endpoint, region = extra["endpoint_url"], extra["region_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{_CONNECTION} must be JSON with login, password, extra.endpoint_url and extra.region_name, "
            f"see .env.example ({type(error).__name__})"
        ) from None
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=login,
        aws_secret_access_key=password,
    )
    done = "created"
    try:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MINE_ALREADY:
            raise
        done = "exists"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return f"bucket {bucket} {done} at {endpoint}, versioning is on"


if __name__ == "__main__":
    try:
        sys.stdout.write(create_bucket(os.environ) + "\n")
    except (ValueError, ClientError, BotoCoreError) as problem:
        sys.exit(f"create_local_bucket: {problem}")
