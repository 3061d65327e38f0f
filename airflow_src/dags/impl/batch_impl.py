"""The tasks of the batch: which raw files, have all their runs ended, what came of them."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytz
from airflow.providers.common.compat.sdk import conf

from common.callbacks import notify
from common.constants import DagContext, DagParams, Dags, Tasks
from impl import refusals
from impl.batch_progress import look_at
from impl.batch_runs import exists, returned_by
from impl.dry_run import PLANNED, REFUSED, plan_all, totals, totals_line, why_not
from impl.host import DatabaseUnavailableError, get_backed_up_raw_file_ids, get_file_infos, parse_file_info_item
from impl.linked_operators import early_link
from impl.patient_operator import NotReadyYetError
from impl.raw_file_ids import can_be_id
from impl.raw_file_lookup import read_pasted_ids, refuse_misdirected, refuse_misspelt
from impl.refusals import refusal
from impl.restore_job import read_verify_only
from impl.run_data import head, mode_of
from impl.xcom_publisher import push_quietly
from s3_restore.model.file_specs import is_included, parse_size
from s3_restore.model.outcomes import RunStatus
from s3_restore.model.status_report import one_line

_MB = 1024**2
_MOST_IN_ONE_LINE = 5
_MOST_LINES = 50
_KEY_OF_PLANS = "plans"
_KEY_OF_SIZES = "raw_files"
_HEAD = ("raw file", "status", "files right", "MB fetched", "report, or reason")
_HEAD_OF_PLANS = ("raw file", "status", "files to fetch", "MB to fetch", "why")


def list_raw_files(ti: Any, **kwargs: Any) -> list[dict[str, Any]]:
    """Find out which raw files are wanted.

    Args:
        ti: the task instance, for the plans of a dry run.
        **kwargs: Airflow's context, with ``raw_file_ids``, ``project_id``, ``include``, ``verify_only`` and ``dry_run``
            in its ``params``.

    Returns:
        For each raw file, what starts its run: ``trigger_run_id`` and ``conf``. None for a dry run.

    Raises:
        AirflowFailException: if nothing was asked for, or more than Airflow can start at once.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    params = kwargs[DagContext.PARAMS]
    refuse_misdirected(params, Dags.S3_BATCH_DOWNLOADER)
    refuse_misspelt(params, Dags.S3_BATCH_DOWNLOADER)
    raw_file_ids = _ids_in(params.get(DagParams.RAW_FILE_IDS))
    project_id = (params.get(DagParams.PROJECT_ID) or "").strip()
    include = (params.get(DagParams.INCLUDE) or "").strip()
    verify_only = read_verify_only(params)
    if not raw_file_ids and not project_id:
        raise refusal(refusals.NOTHING_ASKED.of(repr(DagParams.RAW_FILE_IDS), repr(DagParams.PROJECT_ID)))
    if project_id:
        of_project = get_backed_up_raw_file_ids(project_id) if can_be_id(project_id) else []
        if not of_project:
            raise refusal(refusals.EMPTY_PROJECT.of(repr(project_id)))
        raw_file_ids = list(dict.fromkeys([*raw_file_ids, *of_project]))
    most = conf.getint("core", "max_map_length", fallback=1024)
    if len(raw_file_ids) > most:
        raise refusal(refusals.TOO_MANY.of(len(raw_file_ids), most))
    if params.get(DagParams.DRY_RUN):
        ti.xcom_push(key=_KEY_OF_PLANS, value=plan_all(raw_file_ids, include, verify_only=verify_only))
        return []
    # New ids for every start of this task, so that a batch that is cleared starts new runs; and safe ones, as a raw
    # file id may hold characters that a run id may not.
    begun = datetime.now(tz=pytz.utc)
    chosen: dict[str, Any] = {DagParams.INCLUDE: include} if include else {}
    if verify_only:
        chosen[DagParams.VERIFY_ONLY] = True
    logging.info("Starting %d runs of %s", len(raw_file_ids), Dags.S3_DOWNLOADER)
    started = [
        {
            "trigger_run_id": f"batch__{begun:%Y%m%dT%H%M%S.%f}__{number:04}__{_safe(raw_file_id)}",
            "conf": {DagParams.RAW_FILE_ID: raw_file_id, DagParams.BATCH: kwargs["run_id"], **chosen},
        }
        for number, raw_file_id in enumerate(raw_file_ids, start=1)
    ]
    mode = mode_of(verify_only=verify_only)
    push_quietly(ti, lambda: {_KEY_OF_SIZES: {**head(mode), _KEY_OF_SIZES: _sizes(started, include)}})
    return started


