"""``make bench``: measure, print the tables, say whether what must be reached is."""

from __future__ import annotations

import signal
import sys

from benchmarks.cases import CaseList
from benchmarks.machine import machine, md5_figures, versions
from benchmarks.options import Options
from benchmarks.publishing import publish
from benchmarks.rounds import run_cases
from benchmarks.source_data import SMALL_SIZE
from benchmarks.tables import case_table, target_table
from benchmarks.targets import targets
from benchmarks.workplace import SEVERAL, Workplace


def main() -> int:
    """Run; 1 when a contender failed or, at full sizes, a target was missed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nginx, namespace and files go then too
    try:
        options = Options.from_environment()
        with Workplace(options) as place:
            cases = CaseList(options, place).cases
            results, troubles = run_cases(options, CaseList(options, place))
    except (ValueError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130

    wanted = targets(options)
    sizes = {
        "large": options.large_size,
        "small": options.small_files * SMALL_SIZE,
        "several": SEVERAL * options.several_size,
    }
    head = f"Medians of {options.rounds} rounds on {machine()}.\n{versions()}.\n{md5_figures()}."
    parts = [head, target_table(wanted, results, cases)]
    parts += [case_table(name, cases[name], results, sizes.get(name, options.size)) for name in results.cases()]
    text = "\n\n".join(part.strip() for part in parts) + "\n"
    print(text)
    for trouble in troubles:
        print(f"bench: {trouble}", file=sys.stderr)
    if options.publish:
        publish(text, results, cases)
    missed = [target for target in wanted if target.verdict(results) == "FAIL"]
    if missed and not options.is_full:
        print("bench: sizes are not the published ones, so a FAIL says little", file=sys.stderr)
    return int(bool(troubles) or (bool(missed) and options.is_full))


if __name__ == "__main__":
    sys.exit(main())
