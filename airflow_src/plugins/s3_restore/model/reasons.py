"""Every reason for which a file can fail, as data: a code, the words of the report, what to do. Pure.

Errors of the restore are made of these and of nothing else (``exceptions``), so whatever a report can say is here or in
``store_reasons``; what a validation says is in ``impl.refusals``, ``settings_reasons`` and ``shared.db.reasons``. The
operator's tables are generated from them (``make reasons``). Codes are for programs: words may change, codes stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

VALUE = "…"


@dataclass(frozen=True)
class Reason:
    """One kind of failure.

    Attributes:
        code: stable name for programs, in snake_case.
        text: one line in an operator's words, with ``…`` for each value.
        what_to_do: the operator's next step.
        is_part: whether it only goes on with another reason, or stands in the brackets of one.

    """

    code: str
    text: str
    what_to_do: str
    is_part: bool = False

    def of(self, *values: object) -> Failure:
        """Say it of one case.

        Args:
            values: for each ``…`` of the text, in their order.

        Raises:
            ValueError: if there are more or fewer.

        """
        first, *others = self.text.split(VALUE)
        return Failure(self, first + "".join(f"{value}{piece}" for value, piece in zip(values, others, strict=True)))


@dataclass(frozen=True)
class Failure:
    """Why one file failed, or all of a run.

    Attributes:
        reason: its kind.
        text: the words for this case, one line.
        further: other reasons that the text goes on with, such as why older versions could not be looked at.

    """

    reason: Reason
    text: str
    further: tuple[Reason, ...] = ()

    def __str__(self) -> str:
        """Give the words."""
        return self.text

    @property
    def code(self) -> str:
        """Stable name of its kind."""
        return self.reason.code

    @property
    def what_to_do(self) -> str:
        """The operator's next steps, in their order."""
        return "; ".join(dict.fromkeys(reason.what_to_do for reason in (self.reason, *self.further)))

    def ending(self, words: str) -> Failure:
        """Say more of the same."""
        return replace(self, text=self.text + words)

    def because_of(self, failure: Failure) -> Failure:
        """Name another failure, whose words are in this one's already, as what is behind it."""
        return replace(self, further=(*self.further, failure.reason, *failure.further))

    def and_also(self, failure: Failure) -> Failure:
        """Go on with another failure."""
        return self.ending(f"; {failure}").because_of(failure)


@dataclass(frozen=True)
class Group:
    """Reasons that are shown together.

    Attributes:
        title: of them.
        reasons: in the order in which they are shown.

    """

    title: str
    reasons: list[Reason] = field(default_factory=list)

    def reason(self, code: str, text: str, what_to_do: str) -> Reason:
        """Add one; the only way to make one."""
        self.reasons.append(Reason(code, text, what_to_do))
        return self.reasons[-1]

    def part(self, code: str, text: str, what_to_do: str) -> Reason:
        """Add one that is only a part of others."""
        self.reasons.append(Reason(code, text, what_to_do, is_part=True))
        return self.reasons[-1]


def failure_in(error: BaseException) -> Failure | None:
    """The failure that an error of ours carries; None for another error."""
    failure: Any = getattr(error, "failure", None)
    return failure if isinstance(failure, Failure) else None


# --- worker and local disk -----------------------------------------------------------------------------------------

DISK = Group("Worker and local disk")

DISK_FULL = DISK.reason(
    "disk_full",
    "Disk full: … (…)",
    "make room or raise the quota; the run ends there and the next one resumes",
)
NO_PERMISSION = DISK.reason(
    "no_permission",
    "Local file system error: … (EACCES)",
    "give the worker's user the right to read and write there",
)
READ_ONLY = DISK.reason(
    "read_only_file_system",
    "Local file system error: … (EROFS)",
    "the output is mounted read-only: mount it for writing; if nobody did that, the storage has an error",
)
STORAGE_ERROR = DISK.reason(
    "storage_error",
    "Local file system error: … (EIO)",
    "the storage fails: look at the kernel's log of the worker and at the storage, before anything else is written",
)
FILE_SYSTEM_ERROR = DISK.reason(
    "file_system_error",
    "Local file system error: … (…)",
    "look up the code in brackets; ask whoever runs the storage",
)
READ_BACK_MISMATCH = DISK.reason(
    "read_back_mismatch",
    "Storage gave back other bytes than were written (hash mismatch on read-back)",
    "the storage is faulty; it is noticed only with verify: readback",
)
LINK_IN_PLACE = DISK.reason(
    "link_in_place",
    "Unsafe path (a symbolic link is where the file belongs); nothing was touched",
    "remove the link",
)
LINK_ABOVE = DISK.reason(
    "link_above",
    "Unsafe path (a symbolic link above it leads out of the destination)",
    "remove the link",
)
FOLDER_IN_PLACE = DISK.reason(
    "folder_in_place", "A folder is where the file belongs; nothing was touched", "move the folder away"
)
NO_REGULAR_FILE = DISK.reason(
    "no_regular_file",
    "Something that is no regular file is where the file belongs; nothing was touched",
    "move it away",
)
FILE_ABOVE = DISK.reason(
    "file_above", "A file is where the folder … belongs; nothing was touched", "move the file away"
)
OTHER_SPELLING = DISK.reason(
    "other_spelling",
    "Its name differs only in spelling from …, which is there; nothing was touched",
    "the file system takes both names for one (case, Unicode form), and the other file may belong to another raw file: "
    "move one of them, trigger again",
)
KEEPS_CHANGING = DISK.reason(
    "keeps_changing",
    "Another program or run keeps changing this file",
    "end the other program or run, trigger again",
)
CHANGED_AFTER_VERIFY = DISK.reason(
    "changed_after_verify",
    "Changed on disk after it was verified (…): another program or run wrote to it",
    "end the other program or run, trigger again",
)
MISSING_OR_DIFFERENT = DISK.part("missing_or_different", "it is missing or different now", "trigger again")
NO_TIME_TO_VERIFY = DISK.part(
    "no_time_to_verify", "there was no time to verify it again: …", "trigger again: it is verified then"
)
OUT_OF_MEMORY = DISK.reason(
    "out_of_memory",
    "Out of memory on the worker (MemoryError)",
    "give the worker more memory, or run fewer tasks on it; trigger again",
)

