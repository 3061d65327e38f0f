"""Draws medians as bars. Run by itself in .venv-bench, which has matplotlib: panels as JSON on standard input."""

from __future__ import annotations

import json
import sys

import matplotlib as mpl
from matplotlib.figure import Figure

_OURS, _VERIFYING, _UNVERIFIED = "#1b6ca8", "#8a9aa8", "#d5dbe0"


def _color(contender: str) -> str:
    if contender.startswith("ours"):
        return _OURS
    return _UNVERIFIED if contender.endswith("alone") else _VERIFYING


def main() -> None:
    """Draw."""
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    panels = json.load(sys.stdin)
    figure = Figure(figsize=(9, 1 + 1.9 * len(panels)), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True):
        bars = sorted(panel["bars"], key=lambda bar: bar[1], reverse=True)
        names, seconds = [bar[0] for bar in bars], [bar[1] for bar in bars]
        drawn = axes.barh(names, seconds, color=[_color(name) for name in names])
        axes.bar_label(drawn, fmt="%.2f s", padding=3)
        axes.set_title(panel["title"], loc="left", fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
    figure.supxlabel("seconds, median; blue and dark grey: verified, light grey: nothing verified", fontsize=9)
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
