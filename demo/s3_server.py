"""An S3 server over HTTP on the loopback interface: moto, a stand-in for AWS or an S3-compatible store.

Exact multipart ETags, If-Match and HEAD with PartNumber are as on AWS. It checks no credentials, keeps objects in
memory (about three times their size) and reads ranges of large objects slowly.
"""

import secrets
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from demo.processes import LOCALHOST, ChildProcess, Startable, accepts_connections, environment, pick_port, wait_until

REGION = "eu-central-1"


class S3Server(Startable):
    """A running S3 server: `with S3Server(log_file) as s3: s3.client().list_buckets()`.

    Attributes:
        endpoint_url: such as `http://127.0.0.1:9010`.
        region: of all buckets.
        access_key, secret_key: made up for this run.
    """

    def __init__(self, log_file: Path, preferred_port: int | None = None) -> None:
        self.port = pick_port(preferred_port)
        self.endpoint_url = f"http://{LOCALHOST}:{self.port}"
        self.region = REGION
        self.access_key = secrets.token_hex(10)
        self.secret_key = secrets.token_urlsafe(30)
        self.process = ChildProcess(
            "S3 server",
            [Path(sys.executable).with_name("moto_server"), "-H", LOCALHOST, "-p", str(self.port)],
            log_file,
            environment({}),
        )

    def client(self, **config: Any) -> Any:
        """Return a boto3 S3 client; `config` goes to botocore's Config. Close it when done."""
        # Empty proxies: never one between us and the loopback interface, whatever the environment says.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(**{"proxies": {}, **config}),
        )

    def airflow_connection(self) -> dict[str, Any]:
        """Return the Airflow connection to this server, as `AIRFLOW_CONN_AWS_DEFAULT` takes it in JSON."""
        return {
            "conn_type": "aws",
            "login": self.access_key,
            "password": self.secret_key,
            "extra": {"endpoint_url": self.endpoint_url, "region_name": self.region},
        }

    def start(self) -> None:
        """Start it and return at once."""
        self.process.start()

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: accepts_connections(self.port), [self.process], "The S3 server", timeout_seconds=60)

    def stop(self) -> None:
        """End it. All objects are gone."""
        self.process.stop()
