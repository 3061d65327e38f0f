"""Runs that a batch started, and what they make of its state; whole runs: tests/system/test_stopped_batches.py."""

import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Throttle
from tests.support.kraken import Kraken, RecordingTaskInstance
from tests.support.raw_files import MIB, raw_bytes

ID = "20250115_of_a_batch.raw"
BATCH_RUN = "manual__2025-02-04T14:30:22+00:00"
WHY = f"Its batch was stopped (run {BATCH_RUN})"


class DagRunState(str, Enum):  # noqa: UP042 (made like Airflow's: its str() is not its value)
    """What Airflow 3 answers."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass
class OfABatch(RecordingTaskInstance):
    """A task instance that can ask Airflow for the states of the batch and of its last task."""

    state: str | Exception = "running"
    summarize: str | None = None

    def get_dagrun_state(self, dag_id: str, run_id: str) -> DagRunState:
        assert (dag_id, run_id) == ("s3_batch_downloader", BATCH_RUN)
        if isinstance(self.state, Exception):
            raise self.state
        return DagRunState(self.state)

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, task_ids, run_ids) == ("s3_batch_downloader", ["summarize"], [BATCH_RUN])
        return {BATCH_RUN: {"summarize": self.summarize}} if self.summarize else {}


@pytest.mark.parametrize("summarize", [None, "skipped"])
def test_neither_task_begins_when_its_batch_was_stopped(kraken: Kraken, summarize: str | None):
    kraken.back_up({ID: b"data"}, ID)
    kraken.ti = OfABatch(state="failed", summarize=summarize)
    assert kraken.refuse(ID, batch=BATCH_RUN) == WHY
    said = kraken.ti.pushed["return_value"]
    assert (said["status"], said["reason"]) == ("REFUSED", WHY)
    assert kraken.fail_to_download(ID, batch=BATCH_RUN) == WHY
    assert list(kraken.output.iterdir()) == []
    assert kraken.s3.requests == []


@pytest.mark.parametrize(
    ("state", "summarize"),
    [
        ("running", None),
        ("success", "success"),
        ("failed", "failed"),
        ("failed", "upstream_failed"),
        (RuntimeError("API server away"), None),
    ],
    ids=["goes on", "well", "a run of it failed", "it failed itself", "not known"],
)
def test_a_run_goes_on_when_its_batch_does_or_has_ended_by_itself(kraken: Kraken, state, summarize):
    """A run of a batch that is red may be cleared, to try it again."""
    kraken.back_up({ID: b"data"}, ID)
    kraken.ti = OfABatch(state=state, summarize=summarize)
    kraken.validate(ID, batch=BATCH_RUN)
    assert kraken.download(ID, batch=BATCH_RUN)["status"] == "SUCCESS"


def test_a_download_ends_with_its_report_when_the_batch_is_stopped_meanwhile(
    kraken: Kraken, monkeypatch: pytest.MonkeyPatch
):
    from impl import batch_watch  # noqa: PLC0415 (Airflow takes seconds)

    monkeypatch.setattr(batch_watch, "_LOOK_S", 0.2)
    kraken.back_up({ID: raw_bytes(20 * MIB, ID)}, ID)
    kraken.ti = OfABatch()
    asked = kraken.ti.get_dagrun_state

    def stopped_while_it_downloads(dag_id: str, run_id: str) -> DagRunState:
        if list(kraken.output.rglob(".s3dl.*.part")):
            kraken.ti.state = "failed"
        return asked(dag_id, run_id)

    monkeypatch.setattr(kraken.ti, "get_dagrun_state", stopped_while_it_downloads)
    with FaultProxy(kraken.s3.url) as proxy:
        kraken.connect_s3(proxy.url)
        proxy.add(Rule(Throttle(MIB), times=None))
        assert kraken.fail_to_download(ID, batch=BATCH_RUN) == WHY

    assert f"FAILURE - Not finished ({WHY}" in kraken.report
    assert not (kraken.destination / ID).exists()
    assert [each.name for each in threading.enumerate() if each.name == "s3-restore-batch"] == [], "nobody watches on"
