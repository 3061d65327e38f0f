"""The short part of the crash tests: fixed seeds, and proof that their checks notice a broken product."""

from collections.abc import Iterator

import pytest

from tests.crash.explorer import Findings, explore, explore_scenario
from tests.crash.sabotage import SABOTAGES
from tests.crash.scenarios import KINDS, RestoredFile, Run, Scenario, draw
from tests.crash.stage import Stage

STEADY = range(9_000_000, 9_000_000 + len(KINDS))


def one_file(kind: str, *runs: Run, path: str = "a.raw", size: int = 460, **options: object) -> Scenario:
    made = {name: options.pop(name) for name in ("makes_project",) if name in options}
    file = RestoredFile(path, size, "md5", **options)  # type: ignore[arg-type]
    return Scenario(1, kind, (file,), runs or (Run(),), **{"makes_project": False, **made})  # type: ignore[arg-type]


SMALL = {
    "fresh": one_file("fresh", path="sub/a.raw", makes_project=True),
    "heal": one_file("heal", local="wrong"),
    "heal, killed": one_file("heal", Run(killed_at=8), Run(), local="wrong"),
    "foreign aside": one_file("fresh", foreign_aside=True),
    "just written": one_file("just written", local="just written", size=6000),
    "just broken": one_file("heal", local="just broken", size=6000),
    "failed folder sync": one_file("failed sync", Run(failing_sync=(2, 5)), path="sub/a.raw", makes_project=True),
    "readback": one_file("fresh", Run(verify="readback")),
}
LARGER = {
    "failed sync": one_file("failed sync", Run(failing_sync=(2, 5)), Run(), size=40_000),
    "killed": one_file("killed", Run(killed_at=10, loses_write_back=True), Run(), size=40_000),
    "killed, other host": one_file(
        "killed", Run(killed_at=11, host="bbbbbbbb", loses_write_back=True), Run(), size=40_000
    ),
}


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


def told(findings: Findings) -> str:
    return "\n".join(f"make crash ONE={state}\n  {violation}" for state, violation in findings.violations[:10])


# --- the product holds -----------------------------------------------------------------------------------------------


@pytest.mark.rule("R3", "W1", "W2", "W3", "W8", "W9")
@pytest.mark.parametrize("seed", STEADY)
def test_a_power_cut_after_any_step_breaks_no_promise(seed, stage):
    """W1, W2, W3, W8, W9, R3: see checks.py for each."""
    findings = explore(seed, stage, most=40, share=0.2)

    assert findings.states
    assert not findings.violations, told(findings)


@pytest.mark.parametrize("name", SMALL)
def test_a_power_cut_after_any_step_of_one_small_file_breaks_no_promise(name, stage):
    """All of their states, and the next run on each; several faults of the kind were found in them."""
    findings = explore_scenario(SMALL[name], stage, share=1.0)

    assert not findings.violations, told(findings)


@pytest.mark.parametrize("name", LARGER)
def test_a_power_cut_after_what_was_lost_unnoticed_breaks_no_promise(name, stage):
    findings = explore_scenario(LARGER[name], stage, share=0.1)

    assert not findings.violations, told(findings)


def test_a_seed_draws_the_same_scenario_each_time():
    assert draw(123) == draw(123)
    assert draw(123) != draw(124)


def test_the_fixed_seeds_are_of_every_kind():
    assert {draw(seed).kind for seed in STEADY} == set(KINDS)


# --- and where it would not, it is seen ------------------------------------------------------------------------------

NEEDED_SYNCS = {
    "swap.put_in_place": ("fresh", "unproved bytes at a final path"),
    "swap.place of a folder": ("fresh", "called OK, and the storage has nothing"),
    "destination.sync_names_above of a folder": ("fresh", "called OK, and the storage has nothing"),
    "destination.sync_bytes": ("just written", "called OK, and the storage has 0 of"),
    "destination.sync_name of a folder": ("just written", "a report says OK, and the storage has nothing"),
    "quarantine._write_record": ("heal", "an aside of ours is left"),
    "quarantine._write_record of a folder": ("just broken", "an aside of ours is left"),
    "quarantine.remove of a folder": ("heal", "an aside of ours is left"),
    "quarantine._withdraw of a folder": ("heal, killed", "an aside of ours is left"),
    "atomic_write._write": ("fresh", "a report that is not complete"),
    "atomic_write.write_new_file of a folder": ("heal", "the report is not on the storage"),
}
SECOND_LINES = {
    "temporary_files._take": "makes what is dirty clean, so that the cache can be dropped; put_in_place syncs too",
    "temporary_files._replace_by_copy": "the same, and the copy is synced once more by put_in_place",
    "file_restore._check_proved": "the same, for verify: readback; storage that lies is not of this model",
    "quarantine.settle of a folder": "swap.place syncs the same folder; until then ext2 may have it in lost+found",
}


@pytest.mark.parametrize("place", NEEDED_SYNCS)
def test_a_sync_that_is_left_out_is_noticed_in(place):
    name, expected = NEEDED_SYNCS[place]
    stage = Stage(ignored_sync=place)
    try:
        findings = explore_scenario(SMALL[name], stage, share=1.0, cuts=40)
    finally:
        stage.close()

    assert any(violation.startswith(expected) for _, violation in findings.violations), told(findings)


def test_every_sync_of_the_product_is_among_them(stage):
    """So that a new one gets its proof that it is needed."""
    found: set[str] = set()
    for scenario in (*SMALL.values(), *LARGER.values()):
        found |= explore_scenario(scenario, stage, most=1, share=0.0).sync_places

    assert found == {*NEEDED_SYNCS, *SECOND_LINES}


@pytest.mark.parametrize(
    ("sabotage", "scenario", "expected"),
    [
        ("deletes_the_aside_before_the_name_is_given", SMALL["heal"], "the corrupted version is lost"),
        ("forgets_the_record_before_the_version", SMALL["heal"], "an aside of ours is left"),
        ("records_after_the_rename", SMALL["heal"], "an aside of ours is left"),
        ("names_before_bytes", SMALL["fresh"], "unproved bytes at a final path"),
        ("believes_the_cache", LARGER["failed sync"], "unproved bytes at a final path"),
        ("takes_any_aside_for_its_own", SMALL["foreign aside"], "a file of others was lost"),
        ("never_removes_leftovers", SMALL["fresh"], "left by the next run"),
    ],
)
def test_the_checks_notice_a_product_that(sabotage, scenario, expected, stage):
    with SABOTAGES[sabotage]():
        findings = explore_scenario(scenario, stage, share=0.5 if scenario in SMALL.values() else 0.0)

    assert any(violation.startswith(expected) for _, violation in findings.violations), told(findings)
