"""The tasks of s3_batch_downloader on real database and S3; whole runs: tests/system/test_batch_runs.py."""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3_restore.model.names import temporary_name
from tests.support.kraken import Kraken, assert_one_clear_line
from tests.support.raw_files import raw_bytes
from tests.support.webhook_receiver import WebhookReceiver

BATCH_RUN = "manual__2025-02-04T14:30:22+00:00"
DATA = raw_bytes(100_000, "batch")


@dataclass
class BatchTaskInstance:
    """Airflow's side: XComs of the batch, and what is known of the runs that it started."""

    dag_id: str = "s3_batch_downloader"
    run_id: str = BATCH_RUN

    pushed: dict[str, Any] = field(default_factory=dict)
    listed: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        assert task_ids == "list_raw_files"
        return self.listed if key == "return_value" else self.pushed.get(key)

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str] | None = None) -> int:
        assert dag_id == "s3_downloader"
        assert len("&".join(f"run_ids={run_id}" for run_id in run_ids)) < 16_000, "must fit into a URL"
        return sum(run_id in self.states and (not states or self.states[run_id] in states) for run_id in run_ids)


@pytest.fixture
def ti(kraken: Kraken) -> BatchTaskInstance:
    """Of a batch that can ask the database."""
    return BatchTaskInstance()


def list_raw_files(ti: BatchTaskInstance, **params: Any) -> list[dict[str, Any]]:
    from impl import batch_impl  # noqa: PLC0415 (Airflow takes seconds)

    defaults = {"raw_file_ids": [], "project_id": None, "include": None, "dry_run": False}
    ti.listed = batch_impl.list_raw_files(ti, params={**defaults, **params}, run_id=BATCH_RUN)
    return ti.listed


def refuse_to_list(ti: BatchTaskInstance, **params: Any) -> str:
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowFailException) as caught:
        list_raw_files(ti, **params)
    assert_one_clear_line(caught.value)
    return str(caught.value)


def ids(listed: list[dict[str, Any]]) -> list[str]:
    return [each["conf"]["raw_file_id"] for each in listed]


# --- which raw files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ["a.raw", "b.d", "c.wiff"],
        "a.raw, b.d,c.wiff",
        "a.raw\nb.d\r\n\tc.wiff\n",
        "a.raw b.d;c.wiff",
        ["a.raw, b.d", "", "  ", "c.wiff\na.raw"],
        ["a.raw", "b.d", "a.raw", "c.wiff"],
        "\ufeffs3://alphakraken-prid001/a.raw\r\n - /fs/pool/backup/b.d/\r\n'c.wiff'\r\n",
        "/fs/my pool/a.raw /fs/pool/b.d C:\\data\\c.wiff",
        '["a.raw", "b.d", "c.wiff"]',
    ],
)
def test_ids_are_read_from_lists_and_pasted_text_and_each_once(kraken: Kraken, ti, given):
    for raw_file_id in ("a.raw", "b.d", "c.wiff"):
        kraken.store(raw_file_id)
    assert ids(list_raw_files(ti, raw_file_ids=given)) == ["a.raw", "b.d", "c.wiff"]


def test_all_backed_up_files_of_a_project_after_the_ids_given(kraken: Kraken, ti, mongo_commands):
    kraken.store("p1.raw", project_id="PRIDBATCH")
    kraken.store("p3.raw", project_id="PRIDBATCH", backup_status="upload_failed")
    kraken.store("p2.raw", project_id="PRIDBATCH")
    kraken.store("never.raw", project_id="PRIDBATCH", s3_upload_path=None)
    kraken.store("empty.raw", project_id="PRIDBATCH", s3_upload_path="")
    kraken.store("other.raw", project_id="PRIDBATCH2")

    mongo_commands.clear()  # of the stores above
    listed = list_raw_files(ti, raw_file_ids="x.raw, p2.raw", project_id=" PRIDBATCH ")

    assert ids(listed) == ["x.raw", "p2.raw", "p1.raw", "p3.raw"]
    assert set(mongo_commands) - {"hello", "isMaster", "ismaster", "saslStart", "saslContinue", "endSessions"} == {
        "find"
    }, "D1"


