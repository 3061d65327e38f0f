"""Many restores in one process: memory, open files and threads must not grow (W7). ``make soak`` runs a thousand."""

import gc
import os
import time
from pathlib import Path

import psutil

from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support import raw_files
from tests.support.s3_stand_in import S3StandIn

RESTORES = int(os.environ.get("SOAK_RESTORES", "60"))
MOST_FILES = 40
GROWTH_ALLOWED_MIB = 16  # of a process that restores 40 files at a time; the allocator keeps some for itself


def open_things() -> tuple[int, int, float]:
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.num_threads(), process.memory_info().rss / raw_files.MIB


def test_restores_leave_nothing_behind_in_the_process(tmp_path: Path) -> None:
    data = {f"{number}.bin": raw_files.raw_bytes(2000 + number, number) for number in range(MOST_FILES)}
    info = raw_files.file_info(data, form="H2", part_mib=8)
    with S3StandIn() as s3:
        for name, content in data.items():
            s3.upload("bucket", name, content)
        client = s3.client()
        warm = None
        for turn in range(RESTORES):
            count = 1 + turn * MOST_FILES // RESTORES
            destination = tmp_path / str(turn % 3)
            destination.mkdir(exist_ok=True)
            specs = [
                FileSpec(name, "bucket", name, value[0], parse_expected_hash(value))
                for name, value in list(info.items())[:count]
            ]
            if turn % 5 == 0:
                for path in destination.iterdir():
                    path.write_bytes(b"corrupted")
            summary = Restorer(S3ObjectStore(client), destination, RestoreSettings(max_concurrency=4)).run(specs)
            assert not summary.failed
            s3.forget_requests()
            if turn == RESTORES // 3:
                warm = open_things()
        assert warm
        until = time.monotonic() + 30
        while (now := open_things())[1] > warm[1] + 4 and time.monotonic() < until:
            time.sleep(0.05)  # threads that were told to end are about to
        files, threads, memory = now
    assert files <= warm[0] + 8
    assert threads <= warm[1] + 4
    assert memory <= warm[2] + GROWTH_ALLOWED_MIB
