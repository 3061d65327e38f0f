"""Which end of a run is posted, in which words and form, and how often; whole runs: tests/system/test_told_ends.py."""

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common import failed_attempts, told_once
from common.callbacks import on_failure_callback, on_run_failure_callback, on_success_callback
from tests.support.kraken import Kraken, RecordingTaskInstance
from tests.support.raw_files import raw_bytes
from tests.support.webhook_receiver import WebhookReceiver

RUN = "manual__2025-02-04T14:30:22+00:00"
ID = "20250115_sample.raw"


@pytest.fixture
def hook(kraken: Kraken):
    with WebhookReceiver() as receiver:
        configure(kraken, ops_alerts_webhook_url=receiver.url)
        yield receiver


def configure(kraken: Kraken, **notifications: Any) -> None:
    kraken.settings["general"]["notifications"].update(notifications)
    kraken.write_yaml()


def killed(try_number: int = 3, *, host: str = "worker1", **more: Any) -> dict[str, Any]:
    """The context of an attempt that nobody is left of, as a dag-processor of Airflow 3.3 makes it."""
    ti = SimpleNamespace(
        dag_id="s3_downloader", run_id=RUN, task_id="download_files", map_index=-1, try_number=try_number,
        hostname=host, task=SimpleNamespace(queue="kraken_queue_s3_download"),
    )  # fmt: skip
    run = SimpleNamespace(dag_id="s3_downloader", run_id=RUN, conf={"raw_file_id": ID})
    return {"ti": ti, "dag_run": run, "params": {"raw_file_id": ID}, "dag": SimpleNamespace(dag_id=ti.dag_id), **more}


def texts(hook: WebhookReceiver) -> list[str]:
    return [post.json()["text"] for post in hook.posts]


# --- words ---------------------------------------------------------------------------------------------------------


def test_o1_a_killed_attempt_is_told_of_in_words_and_once(kraken: Kraken, hook, caplog):
    for _ in range(3):
        on_failure_callback(killed())
    (said,) = texts(hook)
    assert said == (
        f"Task s3_downloader.download_files failed for raw file '{ID}' (run {RUN}): it ended on worker worker1 without "
        "a word: it was marked as failed by hand, or its process was killed (out of memory, or its worker is gone). "
        "What has been restored is kept; trigger it again."
    )
    assert "NoneType" not in caplog.text
    assert caplog.text.count("Not posted: this attempt was told of before") == 2
    on_failure_callback(killed(try_number=4))
    assert len(hook.posts) == 2, "another attempt"


def test_o1_an_attempt_that_never_started_is_told_of_with_what_to_do(kraken: Kraken, hook):
    on_failure_callback(killed(host="", exception="Task was requeued more than 2 times and will be failed."))
    (said,) = texts(hook)
    assert "it never started: no worker took it in time. Is a worker running on the queue kraken_queue_s3_down" in said
    assert said.endswith("Airflow says: Task was requeued more than 2 times and will be failed.")


def test_a_run_of_which_no_task_could_tell_is_told_of_by_the_dag(kraken: Kraken, hook, monkeypatch):
    told: dict[str, bool] = {}
    monkeypatch.setattr(failed_attempts, "_GRACE_S", 0.0)
    monkeypatch.setattr(failed_attempts.XCom, "get_one", lambda **of: told.get(of["task_id"]))
    on_run_failure_callback(killed())
    assert len(hook.posts) == 1
    assert texts(hook)[0].startswith(
        f"Run {RUN} of s3_downloader for raw file '{ID}' failed, and no task could say why"
    )
    on_failure_callback(killed())
    on_run_failure_callback(killed())
    assert len(hook.posts) == 1, "the same attempt"
    told["validate_parameters"] = True
    on_run_failure_callback(killed(try_number=9))
    on_run_failure_callback(killed(try_number=8, params={"raw_file_id": ID, "batch": "b"}))
    assert len(hook.posts) == 1, "a task, or the batch, tells itself"


def test_a_task_that_tells_notes_it_for_the_callback_of_the_dag(kraken: Kraken):
    on_failure_callback({"ti": kraken.ti, "params": {"raw_file_id": ID}, "exception": ValueError("broken")})
    assert kraken.ti.pushed == {"told": True}


# --- once ----------------------------------------------------------------------------------------------------------


