"""``make crash``: N states from SEED, or ONE of them."""

# ruff: noqa: T201 (a program that prints)

import os
import secrets
import sys
import time

from tests.crash.explorer import Findings, explore
from tests.crash.scenarios import draw
from tests.crash.stage import Stage

_SEEDS_PER_RUN = 1_000_000
_MOST_OF_A_SCENARIO = 120
_MOST_SHOWN = 40


def main() -> int:
    """Explore; 1 when anything was violated."""
    stage = Stage()
    try:
        one = os.environ.get("ONE")
        return _play_one(one, stage) if one else _play(stage)
    finally:
        stage.close()


def _play(stage: Stage) -> int:
    count = int(os.environ.get("N") or 1000)
    seed = int(os.environ.get("SEED") or secrets.randbelow(1000))
    print(f"{count} states from seed {seed}: make crash N={count} SEED={seed}", flush=True)
    begun = time.monotonic()
    found = Findings()
    scenarios = shown = 0
    while found.states < count:
        one = explore(seed * _SEEDS_PER_RUN + scenarios, stage, most=min(_MOST_OF_A_SCENARIO, count - found.states))
        found.add(one)
        scenarios += 1
        for state, violation in one.violations[:3]:
            if shown < _MOST_SHOWN:
                print(f"VIOLATION make crash ONE={state}\n  {violation}", flush=True)
            shown += 1
        if scenarios % 20 == 0:
            print(f"{found.states} of {count}, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"\nStates: {found.states} of {scenarios} scenarios and {found.steps} steps; next runs: {found.next_runs}")
    print("  " + ", ".join(f"{kind} {states}" for kind, states in found.kinds.most_common()))
    print(f"Violations: {len(found.violations)} in {len({state for state, _ in found.violations})} states")
    print(f"Seconds: {time.monotonic() - begun:.0f}")
    return 1 if found.violations else 0


def _play_one(name: str, stage: Stage) -> int:
    seed = int(name.partition(":")[0])
    print(draw(seed))
    found = explore(seed, stage, only=name if ":" in name else "", share=1.0)
    for state, violation in found.violations:
        print(f"VIOLATION {state}: {violation}")
    print(f"{found.states} states, {len(found.violations)} violations")
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
