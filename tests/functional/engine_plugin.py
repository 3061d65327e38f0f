"""Fixtures of the engine's tests, for `pytest_plugins`."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.engine_fixtures import Stand
from tests.support.fault_proxy import FaultProxy
from tests.support.raw_files import MIB
from tests.support.s3_stand_in import S3StandIn

_MEMORY = Path("/dev/shm")  # a file system in memory: hundreds of fsyncs on a disk take minutes
_ROOM_BYTES = 1024 * MIB


def folder_for_files(tmp_path: Path) -> Path:
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="engine-tests-", dir=_MEMORY if in_memory else tmp_path))


def _stand(tmp_path: Path, *, versioning: bool) -> Iterator[Stand]:
    folder = folder_for_files(tmp_path)
    destination = folder / "output" / "PRID001"
    destination.mkdir(parents=True)
    try:
        with S3StandIn(versioning=versioning) as server, FaultProxy(server.url) as proxy:
            yield Stand(server, proxy, destination)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    yield from _stand(tmp_path, versioning=True)


@pytest.fixture
def unversioned(tmp_path: Path) -> Iterator[Stand]:
    """The same with a bucket that keeps no versions, as S3-compatible stores have them."""
    yield from _stand(tmp_path, versioning=False)
