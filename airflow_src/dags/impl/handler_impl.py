"""The two tasks of the S3 downloader: Airflow's context in, files and a report out, AirflowFailException on failure.

AirflowFailException fails a task without a retry: for what another attempt would find again (bad settings, bad input,
failed files). What may pass (MongoDB away, output gone) is an ordinary exception, which Airflow retries (A4).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from common.in_thread import InThread
from impl import refusals
from impl.archived_objects import wait_for_archived
from impl.batch_watch import refuse_if_stopped, stopping_with_the_batch
from impl.linked_operators import early_link
from impl.patient_operator import NotReadyYetError
from impl.preview import Preview, preview
from impl.published_run import RETURN_VALUE, published, result_of
from impl.refusals import AirflowFailException, failure_of_refusal, refusal
from impl.restore_job import RestoreJob, load_from, one_clear_line
from impl.restore_run import Concluded, RestoreRun
from impl.run_data import failure_line, refused_data
from impl.termination import Ends, noting_ends
from impl.worker_check import worker_line
from impl.xcom_publisher import push_quietly
from s3_restore.model.reasons import Failure
from s3_restore.model.status_report import one_line


def validate_s3_download_parameters(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Check what a download needs, before a byte moves, and say what it will do.

    Checks: S3 is enabled; the RawFile exists, has a backup, a project, files; the output location exists, is writable
    and has room for what is missing. What S3 lacks is only warned of: the download reports it file by file.

    Args:
        ti: the task instance, for the reason of a failed check.
        **kwargs: Airflow's context, with ``raw_file_id`` in its ``params``.

    Returns:
        The plan: files and bytes in all, there, to download, free, and troubles to expect.

    Raises:
        AirflowFailException: if a check fails.
        NotReadyYetError: if S3 was asked to bring archived objects back (``s3_download.restore_archived``).
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    logging.info(worker_line())
    with _reason_in_the_log():
        try:
            refuse_if_stopped(ti, kwargs)
            return validate(load_from(kwargs), ti, getattr(kwargs.get("task"), "poke_interval", None)).as_xcom()
        except AirflowFailException as error:
            push_quietly(ti, partial(_refused, failure_of_refusal(error)))
            raise


def validate(job: RestoreJob, ti: Any = None, looks_again_in_s: float | None = None) -> Preview:
    """Make all checks of a validation; archived objects are asked for where the settings allow it.

    Args:
        job: what is asked for.
        ti: the task instance, for the plan; None publishes none.
        looks_again_in_s: when it is called again while archived objects come back.

    Raises:
        AirflowFailException: if a check fails.
        NotReadyYetError: if archived objects are coming back.

    """
    with one_clear_line():
        store = job.connect()
    seen = preview(job, store)
    push_quietly(ti, lambda: {"plan": seen.as_plan(), **early_link(ti)})
    if job.settings.restore_archived:
        try:
            wait_for_archived(seen.plan, store)
        except NotReadyYetError as waiting:
            why = str(waiting)
            push_quietly(ti, lambda: {"progress": seen.as_waiting(why, looks_again_in_s)})
            raise
    return seen


def download_raw_file_from_s3(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Restore all files of a raw file to ``{output}/{project_id}/`` and write the status report.

    Right files are skipped, corrupted ones healed, all are tried even if some fail. No database writes.

    Args:
        ti: the task instance, for the summary of a run that fails.
        **kwargs: Airflow's context, with ``raw_file_id`` in its ``params``.

    Returns:
        Summary for REST clients (A7): status, counts, bytes, seconds, report path.

    Raises:
        AirflowFailException: if any file failed; its text names the report.
        DatabaseUnavailableError: if MongoDB does not answer.
        DestinationGoneError: if the output location vanished.

    """
    with noting_ends() as ends:  # from here on, and not from when the destination is known: no instant lies between
        with _reason_in_the_log():
            job = _load(ti, kwargs, ends)
        with stopping_with_the_batch(ti, kwargs, ends):
            return _restore(job, ends, ti)


def restore(job: RestoreJob, ti: Any = None) -> dict[str, Any]:
    """Restore what is asked for, and report; as ``download_raw_file_from_s3``."""
    with noting_ends() as ends:
        return _restore(job, ends, ti)


def _load(ti: Any, context: dict[str, Any], ends: Ends) -> RestoreJob:
    """Load what is asked for, unless the task is to end: with no destination yet, there is nothing to report."""
    loading = InThread(lambda: _load_unless_stopped(ti, context), "s3-restore-load")
    while not loading.wait():
        if ends.noted:
            raise ends.noted.error
    return loading.result()


def _load_unless_stopped(ti: Any, context: dict[str, Any]) -> RestoreJob:
    refuse_if_stopped(ti, context)
    return load_from(context)


def _restore(job: RestoreJob, ends: Ends, ti: Any) -> dict[str, Any]:
    run = RestoreRun(job, ends)
    with published(ti, job, run, ends):
        with _reason_in_the_log(), one_clear_line():
            concluded = run.to_its_end()
        return _result(job, concluded)


def _result(job: RestoreJob, concluded: Concluded) -> dict[str, Any]:
    """Summary of a run, when all its files are right.

    Raises:
        AirflowFailException: if one is not.

    """
    summary = concluded.summary
    result = result_of(job, concluded)
    if failed := summary.first_failure:
        count, total, first = summary.failed, len(summary.outcomes), failure_line(failed)
        logging.error("%d/%d files failed. First: %s", count, total, first)
        report = concluded.report_path or "the log of this task"
        raise refusal(refusals.FILES_FAILED.of(count, total, report, first))
    right, total, place = summary.successful, len(summary.outcomes), job.destination
    line = "%d of %d files are verified in the backup %s" if job.verify_only else "%d of %d files are right in %s"
    logging.info(line, right, total, job.s3_upload_path if job.verify_only else place)
    return result


def _refused(failure: Failure) -> dict[str, Any]:
    return {RETURN_VALUE: refused_data(failure)}


@contextmanager
def _reason_in_the_log() -> Iterator[None]:
    """Log why a task ends in a line of its own, which a reader of the UI finds.

    The UI shows an exception far right, above a stack trace, cut off at the edge; and the line of the failure callback
    in a section that is closed.
    """
    try:
        yield
    except NotReadyYetError:
        raise
    except BaseException as error:
        logging.error(one_line(str(error) or type(error).__name__))
        raise
