"""The button from a task to the page of restores: there where the page is, and nowhere else."""

import importlib.metadata
from types import SimpleNamespace

import pytest

from impl import linked_operators
from impl.linked_operators import RestoresPageLink, page_of

TI = SimpleNamespace(dag_id="s3_downloader", run_id="manual__2026-11-26T16:19:47.603223+00:00")


def test_the_address_is_below_the_base_url_and_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/prefix/")
    assert page_of(TI) == (
        "https://airflow.example/prefix/s3-restores/"
        "?dag=s3_downloader&run=manual__2026-11-26T16%3A19%3A47.603223%2B00%3A00"
    )
    assert RestoresPageLink().get_link(None, ti_key=TI) == page_of(TI)


@pytest.mark.parametrize(
    ("version", "is_installed", "has_button"),
    [
        ("3.3.2", True, True),
        ("3.1.0", True, True),
        ("3.0.6", True, False),
        ("2.11.2", True, False),
        ("3.3.2", False, False),
    ],
)
def test_the_button_is_there_where_the_page_is(
    monkeypatch: pytest.MonkeyPatch, version: str, is_installed: bool, has_button: bool
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: is_installed and name == "s3_restores_page")
    assert bool(linked_operators._links()) == has_button


def test_the_early_link_is_the_xcom_that_airflow_would_push_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked_operators, "LINKS", (RestoresPageLink(),))
    assert linked_operators.early_link(TI) == {"_link_RestoresPageLink": page_of(TI)}
    assert linked_operators.early_link(None) == {}
