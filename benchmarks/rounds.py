"""Runs every contender of a case in turn, round after round, each round beginning with another one."""

from __future__ import annotations

import sys

from benchmarks.cases import CaseList, contenders_of, opened
from benchmarks.contenders import ContenderError
from benchmarks.machine import busy_cores
from benchmarks.measurements import Measurement, Results
from benchmarks.options import MIB, Options

_QUIET_CORES = 0.1


def run_cases(options: Options, cases: CaseList) -> tuple[Results, list[str]]:
    """Measure.

    Returns:
        All measurements, and what went wrong: one line for each contender that failed (it takes no part in the rest of
        that case), for each case that could not be opened, and for each that began on a busy machine.

    """
    results, troubles = Results(), []
    for name in options.cases:
        case = cases.cases[name]
        contenders = contenders_of(case, options)
        if not contenders:
            continue
        _tell(f"{name}: {case.title}")
        try:
            with opened(case) as run:
                if (busy := busy_cores()) > _QUIET_CORES:
                    troubles.append(
                        f"{name}: other processes kept {busy:.1f} cores busy when it began, figures mean little"
                    )
                    _tell(troubles[-1])
                for number in range(options.rounds):
                    shift = number % len(contenders)
                    for contender in contenders[shift:] + contenders[:shift]:
                        try:
                            measurement = Measurement(name, contender.name, number, run(contender))
                        except ContenderError as error:
                            troubles.append(f"{name}: {error}")
                            _tell(troubles[-1])
                            contenders = [each for each in contenders if each is not contender]
                            continue
                        results.add(measurement)
                        _tell_measurement(measurement)
        except (RuntimeError, OSError) as error:
            troubles.append(f"{name}: {error}")
            _tell(troubles[-1])
    return results, troubles


def _tell_measurement(measurement: Measurement) -> None:
    sample = measurement.sample
    fetched = "" if sample.fetched_bytes is None else f"  {sample.fetched_bytes / MIB:.0f} MiB fetched"
    figures = f"{sample.seconds:7.2f} s  {sample.cpu_seconds:6.2f} s CPU  {sample.peak_bytes / MIB:5.0f} MiB{fetched}"
    _tell(f"  round {measurement.round + 1}  {measurement.contender:20} {figures}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
