"""The fleet with the servers that it restores from."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.mongo_server import DATABASE, MongoServer
from demo.s3_server import REGION
from tests.fleet.fleet import PROGRAMS, Fleet
from tests.fleet.servers import VERSIONS
from tests.support.fault_proxy import FaultProxy
from tests.support.raw_files import file_info
from tests.support.s3_stand_in import S3StandIn
from tests.support.webhook_receiver import WebhookReceiver

PROJECT_ID = "PRID001"
BUCKET = "alphakraken-prid001"
PART_MIB = 4


@dataclass
class Stage:
    """The fleet and all around it.

    Attributes:
        fleet: the service under test.
        s3: the object store.
        proxy: between the workers and it.
        mongo: the database of raw files.
        webhook: gets the notifications.
        files: relative path -> bytes, of everything stored.
    """

    fleet: Fleet
    s3: S3StandIn
    proxy: FaultProxy
    mongo: MongoServer
    webhook: WebhookReceiver
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    def store(self, raw_file_id: str, files: dict[str, bytes]) -> None:
        """Back a raw file up, as the uploader does."""
        for path, data in files.items():
            self.s3.upload(BUCKET, path, data, part_size=PART_MIB << 20)
        document: dict[str, Any] = {
            "_id": raw_file_id,
            "project_id": PROJECT_ID,
            "backup_status": "upload_done",
            "s3_upload_path": f"s3://{BUCKET}",
            "file_info": file_info(files, "H2", PART_MIB),
        }
        with self.mongo.client(self.mongo.writer) as client:
            client[DATABASE]["raw_file"].replace_one({"_id": raw_file_id}, document, upsert=True)
        self.files |= files


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Stage]:
    """Start all parts below an empty folder; about a minute."""
    missing = [
        name
        for name, there in {
            "PostgreSQL": any(VERSIONS.glob("*/bin/initdb")),
            "redis-server": shutil.which("redis-server"),
            str(PROGRAMS): PROGRAMS.is_dir(),
        }.items()
        if not there
    ]
    assert not missing, f"`make fleet-setup` brings what is missing: {', '.join(missing)}"
    with (
        S3StandIn() as s3,
        FaultProxy(s3.url) as proxy,
        WebhookReceiver() as webhook,
        MongoServer(home / "mongo") as mongo,
    ):
        connection = {
            "conn_type": "aws",
            "login": "key",
            "password": "secret",
            "extra": {"endpoint_url": proxy.url, "region_name": REGION},
        }
        with Fleet(home / "fleet", connection, mongo, webhook.url) as fleet:
            yield Stage(fleet, s3, proxy, mongo, webhook)
