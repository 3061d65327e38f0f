"""What a run says of itself as data, for the page, REST clients and scripts (U2, design_docs/PAGE.md).

Plain JSON: text in one line, whole numbers of bytes, seconds, null for what is not known. Pure.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from s3_restore.model.file_specs import FileSpec
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result
from s3_restore.model.reasons import Failure
from s3_restore.model.status_report import one_line, path_in_line
from s3_restore.run.progress import FileInWork, Reading

VERSION = 1
MOST_BYTES = 200_000  # of a list of files, and of the text of a report
_MOST_IN_WORK = 20

RESTORE = "restore"
VERIFY_ONLY = "verify_only"


def mode_of(*, verify_only: bool) -> str:
    """What a run does with the backup."""
    return VERIFY_ONLY if verify_only else RESTORE


def head(mode: str) -> dict[str, Any]:
    """What all data begin with."""
    return {"version": VERSION, "mode": mode}


def now() -> str:
    """This instant, as ISO 8601 in UTC."""
    return iso(datetime.now(tz=UTC))


def iso(instant: datetime) -> str:
    """An instant as ISO 8601 in UTC, with seconds."""
    return instant.astimezone(UTC).isoformat(timespec="seconds")


# --- how far ---------------------------------------------------------------------------------------------------------


def progress_data(
    mode: str, reading: Reading, speeds: tuple[float, float], history: Iterable[tuple[float, int]]
) -> dict[str, Any]:
    """How far a run is.

    Args:
        mode: of the run.
        reading: of its progress.
        speeds: bytes per second since the last reading, and over the last half minute.
        history: seconds since the beginning and bytes done by then, over the whole run.

    """
    now_per_s, lately_per_s = speeds
    missing = reading.bytes_total - reading.bytes_done
    in_work = sorted(reading.in_work, key=_bytes_left, reverse=True)
    return {
        **head(mode),
        "phase": reading.phase.value,
        "at": now(),
        "seconds": round(reading.seconds, 1),
        "files_total": reading.files_total,
        "files_done": reading.files_done,
        "files_failed": reading.files_failed,
        "bytes_total": reading.bytes_total,
        "bytes_done": reading.bytes_done,
        "bytes_per_s": round(now_per_s, 1),
        "bytes_per_s_mean": round(reading.bytes_per_s_mean, 1),
        "eta_s": round(max(0, missing) / lately_per_s, 1) if lately_per_s and reading.bytes_total else None,
        "current": [
            {
                "path": one_line(file.path),
                "phase": file.phase.value,
                "bytes_done": file.bytes_done,
                "bytes_total": file.bytes_total,
            }
            for file in in_work[:_MOST_IN_WORK]
        ],
        "current_left_out": max(0, len(in_work) - _MOST_IN_WORK),
        "history": [[round(at_s, 1), bytes_done] for at_s, bytes_done in history],
    }


def _bytes_left(file: FileInWork) -> int:
    return (file.bytes_total or 0) - file.bytes_done


# --- why not ---------------------------------------------------------------------------------------------------------


class NextSteps:
    """What to do about the reasons of a list of files: said once for each code.

    Attributes:
        by_code: code of a reason -> what to do.

    """

    def __init__(self) -> None:
        self.by_code: dict[str, str] = {}

    def said(self, reason: str, code: str, what_to_do: str) -> dict[str, str]:
        """What the row of a file says of its reason."""
        row = {"code": code, "reason": one_line(reason)}
        if what_to_do and self.by_code.setdefault(code, what_to_do) != what_to_do:
            row["what_to_do"] = what_to_do
        return row


# --- what came of it -------------------------------------------------------------------------------------------------


def files_data(
    mode: str, outcomes: Iterable[FileOutcome], specs: Sequence[FileSpec], *, complete: bool
) -> dict[str, Any]:
    """What came of each file, failures first.

    Args:
        mode: of the run.
        outcomes: of the files that have one.
        specs: of all files of the run.
        complete: whether the run has ended.

    """
    ordered = sorted(outcomes, key=lambda outcome: (outcome.ok, outcome.relative_path))
    sizes = {spec.relative_path: spec.size for spec in specs}
    steps = NextSteps()
    rows, left_out = capped(_outcome_row(outcome, sizes.get(outcome.relative_path), steps) for outcome in ordered)
    counts = dict.fromkeys((result.value for result in Result), 0)
    for outcome in ordered:
        counts[outcome.result.value] += 1
    return {
        **head(mode),
        "complete": complete,
        "total": len(specs),
        "left_out": left_out,
        "counts": counts,
        "what_to_do": steps.by_code,
        "files": rows,
    }


def _outcome_row(outcome: FileOutcome, size_in_database: int | None, steps: NextSteps) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": one_line(outcome.relative_path),
        "result": outcome.result.value,
        "size": outcome.size if outcome.ok else size_in_database,
        "bytes_fetched": outcome.bytes_fetched,
        "bytes_reused": outcome.bytes_reused,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.older_version_of:
        row["older_version_of"] = iso(outcome.older_version_of)
    if not outcome.ok:
        row |= steps.said(outcome.reason, outcome.reason_code, outcome.what_to_do)
    return row


def capped(rows: Iterable[Mapping[str, Any]], most_bytes: int = MOST_BYTES) -> tuple[list[Mapping[str, Any]], int]:
    """The first rows that fit, as JSON, into so many bytes; and the count of those left out."""
    kept: list[Mapping[str, Any]] = []
    used = 0
    remaining = iter(rows)
    for row in remaining:
        used += len(json.dumps(row)) + 2
        if used > most_bytes:
            return kept, 1 + sum(1 for _ in remaining)
        kept.append(row)
    return kept, 0


def report_data(text: str) -> str:
    """The text of a report, cut at the end of a line where it is too long."""
    encoded = text.encode()
    if len(encoded) <= MOST_BYTES:
        return text
    kept = encoded[:MOST_BYTES].rpartition(b"\n")[0].decode()
    return f"{kept}\n… and {text.count(chr(10)) - kept.count(chr(10)) - 1} more lines: see the report in its folder\n"


def result_data(mode: str, summary: RestoreSummary, report_path: str | None) -> dict[str, Any]:
    """Summary of a run (A7)."""
    first = summary.first_failure
    failure = {}
    if first:
        failure = {
            "first_failure": failure_line(first),
            "code": first.reason_code,
            "what_to_do": first.what_to_do,
        }
    return {
        **failure,
        "mode": mode,
        "status": summary.status.value,
        "total_files": len(summary.outcomes),
        "successful": summary.successful,
        "failed": summary.failed,
        **{
            result.value: summary.count(result)
            for result in (Result.DOWNLOADED, Result.SKIPPED, Result.HEALED, Result.VERIFIED)
        },
        "bytes_total": summary.bytes_total,
        "bytes_fetched": summary.bytes_fetched,
        "seconds": round(summary.seconds, 3),
        "report_path": report_path,
    }


def failure_line(outcome: FileOutcome) -> str:
    """Which file failed, and why, in one line."""
    return f"{path_in_line(outcome.relative_path)}: {one_line(outcome.reason)}"


def refused_data(failure: Failure) -> dict[str, str]:
    """Summary of a validation that refused, for REST clients and the batch."""
    return {
        "status": "REFUSED",
        "reason": failure.text,
        "code": failure.code,
        "what_to_do": failure.what_to_do,
    }
