"""Settings of a restore, with defaults that need no file edit."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

_MOST = {"max_concurrency": 1000, "min_speed_bytes_s": 10**9}  # each connection has a thread
_MOST_SECONDS = 1_000_000  # eleven days; what clocks and sockets take is not much more
_MAY_BE_ZERO = ("min_speed_bytes_s",)
_LARGEST_SHOWN = 10**18
_UMASK = re.compile("0?[0-7]{3}")
_RETIRED = {
    name: f"{name} is retired: set patience_s, the seconds for which S3 is tried again since the last byte of a file"
    for name in ("request_attempts", "retry_wait_s")
}
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a few aliases of YAML make lists of lists that are endless when written out
_SHORT.maxstring = 100


class Verify(StrEnum):
    """When downloaded bytes are hashed."""

    INFLIGHT = "inflight"
    """While they arrive."""
    READBACK = "readback"
    """And again from the storage, after fsync and with the cache dropped: for storage that is doubted."""


def default_concurrency() -> int:
    """As many as fill the lanes of a vector register with streams to hash, and more than hide the network's latency."""
    return min(16, max(12, 2 * (os.cpu_count() or 1)))


@dataclass(frozen=True)
class RestoreSettings:
    """How to restore.

    Attributes:
        max_concurrency: requests to S3 at once, over all files of one run.
        stall_timeout_s: seconds without a byte after which a connection counts as broken.
        verify: ``inflight`` or ``readback``.
        progress_interval_s: seconds between two progress lines in the log.
        stale_after_s: seconds of silence after which an attempt on another host counts as dead.
        patience_s: seconds for which what may pass is tried again since the last byte of a file.
        min_speed_bytes_s: a connection slower than this over ``stall_timeout_s`` counts as broken; 0 for no limit.
        restore_archived: whether S3 may be asked to bring archived objects back, which costs money and hours.
        umask: for new files and folders, octal text such as "002"; None: that of the process.
        require_mount: whether an output location that is no mount point is refused.
        allow_linked_projects: whether a project's folder may be a symbolic link that leads out of the output location.

    """

    max_concurrency: int = field(default_factory=default_concurrency)
    stall_timeout_s: float = 60.0
    verify: Verify = Verify.INFLIGHT
    progress_interval_s: float = 10.0
    stale_after_s: float = 300.0
    patience_s: float = 300.0
    min_speed_bytes_s: float = 1000.0
    restore_archived: bool = False
    umask: int | None = None
    require_mount: bool = False
    allow_linked_projects: bool = False

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> RestoreSettings:
        """Read settings by name; unknown ones are an error, as they are mostly misspelt.

        Raises:
            ValueError: that names the setting, what was expected, and what was there.

        """
        known = {each.name: each for each in fields(cls)}
        for name in sorted(_RETIRED.keys() & mapping.keys()):
            raise ValueError(_RETIRED[name])
        unknown = sorted(set(mapping) - set(known), key=str)
        if unknown:
            raise ValueError(f"unknown setting {shown(unknown[0])}; known are {', '.join(known)}")
        return cls(**{name: _read(name, value) for name, value in mapping.items()})  # type: ignore[arg-type]


def shown(value: object) -> str:
    """Show a wrong value in one line that has an end, whatever it is."""
    if isinstance(value, int) and abs(value) > _LARGEST_SHOWN:
        return "a number of many digits"
    return _SHORT.repr(value)


def _read(name: str, value: object) -> object:
    if name == "verify":
        known = {each.value: each for each in Verify}
        if isinstance(value, str) and value in known:
            return known[value]
        raise ValueError(f"verify: expected one of {list(known)}, got {shown(value)}")
    if name in ("restore_archived", "require_mount", "allow_linked_projects"):
        if isinstance(value, bool):
            return value
        raise ValueError(f"{name}: expected true or false, got {shown(value)}")
    if name == "umask":
        if value is None:
            return None
        if isinstance(value, str) and _UMASK.fullmatch(value):
            return int(value, 8)
        raise ValueError(f'umask: expected octal text in quotes such as "002", got {shown(value)}')
    whole = name == "max_concurrency"
    good_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    enough = good_type and (value > 0 or (value == 0 and name in _MAY_BE_ZERO))  # type: ignore[operator]
    if not enough or not value < float("inf"):  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        limit = "of 0 or more" if name in _MAY_BE_ZERO else "above 0"
        raise ValueError(f"{name}: expected {kind} {limit}, got {shown(value)}")
    most = _MOST.get(name, _MOST_SECONDS)
    if value > most:  # type: ignore[operator]
        raise ValueError(f"{name}: expected at most {most}, got {shown(value)}")
    return value