def _sizes(started: Sequence[Mapping[str, Any]], include: str) -> list[dict[str, Any]]:
    """What each run is to bring, by the database: so that the batch can say how far it is."""
    try:
        infos = get_file_infos([each["conf"][DagParams.RAW_FILE_ID] for each in started])
    except DatabaseUnavailableError as error:
        logging.info("How much the batch is to bring is not known (%s)", error)
        infos = {}
    return [_size(each, infos.get(each["conf"][DagParams.RAW_FILE_ID]), include) for each in started]


def _size(started: Mapping[str, Any], file_info: Mapping[str, Any] | None, include: str) -> dict[str, Any]:
    wanted = [item for path, item in (file_info or {}).items() if not include or is_included(path, include)]
    return {
        "raw_file_id": one_line(started["conf"][DagParams.RAW_FILE_ID]),
        "run_id": started["trigger_run_id"],
        "files": len(wanted) if wanted else None,
        "bytes": sum(parse_size(parse_file_info_item(item)[0]) or 0 for item in wanted) if wanted else None,
    }


def wait_for_restores(ti: Any, **_kwargs: Any) -> None:
    """Come back until all runs have ended, and say how far they are.

    Raises:
        NotReadyYetError: while some have not.

    """
    run_ids = [started["trigger_run_id"] for started in _started(ti)]
    sizes = ti.xcom_pull(task_ids=Tasks.LIST_RAW_FILES, key=_KEY_OF_SIZES) or {}
    seen = look_at(ti, run_ids, sizes.get(_KEY_OF_SIZES, []))
    if run_ids:
        mode = sizes.get("mode", mode_of(verify_only=False))
        push_quietly(ti, lambda: {"progress": seen.as_data(mode), **early_link(ti)})
    if seen.active:
        raise NotReadyYetError(seen.line())


