"""What was measured, and medians of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One run of one contender.

    Attributes:
        seconds: wall time; of the call for contenders in a running process, of the whole command for others.
        cpu_seconds: user and system time of the contender, without the source's.
        peak_bytes: memory; above the idle process for contenders in a running process, all of it for commands.
        fetched_bytes: body bytes that the source sent; None where nobody counted.

    """

    seconds: float
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    fetched_bytes: int | None = None


@dataclass(frozen=True)
class Measurement:
    """A sample, and what it is a sample of."""

    case: str
    contender: str
    round: int
    sample: Sample


class Results:
    """All measurements of one run."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self._measurements = list(measurements)

    def add(self, measurement: Measurement) -> None:
        """Take one more."""
        self._measurements.append(measurement)

    def cases(self) -> list[str]:
        """Cases in the order in which they were begun."""
        return list(dict.fromkeys(each.case for each in self._measurements))

    def contenders(self, case: str) -> list[str]:
        """Contenders that finished a case at least once."""
        return list(dict.fromkeys(each.contender for each in self._measurements if each.case == case))

    def samples(self, case: str, contender: str) -> list[Sample]:
        """All rounds of one contender in one case."""
        return [each.sample for each in self._measurements if (each.case, each.contender) == (case, contender)]

    def seconds(self, case: str, contender: str) -> float | None:
        """Median wall time; None when there is none."""
        samples = self.samples(case, contender)
        return statistics.median(sample.seconds for sample in samples) if samples else None

    def cpu_seconds(self, case: str, contender: str) -> float | None:
        """Median CPU time."""
        samples = self.samples(case, contender)
        return statistics.median(sample.cpu_seconds for sample in samples) if samples else None

    def peak_bytes(self, case: str, contender: str) -> int | None:
        """Highest memory of all rounds: a limit that is passed once is passed."""
        return max((sample.peak_bytes for sample in self.samples(case, contender)), default=None)

    def fetched_bytes(self, case: str, contender: str) -> float | None:
        """Median of the bytes that the source sent."""
        counts = [each.fetched_bytes for each in self.samples(case, contender) if each.fetched_bytes is not None]
        return statistics.median(counts) if counts else None
