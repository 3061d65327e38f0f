"""The operator's tables of reasons in OPERATING.md, made from the reasons of the code.

.venv/bin/python -m tests.support.reasons_table     writes them into OPERATING.md (`make reasons`)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from impl import refusals
from s3_restore.model import reasons, settings_reasons, store_reasons
from s3_restore.model.reasons import Group, Reason
from shared.db import reasons as database_reasons

DOCUMENT = Path(__file__).resolve().parents[2] / "design_docs/OPERATING.md"

OF_A_VALIDATION = (
    refusals.ASKED,
    refusals.RAW_FILE,
    refusals.SET_UP,
    settings_reasons.SETTINGS,
    refusals.OUTPUT,
    database_reasons.MONGODB,
    refusals.ENDED,
)
OF_A_FILE = (
    store_reasons.OBJECT,
    store_reasons.ACCESS,
    store_reasons.PASSING,
    reasons.DISK,
    reasons.FILE_INFO,
    reasons.RUN,
    reasons.ENDS,
    reasons.ELSE,
)
_TABLES = {
    "validation": ("the task says", OF_A_VALIDATION),
    "file": ("`FAILURE - …`", OF_A_FILE),
}


def all_reasons() -> list[Reason]:
    """Every reason there is."""
    return [reason for group in (*OF_A_VALIDATION, *OF_A_FILE) for reason in group.reasons]


def table(head: str, groups: Sequence[Group]) -> str:
    """One table."""
    lines = [f"| {head} | code | what to do |", "| --- | --- | --- |"]
    for group in groups:
        before = ""
        lines.append(f"| **{group.title}** | | |")
        for reason in group.reasons:
            goes_on = "… " if reason.is_part else ""
            what = "the same" if reason.what_to_do == before else reason.what_to_do
            lines.append(f"| {goes_on}`{reason.text}` | `{reason.code}` | {what} |")
            before = reason.what_to_do
    return "\n".join(lines)


def with_tables(document: str) -> str:
    """A document with its tables made anew, below the marks that it has for each."""
    for name, (head, groups) in _TABLES.items():
        mark = f"<!-- reasons of a {name}: made by `make reasons` -->\n"
        pattern = re.compile(re.escape(mark) + r"(?:\|.*\n)*")
        if len(pattern.findall(document)) != 1:
            raise ValueError(f"expected the line {mark!r} once")
        made = mark + table(head, groups) + "\n"
        document = pattern.sub(lambda _found, made=made: made, document)
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
