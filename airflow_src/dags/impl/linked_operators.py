"""Operators whose tasks have a button that leads to the page of restores (U1, design_docs/PAGE.md).

Airflow serves such a button as an XCom of the task, pushed at its end; pushed early, it is there while the task runs.
On Airflow 2.11, and where the page is not installed, there is none.
"""

import importlib.metadata
import importlib.util
from typing import Any
from urllib.parse import urlencode

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf
from airflow.providers.standard.operators.python import PythonOperator

_PAGE_PLUGIN = "s3_restores_page"
_PAGE = "/s3-restores/"
_FIRST_WITH_PAGES = (3, 1)


class RestoresPageLink(BaseOperatorLink):
    """The button."""

    name = "S3 restores"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 (as Airflow calls it)
        """Where it leads to."""
        return page_of(ti_key)


def page_of(ti: Any) -> str:
    """Address of the page that shows the run of a task."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}{_PAGE}?{urlencode({'dag': ti.dag_id, 'run': ti.run_id})}"


def early_link(ti: Any) -> dict[str, str]:
    """The XCom of the button, to be pushed while the task runs; empty where there is none."""
    return {link.xcom_key: link.get_link(None, ti_key=ti) for link in LINKS} if ti is not None else {}


def _links() -> tuple[RestoresPageLink, ...]:
    major, minor = importlib.metadata.version("apache-airflow").split(".")[:2]
    has_pages = (int(major), int(minor)) >= _FIRST_WITH_PAGES
    return (RestoresPageLink(),) if has_pages and importlib.util.find_spec(_PAGE_PLUGIN) else ()


LINKS = _links()


class LinkedPythonOperator(PythonOperator):
    """PythonOperator with the button."""

    operator_extra_links = LINKS
