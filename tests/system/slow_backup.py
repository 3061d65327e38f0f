"""A backup that the stand's tasks reach through a proxy, which can slow it down and halt it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from demo.sample_files import BUCKET, PROJECT_ID
from demo.stand import Stand
from tests.support.fault_proxy import FaultProxy
from tests.support.raw_files import MIB, file_info
from tests.support.s3_stand_in import S3StandIn


@contextmanager
def slow_backup(  # noqa: PLR0917
    stand: Stand,
    raw_file_id: str,
    files: Mapping[str, bytes],
    part_mib: int,
    during: Mapping[str, str],
    after: Mapping[str, str],
    *,
    versioning: bool = True,
) -> Iterator[tuple[S3StandIn, FaultProxy]]:
    """Back files up, and start the scheduler anew so that its tasks take them from here; `after`, from the usual S3.

    Args:
        stand: the whole Airflow.
        raw_file_id: of the files.
        files: their bytes by paths.
        part_mib: part size of the uploads.
        during, after: further variables of the scheduler, meanwhile and then.
        versioning: whether the bucket keeps versions.

    """
    with S3StandIn(versioning=versioning) as s3, FaultProxy(s3.url) as proxy:
        for path, data in files.items():
            s3.upload(BUCKET, path, data, part_size=part_mib * MIB)
        stand.store(
            {
                "_id": raw_file_id,
                "project_id": PROJECT_ID,
                "backup_status": "upload_done",
                "s3_upload_path": f"s3://{BUCKET}",
                "file_info": file_info(files, "H2", part_mib),
            }
        )
        usual = stand.s3.airflow_connection()
        connection = {**usual, "extra": {**usual["extra"], "endpoint_url": proxy.url}}
        stand.airflow.restart_scheduler({**during, "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)})
        yield s3, proxy
        stand.airflow.restart_scheduler({**after, "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(usual)})
