"""The tasks of the batch: which raw files, have all their runs ended, what came of them."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytz
from airflow.providers.common.compat.sdk import AirflowFailException, conf

from common.callbacks import notify
from common.constants import DagContext, DagParams, Dags, Tasks
from impl.batch_runs import count_active, exists, returned_by
from impl.handler_impl import plan_restore
from impl.host import get_backed_up_raw_file_ids
from impl.patient_operator import NotReadyYetError
from s3_restore.outcomes import RunStatus
from s3_restore.status_report import one_line

_MB = 1024**2
_MOST_IN_ONE_LINE = 5
_KEY_OF_PLANS = "plans"
_DONE = ("PLANNED", RunStatus.SUCCESS.value)


def list_raw_files(ti: Any, **kwargs: Any) -> list[dict[str, Any]]:
    """Find out which raw files are wanted.

    Args:
        ti: the task instance, for the plans of a dry run.
        **kwargs: Airflow's context, with ``raw_file_ids``, ``project_id``, ``include``, ``dry_run`` in its ``params``.

    Returns:
        For each raw file, what starts its run: ``trigger_run_id`` and ``conf``. None for a dry run.

    Raises:
        AirflowFailException: if nothing was asked for, or more than Airflow can start at once.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    params = kwargs[DagContext.PARAMS]
    raw_file_ids = split_ids(params.get(DagParams.RAW_FILE_IDS))
    project_id = (params.get(DagParams.PROJECT_ID) or "").strip()
    include = (params.get(DagParams.INCLUDE) or "").strip()
    if not raw_file_ids and not project_id:
        raise AirflowFailException(f"Nothing to restore: give {DagParams.RAW_FILE_IDS!r} or {DagParams.PROJECT_ID!r}")
    if project_id:
        of_project = get_backed_up_raw_file_ids(project_id)
        if not of_project:
            raise AirflowFailException(f"Project {project_id!r} has no raw file with a backup in S3")
        raw_file_ids = list(dict.fromkeys([*raw_file_ids, *of_project]))
    most = conf.getint("core", "max_map_length", fallback=1024)
    if len(raw_file_ids) > most:
        raise AirflowFailException(
            f"{len(raw_file_ids)} raw files are more than Airflow starts in one batch: expected at most {most}. "
            "Make smaller batches, or set [core] max_map_length"
        )
    if params.get(DagParams.DRY_RUN):
        ti.xcom_push(key=_KEY_OF_PLANS, value=[_plan(raw_file_id, include) for raw_file_id in raw_file_ids])
        return []
    # New ids for every start of this task, so that a batch that is cleared starts new runs; and safe ones, as a raw
    # file id may hold characters that a run id may not.
    begun = datetime.now(tz=pytz.utc)
    chosen = {DagParams.INCLUDE: include} if include else {}
    logging.info("Starting %d runs of %s", len(raw_file_ids), Dags.S3_DOWNLOADER)
    return [
        {
            "trigger_run_id": f"batch__{begun:%Y%m%dT%H%M%S.%f}__{number:04}__{_safe(raw_file_id)}",
            "conf": {DagParams.RAW_FILE_ID: raw_file_id, DagParams.BATCH: kwargs["run_id"], **chosen},
        }
        for number, raw_file_id in enumerate(raw_file_ids, start=1)
    ]


def wait_for_restores(ti: Any, **_kwargs: Any) -> None:
    """Come back until all runs have ended.

    Raises:
        NotReadyYetError: while some have not.

    """
    run_ids = [started["trigger_run_id"] for started in _started(ti)]
    active = count_active(ti, Dags.S3_DOWNLOADER, run_ids)
    if active:
        raise NotReadyYetError(f"{active} of {len(run_ids)} runs have not ended")


