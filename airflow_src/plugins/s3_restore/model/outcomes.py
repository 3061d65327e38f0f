"""What came of it: one FileOutcome for each file, one RestoreSummary for the run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from s3_restore.model import reasons
from s3_restore.model.reasons import Failure


class Result(StrEnum):
    """What happened to one file."""

    DOWNLOADED = "downloaded"
    SKIPPED = "skipped"
    HEALED = "healed"
    VERIFIED = "verified"
    """Its backup was verified; nothing was restored (V1)."""
    FAILED = "failed"


class RunStatus(StrEnum):
    """The last line of the report."""

    SUCCESS = "SUCCESS"
    PARTIAL_FAILURE = "PARTIAL FAILURE"
    COMPLETE_FAILURE = "COMPLETE FAILURE"


@dataclass(frozen=True)
class FileOutcome:
    """The outcome of one file.

    Attributes:
        relative_path: as in ``file_info``.
        result: what happened.
        failure: why it failed; None when it did not.
        size: bytes of the restored file.
        bytes_fetched: bytes that came from S3 in this run, those of broken tries included.
        bytes_reused: bytes of a damaged file or of an earlier attempt that were proved again and kept.
        seconds: from the first look at the file to its end.
        older_version_of: when the version of the object was uploaded that it was restored from, if not from the newest.

    """

    relative_path: str
    result: Result
    failure: Failure | None = None
    size: int = 0
    bytes_fetched: int = 0
    bytes_reused: int = 0
    seconds: float = 0.0
    older_version_of: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether the final path, or the backup if only that was asked for, was proved to hold the right bytes."""
        return self.result is not Result.FAILED

    @property
    def reason(self) -> str:
        """Why it failed, in words an operator knows; empty when it did not."""
        return self.failure.text if self.failure else ""

    @property
    def reason_code(self) -> str:
        """The same for programs (``reasons``)."""
        return self.failure.code if self.failure else ""

    @property
    def what_to_do(self) -> str:
        """The operator's next step."""
        return self.failure.what_to_do if self.failure else ""


@dataclass(frozen=True)
class RestoreSummary:
    """The outcomes of one run.

    Attributes:
        outcomes: one for each entry of ``file_info``.
        seconds: duration of the run.
        retries: requests to S3 that were made again.

    """

    outcomes: tuple[FileOutcome, ...]
    seconds: float = 0.0
    retries: int = 0

    def count(self, *results: Result) -> int:
        """Count the files with one of these results."""
        return sum(outcome.result in results for outcome in self.outcomes)

    @property
    def first_failure(self) -> FileOutcome | None:
        """The first file that is not proved to be right; None for none."""
        return next((outcome for outcome in self.outcomes if not outcome.ok), None)

    @property
    def failed(self) -> int:
        """Number of files that are not proved to be right."""
        return self.count(Result.FAILED)

    @property
    def successful(self) -> int:
        """Number of files that are proved to be right."""
        return len(self.outcomes) - self.failed

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came from S3."""
        return sum(outcome.bytes_fetched for outcome in self.outcomes)

    @property
    def bytes_total(self) -> int:
        """Bytes of all files that are right now."""
        return sum(outcome.size for outcome in self.outcomes if outcome.ok)

    @property
    def status(self) -> RunStatus:
        """Overall status, as the report states it; a run without any file is no success."""
        if self.outcomes and not self.failed:
            return RunStatus.SUCCESS
        return RunStatus.PARTIAL_FAILURE if self.successful else RunStatus.COMPLETE_FAILURE


def not_attempted(paths: Sequence[str], why: Failure) -> list[FileOutcome]:
    """Outcomes for files that the run did not get to (A5, W5)."""
    failure = reasons.NOT_ATTEMPTED.of(why).because_of(why)
    return [FileOutcome(path, Result.FAILED, failure) for path in paths]