def summarize(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Gather what came of each raw file into one table, for log, XCom and webhook.

    Args:
        ti: the task instance.
        **kwargs: Airflow's context.

    Returns:
        ``total``, ``successful``, ``failed``, and in ``files`` a row for each raw file.

    Raises:
        AirflowFailException: if a raw file was not restored, or would not be; its text names the first ones.

    """
    plans = ti.xcom_pull(task_ids=Tasks.LIST_RAW_FILES, key=_KEY_OF_PLANS)
    if plans:
        return _summarize_plans(ti, plans)
    rows = [_row(ti, started) for started in _started(ti)]
    failed = [row for row in rows if row["status"] != RunStatus.SUCCESS.value]
    verify_only = read_verify_only(kwargs.get(DagContext.PARAMS) or {})
    result = {
        "mode": mode_of(verify_only=verify_only),
        "total": len(rows),
        "successful": len(rows) - len(failed),
        "failed": len(failed),
        "files": rows,
    }
    logging.info("All runs have ended\n%s", _table(_HEAD, rows))
    successful, total = result["successful"], result["total"]
    if failed:
        push_quietly(ti, lambda: {"return_value": result})
        _log_each(failed)
        reason = refusals.BATCH_NOT_VERIFIED if verify_only else refusals.BATCH_FAILED
        raise refusal(reason.of(successful, total, len(failed), _first_of(failed)))
    done = "backups verified" if verify_only else "raw files restored"
    notify(f"Batch {kwargs['run_id']} of {Dags.S3_BATCH_DOWNLOADER}: {successful} of {total} {done}")
    return result


def _summarize_plans(ti: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    refused = [row for row in rows if row["status"] != PLANNED]
    found = totals(rows)
    result = {
        "total": len(rows),
        "successful": len(rows) - len(refused),
        "failed": len(refused),
        **found,
        "files": rows,
    }
    logging.info("Dry run: nothing was started\n%s\n%s", _table(_HEAD_OF_PLANS, rows), totals_line(found))
    against = why_not(rows, found)
    if against:
        push_quietly(ti, lambda: {"return_value": result})
        _log_each(refused)
        first = f": {_first_of(refused)}" if refused else ""
        raise refusal(refusals.DRY_RUN_AGAINST.of(against, f"{totals_line(found)}{first}"))
    return result


def _log_each(failed: Sequence[Mapping[str, Any]]) -> None:
    """Log each failure in lines of its own: the table is wide, and the UI cuts an exception off at the right edge."""
    for row in failed[:_MOST_LINES]:
        logging.error("%s: %s", one_line(row["raw_file_id"]), row["status"])
        for label, key in (("why", "reason"), ("what to do", "what_to_do"), ("report", "report_path")):
            if row.get(key):
                logging.error("    %s: %s", label, one_line(row[key]))
    if len(failed) > _MOST_LINES:
        logging.error("... and %d more: see the table above", len(failed) - _MOST_LINES)


def _first_of(rows: Sequence[Mapping[str, Any]]) -> str:
    first = "; ".join(f"{row['raw_file_id']}: {row['reason']}" for row in rows[:_MOST_IN_ONE_LINE])
    return f"{first}; and {len(rows) - _MOST_IN_ONE_LINE} more" if len(rows) > _MOST_IN_ONE_LINE else first


def _ids_in(given: object) -> list[str]:
    """Read ids from a list or a pasted text.

    Raises:
        AirflowFailException: if it is neither.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    if isinstance(given, str):
        return read_pasted_ids(given)
    elements = given if isinstance(given, (list, tuple)) else [given]
    elements = [element for element in elements if element is not None]
    texts = [element for element in elements if isinstance(element, str)]
    if len(texts) < len(elements):
        raise refusal(refusals.NO_LIST_OF_IDS.of(repr(DagParams.RAW_FILE_IDS), repr(given)))
    return read_pasted_ids(texts)


def _safe(raw_file_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", raw_file_id)[:100]


def _started(ti: Any) -> Sequence[Mapping[str, Any]]:
    return ti.xcom_pull(task_ids=Tasks.LIST_RAW_FILES) or []


def _row(ti: Any, started: Mapping[str, Any]) -> dict[str, Any]:
    """What came of one run: what the download returned, else why the validation refused, else what is known."""
    run_id = started["trigger_run_id"]
    row = {"raw_file_id": started["conf"][DagParams.RAW_FILE_ID], "run_id": run_id, "report_path": "", "files": ""}
    row |= {"bytes": 0, "code": "", "what_to_do": ""}
    restored = returned_by(Dags.S3_DOWNLOADER, run_id, Tasks.DOWNLOAD_FILES)
    if restored:
        reason = "" if restored["status"] == RunStatus.SUCCESS.value else restored["first_failure"]
        return {
            **row,
            "status": restored["status"],
            "files": f"{restored['successful']}/{restored['total_files']}",
            "bytes": restored["bytes_fetched"],
            "report_path": restored["report_path"] or "",
            "reason": reason,
            "code": restored.get("code", ""),
            "what_to_do": restored.get("what_to_do", ""),
        }
    refused = returned_by(Dags.S3_DOWNLOADER, run_id, Tasks.VALIDATE_PARAMETERS) or {}
    if refused.get("status") == REFUSED:
        said = {key: refused.get(key, "") for key in ("reason", "code", "what_to_do")}
        return {**row, "status": REFUSED, **said}
    if exists(ti, Dags.S3_DOWNLOADER, run_id):
        return {**row, "status": "FAILED", "reason": f"ended without a result: see the log of run {run_id}"}
    return {**row, "status": "NOT STARTED", "reason": "its run could not be started: see the log of start_restores"}


def _table(head: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    """Align the rows under a head; the last column, which is long, is not padded."""
    lines = [head]
    lines += [
        (
            one_line(row["raw_file_id"]),
            row["status"],
            row["files"],
            f"{row['bytes'] / _MB:.1f}",
            " - ".join(one_line(text) for text in (row["report_path"], row["reason"]) if text),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line[:4], widths, strict=True)), line[4]]).rstrip()
        for line in lines
    )
