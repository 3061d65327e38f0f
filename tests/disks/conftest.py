"""Disks in files (tests/support/mounts.py), and a deployment that restores to them. Needs root and loop devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mongo_server import MongoServer
from tests.disks.deployment import Deployment
from tests.support import mounts as support
from tests.support.mounts import Mounts
from tests.support.s3_stand_in import S3StandIn


@pytest.fixture(autouse=True, scope="session")
def _disks_can_be() -> None:
    if reason := support.why_not():
        pytest.skip(f"no disks here: {reason}")


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """A folder for images in which a copy takes no time and is of one instant, where XFS is there; else any folder."""
    with Mounts() as mounts:
        point = mounts.folder / "shelf"
        try:
            mounts.disk("xfs", point, mib=4096)
        except OSError:
            point.mkdir(exist_ok=True)
        yield point


@pytest.fixture
def mounts(shelf: Path) -> Iterator[Mounts]:
    with Mounts(shelf) as made:
        yield made
    assert support.leftovers(made.folder) == []


@pytest.fixture
def kraken(
    tmp_path: Path, mounts: Mounts, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    with S3StandIn() as s3:
        deployment = Deployment(tmp_path, mounts, s3, mongo_server, monkeypatch)
        try:
            yield deployment
        finally:
            s3.on_request = None
            deployment.close()
