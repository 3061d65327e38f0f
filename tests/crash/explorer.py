"""Cuts the power after each step of a recording, in many ways, and judges what is left."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.crash.checks import check, check_end
from tests.crash.disk import Crashed, CrashedFile, draw_style
from tests.crash.scenarios import Run, Scenario, draw
from tests.crash.stage import Recording, Stage, first_disk

CUTS_PER_STEP = 12


@dataclass
class Findings:
    """What came of it."""

    states: int = 0
    next_runs: int = 0
    steps: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)  # state, what is wrong
    sync_places: set[str] = field(default_factory=set)

    def add(self, other: Findings) -> None:
        self.states += other.states
        self.next_runs += other.next_runs
        self.steps += other.steps
        self.kinds.update(other.kinds)
        self.violations += other.violations
        self.sync_places |= other.sync_places


@dataclass(frozen=True)
class State:
    """One crashed disk, and where it comes from."""

    name: str  # seed:act:step:cut
    crashed: Crashed
    promised: frozenset[str]
    after: str


def explore(seed: int, stage: Stage, *, most: int = 1 << 60, share: float = 0.4, only: str = "") -> Findings:
    """Play the scenario of a seed, and judge at most so many of its states; ``only`` one of them if it is named.

    Args:
        seed: of the scenario.
        stage: where it is played.
        most: states.
        share: of the states on which the next run is played too.
        only: the name of a state.

    """
    return explore_scenario(draw(seed), stage, most=most, share=share, only=only)


def explore_scenario(
    scenario: Scenario,
    stage: Stage,
    *,
    most: int = 1 << 60,
    share: float = 0.4,
    only: str = "",
    cuts: int = CUTS_PER_STEP,
) -> Findings:
    """Explore any scenario, with so many cuts after each step."""
    logging.disable(logging.CRITICAL)
    try:
        return _Judge(scenario, stage, most=most, share=share, only=only, cuts=cuts).explore()
    finally:
        logging.disable(logging.NOTSET)


class _Judge:
    """Explores one scenario; see ``explore`` for what the options are."""

    def __init__(self, scenario: Scenario, stage: Stage, *, most: int, share: float, only: str, cuts: int) -> None:
        self.scenario, self.stage = scenario, stage
        self.most, self.share, self.only, self.cuts = most, share, only, cuts
        self.first = first_disk(scenario)
        self.findings = Findings()

    def explore(self) -> Findings:
        scenario = self.scenario
        recording = self.stage.play(scenario, self.first, scenario.runs)
        states = self._judge(recording, 1, frozenset())
        if scenario.second_act and states:
            state = random.Random(f"{scenario.seed} second act").choice(states)
            recording = self.stage.play(scenario, state.crashed, (Run(host="ffffffff"),))
            self._judge(recording, 2, state.promised)
        return self.findings

    def _judge(self, recording: Recording, act: int, promised: frozenset[str]) -> list[State]:
        findings, scenario = self.findings, self.scenario
        findings.sync_places |= recording.sync_places
        findings.steps += len(recording.log)
        rng = random.Random(f"{scenario.seed} act {act}")
        states = list(self._states(recording, act, promised))
        for state in states if len(states) <= self.most else rng.sample(states, self.most):
            plays_on = rng.random() < self.share
            if self.only and state.name != self.only:
                continue
            findings.states += 1
            findings.kinds[scenario.kind] += 1
            violations = list(check(scenario, self.first, state.crashed, set(state.promised)))
            if plays_on or self.only:
                findings.next_runs += 1
                violations += check_end(scenario, self.first, *self.stage.end_well(scenario, state.crashed))
            findings.violations += [(state.name, f"{violation} [after {state.after}]") for violation in violations]
        return states

    def _states(self, recording: Recording, act: int, promised: frozenset[str]) -> Iterator[State]:
        """All different states that the cuts of this recording leave."""
        seen: set[bytes] = set()
        for step, op, disk in recording.replayed():
            if op[0] == "say" and op[1] == "right":
                promised |= set(op[2:])
            for cut in range(1 if disk.is_quiet() else self.cuts):
                rng = random.Random(f"{self.scenario.seed} {act} {step} {cut}")
                style = draw_style(rng, cut, step)
                crashed = disk.cut(rng, style)
                digest = _digest(crashed, promised)
                if digest not in seen:
                    seen.add(digest)
                    yield State(f"{self.scenario.seed}:{act}:{step}:{cut}", crashed, promised, f"{_told(op)}; {style}")


def _digest(crashed: Crashed, promised: frozenset[str]) -> bytes:
    digest = hashlib.blake2b(repr(sorted(promised)).encode(), digest_size=16)
    for path, entry in sorted(crashed.items()):
        digest.update(f"{path}\0{entry.number}\0".encode())
        if isinstance(entry, CrashedFile):
            digest.update(f"{len(entry.data)}{entry.attributes.mode}{entry.attributes.acl!r}".encode())
            digest.update(entry.data)
    return digest.digest()


def _told(op: tuple) -> str:
    return " ".join(f"{len(each)} bytes" if isinstance(each, bytes) else str(each) for each in op)
