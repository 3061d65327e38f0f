"""The page "S3 restores" as an operator uses it: real Chromium, a real Airflow, real restores (issue 14).

One Airflow for all, and a second API server of it for what only the server decides: roles, a path before its address,
that it is away. `make screenshots` runs these tests too.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

from demo.airflow_stack import DAG_ID, POOL_SLOTS
from demo.sample_files import BUCKET, FOLDER, MIB, PAIR, PROJECT_ID, differences
from demo.stand import Stand
from tests.support.airflow_lines import IS_AIRFLOW_2
from tests.support.chromium import CHROMIUM, s3_through_proxy, started_browser
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.npm_packages import npm_package
from tests.support.raw_files import file_info, raw_bytes
from tests.support.second_api_server import SecondApiServer, second_api_server

BATCH = "s3_batch_downloader"
SCREENSHOTS = os.environ.get("SCREENSHOTS")
PATIENCE_MS = 180_000  # pages and tasks are slow while other tests have the machine
ENDED = {"success", "failed"}

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no such page"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium (Debian), then again"),
]

CORRUPT = "20250116_corrupt.d"
DAMAGED = "20250116_damaged.raw"
HOSTILE = "20250116_<b onclick=alert(1)>\u202ehostile.d"
HOSTILE_FILES = [
    f"{HOSTILE}/<img src=x onerror=alert(document.domain)>.raw",
    f"{HOSTILE}/\u202egnp.exe",
    f"{HOSTILE}/{'n' * 251}.bin",
    f'{HOSTILE}/"><script>alert(1)</script>',
]
SMALL = [f"20250117_small_{number:02}.raw" for number in range(28)]
BAD = ["20250117_never_measured.raw", "20250117_neither.raw"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        yield browser


@pytest.fixture(scope="module")
def source(stand: Stand) -> Iterator[FaultProxy]:
    with s3_through_proxy(stand) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def raw_files(stand: Stand) -> None:
    """More raw files: two whose backups are not what the instrument wrote, one with hostile names, many small ones."""
    hostile = {path: raw_bytes(2_000, path) for path in HOSTILE_FILES}
    right = {f"{CORRUPT}/good.bin": raw_bytes(70_000, 1), f"{CORRUPT}/broken.bin": raw_bytes(80_000, 2)}
    small = {raw_file_id: {raw_file_id: raw_bytes(30_000, raw_file_id)} for raw_file_id in (*SMALL, DAMAGED)}
    uploaded = {f"{CORRUPT}/broken.bin": raw_bytes(80_000, 3), DAMAGED: raw_bytes(30_000, 4)}
    client = stand.s3.client()
    for raw_file_id, files in {HOSTILE: hostile, CORRUPT: right, **small}.items():
        for path, data in files.items():
            client.put_object(Bucket=BUCKET, Key=path, Body=uploaded.get(path, data))
        document = {**stand.document(PAIR.raw_file_id), "_id": raw_file_id, "s3_upload_path": f"s3://{BUCKET}"}
        stand.store({**document, "project_id": PROJECT_ID, "file_info": file_info(files)})
    client.close()


@pytest.fixture(scope="module")
def ended(stand: Stand, source: FaultProxy, raw_files: None) -> dict[str, str]:
    """Run ids of restores that have ended: of the corrupt backup, of the hostile names."""
    api = stand.airflow.api
    runs = {name: api.trigger(DAG_ID, {"raw_file_id": name}).body["dag_run_id"] for name in (CORRUPT, HOSTILE)}
    states = {name: api.wait_for_run(DAG_ID, run_id, timeout_seconds=300) for name, run_id in runs.items()}
    assert states == {CORRUPT: "failed", HOSTILE: "success"}
    return runs


@pytest.fixture(scope="module")
def second(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondApiServer]:
    with second_api_server(stand, tmp_path_factory.mktemp("second")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that nobody has used before; it asks nobody but Airflow, and no dialog comes up."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked, dialogs, errors = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert {url.split("/")[2].split(":")[0] for url in asked if url.startswith("http")} <= {"127.0.0.1"}
    assert (dialogs, errors) == ([], [])


@pytest.fixture
def keep(page: Page) -> Callable[[str], None]:
    """Keep a picture of the page, where pictures are asked for."""

    def keep_it(name: str) -> None:
        if SCREENSHOTS:
            page.mouse.move(0, 0)
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", animations="disabled")

    return keep_it


def address(base: str, dag_id: str = "", run_id: str = "") -> str:
    query = f"?dag={dag_id}&run={quote(run_id, safe='')}" if run_id else ""
    return f"{base}/s3-restores/{query}"


def of_page(shown: Page | FrameLocator) -> tuple[Locator, Locator]:
    """Badge and bar of the page about one run."""
    return shown.locator("header .badge"), shown.get_by_role("progressbar", name="Progress", exact=True)


def share(bar: Locator) -> float:
    return bar.evaluate("bar => bar.hasAttribute('value') ? bar.value : 0")


def run_of(page: Page | FrameLocator) -> str:
    """Id of the run that is shown."""
    fact = page.locator(".facts div", has=page.locator("dt", has_text=re.compile("^Run$"))).locator("dd")
    expect(fact).not_to_be_empty()
    return fact.inner_text()


def wait_until_it_moves(page: Page, bar: Locator) -> None:
    """Until a bar was seen at two places between its ends."""
    deadline = time.monotonic() + 200
    seen: set[float] = set()
    while len(seen) < 2:
        assert time.monotonic() < deadline, f"the bar was seen at {seen} only"
        page.wait_for_timeout(200)
        seen |= {share(bar)} - {0, 100}


def test_restore_is_started_by_typing_an_id_and_followed_to_its_report(
    page: Page, stand: Stand, source: FaultProxy, keep, record_property
):
    """Four clicks and an id from Airflow's home to a running restore; then nothing but looking."""
    source.add(Rule(Throttle(MIB // 2), times=None))
    page.goto(stand.airflow.url)
    begun = time.monotonic()
    page.get_by_role("link", name="S3 restores").click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Restore …").click()
    frame.get_by_label("Raw file ids").fill(f"s3://{BUCKET}/{FOLDER.raw_file_id}/")
    expect(frame.get_by_label("What was understood")).to_contain_text(FOLDER.raw_file_id)
    keep("page_start")
    frame.get_by_role("button", name="Restore", exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(FOLDER.raw_file_id)
    record_property("seconds_from_home_to_a_started_restore", round(time.monotonic() - begun, 1))

    badge, bar = of_page(frame)
    run_id = run_of(frame)
    expect(badge).to_contain_text("Downloading")
    wait_until_it_moves(page, bar)
    source.pause()
    expect(frame.locator(".pace")).to_contain_text("MB/s")
    expect(frame.locator(".plot")).to_be_visible()
    keep("page_restore")
    frame.get_by_role("link", name="All restores").click()
    row = frame.get_by_role("row").filter(has_text=FOLDER.raw_file_id).first
    expect(row).to_contain_text("Downloading")
    assert 0 < share(row.get_by_role("progressbar")) < 100
    row.get_by_role("link").first.click()
    source.clear()
    source.resume()

    expect(badge).to_contain_text("Restored")
    assert share(bar) == 100
    assert stand.airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert differences(FOLDER, stand.instrument, stand.project_output) == []
    expect(frame.get_by_role("rowheader")).to_have_count(len(FOLDER.sizes))
    (report,) = stand.project_output.glob(f"_download_status_{FOLDER.raw_file_id}_*.txt")
    expect(frame.locator(".report-path code")).to_have_text(str(report))
    frame.get_by_text("Text of the report").click()
    assert frame.get_by_label("Text of the report").inner_text().rstrip() == report.read_text().rstrip()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    frame.get_by_role("button", name="Copy the path of the report").click()
    expect(frame.get_by_role("button", name="Copy the path of the report")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == str(report)
    frame.get_by_role("link", name="Log of download_files").click()  # out of the frame, which may not move the window
    expect(page).to_have_url(f"{stand.airflow.url}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/tasks/download_files")


def test_red_file_shows_its_reason_and_one_click_cures_it(page: Page, stand: Stand, ended: dict[str, str], keep):
    page.goto(address(stand.airflow.url, DAG_ID, ended[CORRUPT]))

    badge, _ = of_page(page)
    expect(badge).to_contain_text("Failed")
    why = page.get_by_role("region", name="Why it failed")
    expect(why).to_contain_text(f"{CORRUPT}/broken.bin: ")
    expect(why).to_contain_text("Hash mismatch after download")
    first = page.get_by_role("row").nth(1)
    expect(first).to_contain_text("broken.bin")
    expect(first).to_contain_text("Failed")
    expect(first).to_contain_text("Hash mismatch after download")
    for shown in (why, first):
        expect(shown).to_contain_text("What to do: ")
    keep("page_failed")
    client = stand.s3.client()
    client.put_object(Bucket=BUCKET, Key=f"{CORRUPT}/broken.bin", Body=raw_bytes(80_000, 2))
    client.close()
    page.get_by_role("button", name="Restore again").click()

    expect(page).not_to_have_url(address(stand.airflow.url, DAG_ID, ended[CORRUPT]))
    expect(badge).to_contain_text("Restored")
    expect(page.get_by_role("row").filter(has_text="good.bin")).to_contain_text("Was right already")


def test_hostile_names_are_only_text(page: Page, stand: Stand, ended: dict[str, str]):
    """The fixture `page` holds that nobody else was asked and that no dialog came up."""
    page.goto(address(stand.airflow.url))
    shown = HOSTILE.replace("\u202e", "\\u202e")
    page.get_by_role("link", name=shown, exact=True).first.click()

    expect(page.get_by_role("heading", level=1)).to_have_text(shown)
    expect(page.get_by_role("rowheader")).to_have_count(len(HOSTILE_FILES))
    said = page.locator("main").inner_text()
    for path in HOSTILE_FILES:
        assert path.replace("\u202e", "\\u202e") in said
    assert "\u202e" not in page.locator("body").inner_text()
    assert page.locator("main img, main script, main b").count() == 0
    page.get_by_text("Text of the report").click()
    expect(page.get_by_label("Text of the report")).to_contain_text("onerror=alert")


@pytest.mark.long
def test_batch_is_pasted_seen_and_stopped_in_the_middle_with_its_reports(
    page: Page, stand: Stand, source: FaultProxy, raw_files: None, keep
):
    """Thirty, two of them bad: when some are restored, what has begun is held, and the batch is stopped."""
    api = stand.airflow.api
    page.goto(address(stand.airflow.url))
    page.get_by_role("button", name="Restore …").click()
    many = [f"20250118_{number:03}.raw" for number in range(300)]
    page.get_by_label("Raw file ids").fill("\n".join([*many, many[7]]))
    expect(page.get_by_text("300 raw files (1 given more than once)")).to_be_visible()
    expect(page.get_by_role("button", name="Restore 300 raw files")).to_be_enabled()
    page.get_by_label("Raw file ids").fill(
        f'{BAD[0]}\n- "{BAD[1]}"\n{", ".join(SMALL[:3])}\n/fs/pool/{SMALL[3]}\n{" ".join(SMALL[4:])}'
    )
    expect(page.get_by_label("What was understood").get_by_role("listitem")).to_have_count(30)
    page.get_by_role("button", name="Restore 30 raw files").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Batch of 30 raw files")
    batch = run_of(page)
    expect(page.get_by_role("row").filter(has_text="Restored").nth(2)).to_be_visible()
    source.add(Rule(Throttle(100), times=None))  # so that what begins now does not end by itself
    expect(page.get_by_role("row").filter(has_text=BAD[0])).to_contain_text("RawFile not found")
    expect(page.get_by_role("link", name=SMALL[0], exact=True)).to_have_attribute("href", re.compile(r"run=batch__"))
    deadline = time.monotonic() + 300
    while len(begun := begun_of(api, batch)) < POOL_SLOTS:
        assert time.monotonic() < deadline, f"begun: {begun}"
        page.wait_for_timeout(300)
    keep("page_batch")
    page.goto(f"{stand.airflow.url}/plugin/s3-restores")
    listed = page.frame_locator("iframe")
    listed.get_by_role("button", name="Raw files of Batch of 30 raw files").click()
    expect(listed.get_by_role("row").filter(has_text=BAD[0])).to_contain_text("Refused")
    expect(listed.get_by_role("row").filter(has_text=begun[0])).to_contain_text("Downloading")
    keep("page_list")
    page.goto(address(stand.airflow.url, BATCH, batch))
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()

    badge, _ = of_page(page)
    expect(badge).to_contain_text("Stopped")
    expect(page.get_by_role("button", name=re.compile("^Stop"))).to_have_count(0)
    assert active(api, batch) == []
    source.clear()
    for raw_file_id in begun:
        wait_for_report(stand, raw_file_id)
    # Airflow may call a run successful that was stopped while its last task waited, and was skipped.
    restored = [raw_file_id for raw_file_id in SMALL if (stand.project_output / raw_file_id).exists()]
    assert 3 <= len(restored) <= len(SMALL) - len(begun), "it was stopped in the middle"
    for raw_file_id in SMALL:
        expect(page.get_by_role("row").filter(has_text=raw_file_id)).to_contain_text(
            "Restored" if raw_file_id in restored else re.compile("Stopped|Failed|Not started")
        )
    expect(
        page.get_by_role("button", name=re.compile("^Restore the .* again$|^Whole batch again$")).first
    ).to_be_visible()
    page.goto(address(stand.airflow.url))
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Raw files of Batch of 30 raw files").first.click()
    expect(page.get_by_role("row").filter(has_text=BAD[0])).to_contain_text("Refused")


def active(api, batch: str) -> list[str]:
    """Runs of a batch that have not ended."""
    return [run["dag_run_id"] for run in runs_of(api, batch) if run["state"] not in ENDED]


def runs_of(api, batch: str) -> list[dict]:
    runs = api.get(f"/dags/{DAG_ID}/dagRuns?limit=100&order_by=-run_after")["dag_runs"]
    return [run for run in runs if (run["conf"] or {}).get("batch") == batch]


def begun_of(api, batch: str) -> list[str]:
    """Raw files of a batch whose download has begun and not ended."""
    return [
        run["conf"]["raw_file_id"]
        for run in runs_of(api, batch)
        if run["state"] == "running" and api.task_states(DAG_ID, run["dag_run_id"]).get("download_files") == "running"
    ]


def wait_for_report(stand: Stand, raw_file_id: str) -> None:
    deadline = time.monotonic() + 60
    while not list(stand.project_output.glob(f"_download_status_{raw_file_id}_*.txt")):
        assert time.monotonic() < deadline, f"{raw_file_id} has no report"
        time.sleep(0.3)


@pytest.mark.long
def test_verify_only_says_of_a_backup_whether_it_is_good(
    page: Page, stand: Stand, source: FaultProxy, raw_files: None, keep
):
    for raw_file_id, word in ((SMALL[0], "Verified"), (DAMAGED, "Failed")):
        page.goto(address(stand.airflow.url))
        page.get_by_role("button", name="Restore …").click()
        page.get_by_label("Raw file ids").fill(raw_file_id)
        page.get_by_label("Verify only").check()
        page.get_by_role("button", name="Verify", exact=True).click()
        badge, _ = of_page(page)
        expect(badge).to_contain_text(word)
        expect(page.locator("header .about")).to_have_text("verify only")
        result = page.get_by_role("row").filter(has_text=raw_file_id)
        expect(result).to_contain_text("Backup verified" if word == "Verified" else "Failed")
        keep(f"page_verify_{word.lower()}")


def log_in(page: Page, server: SecondApiServer, user: str) -> None:
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.long
def test_viewer_sees_all_and_no_buttons_behind_a_path_and_nobody_is_left_without_words(
    page: Page, stand: Stand, second: SecondApiServer, ended: dict[str, str]
):
    deep = address(second.url, DAG_ID, ended[CORRUPT])
    page.goto(deep)
    expect(page.get_by_role("alert").first).to_contain_text("You are not signed in, or your session has ended")
    page.get_by_role("link", name="Sign in").click()
    log_in(page, second, "vera")

    expect(page).to_have_url(deep)  # back where the visitor was
    expect(page.get_by_role("region", name="Why it failed")).to_contain_text("Hash mismatch")
    expect(page.get_by_role("button", name=re.compile("again|Stop"))).to_have_count(0)
    page.goto(address(second.url))
    expect(page.get_by_role("link", name=CORRUPT).first).to_be_visible()
    expect(page.get_by_role("button", name="Restore …")).to_have_count(0)
    refused = page.evaluate(
        """async () => {
            const { AirflowApi } = await import("./airflow_api.mjs");
            const api = new AirflowApi(new URL("..", location.href));
            return api.trigger("s3_downloader", { raw_file_id: "any.raw" }).then(() => "", (error) => error.message);
        }"""
    )
    assert refused == "You may not do this: your role in Airflow does not allow it"
    # In Airflow's frame, behind the same path.
    page.goto(f"{second.url}/plugin/s3-restores")
    expect(page.frame_locator("iframe").get_by_role("link", name=CORRUPT).first).to_be_visible()
    page.goto(address(second.url, DAG_ID, "no_such_run"))
    expect(page.get_by_role("alert").first).to_contain_text("Airflow has not got this")

    page.goto(address(second.url))
    expect(page.get_by_role("link", name=CORRUPT).first).to_be_visible()
    second.stop()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as one who comes back to the tab
    alert = page.get_by_role("alert").first
    expect(alert).to_contain_text("Airflow cannot be reached. What is shown is as of ")
    expect(page.get_by_role("link", name=CORRUPT).first).to_be_visible()
    second.start()
    second.wait()
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_role("alert").first).to_be_hidden()


@pytest.mark.long
def test_who_has_the_role_user_starts_stops_and_finds_restores(
    page: Page, stand: Stand, second: SecondApiServer, source: FaultProxy
):
    """Airflow's default role for those who run DAGs; and the page's search as Airflow's database answers it."""
    odd = "20250117_m\u00fcll_never_measured.raw"
    odd_run = stand.airflow.api.trigger(DAG_ID, {"raw_file_id": odd}).body["dag_run_id"]
    source.add(Rule(Throttle(MIB // 2), times=None))
    page.goto(f"{second.url}/plugin/s3-restores")
    log_in(page, second, "otto")
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Restore …").click()
    frame.get_by_label("Raw file ids").fill(FOLDER.raw_file_id)
    frame.get_by_label("Verify only").check()
    frame.get_by_role("button", name="Verify", exact=True).click()
    badge, _ = of_page(frame)
    expect(badge).to_contain_text("Downloading")
    run_id = run_of(frame)
    expect(frame.locator(".facts")).to_contain_text("otto")
    frame.get_by_role("button", name="Stop", exact=True).click()
    frame.get_by_role("button", name="Stop it").click()

    expect(badge).to_contain_text("Stopped")
    source.clear()
    expect(frame.get_by_role("button", name="Verify again")).to_be_visible()
    expect(frame.get_by_role("alert").filter(has_text=re.compile("."))).to_have_count(0)
    page.goto(address(second.url))
    for text, found in (("OTTO", run_id), ("m\u00fcll", odd_run), (f"{run_id[:20]}", run_id)):
        runs = page.evaluate(
            """async (text) => {
                const { AirflowApi } = await import("./airflow_api.mjs");
                const { runs } = await new AirflowApi(new URL("..", location.href)).search(text);
                return runs.map((run) => run.dag_run_id);
            }""",
            text,
        )
        assert found in runs, text


PICTURES = {("list", "dark", 1280), ("restore", "dark", 360), ("dialog", "light", 360)}
LOOKS_BAD = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return wide > 0 ? `${wide} px too wide` : "";
}"""


@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_accessible_narrow_and_wide_light_and_dark(
    page: Page, stand: Stand, ended: dict[str, str], width: int, keep
):
    axe = (npm_package("axe-core") / "axe.min.js").read_text()
    page.set_viewport_size({"width": width, "height": 800})
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        for name, where in (
            ("list", address(stand.airflow.url)),
            ("restore", address(stand.airflow.url, DAG_ID, ended[CORRUPT])),
            ("dialog", f"{address(stand.airflow.url)}?restore={quote('a.raw, b.raw')}"),
        ):
            page.goto(where)
            expect(page.get_by_role("row").nth(1)).to_be_visible()
            expect(page.locator(".badge").first).to_be_visible()
            assert page.locator("html").get_attribute("class") == colours
            assert page.evaluate(LOOKS_BAD) == "", name
            page.evaluate(axe)  # as the console does it; the page's own scripts come from its origin alone
            found = page.evaluate(
                "axe.run().then((said) => said.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))"
            )
            assert found == [], f"{name}, {colours}, {width} px"
            if (name, colours, width) in PICTURES:
                keep(f"page_{name}_{colours}_{width}")


@pytest.mark.long
def test_keyboard_is_enough(page: Page, stand: Stand, ended: dict[str, str]):
    page.goto(address(stand.airflow.url))
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the restores")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Restore …")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Raw file ids")).to_be_focused()
    page.keyboard.type("some.raw")
    expect(page.get_by_role("button", name="Restore", exact=True)).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Restore …")).to_be_focused()


def test_frame_has_airflows_colours(page: Page, stand: Stand):
    page.goto(f"{stand.airflow.url}/plugin/s3-restores")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_have_text("S3 restores")
    for colours in ("dark", "light"):
        page.evaluate(f"document.documentElement.className = '{colours}'")  # as Airflow's own switch does
        expect(frame.locator("html")).to_have_class(colours)


@pytest.mark.long
def test_page_asks_little_and_leaves_nothing_in_the_audit_log(page: Page, stand: Stand, ended: dict[str, str]):
    audit = "/eventLogs?limit=1"
    before = stand.airflow.api.get(audit)["total_entries"]
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address(stand.airflow.url))
    expect(page.get_by_role("link", name=CORRUPT).first).to_be_visible()
    expect(page.locator(".foot")).to_contain_text("Updated")
    first = len([url for url in asked if "/api/v2/" in url])
    page_rows = page.locator("tbody tr").count()  # two questions for what each came to, five for all of them
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(4_000)
    page.goto(address(stand.airflow.url, DAG_ID, ended[CORRUPT]))
    expect(page.get_by_role("region", name="Why it failed")).to_be_visible()
    assert stand.airflow.api.get(audit)["total_entries"] == before
    assert first <= 2 * page_rows + 5
    assert not any("taskInstances/list" in url for url in asked)  # each would be a line there


# --- thousands: what the browser makes of them, with answers that are made up --------------------------------------


def many_runs(query: dict) -> list[dict]:
    """1,000 restores by a hundred, newest first."""
    before = query.get("run_after_lte", "9")
    runs = [
        {
            "dag_id": DAG_ID,
            "dag_run_id": f"manual__{number:04}",
            "state": ("success", "failed", "running")[number % 3],
            "run_after": f"2026-01-01T00:{59 - number // 60:02}:{59 - number % 60:02}Z",
            "start_date": "2026-01-01T00:00:00Z",
            "end_date": None if number % 3 == 2 else "2026-01-01T00:01:00Z",
            "triggering_user_name": "ada",
            "note": None,
            "conf": {"raw_file_id": f"20260101_many_{number:04}.raw"},
        }
        for number in range(1000)
    ]
    return [run for run in runs if run["run_after"] <= before][:100]


MANY_FILES = {
    "version": 1,
    "mode": "restore",
    "complete": True,
    "total": 5000,
    "left_out": 0,
    "counts": {},
    "what_to_do": {},
    "files": [
        {
            "path": f"many.d/{number:04}.bin",
            "result": "downloaded",
            "size": 1,
            "bytes_fetched": 1,
            "bytes_reused": 0,
            "seconds": 1,
        }
        for number in range(5000)
    ],
}


def answer(route) -> None:
    """Airflow's answers, for a thousand restores and one with five thousand files."""
    request, url = route.request, route.request.url
    if url.endswith("/clear"):
        route.fulfill(status=404, json={"detail": "not found"})
    elif url.endswith("dagRuns/list"):
        route.fulfill(json={"dag_runs": many_runs(request.post_data_json)})
    elif "/taskInstances?" in url:
        route.fulfill(json={"task_instances": []})
    elif url.endswith("xcomEntries/files"):
        route.fulfill(json={"value": MANY_FILES})
    elif "xcomEntries" in url or "/logs/" in url:
        route.fulfill(status=404, json={"detail": "not found"})
    elif re.search(r"/dagRuns/[^?/]+$", url):
        route.fulfill(json=many_runs({})[0])
    else:
        route.fulfill(json={"dag_runs": []})


WATCH = """
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask", buffered: true });
"""
STALL_MS = 1_000  # measured: 80 ms, and 250 ms where others had the machine; rows put on the page all at once: 1,700 ms


@pytest.mark.long
def test_thousand_restores_and_five_thousand_files_do_not_stall(page: Page, stand: Stand, record_property):
    page.add_init_script(WATCH)
    page.route("**/api/v2/**", answer)
    page.goto(address(stand.airflow.url))
    rows, count = page.locator("tbody tr"), page.locator(".count")
    older = page.get_by_role("button", name="Older restores")
    expect(rows).to_have_count(100)
    for shown in range(199, 999, 99):  # each hundred begins with the last of the one before
        older.click()
        expect(count).to_contain_text(f"{shown} restores")
    older.click()
    expect(count).to_contain_text("1,000 restores")
    expect(older).to_be_hidden()
    page.get_by_label("Find").press_sequentially("many_09", delay=20)
    expect(count).to_contain_text("100 restores of 1,000")
    page.get_by_label("Find").fill("")
    expect(count).to_contain_text("1,000 restores")
    for number in (400, 900, 999):  # the end of the list comes while one scrolls to it
        last = page.get_by_role("link", name=f"20260101_many_{number:04}.raw")
        while not last.count():
            rows.last.scroll_into_view_if_needed()
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport()
    longest = page.evaluate("window.longest")
    record_property("longest_task_ms_of_1000_restores", longest)
    assert longest < STALL_MS

    page.goto(address(stand.airflow.url, DAG_ID, "manual__0000"))
    expect(rows).to_have_count(200)
    page.get_by_role("button", name="Show 200 more of 5,000 files").click()
    expect(rows).to_have_count(400)
    page.get_by_label("Find").press_sequentially("499", delay=20)
    expect(rows).to_have_count(15)
    longest = page.evaluate("window.longest")
    record_property("longest_task_ms_of_5000_files", longest)
    assert longest < STALL_MS
