"""The txt report that the operator trusts: its name and its text, nothing else. Pure (R1 to R3)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from s3_restore.model.names import REPORT_PREFIX
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result

_MB = 1024**2
_VERIFY_ONLY = "Verify only: each file was fetched from S3 and compared with its hash, and none was restored"
_MAX_ID_BYTES = 150  # keeps the report's name below the 255 bytes of most file systems


@dataclass(frozen=True)
class ReportHeader:
    """What the head of a report says.

    Attributes:
        raw_file_id: as triggered.
        project_id: as in the database.
        bucket: bare name of the bucket.
        prefix: key prefix in the bucket; empty for none.
        timestamp: one instant, UTC, for the file name and the text.
        destination: folder below which the files are.
        include: glob that chose among the files; empty for all of them.
        verify_only: whether only the backup was verified.

    """

    raw_file_id: str
    project_id: str
    bucket: str
    prefix: str
    timestamp: datetime
    destination: str
    include: str = ""
    verify_only: bool = False


def report_file_name(raw_file_id: str, timestamp: datetime, number: int = 1) -> str:
    """Name of the report; ``number`` above 1 is for a second report of the same second."""
    safe = re.sub(r"[^\w.+-]", "_", raw_file_id, flags=re.ASCII)
    if len(safe) > _MAX_ID_BYTES:
        # The digest keeps two long ids apart that begin alike.
        safe = f"{safe[:_MAX_ID_BYTES]}-{hashlib.sha256(raw_file_id.encode(errors='replace')).hexdigest()[:8]}"
    suffix = "" if number == 1 else f"_{number}"
    return f"{REPORT_PREFIX}{safe}_{timestamp:%Y%m%d_%H%M%S}{suffix}.txt"


def one_line(text: str) -> str:
    """Escape what could forge a line or hide text: control characters, line separators, bidi marks, the backslash."""
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in text)


def path_in_line(relative_path: str) -> str:
    """Escape a path so that the first ``": "`` of a line ends it: ``a.raw: OK`` may be the name of a file."""
    return one_line(relative_path).replace(": ", "\\x3a ")


def message(outcome: FileOutcome) -> str:
    """Say what happened to one file, as after the colon in its line (R2)."""
    size = f"{outcome.size / _MB:.1f} MB"
    date = outcome.older_version_of
    older = f" (older version of {date.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC)" if date else ""
    if outcome.result is Result.FAILED:
        return f"FAILURE - {one_line(outcome.reason)}"
    if outcome.result is Result.SKIPPED:
        return "OK - Skipped (already exists)"
    if outcome.result is Result.VERIFIED:
        return f"OK - Backup verified ({size} in {outcome.seconds:.1f}s)"
    if outcome.result is Result.HEALED:
        if outcome.bytes_reused:
            size = f"{outcome.bytes_fetched / _MB:.1f} of {size}"
        return f"OK - Self-healed (hash mismatch detected, re-downloaded) ({size} in {outcome.seconds:.1f}s){older}"
    return f"OK - Downloaded and verified ({size} in {outcome.seconds:.1f}s){older}"


def render_report(header: ReportHeader, summary: RestoreSummary) -> str:
    """Render the whole report; files in the order of their paths."""
    lines = [
        "S3 Download Status Report",
        "=========================",
        f"Raw File ID: {one_line(header.raw_file_id)}",
        f"Project ID: {one_line(header.project_id)}",
        f"S3 Bucket: {one_line(header.bucket)}",
        *([f"S3 Prefix: {one_line(header.prefix)}"] if header.prefix else []),
        f"Timestamp: {header.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        f"Destination: {one_line(header.destination)}",
        # Else a report on a few files of a folder would look like one on the whole.
        *([f"Only Files Like: {one_line(header.include)}"] if header.include else []),
        *([f"Mode: {_VERIFY_ONLY}"] if header.verify_only else []),
        "",
        "Files:",
        "------",
        *(
            f"{path_in_line(outcome.relative_path)}: {message(outcome)}"
            for outcome in sorted(summary.outcomes, key=lambda outcome: outcome.relative_path)
        ),
        "",
        "Summary:",
        "--------",
        f"Total files: {len(summary.outcomes)}",
        f"Successful: {summary.successful}",
        f"Failed: {summary.failed}",
        f"Status: {summary.status.value}",
        "",
    ]
    return "\n".join(lines)
