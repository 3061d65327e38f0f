"""The last look of a run: what is reported as right is still there as it was proved (W10).

A look takes microseconds, and where it shows another state the file is verified again, which takes as long as hashing
it. Others may be changed meanwhile, so then all are looked at once more, until nothing had to be hashed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from s3_restore.disk.open_file import Identity
from s3_restore.model import reasons
from s3_restore.model.decisions import LocalState
from s3_restore.model.exceptions import StoppedError
from s3_restore.model.reasons import Failure
from s3_restore.run.failures import failure_of
from s3_restore.run.ledger import Ledger, RightFile
from s3_restore.run.look import TRIES_WHEN_CHANGED, Parts, look


class LastLook:
    """The last look of one run.

    Args:
        parts: what the files of the run share.
        ledger: which files are right; they are confirmed, or refuted.
        why_ended: why the run ends before its end, if it does.

    """

    def __init__(self, parts: Parts, ledger: Ledger, why_ended: Callable[[], Failure]) -> None:
        self._parts = parts
        self._ledger = ledger
        self._why_ended = why_ended

    def take(self) -> None:
        """Look at all files that are right, one after the other: threads may be out of memory."""
        right_files = self._ledger.right_files
        times_tell = self._times_tell(right_files)
        states: dict[str, Identity | None] = {
            right.spec.relative_path: right.identity
            if times_tell and right.identity.shows_later_changes(right.seen_at)
            else None
            for right in right_files
        }
        without_inode: set[str] = set()  # files that were hashed here, and whose inode numbers are not stable
        for _ in range(TRIES_WHEN_CHANGED):
            is_settled = True
            self._ledger.confirm_none()  # what was looked at before a long hashing was not looked at before the report
            for right in self._ledger.right_files:
                path = right.spec.relative_path
                if self._is_there(right, states[path], without_inode=path in without_inode):
                    self._ledger.confirm(right)
                    continue
                is_settled = False
                states[path] = self._prove(right)
                if not self._has_stable_inode(right):
                    without_inode.add(path)
            if is_settled:
                return

    def _times_tell(self, right_files: list[RightFile]) -> bool:
        """Whether each write to a file shows in its times; asked only where a file looks as if not.

        Where both times are one, there may be only one; a file that was just written has two equal ones as well.
        """
        in_doubt = next((right for right in right_files if right.identity.mtime_ns == right.identity.ctime_ns), None)
        return in_doubt is None or self._parts.temporaries.has_change_times(in_doubt.path)

    def _is_there(self, right: RightFile, state: Identity | None, *, without_inode: bool) -> bool:
        now = self._state_of(right)
        if now is None or state is None:
            return False
        return now == state or (without_inode and now.is_same_but_for_inode(state))

    def _has_stable_inode(self, right: RightFile) -> bool:
        """Whether two looks in a row do not differ in the inode number alone, as they do on some file systems.

        Where they differ in times too, somebody may be writing to it: it is hashed again each time.
        """
        one, other = self._state_of(right), self._state_of(right)
        return one is None or other is None or one == other or not one.is_same_but_for_inode(other)

    def _state_of(self, right: RightFile) -> Identity | None:
        try:
            return self._parts.destination.look(right.path)
        except Exception:  # noqa: BLE001 (verifying it says what is wrong)
            return None

    def _prove(self, right: RightFile) -> Identity | None:
        """Verify a file again; None, and it is refuted, where it is not right."""
        try:
            seen = look(self._parts, right.spec)
            if seen.state is LocalState.RIGHT:
                self._ledger.confirm(right)
                return seen.identity
            changed = reasons.MISSING_OR_DIFFERENT.of()
        except StoppedError:
            why = self._why_ended()
            changed = reasons.NO_TIME_TO_VERIFY.of(why).because_of(why)
        except Exception as error:  # noqa: BLE001 (an OK is only what was seen)
            changed = failure_of(error)
        failure = reasons.CHANGED_AFTER_VERIFY.of(changed).because_of(changed)
        self._ledger.refute(right, failure)
        self._parts.progress.refute()
        logging.error("%s: FAILURE - %s", right.spec.relative_path, failure)
        return None
