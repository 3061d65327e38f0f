"""The short part of the chaos suite: fixed seeds, and proof that its invariants notice a broken product."""

from collections import Counter

import pytest

from tests.chaos.metronome import Metronome
from tests.chaos.runner import Verdict, play, play_scenario
from tests.chaos.scenarios import INTRUSIONS, Attempt, ChaosFile, Death, Intrusion, Round, Scenario, draw

# Found by `make chaos` when they still failed; what each one showed:
ONCE_FAILED = {
    2000005: "A5: SIGTERM before the first file was begun left no report",
    2000032: "A5: SIGTERM while the report was written left none",
    4000024: "a leftover that could not be removed failed the file and kept another one open",
    4000041: "a process killed while it wrote its report left a temporary file for good",
    4000182: "W2: a second version set aside was not found again",
    11000078: "a wrong part size from S3 made a right file look corrupted",
    32000054: "the suite itself took the shortened name of a second version set aside for a stranger's",
}
STEADY = range(9_000_000, 9_000_010)


def told(verdict: Verdict) -> str:
    lines = "\n  ".join(verdict.violations)
    return f"make chaos ONE={verdict.seed}\n  {lines}\n{verdict.story}"


@pytest.mark.rule("A5", "H4", "H5", "R3", "S2", "W1", "W7")
@pytest.mark.parametrize("seed", [*ONCE_FAILED, *STEADY])
def test_invariants_hold_in_a_scenario_of_faults(seed):
    """W1 to W7, H4, H5, A5, R3, S2: see invariants.py for each."""
    verdict = play(seed)

    assert not verdict.violations, told(verdict)


def test_a_seed_draws_the_same_scenario_each_time():
    assert draw(123) == draw(123)
    assert draw(123) != draw(124)


def test_seeds_draw_every_kind_of_fault():
    """So that a suite that injects nothing cannot pass for one that found nothing."""
    drawn: Counter[str] = Counter()
    for seed in range(400):
        scenario = draw(seed)
        drawn.update(file.local for file in scenario.files)
        drawn.update(file.leftover for file in scenario.files)
        drawn.update(file.form for file in scenario.files)
        drawn.update("foreign aside" for file in scenario.files if file.aside)
        drawn.update({"replaced": bool(scenario.replaced), "absent": bool(scenario.absent)})
        for played in scenario.rounds:
            drawn["concurrent"] += len(played.attempts) > 1
            drawn["outage"] += played.outage
            for attempt in played.attempts:
                drawn.update(fault.operation for fault in attempt.disk)
                drawn["lies"] += bool(attempt.lying_writes)
                drawn.update(f"others {intrusion.how}" for intrusion in attempt.intrusions)
                drawn[attempt.death.how if attempt.death else "lives"] += 1
    expected = {
        *("missing", "right", "bit flipped", "shorter", "longer", "zeros", "folder", "link"),
        *("dead", "foreign", "lying journal", "H1", "H2", "H3", "none", "replaced", "absent", "concurrent", "outage"),
        *("write", "read", "fsync", "preallocate", "open", "rename", "unlink", "link", "mkdir", "lies"),
        *("SIGKILL", "SIGTERM", "AirflowTaskTimeout", "power cut", "lives", "foreign aside"),
        *(f"others {how}" for how in INTRUSIONS),
    }
    assert expected <= {kind for kind, count in drawn.items() if count}


def test_a_metronome_tells_how_long_the_machine_stood_still():
    times = iter([100.0, 100.02, 100.05, 103.05, 103.07, 103.5, *[103.52] * 3, 110.0])
    metronome = Metronome(lambda: next(times))
    for _ in range(5):
        metronome.beat()

    assert metronome.stalled_s(100.0, 104.0) == pytest.approx(2.98 + 0.41)
    assert metronome.stalled_s(101.05, 102.05) == pytest.approx(1.0), "of a span, what falls into it"
    assert metronome.stalled_s(100.0, 100.05) == 0
    assert metronome.stalled_s(104.0, 110.0) == pytest.approx(6.0), "it stands still until now"


def scenario(*files: ChaosFile, attempt: Attempt, seed: int = 1, **more: object) -> Scenario:
    options = {"versioning": True, "attributes": "AWS", "prefix": "", "umask": 0o022, "scaled": True, **more}
    return Scenario(seed, files, (Round((attempt,)),), **options)  # type: ignore[arg-type]


SMALL = ChaosFile("a.raw", 300_000, "H1")
WRONG = ChaosFile("wrong.raw", 300_000, "H1", local="bit flipped")
SABOTAGED = {
    "trusts_everything": (scenario(WRONG, attempt=Attempt(0)), "a false OK"),
    "deletes_corrupted_files": (scenario(WRONG, attempt=Attempt(0), absent=("wrong.raw",)), "lost: the corrupted"),
    "is_deaf": (scenario(SMALL, attempt=Attempt(0, death=Death("SIGTERM", at=4))), "without a word"),
    "downloads_in_place": (
        scenario(SMALL, attempt=Attempt(0, death=Death("SIGKILL", at=6))),
        "holds bytes that do not match",
    ),
    "forgets_temporary_files": (
        scenario(SMALL, attempt=Attempt(0, death=Death("SIGKILL", at=6))),
        "a temporary file outlived",
    ),
    "rewrites_right_files": (
        scenario(ChaosFile("right.raw", 300_000, "H1", local="right"), attempt=Attempt(0)),
        "right before, but touched",
    ),
    "never_syncs": (
        scenario(SMALL, attempt=Attempt(0, death=Death("power cut", at=18)), seed=2),
        "holds bytes that do not match",
    ),
    "never_looks_again": (
        scenario(
            ChaosFile("a.raw", 300_000, "H1", local="right"),
            ChaosFile("b.raw", 300_000, "H1"),
            attempt=Attempt(0, max_concurrency=1, intrusions=(Intrusion("overwrite keeping times", "a.raw", at=15),)),
        ),
        "a false OK",
    ),
    "dawdles_when_asked_to_end": (
        scenario(SMALL, attempt=Attempt(0, death=Death("AirflowTaskTimeout", at=4))),
        "s to end after Death(how='AirflowTaskTimeout'",
    ),
    "takes_any_aside_for_its_own": (
        scenario(ChaosFile("a.raw", 300_000, "H1", aside=True), attempt=Attempt(0)),
        "a file of others was lost or changed",
    ),
}


@pytest.mark.parametrize("sabotage", SABOTAGED)
def test_invariants_notice_a_product_that(sabotage):
    played, expected = SABOTAGED[sabotage]

    assert not play_scenario(played).violations
    verdict = play_scenario(played, sabotage=sabotage)

    assert any(expected in violation for violation in verdict.violations), told(verdict)
