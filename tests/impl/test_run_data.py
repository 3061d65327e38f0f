"""U2: what a run says of itself as data is what design_docs/PAGE.md promises to the page and to REST clients."""

import json
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, raw_bytes

PAGE = (Path(__file__).parents[2] / "design_docs/PAGE.md").read_text(encoding="utf-8")
ID = "20250115_sample.d"
DATA = raw_bytes(300_000, "run data")
HOSTILE = f"{ID}/<img onerror=alert(1)>\u202egpj.\x1b[0m"


def example(heading: str) -> Any:
    """The first JSON below a heading of the document."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    return json.loads(re.search(r"```json\n(.*?)```", section, re.DOTALL)[1])


def assert_as_documented(value: Any, heading: str, *, optional: tuple[str, ...] = ()) -> None:
    """The same keys, values of the same kinds; and plain JSON."""
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    _assert_alike(value, example(heading), heading, optional)


def _assert_alike(value: Any, documented: Any, where: str, optional: tuple[str, ...]) -> None:
    if isinstance(documented, dict):
        if where.endswith("what_to_do"):
            return
        left_out = [key for key in documented if key not in value]
        assert set(left_out) <= set(optional), f"{where}: {left_out}"
        assert set(value) <= set(documented), where
        for key, each in value.items():
            _assert_alike(each, documented[key], f"{where}.{key}", optional)
    elif isinstance(documented, list):
        for each in value:
            if not isinstance(each, dict):
                _assert_alike(each, documented[0], where, optional)
                continue
            fitting = [other for other in documented if set(each) <= set(other)] or documented
            _assert_alike(each, fitting[0], where, (*optional, *fitting[0]))
    elif value is not None:
        number = (int, float)
        assert isinstance(value, number if isinstance(documented, number) else type(documented)), where
        if where.endswith(".at"):
            assert datetime.fromisoformat(value).utcoffset().total_seconds() == 0


def back_up(kraken: Kraken) -> None:
    kraken.s3.versioning = False
    kraken.back_up({f"{ID}/a": DATA, f"{ID}/b": DATA, f"{ID}/c": DATA, HOSTILE: b"x"}, ID)
    kraken.s3.delete(kraken.bucket, f"{ID}/b")


@pytest.mark.rule("U2")
def test_u2_plan_of_a_restore(kraken: Kraken):
    back_up(kraken)
    (kraken.destination / ID).mkdir(parents=True)
    (kraken.destination / ID / "a").write_bytes(DATA)
    returned = kraken.validate(ID)
    plan = kraken.ti.pushed["plan"]
    assert_as_documented(plan, "`plan` of `validate_parameters`")
    assert [(file["path"], file["action"]) for file in plan["files"]] == [
        (f"{ID}/b", "trouble"),
        (f"{ID}/<img onerror=alert(1)>\\u202egpj.\\x1b[0m", "download"),
        (f"{ID}/a", "there"),
        (f"{ID}/c", "download"),
    ]
    assert "NoSuchKey" in plan["files"][0]["reason"]
    assert {key: value for key, value in returned.items() if key != "troubles"} == {
        key: value for key, value in plan.items() if key not in ("version", "files", "left_out", "what_to_do")
    }


@pytest.mark.rule("U2")
def test_u2_outcomes_summary_and_report_of_a_restore(kraken: Kraken):
    back_up(kraken)
    kraken.fail_to_download(ID)
    pushed = kraken.ti.pushed
    assert_as_documented(pushed["progress"], "`progress` of `download_files`")
    assert_as_documented(pushed["files"], "`files` of `download_files`", optional=("older_version_of",))
    assert_as_documented(pushed["return_value"], "`return_value` of `download_files`")
    assert [file["path"] for file in pushed["files"]["files"]][:2] == [
        f"{ID}/b",
        f"{ID}/<img onerror=alert(1)>\\u202egpj.\\x1b[0m",
    ]
    missing = pushed["files"]["files"][0]
    assert missing["size"] == len(DATA), "what the database says"
    assert missing["code"] == pushed["return_value"]["code"] == "object_missing"
    assert pushed["files"]["what_to_do"] == {missing["code"]: pushed["return_value"]["what_to_do"]}
    assert pushed["return_value"]["what_to_do"]
    assert pushed["files"]["counts"] == {"downloaded": 3, "skipped": 0, "healed": 0, "verified": 0, "failed": 1}
    assert pushed["report"] == kraken.report
    progress = pushed["progress"]
    assert (progress["phase"], progress["files_done"], progress["files_failed"]) == ("done", 4, 1)
    assert progress["bytes_done"] == progress["bytes_total"] == 3 * len(DATA) + 1
    assert progress["current"] == []


@pytest.mark.rule("U2")
def test_u2_refusal(kraken: Kraken):
    kraken.refuse("20250115_never_measured.raw")
    refused = kraken.ti.pushed["return_value"]
    section = PAGE.partition("Where validation refuses")[2]
    assert list(refused) == list(json.loads(re.search(r"```json\n(.*?)```", section, re.DOTALL)[1]))
    assert json.loads(json.dumps(refused)) == refused


@pytest.mark.rule("U2")
def test_u2_while_objects_come_back_from_an_archive(kraken: Kraken):
    from impl.patient_operator import NotReadyYetError  # noqa: PLC0415

    kraken.settings["s3_download"]["restore_archived"] = True
    kraken.write_yaml()
    kraken.back_up({f"{ID}/a": DATA, f"{ID}/b": DATA}, ID)
    kraken.s3.put(kraken.bucket, f"{ID}/b", DATA, storage_class="GLACIER")
    with pytest.raises(NotReadyYetError):
        kraken.validate(ID)
    waiting = kraken.ti.pushed["progress"]
    assert_as_documented(waiting, "`progress` of `validate_parameters`")
    assert (waiting["phase"], waiting["files_archived"], waiting["bytes_archived"]) == (
        "waiting for an archive",
        1,
        len(DATA),
    )
    assert kraken.ti.pushed["plan"]["files"][0]["action"] == "archived"


@pytest.mark.rule("U2")
def test_u2_raw_files_and_progress_of_a_batch_are_as_documented(kraken: Kraken):
    from impl.batch_impl import list_raw_files, wait_for_restores  # noqa: PLC0415
    from tests.impl.test_batch import BatchTaskInstance  # noqa: PLC0415

    kraken.back_up({f"{ID}/a": DATA, f"{ID}/b": DATA}, ID)
    ti = BatchTaskInstance()
    ti.listed = list_raw_files(ti, params={"raw_file_ids": [ID, "none.raw"]}, run_id="manual__1")
    wait_for_restores(ti)
    assert_as_documented(ti.pushed["raw_files"], "`raw_files` of `list_raw_files` (batch)")
    assert_as_documented(ti.pushed["progress"], "`progress` of `wait_for_restores` (batch)")
    known, unknown = ti.pushed["raw_files"]["raw_files"]
    assert (known["files"], known["bytes"]) == (2, 2 * len(DATA))
    assert (unknown["files"], unknown["bytes"]) == (None, None)


@pytest.mark.rule("U2")
def test_u2_while_it_runs_the_file_in_work_has_its_own_share(kraken: Kraken, monkeypatch: pytest.MonkeyPatch):
    """The bar moves: a store that holds the second half of a file back, and what is told of the first."""
    from impl import xcom_publisher  # noqa: PLC0415

    monkeypatch.setattr(xcom_publisher.XComPublisher.__init__, "__defaults__", (dict, 0.01))
    data = raw_bytes(4 * MIB, "halves")
    kraken.back_up({f"{ID}/a": data}, ID, part_mib=1)
    moved, told = threading.Event(), []

    def push(key: str, value: Any) -> None:
        told.append((key, value))
        kraken.ti.pushed[key] = value
        if key == "progress" and value["current"] and value["current"][0]["bytes_done"] >= MIB:
            moved.set()

    monkeypatch.setattr(kraken.ti, "xcom_push", push)
    kraken.s3.on_request = lambda request: request.range and "3145728" in request.range and moved.wait(30)
    kraken.download(ID)
    assert moved.is_set()
    (current,) = next(value for key, value in told if key == "progress" and value["current"])["current"]
    assert (current["path"], current["bytes_total"]) == (f"{ID}/a", len(data))
    phases = {value["phase"] for key, value in told if key == "progress"}
    assert {"downloading", "done"} <= phases <= {"checking", "downloading", "verifying", "done"}
    for key, value in told:
        if key == "progress":
            assert_as_documented(value, "`progress` of `download_files`")


@pytest.mark.rule("U2")
def test_u2_a_file_that_is_done_is_told_while_another_is_in_work(kraken: Kraken, monkeypatch: pytest.MonkeyPatch):
    """And how far the run was at each time, so that a plot of it is whole whenever it is opened."""
    from impl import xcom_publisher  # noqa: PLC0415

    monkeypatch.setattr(xcom_publisher.XComPublisher.__init__, "__defaults__", (dict, 0.01))
    kraken.back_up({f"{ID}/a": DATA, f"{ID}/b": DATA}, ID)
    a_is_told, told = threading.Event(), []

    def push(key: str, value: Any) -> None:
        told.append((key, value))
        kraken.ti.pushed[key] = value
        if key == "files" and not value["complete"]:
            a_is_told.set()

    monkeypatch.setattr(kraken.ti, "xcom_push", push)
    kraken.s3.on_request = lambda request: (
        request.method == "GET" and request.key.endswith("/b") and a_is_told.wait(30) and None
    )
    kraken.download(ID)
    early = next(value for key, value in told if key == "files")
    assert not early["complete"]
    assert [(file["path"], file["result"]) for file in early["files"]] == [(f"{ID}/a", "downloaded")]
    assert_as_documented(early, "`files` of `download_files`", optional=("older_version_of",))
    last = kraken.ti.pushed["progress"]
    assert last["history"][0] == [0.0, 0]
    assert last["history"][-1] == [last["seconds"], 2 * len(DATA)]
    assert 2 < len(last["history"]) <= 121
    assert any(0 < bytes_done < 2 * len(DATA) for _, bytes_done in last["history"])


@pytest.mark.rule("U2")
def test_u2_a_long_list_is_cut_failures_first_and_the_rest_counted():
    from impl.run_data import MOST_BYTES, files_data  # noqa: PLC0415
    from s3_restore.model.file_specs import FileSpec  # noqa: PLC0415
    from s3_restore.model.outcomes import FileOutcome, Result  # noqa: PLC0415

    paths = [f"sample.d/{'ü' * 60}{number:05}" for number in range(5000)]
    outcomes = [FileOutcome(path, Result.SKIPPED, size=1) for path in paths[:-1]]
    outcomes.append(FileOutcome(paths[-1], Result.FAILED, size=1))
    specs = [FileSpec(path, "bucket", path, 1, None) for path in paths]
    data = files_data("restore", outcomes, specs, complete=True)
    assert len(json.dumps(data)) < MOST_BYTES + 1000
    assert data["files"][0]["result"] == "failed"
    assert data["left_out"] == 5000 - len(data["files"]) > 0
    assert (data["total"], data["counts"]["skipped"], data["counts"]["failed"]) == (5000, 4999, 1)


@pytest.mark.rule("U2")
def test_u2_the_text_of_a_long_report_is_cut_at_a_line():
    from impl.run_data import MOST_BYTES, report_data  # noqa: PLC0415

    assert report_data("short\n") == "short\n"
    lines = [f"sample.d/ü{number}: OK - Skipped (already exists)" for number in range(10_000)]
    cut = report_data("\n".join(lines) + "\n")
    assert len(cut.encode()) < MOST_BYTES + 100
    *kept, last, _ = cut.split("\n")
    assert kept == lines[: len(kept)]
    assert last == f"… and {10_000 - len(kept)} more lines: see the report in its folder"
