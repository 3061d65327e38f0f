"""A run as its page sees it: how far it is while it runs, and what came of it, as XComs of its task (U2)."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from impl.linked_operators import early_link
from impl.restore_job import RestoreJob
from impl.restore_run import Concluded, RestoreRun
from impl.run_data import files_data, mode_of, progress_data, report_data, result_data
from impl.termination import Ends
from impl.xcom_publisher import XComPublisher
from s3_restore.run.progress import History, Reading, Speedometer

RETURN_VALUE = "return_value"
_FILES_EVERY_S = 30.0
_FEW_FILES = 100  # a list so short costs little, and is told with each reading
_WHEN_KILLED_SOON_S = 0.3  # after SIGTERM: the report is written, and five seconds are nearly over
_WHEN_ENDED_S = 5.0


@contextmanager
def published(ti: Any, job: RestoreJob, run: RestoreRun, ends: Ends) -> Iterator[None]:
    """Publish a run while the body runs it, and in the end what came of it, however it ends.

    Args:
        ti: the task instance; None publishes nothing.
        job: what is asked for.
        run: its run.
        ends: ends from outside; after one of those hardly anything is waited for.

    """
    readings = _Readings(job, run, ti)
    with XComPublisher(ti, readings.read) as publisher:
        try:
            yield
        finally:
            last = partial(readings.last, ended=ends.noted is not None)
            if ends.noted:
                within_s = _WHEN_KILLED_SOON_S if ends.noted.is_urgent else _WHEN_ENDED_S
                publisher.finish(last, within_s=within_s)
            else:
                publisher.finish(last, is_in_a_hurry=lambda: ends.noted is not None)


class _Readings:
    """What is known of a run, reading by reading."""

    def __init__(self, job: RestoreJob, run: RestoreRun, ti: Any) -> None:
        self._ti = ti
        self._is_linked = False
        self._job = job
        self._run = run
        self._mode = mode_of(verify_only=job.verify_only)
        self._meter = Speedometer()
        self._history = History()
        self._lock = threading.Lock()  # the last values are read by the task itself, the others by a thread
        self._files_at = time.monotonic()
        self._files_said = 0

    def read(self) -> Mapping[str, Any]:
        """What is to be told now; empty before the run has begun."""
        running = self._run.running
        if running is None:
            return {}
        link = {} if self._is_linked else early_link(self._ti)
        self._is_linked = True
        reading = running.reading()
        values: dict[str, Any] = {"progress": self._progress(reading), **link}
        is_time = reading.files_total <= _FEW_FILES or time.monotonic() - self._files_at >= _FILES_EVERY_S
        if is_time and reading.files_done != self._files_said:
            self._files_at, self._files_said = time.monotonic(), reading.files_done
            values["files"] = files_data(self._mode, running.outcomes(), self._job.specs, complete=False)
        return values

    def last(self, *, ended: bool) -> dict[str, Any]:
        """The last values, what matters most first; ``ended`` says whether it was ended from outside."""
        running, concluded = self._run.running, self._run.concluded
        values: dict[str, Any] = {}
        if running:
            values["progress"] = self._progress(running.reading(), is_last=True)
        if concluded:
            if concluded.summary.failed or ended:  # else the task returns it, and Airflow pushes it
                values[RETURN_VALUE] = result_of(self._job, concluded)
            values["files"] = files_data(self._mode, concluded.summary.outcomes, self._job.specs, complete=True)
            values["report"] = report_data(concluded.report_text)
        return values

    def _progress(self, reading: Reading, *, is_last: bool = False) -> dict[str, Any]:
        with self._lock:
            speeds = (0.0, 0.0) if is_last else self._meter.speeds(reading.seconds, reading.bytes_done)
            history = self._history.note(reading.seconds, reading.bytes_done)
        return progress_data(self._mode, reading, speeds, history)


def result_of(job: RestoreJob, concluded: Concluded) -> dict[str, Any]:
    """Summary of a run (A7)."""
    path = str(concluded.report_path) if concluded.report_path else None
    return result_data(mode_of(verify_only=job.verify_only), concluded.summary, path)
