"""What Airflow says about an attempt, in words: which, of which raw file, how it ended; and whether that is told."""

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import XCom

from common.constants import DagContext, DagParams, Tasks

KILLED = (
    "it was marked as failed by hand, or its process was killed (out of memory, or its worker is gone). "
    "What has been restored is kept; trigger it again"
)
_TOLD = "told"
# A task that is being ended tells by itself, within the five seconds that Airflow gives it.
_GRACE_S = 8.0
_POLL_S = 0.5


def describe_failure(context: Mapping[str, Any]) -> str:
    """One line for a task that has failed."""
    task_instance = _task_instance(context)
    params = context.get(DagContext.PARAMS) or {}
    of_many = DagParams.RAW_FILE_IDS in params  # a batch: its text names the raw files
    concerning = "" if of_many else f" for raw file {params.get(DagParams.RAW_FILE_ID, '?')!r}"
    return _one_line(
        f"Task {getattr(task_instance, 'dag_id', '?')}.{getattr(task_instance, 'task_id', '?')} failed"
        f"{concerning} (run {getattr(task_instance, 'run_id', '?')}): {_why(context)}"
    )


def _why(context: Mapping[str, Any]) -> str:
    exception = context.get("exception")
    if isinstance(exception, BaseException):
        return f"{type(exception).__name__}: {'; '.join([str(exception), *getattr(exception, '__notes__', ())])}"
    # Airflow tells of an attempt that nobody is left of: on 3.3 with no word, on 2.11 with a text of its own.
    task_instance = _task_instance(context)
    its_words = f" Airflow says: {exception}" if exception else ""
    host = getattr(task_instance, "hostname", None)
    if host:
        return f"it ended on worker {host} without a word: {KILLED}.{its_words}"
    queue = getattr(getattr(task_instance, "task", None), "queue", None) or getattr(task_instance, "queue", "?")
    return (
        f"it never started: no worker took it in time. Is a worker running on the queue {queue}, with a free slot? "
        f"Then trigger it again.{its_words}"
    )


def describe_success(context: Mapping[str, Any]) -> str:
    """One line for a restore that has ended well."""
    task_instance = _task_instance(context)
    returned = task_instance.xcom_pull(task_ids=Tasks.DOWNLOAD_FILES) if task_instance else None
    xcom = returned if isinstance(returned, Mapping) else {}
    right = "of the backup are verified" if xcom.get("mode") == "verify_only" else "are right"
    return _one_line(
        f"{run_of(context)} is done: {xcom.get('successful', '?')} of {xcom.get('total_files', '?')} files {right}. "
        f"See: {xcom.get('report_path') or 'the log of download_files'}"
    )


def run_of(context: Mapping[str, Any]) -> str:
    """Which run of which DAG, and for which raw file."""
    run = context.get("dag_run")
    run_id = context.get("run_id") or getattr(run, "run_id", "?")
    dag_id = getattr(context.get("dag"), "dag_id", None) or getattr(run, "dag_id", "?")
    raw_file_id = _conf(context).get(DagParams.RAW_FILE_ID, "?")
    return _one_line(f"Run {run_id} of {dag_id} for raw file {raw_file_id!r}")


def is_of_a_batch(context: Mapping[str, Any]) -> bool:
    """Whether a batch has started this run."""
    return bool(_conf(context).get(DagParams.BATCH))


def is_dry_run(context: Mapping[str, Any]) -> bool:
    """Whether the run was only asked what it would do."""
    return bool(_conf(context).get(DagParams.DRY_RUN))


def attempt_of(context: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells this attempt from all others; empty where Airflow does not say it."""
    task_instance = _task_instance(context)
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number")
    values = tuple(getattr(task_instance, name, None) for name in names)
    return values if values[1] and values[4] is not None else ()


def note_that_it_is_told(context: Mapping[str, Any]) -> None:
    """Let the failure callback of the DAG, maybe on another machine, know that this task has told of its end."""
    if isinstance(context.get("exception"), BaseException):  # else this is no task, and Airflow takes nothing from it
        with contextlib.suppress(Exception):
            context["ti"].xcom_push(key=_TOLD, value=True)


def is_told(context: Mapping[str, Any]) -> bool:
    """Whether a task of the run has told of its end; one that is being ended has a moment to do so."""
    run = context.get("dag_run")
    dag_id, run_id = getattr(run, "dag_id", None), getattr(run, "run_id", None)
    if not (dag_id and run_id):
        return False
    end = time.monotonic() + _GRACE_S
    while True:
        try:
            for task_id in (Tasks.DOWNLOAD_FILES, Tasks.VALIDATE_PARAMETERS):
                if XCom.get_one(key=_TOLD, dag_id=dag_id, run_id=run_id, task_id=task_id):
                    return True
        except Exception as error:  # noqa: BLE001 (twice is better than never)
            logging.info("Whether the run was told of cannot be known (%s)", type(error).__name__)
            return False
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)


def _conf(context: Mapping[str, Any]) -> Mapping[str, Any]:
    return context.get(DagContext.PARAMS) or getattr(context.get("dag_run"), "conf", None) or {}


def _task_instance(context: Mapping[str, Any]) -> Any:
    return context.get("task_instance") or context.get("ti")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