# --- file_info -----------------------------------------------------------------------------------------------------

FILE_INFO = Group("file_info")

UNSAFE_PATH = FILE_INFO.reason(
    "unsafe_path",
    "Unsafe path (…); nothing was touched",
    "file_info has an absolute path, '..' or the like: have the document corrected",
)
NO_EXPECTED_HASH = FILE_INFO.reason(
    "no_expected_hash",
    "No expected hash in file_info; nothing was touched",
    "it cannot be proved, so it is not restored; have the document corrected",
)
UNKNOWN_PART_SIZE = FILE_INFO.reason(
    "unknown_part_size",
    "Cannot be verified: no known part size cuts … bytes into the … parts of the ETag in file_info",
    "what is on disk, if anything, may be right; nobody can tell. Have the MD5 added to the document",
)
UNDECIDED_ON_DISK = FILE_INFO.part(
    "undecided_on_disk",
    "the file on disk cannot be verified (ETag of unknown part size) and was not touched",
    "what goes before is why a download could not prove itself either. Have the MD5 added to the document",
)

# --- the run ended early -------------------------------------------------------------------------------------------

RUN = Group("The run ended early")

NOT_ATTEMPTED = RUN.reason(
    "not_attempted",
    "Not attempted (…)",
    "the run ended before this file, for the reason in brackets; when that is mended, trigger again",
)
NOT_FINISHED = RUN.reason(
    "not_finished",
    "Not finished (…); the next run goes on from here",
    "the run ended within this file, for the reason in brackets; when that is mended, trigger again",
)
NOT_CONFIRMED = RUN.reason(
    "not_confirmed",
    "Verified, but not looked at again before the end (…)",
    "the run ended before its last look at this file, which is likely right; trigger again",
)
DESTINATION_GONE = RUN.reason(
    "destination_gone",
    "Destination … vanished (…)",
    "the error of the task: the mount was lost. Mount it; Airflow retries the task",
)

# what stands in the brackets of these

ENDS = Group("The run ended early: what is in the brackets")

ENDED_DISK_FULL = ENDS.part("ended_disk_full", "disk full", "make room or raise the quota")
DESTINATION_VANISHED = ENDS.part(
    "destination_vanished",
    "the destination vanished",
    "the mount was lost: mount it; Airflow retries the task",
)
TERMINATED = ENDS.part(
    "terminated",
    "The task was terminated (SIGTERM)",
    "somebody marked the task failed or cleared it, or the worker was stopped",
)
TIME_LIMIT = ENDS.part(
    "time_limit", "The task's time limit was reached", "8 hours were over; trigger again, it resumes"
)
INTERRUPTED = ENDS.part(
    "interrupted", "The task was interrupted (SIGINT)", "somebody pressed Ctrl-C; trigger again, it resumes"
)
BATCH_STOPPED = ENDS.part(
    "batch_stopped",
    "Its batch was stopped (run …)",
    "somebody marked the batch as failed; to restore it after all, trigger it by itself or in a new batch",
)
STORE_DOWN = ENDS.part(
    "store_down",
    "… files in a row failed: …",
    "S3 is down: so many files got no answer. Trigger again when it is back",
)
ENDED = ENDS.part("ended", "the run was ended", "the log says by what; trigger again")

# --- else ----------------------------------------------------------------------------------------------------------

ELSE = Group("Else")

UNEXPECTED = ELSE.reason("unexpected", "Unexpected …: …", "a bug here, or in a library; please report it with the log")