def test_a_post_that_failed_is_tried_again_by_the_next_callback(kraken: Kraken, hook):
    with WebhookReceiver(status=500) as broken:
        configure(kraken, ops_alerts_webhook_url=broken.url)
        on_failure_callback(killed())
    configure(kraken, ops_alerts_webhook_url=hook.url)
    on_failure_callback(killed())
    assert len(hook.posts) == 1


def _tell(folder: str, start: Any, firsts: Any) -> None:
    tempfile.tempdir = folder
    start.wait()
    for number in range(50):
        if told_once.is_first_to_tell("key", number):
            firsts.put(number)


def test_of_several_processes_one_tells(tmp_path: Path):
    processes = multiprocessing.get_context("fork")
    start, firsts = processes.Event(), processes.Queue()
    workers = [processes.Process(target=_tell, args=(str(tmp_path), start, firsts)) for _ in range(4)]
    for worker in workers:
        worker.start()
    start.set()
    assert sorted(firsts.get(timeout=30) for _ in range(50)) == list(range(50))
    for worker in workers:
        worker.join()
    assert firsts.empty()


@pytest.mark.parametrize("kind", ["file", "link", "missing"])
def test_where_markers_cannot_be_kept_it_is_told_twice_rather_than_never(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("gone" if kind == "missing" else "")))
    folder = tmp_path / f"s3_downloader_told_{os.geteuid()}"
    if kind == "file":
        folder.touch()
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    assert [told_once.is_first_to_tell("key") for _ in range(2)] == [True, True]
    told_once.forget("key")


def test_old_markers_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert told_once.is_first_to_tell("old")
    (marker,) = tmp_path.glob("*/*")
    os.utime(marker, (time.time() - 8 * 24 * 3600,) * 2)
    assert told_once.is_first_to_tell("new")
    assert not marker.exists()


# --- form and success ----------------------------------------------------------------------------------------------


def test_k10_a_card_for_teams_shows_the_text_as_it_is(kraken: Kraken, hook):
    configure(kraken, ops_alerts_format="teams")
    error = ValueError("x")
    on_failure_callback({"ti": RecordingTaskInstance(), "params": {"raw_file_id": "a_b_*c*.raw"}, "exception": error})
    (post,) = hook.posts
    (card,) = post.json()["attachments"]
    assert post.json()["type"] == "message"
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    (block,) = card["content"]["body"]
    assert block["type"] == "RichTextBlock", "a TextBlock is Markdown"
    assert "for raw file 'a_b_*c*.raw' (run " in block["inlines"][0]["text"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ops_alerts_format": "carrier pigeon"}, "expected one of text, teams, got 'carrier pigeon'"),
        ({"ops_alerts_format": ["teams"]}, "expected one of text, teams, got list"),
        ({"ops_alerts_on_success": "yes"}, "expected true or false, got 'yes'"),
        ({"ops_alerts_on_success": [1]}, "expected true or false, got list"),
    ],
)
def test_a_wrong_setting_is_named_and_hides_no_failure(kraken: Kraken, hook, caplog, wrong, said):
    configure(kraken, **wrong)
    on_failure_callback(killed())
    assert f"Settings file {kraken.yaml_path}: key 'general.notifications.{next(iter(wrong))}': {said}" in caplog.text
    assert len(texts(hook)) == 1


def test_success_of_a_single_run_is_posted_where_it_is_wanted(kraken: Kraken, hook):
    kraken.back_up({ID: raw_bytes(1000, "x")}, ID)
    result = kraken.download(ID)
    ti = SimpleNamespace(xcom_pull=lambda task_ids: result)
    context = killed(ti=ti)
    on_success_callback(context)
    assert hook.posts == [], "not unless it is wanted"
    configure(kraken, ops_alerts_on_success=True)
    on_success_callback({**context, "params": {"raw_file_id": ID, "batch": "b"}})
    assert hook.posts == [], "the batch tells of its runs"
    on_success_callback(context)
    assert texts(hook) == [
        f"Run {RUN} of s3_downloader for raw file '{ID}' is done: 1 of 1 files are right. See: {kraken.reports[0]}"
    ]


def test_success_is_never_turned_into_a_failure(kraken: Kraken, caplog):
    configure(kraken, ops_alerts_on_success=True, ops_alerts_webhook_url="http://127.0.0.1:1")
    for context in ({}, {"ti": None}, {"ti": SimpleNamespace()}):
        on_success_callback(context)
    kraken.yaml_path.unlink()
    on_success_callback({})