def test_five_hundred_ids_give_as_many_runs_that_airflow_takes(ti):
    wanted = [f"2025 {number}/Ü{{{{ x }}}}.raw".replace(" ", "_") for number in range(500)]

    listed = list_raw_files(ti, raw_file_ids=wanted, include="*.tdf*")
    again = list_raw_files(BatchTaskInstance(), raw_file_ids=wanted)

    run_ids = [each["trigger_run_id"] for each in listed]
    assert len({*run_ids, *(each["trigger_run_id"] for each in again)}) == 1000, "a batch that is cleared starts anew"
    for run_id in run_ids:
        assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", run_id)  # Airflow's allowed_run_id_pattern
    assert listed[499]["conf"] == {"raw_file_id": wanted[499], "batch": BATCH_RUN, "include": "*.tdf*"}


def test_o3_an_id_may_hold_blanks_commas_and_semicolons_and_no_fragment_of_it_is_restored(kraken: Kraken, ti):
    for raw_file_id in ("my sample.raw", "sample.raw", "a,b;c.raw", "plain.raw"):
        kraken.store(raw_file_id)
    for given in (["my sample.raw"], "my sample.raw", "'my sample.raw'\n"):
        assert ids(list_raw_files(ti, raw_file_ids=given)) == ["my sample.raw"]
    assert ids(list_raw_files(ti, raw_file_ids="a,b;c.raw, plain.raw")) == ["a,b;c.raw", "plain.raw"]
    assert ids(list_raw_files(ti, raw_file_ids="/q/my sample.raw /q/plain.raw")) == ["my sample.raw", "plain.raw"]
    for none in ("your sample.raw", "/q/your.raw /q/sample.raw", "q/your.raw q/sample.raw", "sample.raw plain.row"):
        assert ids(list_raw_files(ti, raw_file_ids=none)) == [none], "its run refuses it, with near ids"
        assert ids(list_raw_files(ti, raw_file_ids=[none])) == [none]


def test_the_parameter_of_the_other_dag_is_refused_and_the_dag_named(kraken: Kraken, ti):
    assert refuse_to_list(ti, raw_file_id="a.raw") == (
        "Parameter 'raw_file_id' is for the DAG s3_downloader: trigger that one; "
        "s3_batch_downloader takes 'raw_file_ids'"
    )
    assert kraken.refuse("a.raw", raw_file_ids="a.raw,b.raw") == (
        "Parameter 'raw_file_ids' is for the DAG s3_batch_downloader: trigger that one; "
        "s3_downloader takes 'raw_file_id'"
    )


@pytest.mark.rule("U3", fails_when="a raw file is restored by who asked for a dry run of it")
def test_a_dry_run_of_the_single_dag_is_refused_and_restores_nothing(kraken: Kraken):
    kraken.back_up({"a.raw": b"bytes"}, "a.raw")
    said = "Parameter 'dry_run' is for the DAG s3_batch_downloader: trigger that one; s3_downloader takes 'raw_file_id'"
    assert kraken.refuse("a.raw", dry_run=True) == said
    assert kraken.fail_to_download("a.raw", dry_run=True) == said
    assert not kraken.destination.exists()
    assert kraken.validate("a.raw", dry_run=False)["files_to_download"] == 1


@pytest.mark.rule("U3", fails_when="a slip in the name of a parameter makes a restore of a dry run or verification")
@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ({"dryrun": True}, "dry_run"),
        ({"Dry-Run": True}, "dry_run"),
        ({"dry": True}, "dry_run"),
        ({"verify_onyl": True}, "verify_only"),
        ({"verifyOnly": True}, "verify_only"),
        ({"verify": "yes"}, "verify_only"),
        ({"includes": "*.tdf*"}, "include"),
    ],
)
def test_a_parameter_that_is_misspelt_is_refused_by_both_dags(kraken: Kraken, ti, slip, meant):
    (name,) = slip
    kraken.back_up({"a.raw": b"bytes"}, "a.raw")
    said = f"Parameter {name!r} is none of {{}}; is {meant!r} meant? Nothing was done"
    assert kraken.refuse("a.raw", **slip) == said.format("s3_downloader")
    assert kraken.fail_to_download("a.raw", **slip) == said.format("s3_downloader")
    assert refuse_to_list(ti, raw_file_ids=["a.raw"], **slip) == said.format("s3_batch_downloader")


