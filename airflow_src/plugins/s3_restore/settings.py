"""Settings of a restore, with defaults that need no file edit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum


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
        unknown = sorted(set(mapping) - set(known))
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; known are {', '.join(known)}")
        return cls(**{name: _read(name, value) for name, value in mapping.items()})  # type: ignore[arg-type]


def _read(name: str, value: object) -> object:
    if name == "verify":
        try:
            return Verify(str(value))
        except ValueError:
            raise ValueError(f"verify: expected one of {[each.value for each in Verify]}, got {value!r}") from None
    if name == "restore_archived":
        if isinstance(value, bool):
            return value
        raise ValueError(f"restore_archived: expected true or false, got {value!r}")
    whole = name in ("max_concurrency", "request_attempts")
    good_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good_type or not 0 < value < float("inf"):  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name}: expected {kind} above 0, got {value!r}")
    return value
