"""boto3 clients for the servers of this package."""

import boto3
from botocore.config import Config

ACCESS_KEY = "AKIDFORTESTS"


def s3_client(endpoint_url: str, *, retries: int = 0, access_key: str = ACCESS_KEY, addressing: str = "path", **config):
    """A client with dummy credentials that never goes through a proxy of the environment.

    `config` goes to `botocore.config.Config`; without `retries` every fault is seen by the caller.
    """
    options = {"connect_timeout": 5, "read_timeout": 5, "proxies": {}, **config}
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="eu-central-1",
        aws_access_key_id=access_key,
        aws_secret_access_key="secret-for-tests",
        config=Config(
            s3={"addressing_style": addressing}, retries={"mode": "standard", "max_attempts": retries + 1}, **options
        ),
    )
