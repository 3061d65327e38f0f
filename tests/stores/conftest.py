"""Each server once a session; a deployment of its own for each test."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.mongo_server import MongoServer
from tests.stores.capabilities import Capabilities, capabilities_of
from tests.stores.lab import Lab
from tests.stores.servers import STORES, Store
from tests.support.fault_proxy import FaultProxy
from tests.support.kraken import _airflow  # noqa: F401 (a fixture)


@pytest.fixture(scope="session", params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A running S3 server; skipped with a word where it is not installed."""
    kind = STORES[request.param]
    if why := kind.missing():
        pytest.skip(f"{kind.name}: {why}")
    with kind(tmp_path_factory.mktemp(kind.__name__.lower())) as server:
        yield server


@pytest.fixture(scope="session")
def seen(store: Store) -> Capabilities:
    """What this server can, found by asking it."""
    return capabilities_of(store)


@pytest.fixture
def lab(
    _airflow: None,  # noqa: F811
    tmp_path: Path,
    store: Store,
    seen: Capabilities,
    mongo_server: MongoServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lab]:
    """The product, its database and its output folder, before this server."""
    with FaultProxy(store.url) as proxy:
        deployment = Lab(tmp_path, store, seen, proxy, mongo=mongo_server, patch=monkeypatch)
        yield deployment
        deployment.close()


@pytest.fixture
def needs(seen: Capabilities, store: Store) -> Callable[[str], None]:
    """Skip the test where the store has not this property, with what it said when it was asked."""

    def need(name: str) -> None:
        if not getattr(seen, name):
            said = {key: value for key, value in dataclasses.asdict(seen).items() if key in _WHY.get(name, ())}
            pytest.skip(f"{store.name} has no {name}: {said}")

    return need


_WHY = {
    "has_versions": ("version_ids", "named_version"),
    "has_delete_markers": ("version_ids", "delete_marker"),
    "uploads_parts": ("etag_of_parts",),
    "checks_secrets": ("wrong_secret",),
    "checks_access_keys": ("unknown_key",),
    "refuses_unsigned": ("unsigned",),
}