def test_misspelt_ids_of_a_batch_are_named_and_parameters_of_others_are_none_of_ours(kraken: Kraken, ti, caplog):
    caplog.set_level(logging.INFO)
    for slip, meant in (("rawfile_ids", "raw_file_ids"), ("raw_file_IDs", "raw_file_ids"), ("project", "project_id")):
        assert f"Parameter {slip!r} is none of" in refuse_to_list(ti, **{slip: "a.raw"})
        assert f"is {meant!r} meant?" in refuse_to_list(ti, **{slip: "a.raw"})
    kraken.back_up({"a.raw": b"bytes"}, "a.raw")
    assert kraken.validate("a.raw", requested_by="me", dryrun=False, project="P1")["files_to_download"] == 1
    assert ids(list_raw_files(ti, raw_file_ids=["a.raw"], requested_by="me")) == ["a.raw"]
    assert kraken.validate("a.raw", project_id="P1")["project_id"] == kraken.project_id
    assert "Parameter 'project_id' is none of s3_downloader: it has no effect" in caplog.text


def test_nothing_unknown_project_wrong_type_and_too_many_are_refused(kraken: Kraken, ti):
    assert refuse_to_list(ti) == "Nothing to restore: give 'raw_file_ids' or 'project_id'"
    assert refuse_to_list(ti, raw_file_ids=" ,\n") == "Nothing to restore: give 'raw_file_ids' or 'project_id'"
    assert refuse_to_list(ti, project_id="PRIDNOBODY") == "Project 'PRIDNOBODY' has no raw file with a backup in S3"
    assert refuse_to_list(ti, project_id="\ud800") == "Project '\\ud800' has no raw file with a backup in S3"
    assert "expected a list of ids or a text, got [7]" in refuse_to_list(ti, raw_file_ids=[7])
    said = refuse_to_list(ti, raw_file_ids=[f"{number}.raw" for number in range(1025)])
    assert said.startswith("1025 raw files are more than Airflow starts in one batch: expected at most 1024.")


def test_dry_run_starts_nothing_and_its_table_says_what_would_be_done(kraken: Kraken, ti, caplog):
    caplog.set_level(logging.INFO)
    kraken.settings["s3_download"]["restore_archived"] = True
    kraken.write_yaml()
    kraken.back_up({"good.raw": DATA}, "good.raw")
    kraken.back_up({"cold.raw": DATA}, "cold.raw")
    kraken.s3.put(kraken.bucket, "cold.raw", DATA, storage_class="GLACIER")

    with WebhookReceiver() as hook:
        kraken.settings["general"]["notifications"]["ops_alerts_webhook_url"] = hook.url
        kraken.write_yaml()
        assert list_raw_files(ti, raw_file_ids="good.raw, cold.raw, lost.raw", dry_run=True) == []
        error = summarize_failing(ti, dry_run=True)
        assert hook.posts == []

    result = ti.pushed["return_value"]
    assert_one_clear_line(error)
    assert str(error).startswith("Dry run: 1 of 3 raw files would be refused. In all 2 of 2 files to fetch, 0.2 MB, ")
    assert "MB are free: lost.raw: RawFile not found: 'lost.raw'" in str(error)
    assert (result["files_to_fetch"], result["bytes_to_fetch"]) == (2, 200_000)
    assert (result["total"], result["failed"]) == (3, 1)
    good, cold, lost = result["files"]
    assert (good["status"], good["files"], good["bytes"], good["reason"]) == ("PLANNED", "1/1", 100_000, "")
    assert cold["reason"].startswith("1 will fail: cold.raw: Object is archived in class GLACIER")
    assert (lost["status"], lost["reason"][:28]) == ("REFUSED", "RawFile not found: 'lost.raw")
    assert "Dry run: nothing was started\nraw file  status   files to fetch  MB to fetch  why\n" in caplog.text
    assert "\ngood.raw  PLANNED  1/1             0.1\n" in caplog.text
    for said in (
        "good.raw: PLANNED, 1 of 1 files to fetch, 0.1 MB",
        "lost.raw: REFUSED, RawFile not found: 'lost.raw'",
    ):
        assert re.search(rf"[123] of 3 looked at: {re.escape(said)}", caplog.text), "as soon as it is known"
    assert kraken.s3.writes == [], "a dry run does not even bring back what is archived"
    assert not kraken.destination.exists()


def summarize_failing(ti: BatchTaskInstance, **params: Any) -> BaseException:
    """Run the last task where it must fail, and its failure callback, as Airflow does."""
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from common.callbacks import on_failure_callback  # noqa: PLC0415
    from impl.batch_impl import summarize  # noqa: PLC0415

    with pytest.raises(AirflowFailException) as caught:
        summarize(ti, run_id=BATCH_RUN)
    on_failure_callback({"ti": ti, "params": {"raw_file_ids": [], **params}, "exception": caught.value})
    return caught.value


