"""Chromium as the browser tests use it, and S3 behind a proxy as the tasks of a stand reach it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from demo.stand import Stand
from tests.support.fault_proxy import FaultProxy

CHROMIUM = Path("/usr/bin/chromium")
# No sandbox: it needs rights that root in a container has not. The rest keeps it from calling home.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def started_browser() -> Iterator[Browser]:
    """A browser; pages of it know nothing of each other where each has a context of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def s3_through_proxy(stand: Stand) -> Iterator[FaultProxy]:
    """S3 as the tasks reach it, which can slow down and halt; and progress is told each second."""
    usual, settings = stand.s3.airflow_connection(), stand.settings_file.read_text()
    with FaultProxy(stand.s3.endpoint_url) as proxy:
        connection = {**usual, "extra": {**usual["extra"], "endpoint_url": proxy.url}}
        stand.settings_file.write_text(f"{settings}s3_download: {{progress_interval_s: 1}}\n")
        stand.airflow.restart_scheduler({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)})
        yield proxy
        stand.settings_file.write_text(settings)
        stand.airflow.restart_scheduler({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(usual)})
