"""The page in real Chromium, with answers of Airflow that are made up: what is hard to bring about in a real one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.test_page_modules import FILES
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.chromium import CHROMIUM, started_browser

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no such page"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium (Debian), then again"),
]

BASE = "http://airflow.invalid/s3-restores/"
TYPES = {".mjs": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
NOTHING = (404, {"detail": "not found"})
RUN = {
    "dag_id": "s3_downloader",
    "dag_run_id": "manual__1",
    "state": "running",
    "run_after": "2026-01-01T00:00:00Z",
    "start_date": "2026-01-01T00:00:00Z",
    "end_date": None,
    "triggering_user_name": "ada",
    "note": None,
    "conf": {"raw_file_id": "sample.d"},
}
ENDED = {"end_date": "2026-01-01T00:01:00Z"}
BATCH = {**RUN, **ENDED, "dag_id": "s3_batch_downloader", "dag_run_id": "b", "state": "failed"}

Answers = Callable[[str, str], tuple[int, Any]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture
def shown(browser: Browser) -> Iterator[Callable[[str, Answers], Page]]:
    """Opens the page with a query; what it asks Airflow for is answered by a function of method and path."""
    context = browser.new_context()

    def show(query: str, answers: Answers) -> Page:
        def answer(route: Route) -> None:
            method, path = route.request.method, route.request.url.split("?")[0].split("airflow.invalid")[1]
            if path.startswith("/api/v2/"):
                status, body = answers(method, path.removeprefix("/api/v2/"))
                route.fulfill(status=status, json=body)
            else:
                file = FILES / (path.rpartition("/")[2] or "index.html")
                route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])

        page = context.new_page()
        page.route("**/*", answer)
        page.goto(f"{BASE}{query}")
        return page

    yield show
    context.close()


def test_why_it_was_not_stopped_stays_until_somebody_has_read_it(shown):
    looks = []

    def answers(method: str, path: str) -> tuple[int, Any]:
        if method == "PATCH":
            return 500, {}
        if path.endswith("dagRuns/manual__1"):
            looks.append(path)
            return 200, RUN
        return (200, {"task_instances": []}) if path.endswith("/taskInstances") else NOTHING

    page = shown("?dag=s3_downloader&run=manual__1", answers)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop it").click()

    said = page.get_by_role("alert").filter(has_text="Airflow has an error of its own (500)")
    expect(said).to_be_visible()
    before = len(looks)
    while len(looks) < before + 2:  # looks that go well say nothing of what was asked for
        page.wait_for_timeout(200)
    expect(said).to_be_visible()
    said.get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_a_stopped_batch_has_not_started_is_no_more_to_come_and_is_started_with_the_failed_ones(shown):
    ids = ["a.raw", "(b) b.raw", "c.raw"]
    started = [{"trigger_run_id": raw_file_id, "conf": {"raw_file_id": raw_file_id}} for raw_file_id in ids]
    failed = {**RUN, **ENDED, "state": "failed", "dag_run_id": ids[1], "conf": {"raw_file_id": ids[1], "batch": "b"}}
    good = {**failed, "state": "success", "dag_run_id": ids[0], "conf": {"raw_file_id": ids[0], "batch": "b"}}

    def answers(_: str, path: str) -> tuple[int, Any]:
        if path.endswith("dagRuns/list"):
            return 200, {"dag_runs": [good, failed]}
        if path.endswith("list_raw_files/xcomEntries/return_value"):
            return 200, {"value": started}
        if path.endswith("a.raw/taskInstances/download_files/xcomEntries/return_value"):
            return 200, {"value": {"successful": 1, "total_files": 1, "failed": 0, "report_path": "/o/P/r"}}
        if path.endswith("dagRuns/b"):
            return 200, {**BATCH, "note": "Stopped on the page S3 restores", "conf": {"raw_file_ids": ids}}
        return (
            (200, {"state": "success", "try_number": 1}) if path.endswith("taskInstances/list_raw_files") else NOTHING
        )

    page = shown("?dag=s3_batch_downloader&run=b", answers)
    expect(page.get_by_role("row").filter(has_text="c.raw")).to_contain_text("Not started")
    with page.expect_request(lambda request: request.url.endswith("s3_batch_downloader/dagRuns")) as asked:
        page.get_by_role("button", name="Restore the 2 failed ones again").click()
    assert sorted(asked.value.post_data_json["conf"]["raw_file_ids"]) == sorted(ids[1:])


def test_a_batch_that_was_refused_says_why(shown):
    """With the log as Airflow 3.3 gives it: the exception, and after it the line of the failure callback."""
    reason = "Project 'PRID404' has no raw file with a backup in S3"
    log = [
        {"event": "Worker startup parse complete", "level": "info"},
        {"event": "Task failed with exception", "level": "error", "error_detail": [{"exc_value": reason}]},
        {"event": f"Task s3_batch_downloader.list_raw_files failed (run b): {reason}", "level": "error"},
    ]

    def answers(_: str, path: str) -> tuple[int, Any]:
        if path.endswith("dagRuns/list"):
            return 200, {"dag_runs": []}
        if path.endswith("dagRuns/b"):
            return 200, {**BATCH, "conf": {"project_id": "PRID404"}}
        if path.endswith("taskInstances/list_raw_files"):
            return 200, {"state": "failed", "try_number": 2}
        return (200, {"content": log}) if path.endswith("list_raw_files/logs/2") else NOTHING

    page = shown("?dag=s3_batch_downloader&run=b", answers)
    expect(page.get_by_role("region", name="Why it failed")).to_have_text(reason)
    expect(page.get_by_role("link", name="Log of list_raw_files")).to_be_visible()


def test_runs_of_other_dags_get_no_buttons(shown):
    other = {**RUN, **ENDED, "dag_id": "delete_all", "state": "success"}
    page = shown("?dag=delete_all&run=manual__1", lambda _, path: NOTHING if path.endswith("clear") else (200, other))
    expect(page.get_by_role("alert").first).to_contain_text("This page shows runs of s3_downloader")
    expect(page.get_by_role("button")).to_have_count(0)