def test_dry_run_of_many_is_side_by_side_over_one_client_and_says_what_is_there(kraken: Kraken, ti, caplog):
    from impl.batch_impl import summarize  # noqa: PLC0415

    caplog.set_level(logging.INFO)
    wanted = [f"file{number:02}.raw" for number in range(40)]
    for raw_file_id in wanted:
        kraken.back_up({raw_file_id: DATA}, raw_file_id)
    kraken.download(wanted[0])
    kraken.settings["s3_download"]["max_concurrency"] = 8
    kraken.write_yaml()
    before = kraken.s3.connection_count

    list_raw_files(ti, raw_file_ids=wanted, dry_run=True)
    result = summarize(ti, run_id=BATCH_RUN)

    assert [row["raw_file_id"] for row in result["files"]] == wanted
    assert (result["files"][0]["files"], result["files"][0]["files_to_fetch"]) == ("0/1", 0)
    assert (result["files_to_fetch"], result["total_files"], result["bytes_to_fetch"]) == (39, 40, 39 * len(DATA))
    assert f"In all 39 of 40 files to fetch, {39 * len(DATA) / 1024**2:.1f} MB, " in caplog.text
    assert kraken.s3.connection_count - before <= 8, "connections are kept"


def test_dry_run_says_when_each_fits_but_not_all_of_them(kraken: Kraken, ti, monkeypatch):
    from impl import preview  # noqa: PLC0415

    for raw_file_id in ("a.raw", "b.raw"):
        kraken.back_up({raw_file_id: DATA}, raw_file_id)
    monkeypatch.setattr(preview, "free_bytes", lambda _path: len(DATA) * 3 // 2)
    list_raw_files(ti, raw_file_ids="a.raw b.raw", dry_run=True)
    said = str(summarize_failing(ti, dry_run=True))
    assert said.startswith(
        "Dry run: not enough space for all of them. In all 2 of 2 files to fetch, 0.2 MB, 0.1 MB are"
    )


def test_dry_run_counts_what_an_interrupted_attempt_holds_as_there(kraken: Kraken, ti, monkeypatch):
    from impl import preview  # noqa: PLC0415
    from impl.batch_impl import summarize  # noqa: PLC0415

    kraken.back_up({"a.raw": DATA}, "a.raw")
    kraken.destination.mkdir()
    (kraken.destination / temporary_name("a.raw", "0-0", "part")).write_bytes(DATA)
    monkeypatch.setattr(preview, "free_bytes", lambda _path: len(DATA) // 2)
    list_raw_files(ti, raw_file_ids="a.raw", dry_run=True)
    result = summarize(ti, run_id=BATCH_RUN)
    assert (result["failed"], result["bytes_to_fetch"]) == (0, len(DATA))


# --- waiting and the summary -------------------------------------------------------------------------------------


def test_waits_until_no_run_is_queued_or_running_and_missing_ones_do_not_count(ti):
    from impl.batch_impl import wait_for_restores  # noqa: PLC0415
    from impl.patient_operator import NotReadyYetError  # noqa: PLC0415

    run_ids = [each["trigger_run_id"] for each in list_raw_files(ti, raw_file_ids=[f"{n}.raw" for n in range(500)])]
    ti.states = dict.fromkeys(run_ids[1:], "success")
    wait_for_restores(ti)
    ti.states[run_ids[499]], ti.states[run_ids[60]] = "queued", "running"
    with pytest.raises(NotReadyYetError, match="2 of 500 runs have not ended"):
        wait_for_restores(ti)


@pytest.mark.rule("U2")
def test_u2_while_it_waits_the_batch_says_runs_bytes_and_eta(kraken: Kraken, ti, monkeypatch, caplog):
    """Sizes are those of the database; what a running restore says of itself is added to that of the ended ones."""
    from impl import batch_progress  # noqa: PLC0415
    from impl.batch_impl import wait_for_restores  # noqa: PLC0415
    from impl.patient_operator import NotReadyYetError  # noqa: PLC0415

    for raw_file_id in ("well.d", "badly.d", "running.d", "queued.d"):
        files = {f"{raw_file_id}/a": DATA, f"{raw_file_id}/b": DATA, f"{raw_file_id}/c.skip": DATA}
        kraken.back_up(files, raw_file_id)
    listed = list_raw_files(ti, raw_file_ids="well.d,badly.d,running.d,queued.d,unknown.d,lost.d", include="*[ab]")
    states = ["success", "failed", "running", "queued", "failed"]
    ti.states = {each["trigger_run_id"]: state for each, state in zip(listed, states, strict=False)}
    told = {listed[2]["trigger_run_id"]: {"files_done": 1, "bytes_done": 150_000, "bytes_per_s": 25_000.0}}
    monkeypatch.setattr(
        batch_progress, "pushed_by", lambda _dag, run_id, _task, key: key == "progress" and told[run_id]
    )

    with pytest.raises(NotReadyYetError) as waiting:
        wait_for_restores(ti)

    said = dict(ti.pushed["progress"])
    assert said.pop("at").endswith("+00:00")
    assert said == {
        "version": 1,
        "mode": "restore",
        "phase": "waiting for restores",
        "runs_total": 6,
        "runs_ended": 4,
        "runs_failed": 3,
        "runs_running": 1,
        "runs_queued": 1,
        "files_total": 8,
        "files_done": 5,
        "bytes_total": 800_000,
        "bytes_done": 550_000,
        "bytes_per_s": 25_000.0,
        "eta_s": 10.0,
    }
    assert str(waiting.value) == (
        "2 of 6 runs have not ended (1 running), 3 failed; 0.5 of 0.8 MB (69%), 0.0 MB/s, ETA 10s"
    )
    ti.states = dict.fromkeys(ti.states, "success")
    wait_for_restores(ti)
    assert (ti.pushed["progress"]["phase"], ti.pushed["progress"]["eta_s"]) == ("done", None)


@pytest.mark.rule("U2")
def test_u2_which_runs_are_active_takes_few_questions(ti, monkeypatch):
    """A question takes some 20 ms, and a thousand runs are looked at every 20 seconds."""
    from impl.batch_runs import runs_in  # noqa: PLC0415

    run_ids = [f"run{number:04}" for number in range(1000)]
    ti.states = {run_id: "success" if number < 400 else "queued" for number, run_id in enumerate(run_ids)}
    ti.states |= {"run0007": "running", "run0411": "running"}
    asked: list[int] = []
    count = ti.get_dr_count
    monkeypatch.setattr(ti, "get_dr_count", lambda **question: asked.append(1) or count(**question))

    active = runs_in(ti, "s3_downloader", run_ids, ("queued", "running"))

    assert active == {"run0007", *run_ids[400:]}
    assert len(asked) < 40


@pytest.mark.rule("V1")
def test_v1_verify_only_and_include_go_to_each_run_of_the_batch(kraken: Kraken, ti):
    kraken.back_up({"a.raw": DATA}, "a.raw")
    (listed,) = list_raw_files(ti, raw_file_ids="a.raw", verify_only=True)
    assert listed["conf"] == {"raw_file_id": "a.raw", "batch": BATCH_RUN, "verify_only": True}
    assert ti.pushed["raw_files"]["mode"] == "verify_only"
    assert "expected true or false, got 'yes'" in refuse_to_list(ti, raw_file_ids="a.raw", verify_only="yes")


@pytest.mark.rule("V1")
def test_v1_dry_run_of_verify_only_asks_for_every_file_and_needs_no_space(kraken: Kraken, ti):
    from impl.batch_impl import summarize  # noqa: PLC0415

    kraken.back_up({"a.raw": DATA}, "a.raw")
    kraken.download("a.raw")
    kraken.output.rename(kraken.output.with_name("away"))
    list_raw_files(ti, raw_file_ids="a.raw", dry_run=True, verify_only=True)
    (row,) = summarize(ti, run_id=BATCH_RUN)["files"]
    assert (row["status"], row["files"], row["bytes"], row["bytes_free"]) == ("PLANNED", "1/1", len(DATA), None)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Any]:
    """What the runs' tasks returned, by raw file id and task: stands for Airflow's XCom."""
    from impl import batch_impl  # noqa: PLC0415

    found: dict[tuple[str, str], Any] = {}

    def returned_by(_dag_id: str, run_id: str, task_id: str) -> Any:
        return found.get((run_id.rpartition("__")[2], task_id))

    monkeypatch.setattr(batch_impl, "returned_by", returned_by)
    return found


def summarize_posting(kraken: Kraken, ti: BatchTaskInstance) -> tuple[Any, list[str]]:
    """Run the last task as Airflow does, failure callback included; returns result or error, and what was posted."""
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from common.callbacks import on_failure_callback  # noqa: PLC0415
    from impl.batch_impl import summarize  # noqa: PLC0415

    with WebhookReceiver() as hook:
        kraken.settings["general"]["notifications"]["ops_alerts_webhook_url"] = hook.url
        kraken.write_yaml()
        result: Any
        try:
            result = summarize(ti, run_id=BATCH_RUN)
        except AirflowFailException as error:
            result = error
            kraken.ti.dag_id, kraken.ti.task_id = "s3_batch_downloader", "summarize"
            on_failure_callback({"ti": kraken.ti, "params": {"raw_file_ids": ["a.raw"]}, "exception": error})
        return result, [post.json()["text"] for post in hook.posts]


def test_summary_of_a_good_batch_is_a_table_and_one_post(kraken: Kraken, ti, results, caplog):
    caplog.set_level(logging.INFO)
    for raw_file_id in ("a.raw", "b.raw"):
        kraken.back_up({raw_file_id: DATA}, raw_file_id)
        results[raw_file_id, "download_files"] = kraken.download(raw_file_id)
    list_raw_files(ti, raw_file_ids="a.raw b.raw")

    result, posted = summarize_posting(kraken, ti)

    assert (result["total"], result["successful"], result["failed"]) == (2, 2, 0)
    assert [row["report_path"] for row in result["files"]] == sorted(map(str, kraken.reports))
    assert f"\na.raw     SUCCESS  1/1          0.1         {result['files'][0]['report_path']}\n" in caplog.text
    assert posted == [f"Batch {BATCH_RUN} of s3_batch_downloader: 2 of 2 raw files restored"]


def test_summary_tells_of_each_failure_and_is_posted_once(kraken: Kraken, ti, results, caplog):
    """Isolated failures: failed file, refused validation, killed task, run that never started; the rest is right."""
    kraken.back_up({"good.raw": DATA}, "good.raw")
    kraken.back_up({"partial.d/x": DATA, "partial.d/y": DATA}, "partial.d")
    kraken.s3.versioning = False  # else an older version would be found (S7)
    kraken.s3.delete(kraken.bucket, "partial.d/x")
    results["good.raw", "download_files"] = kraken.download("good.raw")
    kraken.fail_to_download("partial.d")
    results["partial.d", "download_files"] = kraken.ti.pushed["return_value"]
    kraken.refuse("unknown.raw")
    results["unknown.raw", "validate_parameters"] = kraken.ti.pushed["return_value"]
    listed = list_raw_files(ti, raw_file_ids="good.raw;partial.d;unknown.raw;killed.raw;missing.raw")
    ti.states = {each["trigger_run_id"]: "failed" for each in listed[:-1]}

    error, posted = summarize_posting(kraken, ti)

    rows = {row["raw_file_id"]: row for row in ti.pushed["return_value"]["files"]}
    assert {raw_file_id: row["status"] for raw_file_id, row in rows.items()} == {
        "good.raw": "SUCCESS",
        "partial.d": "PARTIAL FAILURE",
        "unknown.raw": "REFUSED",
        "killed.raw": "FAILED",
        "missing.raw": "NOT STARTED",
    }
    assert rows["partial.d"]["files"] == "1/2"
    assert "NoSuchKey" in rows["partial.d"]["reason"]
    assert rows["partial.d"]["report_path"] == str(kraken.reports[-1])
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    at = lines.index("partial.d: PARTIAL FAILURE")
    assert lines[at + 1].startswith("    why: partial.d/x: Object is not in S3"), "not cut off at the right edge"
    assert f"    report: {rows['partial.d']['report_path']}" in lines[at + 1 : at + 4]
    assert "missing.raw: NOT STARTED" in lines
    assert_one_clear_line(error)
    assert str(error).startswith("1 of 5 raw files restored, 4 failed: partial.d: partial.d/x: Object is not in S3")
    assert len(posted) == 1
    assert posted[0].startswith("Task s3_batch_downloader.summarize failed (run ")
    assert "RawFile not found: 'unknown.raw'" in posted[0]


def test_run_of_a_batch_logs_its_failure_but_leaves_the_post_to_the_batch(kraken: Kraken, caplog):
    from common.callbacks import on_failure_callback  # noqa: PLC0415

    with WebhookReceiver() as hook:
        kraken.settings["general"]["notifications"]["ops_alerts_webhook_url"] = hook.url
        kraken.write_yaml()
        params = {"raw_file_id": "a.raw", "batch": BATCH_RUN}
        on_failure_callback({"ti": kraken.ti, "params": params, "exception": ValueError("broken")})
        assert hook.posts == []
    assert "failed for raw file 'a.raw'" in caplog.text
