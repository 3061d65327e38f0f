"""The plugin of the page: what it adds to Airflow, what it serves, what it costs the processes that do not serve it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import s3_restores_page
from s3_restores_page import FILES, HEADERS, PageFiles, S3RestoresPage
from tests.support.airflow_lines import IS_AIRFLOW_2

REPOSITORY = Path(__file__).resolve().parents[2]
airflow_3 = pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no such page")


def get(path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """One request to the application as the API server makes it."""
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(PageFiles()({**scope, "asgi": {"spec_version": "2.4"}}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


@airflow_3
def test_page_is_in_the_navigation_and_leads_where_it_is_served():
    (view,) = S3RestoresPage.external_views
    (app,) = S3RestoresPage.fastapi_apps
    assert view["destination"] == "nav"
    # Without an address Airflow drops the whole plugin; without the slash, relative addresses lead elsewhere.
    assert view["href"] == f"{app['url_prefix'].strip('/')}/"
    for icon in ("icon", "icon_dark_mode"):
        assert (FILES / view[icon].removeprefix(view["href"])).is_file()


@pytest.mark.skipif(not IS_AIRFLOW_2, reason="of Airflow 2")
def test_airflow_2_gets_nothing_from_it():
    assert S3RestoresPage.fastapi_apps == S3RestoresPage.external_views == []


def test_only_page_files_lie_in_the_folder_that_is_served():
    assert {path.suffix for path in FILES.rglob("*")} == {".css", ".html", ".mjs", ".svg"}
    assert Path(s3_restores_page.__file__).parent == FILES.parent


@airflow_3
@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/", "text/html"), ("/main.mjs", "text/javascript"), ("/page.css", "text/css"), ("/icon.svg", "image/svg+xml")],
)
def test_files_are_served_with_their_type_and_headers(path, content_type):
    status, headers, body = get(path)
    assert status == 200
    assert headers["content-type"].split(";")[0] in {content_type, "application/javascript"}
    assert body
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= headers.items()


@airflow_3
@pytest.mark.parametrize(
    "path", ["/nothing.mjs", "/../s3_restores_page.py", "/..%2fs3_restores_page.py", "//etc/passwd", "/.."]
)
def test_nothing_else_is_served(path):
    status, headers, _ = get(path)
    assert status in {404, 405}
    assert "default-src 'none'" in headers["content-security-policy"]


@airflow_3
def test_nothing_can_be_sent_to_it():
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert get("/", method)[0] == 405


def test_processes_that_do_not_serve_it_import_nothing_for_it():
    """Airflow imports plugins in each task. What serves files costs a second, so it comes with the first request."""
    code = (
        "import sys, json\n"
        "try:\n    import airflow.plugins_manager\nexcept ImportError:\n    import airflow.sdk.plugins_manager\n"
        "before = set(sys.modules)\nimport s3_restores_page\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "airflow_src/plugins")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == ["s3_restores_page"]
