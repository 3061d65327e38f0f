"""The report of a run: written and logged."""

import itertools
import logging
from datetime import datetime
from pathlib import Path

import pytz

from common.in_thread import InThread
from impl.output_location import why_no_report
from impl.restore_job import RestoreJob
from s3_restore.disk.atomic_write import write_new_file
from s3_restore.model.outcomes import RestoreSummary
from s3_restore.model.status_report import ReportHeader, render_report, report_file_name

_WAIT_FOR_DISK_S = 20.0  # of a check of a backup


class Report:
    """The text of the report of one run, with one instant in name and text."""

    def __init__(self, job: RestoreJob, summary: RestoreSummary) -> None:
        bucket, prefix = job.bucket_and_prefix
        self._job = job
        self._now = datetime.now(tz=pytz.utc)
        header = ReportHeader(
            job.raw_file_id,
            job.project_id,
            bucket,
            prefix,
            self._now,
            str(job.destination),
            job.include,
            job.verify_only,
        )
        self.text = render_report(header, summary)

    def write(self) -> Path | None:
        """Write it to the destination and log it; where it cannot be written, the log is all there is."""
        try:
            return self._write_if_there_is_a_place() if self._job.verify_only else self._write()
        except Exception as error:  # noqa: BLE001 (out of threads, out of memory: nobody else says what came of the run)
            self.log_only(f"{type(error).__name__}: {error}")
            return None

    def _write_if_there_is_a_place(self) -> Path | None:
        """A check of a backup needs no disk: neither one that is there, nor one that answers."""
        job = self._job

        def write() -> Path | None:
            why_not = why_no_report(job.output, job.project_id, job.settings)
            if not why_not:
                return self._write()
            logging.info("Status report (in no file: %s)\n%s", why_not, self.text)
            return None

        writing = InThread(write, "s3-restore-report")
        if writing.wait(_WAIT_FOR_DISK_S):
            return writing.result()
        self.log_only("it does not answer in time")
        return None

    def _write(self) -> Path | None:
        names = (report_file_name(self._job.raw_file_id, self._now, number) for number in itertools.count(1))
        try:
            path = write_new_file(self._job.destination, names, self.text, self._job.settings.umask)
        except OSError as error:
            self.log_only(error.strerror or str(error))
            return None
        logging.info("Status report: %s\n%s", path, self.text)
        return path

    def log_only(self, why: str) -> None:
        """Log it, as it cannot be written."""
        logging.error(
            "Status report could not be written to %s (%s). It says:\n%s", self._job.destination, why, self.text
        )
