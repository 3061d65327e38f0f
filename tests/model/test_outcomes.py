"""Counting outcomes, and the status that follows from them."""

import pytest

from s3_restore.model import reasons
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result, RunStatus, not_attempted


def outcomes(*results: Result) -> tuple[FileOutcome, ...]:
    return tuple(
        FileOutcome(f"file{number}", result, size=10, bytes_fetched=3) for number, result in enumerate(results)
    )


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ((Result.DOWNLOADED,), "SUCCESS"),
        ((Result.SKIPPED, Result.HEALED, Result.DOWNLOADED), "SUCCESS"),
        ((Result.FAILED,), "COMPLETE FAILURE"),
        ((Result.FAILED, Result.FAILED), "COMPLETE FAILURE"),
        ((Result.FAILED, Result.SKIPPED), "PARTIAL FAILURE"),
        ((Result.FAILED, Result.HEALED), "PARTIAL FAILURE"),
        ((), "COMPLETE FAILURE"),
    ],
)
def test_status(results, status):
    assert RestoreSummary(outcomes(*results)).status.value == status


def test_nothing_done_is_no_success():
    assert RestoreSummary(()).status is RunStatus.COMPLETE_FAILURE


def test_counts_and_bytes():
    summary = RestoreSummary(outcomes(Result.DOWNLOADED, Result.SKIPPED, Result.HEALED, Result.FAILED), seconds=2.5)
    assert (summary.successful, summary.failed) == (3, 1)
    assert summary.count(Result.DOWNLOADED, Result.HEALED) == 2
    assert summary.bytes_total == 30, "failed files do not count as restored"
    assert summary.bytes_fetched == 12, "but what was fetched for them was fetched"


@pytest.mark.rule("A5")
def test_a5_w5_not_attempted():
    found = not_attempted(["a", "b"], reasons.ENDED_DISK_FULL.of())
    assert [(outcome.relative_path, outcome.reason) for outcome in found] == [
        ("a", "Not attempted (disk full)"),
        ("b", "Not attempted (disk full)"),
    ]
    assert not any(outcome.ok for outcome in found)
