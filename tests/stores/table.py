"""The table of STORES.md: what each store said when it was asked, one column a store."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.stores.capabilities import QUESTIONS, Capabilities
from tests.stores.servers import STORES

DOCUMENT = Path(__file__).resolve().parents[2] / "design_docs/STORES.md"
_BEGIN, _END = "<!-- seen: begin -->\n", "<!-- seen: end -->\n"


def heading(name: str) -> str:
    """The column of a store: its name and version."""
    return f"{name} {STORES[name].version()}"


def column(seen: Capabilities) -> dict[str, str]:
    """The cells of one store, by their questions."""
    values = asdict(seen) | {"refused_keys": ", ".join(_shown(key) for key in seen.refused_keys) or "none of these"}
    return {question: str(values[name]) for name, question in QUESTIONS.items()}


def documented() -> dict[str, dict[str, str]]:
    """What the document says: heading of a column -> question -> cell."""
    head, _, *rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in _table().splitlines() if line
    ]
    return {name: {row[0]: row[at] for row in rows} for at, name in enumerate(head) if at}


def write(columns: Mapping[str, Mapping[str, str]]) -> None:
    """Put these columns into the document; those of stores that were not asked stay."""
    merged = {
        heading: cells
        for name in STORES
        for heading, cells in {**documented(), **columns}.items()
        if heading.rpartition(" ")[0] == name and (heading in columns or not _is_among(name, columns))
    }
    lines = [["asked", *merged], ["---"] * (len(merged) + 1)]
    lines += [
        [question, *(cells.get(question, "not asked") for cells in merged.values())] for question in QUESTIONS.values()
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    DOCUMENT.write_text(DOCUMENT.read_text().replace(_table(), f"{table}\n"))


def _is_among(name: str, columns: Mapping[str, Mapping[str, str]]) -> bool:
    return any(heading.rpartition(" ")[0] == name for heading in columns)


def _table() -> str:
    return DOCUMENT.read_text().partition(_BEGIN)[2].partition(_END)[0]


def _shown(key: str) -> str:
    """A key as one short piece of code, which no table can break."""
    text = key.encode("unicode_escape").decode().replace("|", "\\|").replace("`", "'")
    return f"`{text[:24]}…`" if len(text) > 25 else f"`{text}`"
