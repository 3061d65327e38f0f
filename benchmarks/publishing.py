"""Puts the results into README.md and draws results.svg."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks import scaling
from benchmarks.cases import Case
from benchmarks.contenders import TOOLS
from benchmarks.measurements import Results

_HERE = Path(__file__).resolve().parent
_BEGIN, _END = "<!-- results: written by make bench PUBLISH=1 -->\n", "<!-- end of results -->"
_DRAWN = ("http", "tls", "link")


def publish(text: str, results: Results, cases: dict[str, Case]) -> None:
    """Rewrite the results part of README.md, the plot beside it, and the tables of SCALING.md that start from them."""
    readme = _HERE / "README.md"
    before, _, rest = readme.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}")
    if set(scaling.CASES) <= set(results.cases()):
        scaling.write()
    drawn = [
        {
            "title": cases[name].title,
            "bars": [[contender, results.seconds(name, contender)] for contender in results.contenders(name)],
        }
        for name in _DRAWN
        if name in results.cases()
    ]
    if drawn:
        plot = [str(TOOLS / "bin/python"), str(_HERE / "plot.py"), str(_HERE / "results.svg")]
        subprocess.run(plot, input=json.dumps(drawn), text=True, check=True)
