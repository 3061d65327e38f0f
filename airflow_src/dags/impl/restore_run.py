"""A restore from the making of its destination to its one report, however it ends (R5, W10, W13).

All that may wait for a file system or for S3 is in a thread, the *worker*; the main thread only waits, and while it
does, ends from outside are noted and not raised (``termination``). One thread *concludes* the run, the first to claim
it:

- the worker, when the restore has come to its end: by itself, or because it was told to stop;
- a second thread, when an end from outside came and the worker does not conclude in time, as its file system hangs. It
  has only what is known in memory: no file is called right that could not be looked at again.

Whoever concludes writes the report and counts the run, once. What the report says decides how the task ends: after one
that says SUCCESS the task ends well, also when an end was noted meanwhile, as everything was done; else the noted end
goes on. Where the report cannot be written in time, the log has its text.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.in_thread import InThread
from common.restore_metrics import count_restore
from impl.output_location import make_destination
from impl.refusals import failure_of_refusal
from impl.reporting import Report
from impl.restore_job import RestoreJob
from impl.termination import Ends, Noted
from s3_restore.model import reasons
from s3_restore.model.exceptions import DestinationGoneError
from s3_restore.model.outcomes import RestoreSummary, RunStatus, not_attempted
from s3_restore.model.reasons import Failure
from s3_restore.run.backup_check import BackupCheck
from s3_restore.run.best_effort import BestEffortRun
from s3_restore.run.restorer import Restorer


@dataclass(frozen=True)
class _Deadlines:
    """Seconds after an end was noted: by when the worker must have claimed, by when the report must be written."""

    claim_s: float
    written_s: float


_AFTER_SIGTERM = _Deadlines(2.5, 4.0)  # SIGKILL follows after five seconds
_AFTER_OTHERS = _Deadlines(10.0, 20.0)


@dataclass(frozen=True)
class Concluded:
    """What came of a run.

    Attributes:
        summary: of its files.
        report_path: where its report is; None where it could not be written.
        report_text: what it says.

    """

    summary: RestoreSummary
    report_path: Path | None
    report_text: str


class RestoreRun:
    """One run.

    Args:
        job: what to restore.
        ends: ends from outside.

    """

    def __init__(self, job: RestoreJob, ends: Ends) -> None:
        self._job = job
        self._ends = ends
        self._running: BestEffortRun | None = None
        self._stopped_because: Failure | None = None
        self._lock = threading.Lock()
        self._is_claimed = False
        self._is_concluded = threading.Event()
        self._report: Report | None = None
        self._concluded: Concluded | None = None

    @property
    def running(self) -> BestEffortRun | None:
        """What is asked how far it is; None before it has begun."""
        return self._running

    @property
    def concluded(self) -> Concluded | None:
        """What came of it; None before its end."""
        return self._concluded

    def to_its_end(self) -> Concluded:
        """Restore and report.

        Returns:
            What came of it, when the run came to its end, or everything was right when it was ended.

        Raises:
            AirflowFailException: if the destination or the connection cannot be used.
            DestinationGoneError: if the output location vanished.
            BaseException: the end that was noted.

        """
        self._ends.on_first = self._stop
        if self._ends.noted:
            self._stop(self._ends.noted)
        worker = InThread(self._work, "s3-restore-run")
        while not worker.wait():
            if self._ends.noted:
                self._conclude_in_time(self._ends.noted, worker)
                break
        return self._settle(worker, self._ends.noted)

    def _stop(self, end: Noted) -> None:
        self._stopped_because = end.why
        if self._running:
            self._running.stop(end.why)

    # --- the worker ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        job = self._job
        if not job.verify_only:
            make_destination(job.output, job.project_id, job.settings)
        try:
            running = self._running = self._make_run()
            if self._stopped_because:  # either this line sees it, or ``_stop`` sees what runs
                running.stop(self._stopped_because)
            summary = running.run(job.specs)
            self._check_place(running)
        except BaseException as error:
            why = failure_of_refusal(error)
            if self._running:
                self._running.doubt_all()  # what ends by an error is no success, whatever it got to (W10)
            self._conclude(lambda: self._so_far(why), is_gone=isinstance(error, DestinationGoneError))
            raise
        self._conclude(lambda: summary)

    def _make_run(self) -> BestEffortRun:
        job, files, source = self._job, len(self._job.specs), self._job.s3_upload_path
        store = job.connect()
        if job.verify_only:
            logging.info("Verifying the backup: %d files in %s; nothing is restored", files, source)
            return BackupCheck(store, job.settings)
        logging.info("Starting download: %d files from %s to %s", files, source, job.destination)
        return Restorer(store, job.destination, job.settings, reserved=job.reserved)

    def _check_place(self, running: BestEffortRun) -> None:
        """Make sure that what was restored to is there still, after the last look: else Airflow tries again (A4)."""
        if running.has_lost_its_place():
            raise DestinationGoneError(reasons.DESTINATION_GONE.of(self._job.destination, "it was lost at the end"))

    def _so_far(self, why_not_finished: Failure) -> RestoreSummary:
        """Outcomes of a run that is ended before its time, be it before its first file; without a look at the disk."""
        summary = self._running.summary(why_not_finished) if self._running else None
        if summary and summary.outcomes:
            return summary
        paths = [spec.relative_path for spec in self._job.specs]
        return RestoreSummary(tuple(not_attempted(paths, why_not_finished)))

    # --- the conclusion --------------------------------------------------------------------------------------------

    def _conclude(
        self, summarize: Callable[[], RestoreSummary], *, no_file_because: str = "", is_gone: bool = False
    ) -> None:
        """Report the run, unless somebody else does: file, log, metrics."""
        with self._lock:
            if self._is_claimed:
                return
            self._is_claimed = True
        summary = summarize()
        count_restore(summary)  # before the report, which may hang with its file system
        report = self._report = Report(self._job, summary)
        # With the destination away, a report would be written on the disk below the mount that was lost.
        if not no_file_because and (is_gone or (self._running and self._running.has_lost_its_place())):
            no_file_because = "the output location vanished"
        if no_file_because:
            report.log_only(no_file_because)
            path = None
        else:
            path = report.write()
        self._concluded = Concluded(summary, path, report.text)
        self._is_concluded.set()

    def _conclude_in_time(self, end: Noted, worker: InThread[None]) -> None:
        """See to it that the run is concluded within the time that an end from outside leaves."""
        noted_at = time.monotonic()
        deadlines = _AFTER_SIGTERM if end.is_urgent else _AFTER_OTHERS
        while not worker.wait() and time.monotonic() < noted_at + deadlines.claim_s:
            pass
        if not self._is_claimed:
            try:
                InThread(lambda: self._conclude(lambda: self._so_far(end.why)), "s3-restore-report")
            except RuntimeError as error:  # no thread is left to wait for a disk, and this one may not
                self._conclude(lambda: self._so_far(end.why), no_file_because=str(error))
        if not self._is_concluded.wait(max(0.0, noted_at + deadlines.written_s - time.monotonic())):
            (self._report or Report(self._job, self._so_far(end.why))).log_only("it does not answer in time")

    def _settle(self, worker: InThread[None], end: Noted | None) -> Concluded:
        """How the task ends, by what its report says."""
        concluded = self._concluded
        if concluded and concluded.summary.status is RunStatus.SUCCESS:
            if end:
                logging.warning("All files were right when the task was asked to end: %s", end.why)
            return concluded
        if end:
            end.error.add_note(f"Report: {(concluded and concluded.report_path) or 'could not be written'}")
            raise end.error
        worker.result()
        if concluded is None:
            raise AssertionError("a run that ended by itself was concluded")
        return concluded
