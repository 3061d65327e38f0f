"""Settings of a restore, with defaults that need no file edit."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

_MOST = {"max_concurrency": 1000, "request_attempts": 1000}  # each connection has a thread
_MOST_SECONDS = 1_000_000  # eleven days; what clocks and sockets take is not much more
_LARGEST_SHOWN = 10**18
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
    """Two connections a core hide the network's latency; more only fight for the cores (benchmarks/README.md)."""
    return min(16, max(4, 2 * (os.cpu_count() or 1)))


@dataclass(frozen=True)
class RestoreSettings:
    """How to restore.

    Attributes:
        max_concurrency: requests to S3 at once, over all files of one run.
        stall_timeout_s: seconds without a byte after which a connection counts as broken.
        verify: ``inflight`` or ``readback``.
        progress_interval_s: seconds between two progress lines in the log.
        stale_after_s: seconds of silence after which an attempt on another host counts as dead.
        request_attempts: tries of one request that makes no progress.
        retry_wait_s: longest first wait between two tries; doubles with each, up to 40 times this.
        restore_archived: whether S3 may be asked to bring archived objects back, which costs money and hours.

    """

    max_concurrency: int = field(default_factory=default_concurrency)
    stall_timeout_s: float = 60.0
    verify: Verify = Verify.INFLIGHT
    progress_interval_s: float = 10.0
    stale_after_s: float = 300.0
    request_attempts: int = 5
    retry_wait_s: float = 0.5
    restore_archived: bool = False

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> RestoreSettings:
        """Read settings by name; unknown ones are an error, as they are mostly misspelt.

        Raises:
            ValueError: that names the setting, what was expected, and what was there.

        """
        known = {each.name: each for each in fields(cls)}
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
    if name == "restore_archived":
        if isinstance(value, bool):
            return value
        raise ValueError(f"restore_archived: expected true or false, got {shown(value)}")
    whole = name in ("max_concurrency", "request_attempts")
    good_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good_type or not 0 < value < float("inf"):  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name}: expected {kind} above 0, got {shown(value)}")
    most = _MOST.get(name, _MOST_SECONDS)
    if value > most:  # type: ignore[operator]
        raise ValueError(f"{name}: expected at most {most}, got {shown(value)}")
    return value
