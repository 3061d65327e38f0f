"""What came of each file so far: known from the beginning, written by many threads, read at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from s3_restore.disk.open_file import Identity
from s3_restore.disk.quarantine import Quarantined
from s3_restore.model import reasons
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result, not_attempted
from s3_restore.model.reasons import Failure


@dataclass
class Work:
    """One file in work.

    Attributes:
        spec: what should be there.
        second_try: whether it failed before in this run.
        begun: when, on the monotonic clock.
        asides: corrupted versions that were set aside.
        undecided: what is at the final path, when nobody can tell whether it is right.
        fetched: bytes received so far.
        reused: bytes kept from an earlier attempt or a corrupted version.

    """

    spec: FileSpec
    second_try: bool = False
    begun: float = field(default_factory=time.monotonic)
    quarantined: list[Quarantined] = field(default_factory=list)
    undecided: Identity | None = None
    fetched: int = 0
    reused: int = 0

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.monotonic() - self.begun

    def _with_what_was_there(self, failure: Failure) -> Failure:
        """Tell besides what became of what was there before."""
        if self.quarantined:
            names = " and ".join(version.path.name for version in self.quarantined)
            return failure.ending(f"; the corrupted file is kept as {names}")
        return failure.and_also(reasons.UNDECIDED_ON_DISK.of()) if self.undecided else failure

    def failed(self, failure: Failure) -> FileOutcome:
        """Its outcome when it fails now."""
        return FileOutcome(
            self.spec.relative_path,
            Result.FAILED,
            self._with_what_was_there(failure),
            bytes_fetched=self.fetched,
            bytes_reused=self.reused,
            seconds=self.seconds,
        )


@dataclass(frozen=True)
class RightFile:
    """A file that was proved.

    Attributes:
        spec: of it.
        path: where it is.
        identity: the state that it was proved in.
        seen_at: when it was first seen in that state, before its bytes were read, on the worker's clock: whoever wrote
            to it since then may have changed what was hashed already.

    """

    spec: FileSpec
    path: Path
    identity: Identity
    seen_at: float


class Ledger:
    """The outcomes of one run.

    A file that is right is *confirmed* by the last look at it; one that is not has no OK in the report of a run that
    was ended early (W10).

    Args:
        specs: all files of the run.

    """

    def __init__(self, specs: Sequence[FileSpec]) -> None:
        self.specs = tuple(specs)
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._outcomes: dict[str, FileOutcome] = {}
        self._in_work: dict[str, Work] = {}
        self._postponed: dict[str, FileOutcome] = {}
        self._right: dict[str, RightFile] = {}
        self._confirmed: set[str] = set()
        self._is_doubted = False

    def begin(self, work: Work) -> None:
        """Note that a file is in work."""
        with self._lock:
            self._in_work[work.spec.relative_path] = work

    def withdraw(self, work: Work) -> None:
        """Note that a file is not in work: it was only looked at so far."""
        with self._lock:
            self._in_work.pop(work.spec.relative_path, None)

    def settle(self, outcome: FileOutcome, right: RightFile | None = None) -> None:
        """Note what came of a file in work, and in which state it was proved if it was."""
        with self._lock:
            self._in_work.pop(outcome.relative_path, None)
            self._outcomes[outcome.relative_path] = outcome
            if right:
                self._right[outcome.relative_path] = right

    def postpone(self, outcome: FileOutcome) -> None:
        """Note that a file failed for a passing reason, and is tried once more."""
        with self._lock:
            self._in_work.pop(outcome.relative_path, None)
            self._postponed[outcome.relative_path] = outcome

    def confirm(self, right: RightFile) -> None:
        """Note that a file that is right was looked at once more."""
        with self._lock:
            self._confirmed.add(right.spec.relative_path)

    def confirm_none(self) -> None:
        """Note that all files that are right are to be looked at once more."""
        with self._lock:
            self._confirmed.clear()

    def doubt_all(self) -> None:
        """Note that the run ends by an error: nothing in it is called right for sure."""
        with self._lock:
            self._is_doubted = True

    def refute(self, right: RightFile, failure: Failure) -> None:
        """Note that a file that was right is not any more."""
        with self._lock:
            outcome = self._outcomes[right.spec.relative_path]
            self._outcomes[right.spec.relative_path] = replace(outcome, result=Result.FAILED, failure=failure)
            del self._right[right.spec.relative_path]

    @property
    def right_files(self) -> list[RightFile]:
        """Files that were proved, in the order of the specs."""
        return self._in_order(self._right.get)

    @property
    def postponed(self) -> list[FileSpec]:
        """Files to try once more, in the order of the specs."""
        with self._lock:
            waiting = set(self._postponed)
        return [spec for spec in self.specs if spec.relative_path in waiting]

    def outcomes(self) -> list[FileOutcome]:
        """Of the files that have one, in no order."""
        with self._lock:
            return list(self._outcomes.values())

    def summary(self, why_not_finished: Failure | None, retries: int) -> RestoreSummary:
        """Outcomes so far; without a look at the disk.

        Args:
            why_not_finished: why files without an outcome have none; None when the run came to its end.
            retries: requests to S3 that were made again.

        """
        with self._lock:
            outcomes = tuple(self._outcome_now(spec.relative_path, why_not_finished) for spec in self.specs)
            return RestoreSummary(outcomes, time.monotonic() - self._begun, retries)

    def _outcome_now(self, path: str, why: Failure | None) -> FileOutcome:
        done = self._outcomes.get(path)
        if done is None:
            why = why or reasons.ENDED.of()
            if path in self._in_work:
                not_finished = reasons.NOT_FINISHED.of(why).because_of(why)
                return replace(self._in_work[path].failed(not_finished), bytes_reused=0, seconds=0.0)
            return self._postponed.get(path) or not_attempted([path], why)[0]
        # What was verified in S3 and restored to nowhere needs no second look.
        is_confirmed = not self._is_doubted and (path in self._confirmed or path not in self._right)
        if done.ok and why and not is_confirmed:
            failure = reasons.NOT_CONFIRMED.of(why).because_of(why)
            return replace(done, result=Result.FAILED, failure=failure)
        return done

    def _in_order(self, get: Callable[[str], RightFile | None]) -> list[RightFile]:
        with self._lock:
            found = [get(spec.relative_path) for spec in self.specs]
        return [each for each in found if each]
