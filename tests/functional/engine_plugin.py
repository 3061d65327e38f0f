"""Fixtures of the engine's tests, for `pytest_plugins`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.engine_fixtures import Stand
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_stand_in import S3StandIn


def _stand(folder: Path, *, versioning: bool) -> Iterator[Stand]:
    destination = folder / "output" / "PRID001"
    destination.mkdir(parents=True)
    with S3StandIn(versioning=versioning) as server, FaultProxy(server.url) as proxy:
        yield Stand(server, proxy, destination)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    yield from _stand(tmp_path, versioning=True)


@pytest.fixture
def unversioned(tmp_path: Path) -> Iterator[Stand]:
    """The same with a bucket that keeps no versions, as S3-compatible stores have them."""
    yield from _stand(tmp_path, versioning=False)
