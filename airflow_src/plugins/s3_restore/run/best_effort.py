"""A run over all files of a raw file: best effort, side by side, each file's outcome noted, and an end at any time.

What is done with one file is the matter of those that derive from it: a restore, or a check of the backup. Files that
failed for a passing reason are tried once more when all others are done (A4).
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from s3_restore.model import reasons
from s3_restore.model.exceptions import HashMismatchError, StoppedError, StoreUnreachableError
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.outcomes import FileOutcome, RestoreSummary
from s3_restore.model.reasons import Failure
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.failures import failure_of, is_passing
from s3_restore.run.ledger import Ledger, RightFile, Work
from s3_restore.run.progress import Progress, Reading
from s3_restore.run.retries import RunPatience
from s3_restore.run.small_files import SmallFileTurns
from s3_restore.run.workers import Workers

OneFile = Callable[[Work, Callable[[], None]], tuple[FileOutcome, RightFile | None]]
"""Does one file; calls the second argument before it fetches what it has only looked at so far."""

_MOST_UNREACHED = 20  # files in a row that no answer came for: S3 is down, and 10,000 more time-outs tell nothing new
_POLL_S = 0.2
_WAIT_FOR_STUCK_S = 1.0  # for threads that wait for a byte or a disk when the run is asked to end


class BestEffortRun(ABC):
    """One run.

    Args:
        settings: how.

    """

    def __init__(self, settings: RestoreSettings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._stopped_because: Failure | None = None
        self._patience = RunPatience(settings.patience_s, self._stop)
        self._ledger = Ledger(())
        self._progress = Progress((), settings.progress_interval_s)
        self._unreached = 0
        self._turns = threading.BoundedSemaphore(settings.max_concurrency)
        self._small_files = SmallFileTurns(settings.max_concurrency)

    @abstractmethod
    def run(self, specs: Sequence[FileSpec]) -> RestoreSummary:
        """Work through all files.

        Returns:
            One outcome for each spec.

        Raises:
            BaseException: whatever interrupts the calling thread, after the others were told to stop; ``summary`` then
                says how far it got.

        """

    def stop(self, why: Failure) -> None:
        """Ask the run to end; returns at once, takes no lock, and may be called from any thread or signal handler.

        Args:
            why: for the files that are not finished.

        """
        self._hurry.set()
        self._end(why)

    def _end(self, why: Failure) -> None:
        self._stopped_because = self._stopped_because or why
        self._stop.set()

    def summary(self, why_not_finished: Failure | None = None) -> RestoreSummary:
        """Outcomes so far, without a look at the disk.

        Files without one failed because of ``why_not_finished``, and so did, where there is such a reason, right files
        that were not looked at again.
        """
        return self._ledger.summary(why_not_finished, self._patience.made)

    def has_lost_its_place(self) -> bool:
        """Whether what it restores to is gone, so that nothing may be written there; from any thread."""
        return False

    def doubt_all(self) -> None:
        """Call no file right any more: the run ends by an error; from any thread."""
        self._ledger.doubt_all()

    def reading(self) -> Reading:
        """How far the run is; from any thread."""
        return self._progress.read()

    def outcomes(self) -> list[FileOutcome]:
        """Of the files that have their result so far; one that is right may still be refuted at the end."""
        return self._ledger.outcomes()

    # --- the files -----------------------------------------------------------------------------------------------

    def _begin(self, specs: Sequence[FileSpec]) -> Workers:
        """Make ready for these files; returns the threads that work on them."""
        self._ledger = Ledger(specs)
        self._progress = Progress(specs, self._settings.progress_interval_s)
        return Workers(min(self._side_by_side(), len(specs)))

    def _side_by_side(self) -> int:
        """How many files are worked on at once."""
        return self._settings.max_concurrency

    def _take_turn(self, work: Work, held: ExitStack) -> None:
        """Wait until a file that was looked at may be fetched; it may until ``held`` ends.

        While it waits it is not in work, and the time is not its own.

        Raises:
            StoppedError: when the run was asked to end meanwhile.

        """
        if not self._turns.acquire(blocking=False):
            self._ledger.withdraw(work)
            since = time.monotonic()
            self._turns.acquire()
            work.begun += time.monotonic() - since
        held.callback(self._turns.release)
        if self._stop.is_set():
            self._ledger.withdraw(work)
            raise StoppedError
        self._ledger.begin(work)

    def _work_on_all(self, one_file: OneFile, workers: Workers, specs: Sequence[FileSpec]) -> None:
        """Work on each file, and once more on those that failed for a passing reason."""
        self._work_through(one_file, workers, specs)
        again = self._ledger.postponed
        if again and not self._stop.is_set():
            logging.info("Trying %d file(s) once more that failed for a passing reason", len(again))
            self._unreached = 0
            self._work_through(one_file, workers, again, second_try=True)

    def _work_through(
        self, one_file: OneFile, workers: Workers, specs: Sequence[FileSpec], *, second_try: bool = False
    ) -> None:
        files = workers.group()
        for spec in specs:
            files.go(partial(self._work_noting, one_file, spec, second_try=second_try))
        while not files.wait(_POLL_S):
            if self._hurry.is_set():
                files.wait(_WAIT_FOR_STUCK_S)  # what those have fetched that are stuck is for the next attempt
                return
        if files.error:
            raise files.error

    def _work_noting(self, one_file: OneFile, spec: FileSpec, *, second_try: bool) -> None:
        """Work on one file and note its outcome; whatever goes wrong with it stays with it."""
        with ExitStack() as held:  # its turns end when all is noted: what ends the run is known to the next
            held.enter_context(self._small_files.turn(spec.size))
            if self._stop.is_set():
                return
            work = Work(spec, second_try)
            self._ledger.begin(work)
            self._progress.begin_file(spec)
            try:
                outcome, right = one_file(work, partial(self._take_turn, work, held))
            except StoppedError:
                return  # stays among those in work
            except Exception as error:  # noqa: BLE001 (best effort: the other files go on)
                if not self._ends_the_run(error):
                    self._note_failure(work, error)
                return
            if outcome.ok:
                self._unreached = 0
            self._settle(work.spec, outcome, right)

    def _ends_the_run(self, error: Exception) -> bool:  # noqa: ARG002 (for those that derive from it)
        """Whether an error is about no file, so that the run has to end."""
        return False

    def _note_failure(self, work: Work, error: Exception) -> None:
        """Note what an error means for the file, and whether the run can go on."""
        path = work.spec.relative_path
        self._unreached = self._unreached + 1 if isinstance(error, StoreUnreachableError) else 0
        if self._unreached >= _MOST_UNREACHED:
            failure = failure_of(error)
            self._end(reasons.STORE_DOWN.of(self._unreached, failure).because_of(failure))
        outcome = work.failed(failure_of(error))
        # A part size that nobody knows is the likelier reason of a mismatch then, and stays unknown.
        hopeless = isinstance(error, HashMismatchError) and work.undecided
        if is_passing(error) and not hopeless and not work.second_try and not self._stop.is_set():
            logging.warning("%s: %s; it is tried once more after the other files", path, error)
            self._ledger.postpone(outcome)
            self._progress.put_off(work.spec)
            return
        self._settle(work.spec, outcome)

    def _settle(self, spec: FileSpec, outcome: FileOutcome, right: RightFile | None = None) -> None:
        self._ledger.settle(outcome, right)
        self._progress.end_file(spec, ok=outcome.ok)
        if not outcome.ok:
            logging.error("%s: FAILURE - %s", spec.relative_path, outcome.reason)
