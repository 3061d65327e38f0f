"""Servers for all tests. Session-wide, started by the first test that asks, ended with everything they started."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from demo.mongo_server import MongoServer
from demo.s3_server import S3Server

pytest_plugins = ["tests.support.kraken"]

SYSTEM = "tests/system/"
LARGE_FILES = (
    SYSTEM,
    "tests/s3/test_odd_stores",
    "tests/impl/test_signals",
    "tests/drop_in/",
    "tests/run/",
    "tests/disk/",
)

# The same examples in each run, and no file of them in the tree: a failure in CI is one here too. To look for new ones:
# `pytest --hypothesis-profile=random`.
hypothesis.settings.register_profile("stable", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("random", database=None, deadline=None)
hypothesis.settings.load_profile("stable")


# --- the suite in two processes (pytest-xdist, `make test`) ----------------------------------------------------------


class FilesApart(LoadFileScheduling):
    """Each file to one process, and all of tests/system to one, so that a single Airflow is started for them."""

    def _split_scope(self, nodeid: str) -> str:
        scope = super()._split_scope(nodeid)
        return SYSTEM if scope.startswith(SYSTEM) else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesApart:
    return FilesApart(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes long to targets of its own, and begin what takes longest first: it would be waited for."""
    if "LONG" not in os.environ:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip("takes long: make test-system, test-restore, test-disks"))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, name in enumerate(LARGE_FILES) if item.nodeid.startswith(name)), 99))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates, as hostile names have them: what is sent between processes must be UTF-8."""
    return _as_utf8((yield))


def _as_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_utf8(key): _as_utf8(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_as_utf8(each) for each in value)
    return value


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _own_environment_only() -> Iterator[None]:
    """Keep a developer's own AWS profile, endpoint, MongoDB or proxy out of the tests."""
    foreign = ("AWS_", "MONGO_", "ALPHAKRAKEN_")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(foreign)]:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server over HTTP (moto), empty at first; about 2 s, once a session.

    - `s3_server.client()`: a new boto3 client (close it); keyword arguments go to botocore's Config, such as
      `retries={"max_attempts": 1}`.
    - `s3_server.endpoint_url`, `.region`, `.access_key`, `.secret_key`: to make a client in another way.
    - `s3_server.airflow_connection()`: dict for `AIRFLOW_CONN_AWS_DEFAULT` (as JSON).

    All tests share it: use a bucket name of your own (at least 3 characters). Bucket creation needs
    `CreateBucketConfiguration={"LocationConstraint": s3_server.region}`; objects stay in memory, so delete large ones.
    """
    with S3Server(tmp_path_factory.mktemp("s3_server") / "server.log") as server:
        yield server


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A real server on MongoDB's protocol that enforces users and roles; about 4 s, once a session.

    - `mongo_server.host`, `.port`: where it listens. The database is `krakendb`.
    - `mongo_server.reader`, `.writer`: users with the roles `read` and `readWrite`; `.name` and `.password` of each.
    - `mongo_server.client(mongo_server.writer)`: a pymongo client logged in as one (close it, or use `with`).
    - `mongo_server.environment()`: `MONGO_HOST`, `MONGO_PORT`, `MONGO_USER`, `MONGO_PASSWORD` for the reader, as the
      product expects them: `for name, value in mongo_server.environment().items(): monkeypatch.setenv(name, value)`.

    All tests share it: use document ids of your own.
    """
    with MongoServer(tmp_path_factory.mktemp("mongo_server") / "data") as server:
        yield server
