"""What to do with one file. Pure."""

from __future__ import annotations

from enum import Enum


class LocalState(Enum):
    """What was found at the final path."""

    MISSING = "missing"
    RIGHT = "right"
    WRONG = "wrong"
    UNPROVABLE = "unprovable"


class Action(Enum):
    """What to do about it."""

    SKIP = "skip"
    DOWNLOAD = "download"
    HEAL = "heal"
    """What is on disk is set aside, and deleted when the right one is in place."""
    DOWNLOAD_BESIDE = "download beside"
    """What is on disk stays until a download beside it is proved."""


def decide(local: LocalState) -> Action:
    """Decide what to do with one file that can be restored; one with an unsafe path or no hash is refused unseen.

    =========== ================
    local       action
    =========== ================
    MISSING     DOWNLOAD
    RIGHT       SKIP
    WRONG       HEAL
    UNPROVABLE  DOWNLOAD_BESIDE   nobody can compute its hash now: perhaps it is right
    =========== ================
    """
    match local:
        case LocalState.MISSING:
            return Action.DOWNLOAD
        case LocalState.RIGHT:
            return Action.SKIP
        case LocalState.WRONG:
            return Action.HEAL
        case LocalState.UNPROVABLE:
            return Action.DOWNLOAD_BESIDE