def summarize(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Gather what came of each raw file into one table, for log, XCom and webhook.

    Args:
        ti: the task instance.
        **kwargs: Airflow's context.

    Returns:
        ``total``, ``successful``, ``failed``, and in ``files`` a row for each raw file.

    Raises:
        AirflowFailException: if a raw file was not restored; its text names the first ones.

    """
    plans = ti.xcom_pull(task_ids=Tasks.LIST_RAW_FILES, key=_KEY_OF_PLANS)
    rows = plans or [_row(ti, started) for started in _started(ti)]
    failed = [row for row in rows if row["status"] not in _DONE]
    result = {"total": len(rows), "successful": len(rows) - len(failed), "failed": len(failed), "files": rows}
    logging.info("%s\n%s", "Dry run: nothing was started" if plans else "All runs have ended", _table(rows))
    if plans:
        return result
    said = f"{result['successful']} of {result['total']} raw files restored"
    if failed:
        ti.xcom_push(key="return_value", value=result)
        first = "; ".join(f"{row['raw_file_id']}: {row['reason']}" for row in failed[:_MOST_IN_ONE_LINE])
        more = f"; and {len(failed) - _MOST_IN_ONE_LINE} more" if len(failed) > _MOST_IN_ONE_LINE else ""
        raise AirflowFailException(f"{said}, {len(failed)} failed: {first}{more}")
    notify(f"Batch {kwargs['run_id']} of {Dags.S3_BATCH_DOWNLOADER}: {said}")
    return result


def split_ids(given: object) -> list[str]:
    """Read ids from a list or a pasted text, separated by commas, semicolons, spaces or new lines; each id once.

    Raises:
        AirflowFailException: if it is neither.

    """
    texts = [given] if isinstance(given, str) else given if isinstance(given, (list, tuple)) else [given]
    texts = [text for text in texts if text is not None]
    if not all(isinstance(text, str) for text in texts):
        raise AirflowFailException(f"{DagParams.RAW_FILE_IDS!r}: expected a list of ids or a text, got {given!r}")
    found = (raw_file_id for text in texts for raw_file_id in re.split(r"[\s,;]+", str(text)))
    return list(dict.fromkeys(raw_file_id for raw_file_id in found if raw_file_id))


def _safe(raw_file_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", raw_file_id)[:100]


def _started(ti: Any) -> Sequence[Mapping[str, Any]]:
    return ti.xcom_pull(task_ids=Tasks.LIST_RAW_FILES) or []


def _plan(raw_file_id: str, include: str) -> dict[str, Any]:
    row = {"raw_file_id": raw_file_id, "run_id": "", "report_path": "", "files": "", "bytes": 0}
    try:
        plan = plan_restore(
            {DagContext.PARAMS: {DagParams.RAW_FILE_ID: raw_file_id, DagParams.INCLUDE: include}}
        ).as_xcom()
    except AirflowFailException as error:
        return {**row, "status": "REFUSED", "reason": str(error)}
    troubles = plan["files_in_trouble"]
    reason = plan["s3_not_asked_because"] or (f"{troubles} will fail: {plan['troubles'][0]}" if troubles else "")
    return {
        **row,
        "status": "PLANNED",
        "files": f"{plan['files_to_download']}/{plan['total_files']}",
        "bytes": plan["bytes_to_download"],
        "reason": reason,
    }


def _row(ti: Any, started: Mapping[str, Any]) -> dict[str, Any]:
    """What came of one run: what the download returned, else why the validation refused, else what is known."""
    run_id = started["trigger_run_id"]
    row = {"raw_file_id": started["conf"][DagParams.RAW_FILE_ID], "run_id": run_id, "report_path": "", "files": ""}
    row["bytes"] = 0
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
        }
    refused = returned_by(Dags.S3_DOWNLOADER, run_id, Tasks.VALIDATE_PARAMETERS) or {}
    if refused.get("status") == "REFUSED":
        return {**row, "status": "REFUSED", "reason": refused["reason"]}
    if exists(ti, Dags.S3_DOWNLOADER, run_id):
        return {**row, "status": "FAILED", "reason": f"ended without a result: see the log of run {run_id}"}
    return {**row, "status": "NOT STARTED", "reason": "its run could not be started: see the log of start_restores"}


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Align the rows under a head; the last column, which is long, is not padded."""
    lines = [("raw file", "status", "files", "MB", "report, or reason")]
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
