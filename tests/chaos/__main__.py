"""``make chaos``: N scenarios from SEED, or ONE of them."""

# ruff: noqa: T201 (a program that prints)

import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tests.chaos import child
from tests.chaos.runner import Verdict, play
from tests.chaos.scenarios import draw

MIB = 1 << 20
_SEEDS_PER_RUN = 1_000_000


def main() -> int:
    """Play; 1 when anything was violated."""
    keep = Path(os.environ.get("KEEP") or tempfile.mkdtemp(prefix="chaos-failures-"))
    one = os.environ.get("ONE")
    if one:
        return _play_one(int(one), keep)
    count = int(os.environ.get("N") or 100)
    seed = int(os.environ.get("SEED") or secrets.randbelow(1000))
    print(f"{count} scenarios from seed {seed}: make chaos N={count} SEED={seed}", flush=True)
    begun = time.monotonic()
    verdicts: list[Verdict] = []
    seeds = range(seed * _SEEDS_PER_RUN, seed * _SEEDS_PER_RUN + count)
    jobs = int(os.environ.get("JOBS") or 2 * (os.cpu_count() or 1))
    # Most of a scenario's time is waiting, so several go on at once.
    with ThreadPool(jobs) as pool:
        for verdict in pool.imap_unordered(partial(play, keep=keep), seeds):
            verdicts.append(verdict)
            if verdict.violations:
                _print_failure(verdict, keep)
            if len(verdicts) % 50 == 0:
                print(f"{len(verdicts)} of {count}, {time.monotonic() - begun:.0f} s", flush=True)
    _print_summary(verdicts, time.monotonic() - begun)
    return 1 if any(verdict.violations for verdict in verdicts) else 0


def _play_one(seed: int, keep: Path) -> int:
    print(draw(seed))
    verdict = play(seed, keep)
    print(verdict.story)
    for violation in verdict.violations:
        print(f"VIOLATION {violation}")
    if verdict.violations:
        print(f"Its files and logs: {keep / str(seed)}")
    return 1 if verdict.violations else 0


def _print_failure(verdict: Verdict, keep: Path) -> None:
    print(f"\nVIOLATION in scenario {verdict.seed}; again: make chaos ONE={verdict.seed}")
    for violation in verdict.violations:
        print(f"  {violation}")
    print(f"  its files and logs: {keep / str(verdict.seed)}\n", flush=True)


def _print_summary(verdicts: list[Verdict], seconds: float) -> None:
    faults: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    for verdict in verdicts:
        faults.update(verdict.faults)
        endings.update(verdict.endings)
    bad = [verdict for verdict in verdicts if verdict.violations]
    print(f"\nScenarios: {len(verdicts)}, runs: {sum(verdict.attempts for verdict in verdicts)}, {seconds:.0f} s")
    print(f"Files: {sum(verdict.files for verdict in verdicts)}")
    print(f"Bytes from S3: {sum(verdict.bytes_sent for verdict in verdicts) / MIB:.0f} MiB")
    print(f"Runs ended: {', '.join(f'{kind} {count}' for kind, count in endings.most_common())}")
    print(f"Faults injected: {faults.total()}")
    for kind, count in faults.most_common():
        print(f"  {kind:20} {count}")
    print(f"Violations: {sum(len(verdict.violations) for verdict in bad)} in {len(bad)} scenarios")
    for verdict in bad:
        print(f"  make chaos ONE={verdict.seed}")


if __name__ == "__main__":
    child.server()
    sys.exit(main())
