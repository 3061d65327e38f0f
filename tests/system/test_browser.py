"""The UI as an operator uses it: real Chromium on a real Airflow (issue 5, item 1).

`make screenshots` runs these tests too: what it keeps is what they have just checked.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from demo.airflow_api import ApiError
from demo.airflow_stack import DAG_ID
from demo.sample_files import FOLDER, MIB, differences
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.chromium import CHROMIUM, s3_through_proxy, started_browser
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle

SCREENSHOTS = os.environ.get("SCREENSHOTS")
PATIENCE_MS = 60_000  # pages are slow while other tests have the machine

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="the UI of Airflow 2 has other pages"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium (Debian), then again"),
]

UNKNOWN = "20250115_never_measured.raw"
INCOMPLETE = "20250115_incomplete.d"
LOST = "20250115_sample.d/lost.bin"
PROGRESS = re.compile(
    r"Progress: [1-5] of 6 files, \d+\.\d of 25\.1 MB \([2-8]\d%\), \d+\.\d MB/s, ETA (\d+s|unknown), current file: "
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, stand: Stand) -> Iterator[Page]:
    """The page of the DAG, in a browser that nobody has used before."""
    for folder in stand.output.iterdir():
        shutil.rmtree(folder)
    expect.set_options(timeout=PATIENCE_MS)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{stand.airflow.url}/dags/{DAG_ID}")
    yield page
    page.close()


@pytest.fixture
def keep(page: Page) -> Callable[[Locator | Page, str], None]:
    """Keep a picture of a page or of a part of it, where pictures are asked for."""

    def keep_it(shown: Locator | Page, name: str) -> None:
        if SCREENSHOTS:
            page.mouse.move(0, 0)  # no button under it, no tooltip
            shown.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", animations="disabled")

    return keep_it


@pytest.fixture
def source(stand: Stand) -> Iterator[FaultProxy]:
    with s3_through_proxy(stand) as proxy:
        yield proxy


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def open_form(page: Page) -> Locator:
    """Open the form that triggers the DAG and return its only field."""
    page.get_by_test_id("trigger-dag-button").click()
    return page.locator("#element_raw_file_id")


def button(page: Page) -> Locator:
    """The button that sends the form."""
    return dialog(page).get_by_role("button", name="Trigger", exact=True)


def trigger(page: Page, raw_file_id: str) -> str:
    """Fill in the form and send it, as an operator does; returns the id of the run."""
    field = open_form(page)
    field.fill(raw_file_id)
    field.blur()
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/dagRuns" in answer.url) as caught:
        button(page).click()
    answer = caught.value
    assert answer.status == HTTPStatus.OK, answer.text()
    return answer.json()["dag_run_id"]


def open_log(page: Page, task_id: str) -> Locator:
    """From the page of a run to the log of one of its tasks."""
    page.get_by_role("table").get_by_role("link", name=task_id).click()
    return page.get_by_test_id("virtualized-list")


def state(page: Page) -> Locator:
    """The state of what the page is about."""
    return page.get_by_test_id("header-card").get_by_test_id("state-badge")


def halt_amid(run_id: str, stand: Stand, source: FaultProxy) -> None:
    """Wait until the run has told that it is somewhere in the middle, then halt the source."""
    deadline = time.monotonic() + 200
    while not any(PROGRESS.search(str(record["event"])) for record in log_so_far(run_id, stand)):
        assert time.monotonic() < deadline, "no progress line"
        time.sleep(0.2)
    source.pause()


def log_so_far(run_id: str, stand: Stand) -> list[dict]:
    try:
        return stand.airflow.api.task_log(DAG_ID, run_id, "download_files")
    except ApiError:  # not begun yet
        return []


def test_page_of_the_dag_has_its_documentation(page: Page, keep):
    page.get_by_role("button", name="Dag Docs").click()

    documentation = dialog(page)
    expect(documentation.get_by_role("heading", name="Restore a raw file from S3")).to_be_visible()
    for said in ("{locations.output}/{project_id}/", "Every byte is proved", "always safe", "ERROR"):
        expect(documentation).to_contain_text(said)
    keep(documentation, "documentation")


def test_form_helps_and_refuses_an_id_that_is_empty_or_short(page: Page, stand: Stand, keep):
    runs = stand.airflow.api.get(f"/dags/{DAG_ID}/dagRuns")["total_entries"]

    field = open_form(page)

    expect(dialog(page)).to_contain_text("extension included, such as 20250115_sample.raw")
    expect(dialog(page)).to_contain_text("{locations.output}/{project_id}/")
    expect(dialog(page)).to_contain_text("This field is required")
    expect(button(page)).to_be_disabled()
    field.fill("ab")
    field.blur()
    button(page).click()
    expect(dialog(page)).to_contain_text("Invalid input for param raw_file_id: 'ab' is too short")
    assert stand.airflow.api.get(f"/dags/{DAG_ID}/dagRuns")["total_entries"] == runs
    page.reload()  # a form that is opened again still shows the refusal
    field = open_form(page)
    field.fill(FOLDER.raw_file_id)
    field.blur()
    expect(button(page)).to_be_enabled()
    keep(dialog(page), "form")


def test_restore_is_followed_from_the_form_to_the_report(page: Page, stand: Stand, source: FaultProxy, keep):
    source.add(Rule(Throttle(MIB // 2), times=None))

    run_id = trigger(page, FOLDER.raw_file_id)
    halt_amid(run_id, stand, source)

    # The form leads to the page of the run, and that to the log.
    expect(page).to_have_url(re.compile(rf"/dags/{DAG_ID}/runs/{re.escape(run_id)}"))
    expect(state(page)).to_have_text("Running")
    log = open_log(page, "download_files")
    expect(state(page)).to_have_text("Running")
    expect(log.get_by_text(PROGRESS).last).to_be_in_viewport()
    keep(page, "progress")
    source.clear()
    source.resume()

    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert differences(FOLDER, stand.instrument, stand.project_output) == []
    (report,) = stand.project_output.glob("_download_status_*.txt")
    # What is too long for the page is scrolled to its end, where the report is.
    expect(state(page)).to_have_text("Success")
    shown = log.get_by_text("S3 Download Status Report")
    expect(shown).to_be_visible()
    told = shown.inner_text()
    assert told == f"Status report: {report}\n{report.read_text()}"
    keep(page, "report")
    page.goto(f"{stand.airflow.url}/dags/{DAG_ID}/runs/{run_id}")
    expect(state(page)).to_have_text("Success")


def test_failed_restore_shows_its_reason_above_the_stack_trace(page: Page, stand: Stand, keep):
    document = stand.document(FOLDER.raw_file_id)
    lost = {LOST: [7, "0" * 32, f"{'0' * 32}__8"]}
    stand.store({**document, "_id": INCOMPLETE, "file_info": document["file_info"] | lost})

    run_id = trigger(page, INCOMPLETE)
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "failed"
    log = open_log(page, "download_files")

    expect(state(page)).to_have_text("Failed")
    exception = log.get_by_test_id("summary-AirflowFailException")
    expect(exception).to_be_in_viewport()
    reason = log.get_by_text(f"1/7 files failed. First: {LOST}: Object is not in S3 (NoSuchKey)")
    expect(reason.first).to_be_in_viewport()
    exception.click()  # closes the stack trace, and scrolls to the right
    exception.evaluate("node => { for (let each = node; each; each = each.parentElement) each.scrollLeft = 0; }")
    keep(page, "failed")


def test_refused_id_shows_its_reason_first(page: Page, stand: Stand, keep):
    run_id = trigger(page, UNKNOWN)
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "failed"

    log = open_log(page, "validate_parameters")

    reason = f"RawFile not found: '{UNKNOWN}'. Check the id; the database has none like it"
    expect(log).to_contain_text(f"ERROR - {reason}")
    said = stand.airflow.api.xcom(DAG_ID, run_id, "validate_parameters")
    assert (said["status"], said["reason"], said["code"]) == ("REFUSED", reason, "raw_file_not_found")
    assert said["what_to_do"] == "correct the id"
