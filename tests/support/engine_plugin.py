"""Fixtures of the engine's tests, for `pytest_plugins`."""

import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine_fixtures import Stand
from tests.support.fault_proxy import FaultProxy
from tests.support.md5_back_ends import BACK_ENDS, use_back_end
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of a module with `WITH_BOTH_BACK_ENDS = True` runs with hashlib, and with the native MD5 module.

    Where it says "shared", they share the tests, as hashing is not what those are about; LONG=1 runs them with both.
    """
    wanted = getattr(metafunc.module, "WITH_BOTH_BACK_ENDS", False)
    if wanted and "back_end" in metafunc.fixturenames:
        one = BACK_ENDS[zlib.crc32(metafunc.function.__name__.encode()) % len(BACK_ENDS)]
        back_ends = [one] if wanted == "shared" and "LONG" not in os.environ else BACK_ENDS
        metafunc.parametrize("back_end", back_ends, indirect=True)


@pytest.fixture
def back_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(request, "param"):
        use_back_end(monkeypatch, request.param)


@pytest.fixture
def stand(back_end: None, tmp_path: Path) -> Iterator[Stand]:
    yield from _stand(tmp_path, versioning=True)


@pytest.fixture
def unversioned(back_end: None, tmp_path: Path) -> Iterator[Stand]:
    """The same with a bucket that keeps no versions, as S3-compatible stores have them."""
    yield from _stand(tmp_path, versioning=False)
