"""What must be reached, and whether it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contenders import (
    MD5SUM,
    OURS_H1,
    OURS_H2,
    OURS_PART,
    OURS_RIGHT,
    OURS_UNPROVED,
    PLAN,
    S5CMD,
    S5CMD_MD5SUM,
)
from benchmarks.measurements import Results
from benchmarks.options import MIB, Options

_PEAK_MIB = 80
_SAME_MIB = 5  # two peaks count as the same: a few pages of malloc and threads differ from run to run


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Attributes:
        what: the case.
        against: what is compared with what.
        limit: at most this.
        unit: of ``limit`` and ``reached``.
        reached: computes it from the results; None when it was not measured.

    """

    what: str
    against: str
    limit: float
    unit: str
    reached: Callable[[Results], float | None]

    def verdict(self, results: Results) -> str:
        """``pass``, ``FAIL`` or ``not measured``."""
        value = self.reached(results)
        if value is None:
            return "not measured"
        return "pass" if value <= self.limit else "FAIL"


def targets(options: Options) -> list[Target]:
    """The table for the sizes of a run."""

    def wall(case: str, ours: str, other: str, limit: float) -> Target:
        return Target(case, f"wall of {ours} / {other}", limit, "x", lambda results: _ratio(results, case, ours, other))

    def peak(case: str, ours: str) -> Target:
        return Target(
            case,
            f"peak memory of {ours} over the idle process",
            _PEAK_MIB,
            "MiB",
            lambda results: _in_mib(results.peak_bytes(case, ours)),
        )

    return [
        wall("http", OURS_H2, S5CMD, 1.00),
        wall("http", OURS_H2, S5CMD_MD5SUM, 0.42),
        wall("http", OURS_H2, PLAN, 0.40),
        wall("http", OURS_H2, OURS_UNPROVED, 1.25),
        wall("http", OURS_H1, PLAN, 0.80),
        wall("tls", OURS_H2, S5CMD, 1.30),
        wall("tls", OURS_H2, S5CMD_MD5SUM, 0.55),
        wall("link", OURS_H2, S5CMD, 1.02),
        peak("http", OURS_H2),
        peak("http", OURS_H1),
        peak("large", OURS_H2),
        peak("large", OURS_H1),
        Target("large", f"peak memory of {OURS_H2} beyond that of case http", _SAME_MIB, "MiB", _growth_with_size),
        Target(
            "resume",
            f"bytes that the second attempt of {OURS_H2} fetches / the file",
            0.55,
            "x",
            lambda results: _share(results.fetched_bytes("resume", OURS_H2), options.size),
        ),
        Target(
            "heal",
            f"bytes that {OURS_H2} fetches / one part",
            1.0,
            "x",
            lambda results: _share(results.fetched_bytes("heal", OURS_H2), options.part_size),
        ),
        Target(
            "heal",
            f"wall of {OURS_H2} / {OURS_PART}, and {OURS_RIGHT}",
            1.5,
            "x",
            lambda results: _ratio(results, "heal", OURS_H2, OURS_PART, OURS_RIGHT),
        ),
        wall("skip", OURS_H2, MD5SUM, 0.20),
        wall("several", OURS_H1, MD5SUM, 0.25),
        wall("small", OURS_H2, S5CMD_MD5SUM, 1.5),
    ]


def _ratio(results: Results, case: str, ours: str, *others: str) -> float | None:
    mine, its = results.seconds(case, ours), [results.seconds(case, other) or 0.0 for other in others]
    return mine / sum(its) if mine is not None and all(its) else None


def _in_mib(value: float | None) -> float | None:
    return None if value is None else value / MIB


def _share(value: float | None, whole: int) -> float | None:
    return None if value is None else value / whole


def _growth_with_size(results: Results) -> float | None:
    small, large = results.peak_bytes("http", OURS_H2), results.peak_bytes("large", OURS_H2)
    return None if small is None or large is None else (large - small) / MIB
