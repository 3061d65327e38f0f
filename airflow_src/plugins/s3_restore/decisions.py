"""What to do with one file. Pure."""

from __future__ import annotations

from enum import Enum


class LocalState(Enum):
    """What was found at the final path."""

    MISSING = "missing"
    RIGHT = "right"
    WRONG = "wrong"
    UNPROVABLE = "unprovable"
    BLOCKED = "blocked"


class Action(Enum):
    """What to do about it."""

    REFUSE = "refuse"
    SKIP = "skip"
    DOWNLOAD = "download"
    HEAL = "heal"
    DOWNLOAD_BESIDE = "download beside"
    """What is on disk stays until a download beside it is proved."""


def decide(*, restorable: bool, local: LocalState, set_aside_before: bool) -> Action:
    """Decide what to do with one file.

    ``restorable`` is false for an unsafe path or a missing hash; ``set_aside_before`` is true when an earlier run left
    a corrupted version aside that it could not heal, so that a download is the second half of that healing.

    =========== ============ ================ ===============
    restorable  local        set aside before action
    =========== ============ ================ ===============
    no          any          any              REFUSE
    yes         BLOCKED      any              REFUSE           something that is no file is there
    yes         UNPROVABLE   any              DOWNLOAD_BESIDE  nobody can compute its hash now: perhaps it is right
    yes         RIGHT        any              SKIP
    yes         MISSING      no               DOWNLOAD
    yes         MISSING      yes              HEAL
    yes         WRONG        any              HEAL
    =========== ============ ================ ===============
    """
    if not restorable or local is LocalState.BLOCKED:
        return Action.REFUSE
    if local is LocalState.UNPROVABLE:
        return Action.DOWNLOAD_BESIDE
    if local is LocalState.RIGHT:
        return Action.SKIP
    if local is LocalState.WRONG or set_aside_before:
        return Action.HEAL
    return Action.DOWNLOAD
