"""boto3 clients for the servers of this package."""

import threading

import boto3
from botocore.config import Config

ACCESS_KEY = "AKIDFORTESTS"
_SESSION = boto3.session.Session()  # one for all: reading the service model takes 0.2 s
_ONE_AT_A_TIME = threading.Lock()  # clients may be shared by threads, making them may not


def s3_client(endpoint_url: str, *, retries: int = 0, access_key: str = ACCESS_KEY, addressing: str = "path", **config):
    """A client with dummy credentials that never goes through a proxy of the environment.

    `config` goes to `botocore.config.Config`; without `retries` every fault is seen by the caller.
    """
    options = {"connect_timeout": 5, "read_timeout": 5, "proxies": {}, **config}
    attempts = {"mode": "standard", "total_max_attempts": retries + 1}
    with _ONE_AT_A_TIME:
        return _SESSION.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name="eu-central-1",
            aws_access_key_id=access_key,
            aws_secret_access_key="secret-for-tests",
            config=Config(s3={"addressing_style": addressing}, retries=attempts, **options),
        )
