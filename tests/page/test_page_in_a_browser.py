"""The page in real Chromium, with answers of Airflow that are made up: what is hard to bring about in a real one."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.test_page_modules import FILES
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.chromium import CHROMIUM, started_browser
from tests.support.npm_packages import npm_package

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


def test_what_was_not_answered_may_have_been_started(shown):
    def answers(method: str, path: str) -> tuple[int, Any]:
        if path.endswith("/dagRuns") and method == "POST":
            return 504, {}
        if path.endswith("dagRuns/list"):
            return 200, {"dag_runs": []}
        return (200, {**RUN, **ENDED, "state": "failed"}) if path.endswith("dagRuns/manual__1") else NOTHING

    page = shown("?restore=a.raw", answers)
    page.get_by_role("dialog").get_by_role("button", name="Restore", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("It may have been started all the same")
    page.goto(f"{BASE}?run=manual__1")
    page.get_by_role("button", name="Restore again").click()
    expect(page.get_by_role("alert").filter(has_text="It may have been started all the same")).to_be_visible()


def test_one_question_that_is_refused_hides_nothing_else(shown):
    """A role that may see runs and no XComs; a value that Airflow cannot read any more."""

    def answers(_: str, path: str) -> tuple[int, Any]:
        if path.endswith("dagRuns/manual__1"):
            return 200, {**RUN, **ENDED, "state": "failed"}
        return (403, {}) if "xcomEntries" in path else (200, {"task_instances": []})

    page = shown("?run=manual__1", answers)
    expect(page.get_by_role("alert").first).to_contain_text("You may not do this")
    expect(page.get_by_role("heading", name="sample.d")).to_be_visible()
    expect(page.locator("header .badge")).to_contain_text("Failed")
    expect(page.get_by_role("link", name="Run in Airflow")).to_be_visible()


def test_a_list_is_shown_where_its_tasks_may_not_be_seen_and_none_where_none_came(shown):
    page = shown("", by_end({"dagRuns/list": (200, {"dag_runs": [RUN]}), "/taskInstances": (403, {})}))
    expect(page.get_by_role("link", name="sample.d")).to_be_visible()
    expect(page.get_by_role("alert").first).to_contain_text("You may not do this")
    page = shown("", by_end({"dagRuns/list": (502, {})}))
    expect(page.get_by_role("alert").first).to_contain_text("Airflow has an error of its own (502)")
    expect(page.get_by_text("Nothing was restored yet.")).to_be_hidden()


def test_who_comes_back_from_what_was_started_can_start_again(shown):
    """Browsers keep a page as it was when it was left, and show it so to who goes back."""

    def answers(method: str, path: str) -> tuple[int, Any]:
        if method == "POST" and path.endswith("/dagRuns"):
            return 200, {**RUN, "dag_run_id": "manual__2"}
        if path.endswith("dagRuns/manual__1"):
            return 200, {**RUN, **ENDED, "state": "failed"}
        return (200, {"task_instances": []}) if path.endswith("taskInstances") else NOTHING

    page = shown("?run=manual__1", answers)
    page.route("**/*run=manual__2", lambda route: route.fulfill(status=204))  # "stay where you are"
    again = page.get_by_role("button", name="Restore again")
    with page.expect_request("**/*run=manual__2"):
        again.click()
    expect(again).to_be_disabled()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(again).to_be_enabled()


def test_a_search_says_how_far_back_it_went(shown):
    runs = [
        {**RUN, **ENDED, "state": "failed", "dag_run_id": f"r{number}", "conf": {"raw_file_id": f"{number}.raw"}}
        for number in range(150)
    ]
    runs = [run | {"run_after": f"2026-01-01T00:00:00.{999 - number}Z"} for number, run in enumerate(runs)]
    page = shown("", by_end({"dagRuns/list": (200, {"dag_runs": runs[:100]}), "/dagRuns": (200, {"dag_runs": []})}))
    search = page.get_by_role("button", name=re.compile("^Search"))
    expect(page.get_by_role("button", name="Older restores")).to_be_visible()
    expect(search).to_be_hidden()
    page.get_by_label("Find").fill("raw")
    expect(search).to_have_text("Search all restores")
    search.click()
    expect(page.get_by_text("The newest restores that name “raw”")).to_contain_text("there may be older ones")
    page.unroute("**/*")
    page.route("**/api/v2/**", lambda route: route.fulfill(json={"dag_runs": runs[100:]}))
    expect(search).to_have_text("Search further back")
    search.click()
    expect(page.get_by_text("All restores that name “raw”")).to_be_visible()
    expect(search).to_be_hidden()
    expect(page.locator(".count")).to_contain_text("150 restores")
    page.get_by_label("Find").fill("else")
    expect(page.get_by_text("All restores that name")).to_have_count(0)
    expect(search).to_have_text("Search all restores")


def test_colours_that_are_chosen_in_another_tab_are_followed(shown):
    nothing = by_end({"dagRuns/list": (200, {"dag_runs": []})})
    page, other = shown("", nothing), shown("", nothing)
    expect(page.get_by_text("Nothing was restored yet.")).to_be_visible()
    for colours in ("dark", "light"):
        other.evaluate(f"localStorage.setItem('theme', '{colours}')")
        expect(page.locator("html")).to_have_class(colours)


def test_runs_of_other_dags_get_no_buttons(shown):
    other = {**RUN, **ENDED, "dag_id": "delete_all", "state": "success"}
    page = shown("?dag=delete_all&run=manual__1", lambda _, path: NOTHING if path.endswith("clear") else (200, other))
    expect(page.get_by_role("alert").first).to_contain_text("This page shows runs of s3_downloader")
    expect(page.get_by_role("button")).to_have_count(0)


IDS = [f"20250117_{number}.raw" for number in range(3)]
LONG = "n" * 500
ODD = "\u202e" + LONG + "/\U0001f4a5" + 100 * "\u0645\u0644\u0641"


def by_end(said: dict[str, tuple[int, Any]]) -> Answers:
    """Answers by how a path ends; the first that fits."""
    return lambda _, path: next((answer for end, answer in said.items() if path.endswith(end)), NOTHING)


def of_batch(ids: list[str], reason: str) -> dict[str, tuple[int, Any]]:
    """Of a batch that runs: the first has failed, the second runs, the third is to come."""
    conf = [{"raw_file_id": raw_file_id, "batch": "b"} for raw_file_id in ids]
    started = [{"trigger_run_id": f"c{number}", "conf": each} for number, each in enumerate(conf)]
    failed = {**RUN, **ENDED, "state": "failed", "dag_run_id": "c0", "conf": conf[0], "note": reason}
    running = {**RUN, "dag_run_id": "c1", "conf": conf[1]}
    batch = {**BATCH, "state": "running", "end_date": None, "conf": {"raw_file_ids": ids, "include": reason}}
    task = {"dag_id": RUN["dag_id"], "dag_run_id": "c1", "task_id": "download_files", "state": "running"}
    progress = {"phase": "downloading", "bytes_total": 4, "bytes_done": 1, "files_total": 2, "files_done": 1}
    progress |= {"files_failed": 0, "bytes_per_s": 5e6, "eta_s": 70, "runs_total": 3, "runs_ended": 1}
    result = {"successful": 0, "total_files": 1, "failed": 1, "first_failure": reason, "what_to_do": reason}
    result["report_path"] = f"/o/{reason[:100]}/r.txt"
    return {
        "dagRuns/list": (200, {"dag_runs": [failed, running]}),
        "/dagRuns": (200, {"dag_runs": []}),
        "~/taskInstances": (200, {"task_instances": [task]}),
        "xcomEntries/progress": (200, {"value": progress}),
        "list_raw_files/xcomEntries/return_value": (200, {"value": started}),
        "c0/taskInstances/download_files/xcomEntries/return_value": (200, {"value": result}),
        "dagRuns/b": (200, batch),
        "dagRuns/c0": (200, failed),
    }


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_batch_page_is_accessible(shown, width: int, colours: str):
    page = shown("?dag=s3_batch_downloader&run=b", by_end(of_batch(IDS, "Hash mismatch after download")))
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=colours)
    expect(page.get_by_role("row").filter(has_text=IDS[0])).to_contain_text("Failed")
    expect(page.get_by_role("row").filter(has_text=IDS[1])).to_contain_text("Downloading")
    expect(page.get_by_role("row").filter(has_text=IDS[2])).to_contain_text("To be started")
    expect(page.locator("html")).to_have_class(colours)
    assert violations(page) == []
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("dialog", name="Stop the whole batch?")).to_be_visible()
    assert violations(page) == []


def violations(page: Page) -> list[str]:
    page.evaluate((npm_package("axe-core") / "axe.min.js").read_text())
    return page.evaluate("axe.run().then((said) => said.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))")


def test_keyboard_is_enough_on_the_page_of_a_batch(shown):
    page = shown("?dag=s3_batch_downloader&run=b", by_end(of_batch(IDS, "Hash mismatch after download")))
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    expect(page.get_by_role("row").filter(has_text=IDS[2])).to_be_visible()
    order = [
        page.get_by_role("link", name="Skip to the restores"),
        page.get_by_role("link", name="All restores"),
        stop,
        page.get_by_role("link", name="Run in Airflow"),
        page.get_by_role("link", name="Log of summarize"),
        page.get_by_role("link", name=IDS[0]),
        page.get_by_role("link", name=IDS[1]),
    ]
    for element in order:
        page.keyboard.press("Tab")
        expect(element).to_be_focused()
    stop.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Go back")).to_be_focused()
    page.wait_for_timeout(3_500)  # a look at what runs takes nobody's focus away
    expect(page.get_by_role("button", name="Go back")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(stop).to_be_focused()


@pytest.mark.parametrize("query", ["", "?dag=s3_batch_downloader&run=b", "?dag=s3_downloader&run=c0", "?run=gone"])
@pytest.mark.parametrize("text", [LONG, ODD])
def test_long_and_odd_texts_stay_within_a_narrow_screen(shown, query: str, text: str):
    said = of_batch([text, *IDS[1:]], text)
    failed = {**said["dagRuns/c0"][1], "triggering_user_name": text}
    failed["conf"] = {**failed["conf"], "include": text}
    files = [{"path": text, "result": "failed", "size": 1, "code": "c", "reason": text}]
    plan = {"destination": f"/{text}", "project_id": text, "raw_file_id": text, "files": []}
    said |= {
        "dagRuns/gone": (404, {"detail": f"The run with the id {text} was not found"}),
        "dagRuns/list": (200, {"dag_runs": [failed]}),
        "dagRuns/c0": (200, failed),
        "c0/taskInstances": (200, {"task_instances": []}),
        "xcomEntries/files": (200, {"value": {"files": files, "complete": True, "what_to_do": {"c": text}}}),
        "validate_parameters/xcomEntries/return_value": (200, {"value": plan}),
    }
    page = shown(query, by_end(said))
    page.set_viewport_size({"width": 360, "height": 800})
    if query == "?run=gone":
        expect(page.get_by_role("alert").first).to_contain_text("was not found")
    else:
        expect(page.locator("tbody tr").first).to_contain_text("Failed" if query else "Running")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((one) => !one.closest(".unseen, thead, pre")
            && one.getBoundingClientRect().right > innerWidth + 1).map((one) => `${one.tagName}.${one.className}`)"""
    )
    assert wide == []
    assert "\u202e" not in page.locator("body").inner_text()


