"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.cases import Case
from benchmarks.contenders import OURS_H2
from benchmarks.measurements import Results
from benchmarks.options import MIB
from benchmarks.targets import Target


def target_table(targets: Iterable[Target], results: Results, cases: dict[str, Case]) -> str:
    """What must be reached, what was, and whether that is enough; only lines of cases that were run."""
    ran = set(results.cases())
    rows = []
    for target in targets:
        if target.what not in ran:
            continue
        value = target.reached(results)
        reached = "" if value is None else f"{value:.2f} {target.unit}"
        row = (cases[target.what].title, target.against, f"{target.limit:.2f} {target.unit}", reached)
        rows.append((*row, target.verdict(results)))
    return _table(("case", "what", "at most", "reached", ""), rows)


def case_table(name: str, case: Case, results: Results, size: int) -> str:
    """All contenders of one case.

    Args:
        name: of the case.
        case: the case.
        results: all results.
        size: bytes of all files of the case.

    """
    ours = results.seconds(name, OURS_H2)
    rows = []
    for contender in results.contenders(name):
        samples = results.samples(name, contender)
        walls = [sample.seconds for sample in samples]
        median = results.seconds(name, contender) or 0.0
        fetched = results.fetched_bytes(name, contender)
        rows.append(
            (
                contender,
                f"{median:.2f}",
                f"{min(walls):.2f} to {max(walls):.2f}",
                f"{median / ours:.2f}" if ours else "",
                f"{size / median / 1e6:.0f}",
                f"{results.cpu_seconds(name, contender):.2f}",
                f"{(results.peak_bytes(name, contender) or 0) / MIB:.0f}",
                "" if fetched is None else f"{fetched / MIB:.0f}",
            )
        )
    heads = ["contender", "median s", "from to", "x ours, H2", "MB/s", "CPU s", "peak MiB", "fetched MiB"]
    columns = len(heads) if any(row[-1] for row in rows) else len(heads) - 1
    return f"### {case.title}\n\n{_table(heads[:columns], [row[:columns] for row in rows])}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
