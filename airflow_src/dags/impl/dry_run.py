"""What a batch would do: raw files are looked at side by side, over connections that are kept; nothing is started."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

from impl.preview import preview
from impl.refusals import AirflowFailException, failure_of_refusal
from impl.restore_job import load, open_store
from s3_restore.model.reasons import Failure
from s3_restore.model.status_report import one_line
from s3_restore.run.workers import Workers

PLANNED = "PLANNED"
REFUSED = "REFUSED"
_MB = 1024**2
_MOST_AT_ONCE = 8  # raw files; each of them asks for several of its files at once


def plan_all(raw_file_ids: Sequence[str], include: str, *, verify_only: bool = False) -> list[dict[str, Any]]:
    """Look at raw files, and log a line for each as soon as it is known.

    Args:
        raw_file_ids: which.
        include: glob of the files that are wanted; empty for all.
        verify_only: whether only backups would be verified.

    Returns:
        A row for each raw file, in the order given.

    Raises:
        AirflowFailException: if settings or connection are wrong.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    store, settings = open_store()
    at_once = max(1, min(_MOST_AT_ONCE, settings.max_concurrency, len(raw_file_ids)))
    for_each = max(1, settings.max_concurrency // at_once)
    rows: dict[str, dict[str, Any]] = {}
    one_at_a_time = Lock()

    def plan(raw_file_id: str) -> dict[str, Any]:
        try:
            seen = preview(load(raw_file_id, include, verify_only=verify_only), store, for_each)
        except AirflowFailException as error:
            return _row(raw_file_id, status=REFUSED, reason=str(error), failure=failure_of_refusal(error))
        troubles = seen.plan.in_trouble
        will_fail = f"{len(troubles)} will fail: {seen.troubles[0]}" if troubles else ""
        doubts = len(seen.plan.in_doubt)
        may_fail = f"{doubts} may have other bytes in S3 than the backup: see the log" if doubts else ""
        return _row(
            raw_file_id,
            status=PLANNED,
            reason=str(seen.plan.unasked_because or will_fail or may_fail),
            failure=seen.plan.unasked_because or (troubles[0].trouble if troubles else None),
            files_to_fetch=len(seen.plan.to_download),
            total_files=len(seen.plan.files),
            bytes=seen.bytes_to_download,
            bytes_free=seen.free,
            bytes_needed=seen.needed,
        )

    def plan_noting(raw_file_id: str) -> None:
        row = plan(raw_file_id)
        with one_at_a_time:
            rows[raw_file_id] = row
            logging.info("%d of %d looked at: %s", len(rows), len(raw_file_ids), _line(row))

    workers = Workers(at_once)
    try:
        with workers.group() as looks:
            for raw_file_id in raw_file_ids:
                looks.go(partial(plan_noting, raw_file_id))
    finally:
        workers.close()
    return [rows[raw_file_id] for raw_file_id in raw_file_ids]


def _row(  # noqa: PLR0913 (what a row holds)
    raw_file_id: str,
    *,
    status: str,
    reason: str,
    failure: Failure | None,
    files_to_fetch: int = 0,
    total_files: int = 0,
    bytes: int = 0,  # noqa: A002 (its name in the XCom)
    bytes_free: int | None = None,
    bytes_needed: int = 0,
) -> dict[str, Any]:
    return {
        "raw_file_id": raw_file_id,
        "run_id": "",
        "status": status,
        "files": f"{files_to_fetch}/{total_files}" if total_files else "",
        "files_to_fetch": files_to_fetch,
        "total_files": total_files,
        "bytes": bytes,
        "bytes_free": bytes_free,
        "bytes_needed": bytes_needed,
        "report_path": "",
        "reason": reason,
        "code": failure.code if failure else "",
        "what_to_do": failure.what_to_do if failure else "",
    }


def _line(row: Mapping[str, Any]) -> str:
    what = f"{row['files_to_fetch']} of {row['total_files']} files to fetch, {row['bytes'] / _MB:.1f} MB; "
    return one_line(
        f"{row['raw_file_id']}: {row['status']}, {what if row['total_files'] else ''}{row['reason']}".rstrip(" ;,")
    )


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Files and bytes to fetch in all, and what is free for them: the least of what any raw file found."""
    free = [row["bytes_free"] for row in rows if row["bytes_free"] is not None]
    return {
        "total_files": sum(row["total_files"] for row in rows),
        "files_to_fetch": sum(row["files_to_fetch"] for row in rows),
        "bytes_to_fetch": sum(row["bytes"] for row in rows),
        "bytes_free": min(free, default=None),
    }


def totals_line(found: Mapping[str, Any]) -> str:
    """The totals in one line."""
    free = "" if found["bytes_free"] is None else f", {found['bytes_free'] / _MB:.1f} MB are free"
    return (
        f"In all {found['files_to_fetch']} of {found['total_files']} files to fetch, "
        f"{found['bytes_to_fetch'] / _MB:.1f} MB{free}"
    )


def why_not(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    """Why the batch would not restore all of it, one line; empty when nothing is known that speaks against it."""
    refused = [row for row in rows if row["status"] == REFUSED]
    reasons = []
    # Not the bytes to fetch, of which interrupted attempts may hold some: each raw file was looked at in this way, too.
    needed = sum(row["bytes_needed"] for row in rows)
    if found["bytes_free"] is not None and needed > found["bytes_free"]:
        reasons.append("not enough space for all of them")
    if refused:
        reasons.append(f"{len(refused)} of {len(rows)} raw files would be refused")
    return ", ".join(reasons)