def test_a_backup_that_was_only_verified_is_not_called_restored(shown):
    summary = {"total": 1, "successful": 1, "failed": 0, "mode": "verify_only"}
    summary["files"] = [{"raw_file_id": IDS[0], "run_id": "c0", "status": "SUCCESS", "files": "1/1"}]
    said = {
        "dagRuns/list": (200, {"dag_runs": []}),
        "summarize/xcomEntries/return_value": (200, {"value": summary}),
        "dagRuns/b": (200, {**BATCH, "state": "success", "conf": {"raw_file_ids": IDS[:1], "verify_only": True}}),
    }
    page = shown("?dag=s3_batch_downloader&run=b", by_end(said))
    expect(page.get_by_role("row").filter(has_text=IDS[0])).to_contain_text("Verified")
    expect(page.locator("main")).not_to_contain_text("Restored")


def test_how_long_it_runs_is_told_by_the_servers_clock(shown):
    page = shown("", by_end({"dagRuns/list": (200, {"dag_runs": []})}))
    page.clock.install(time="2026-01-01T05:00:00Z")  # the server's: 00:02
    page.route(
        "**/api/v2/**",
        lambda route: route.fulfill(
            json=RUN if route.request.url.endswith("manual__1") else {"task_instances": []},
            headers={"date": "Thu, 01 Jan 2026 00:02:00 GMT"},
        ),
    )
    page.goto(f"{BASE}?run=manual__1")
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Took2 min \d+ s"))
