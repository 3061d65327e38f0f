"""Child process: an S3 that tells part checksums, as AWS does for uploads by boto3 1.36 and later.

``python -m benchmarks.part_checksum_source PART_SIZE FILE...`` serves files under their names. It writes its URL as one
line; then, for each line that it reads, the body bytes that it has sent since the line before.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.jobs import BUCKET
from tests.support.s3_stand_in import S3StandIn


def main() -> None:
    """Serve until standard input ends."""
    part_size, *paths = sys.argv[1:]
    with S3StandIn() as server:
        for path in map(Path, paths):
            server.upload(BUCKET, path.name, path, part_size=int(part_size))
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(server.bytes_sent(), flush=True)
            server.forget_requests()


if __name__ == "__main__":
    main()
