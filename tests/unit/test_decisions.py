"""The truth table of ``decide``: the same one as in its docstring, line by line."""

import itertools

import pytest

from s3_restore.decisions import Action, LocalState, decide

ANY = "any"
TABLE = [
    # restorable, local, set aside before, action
    ("no", ANY, ANY, "REFUSE"),
    ("yes", "BLOCKED", ANY, "REFUSE"),
    ("yes", "UNPROVABLE", ANY, "DOWNLOAD_BESIDE"),
    ("yes", "RIGHT", ANY, "SKIP"),
    ("yes", "MISSING", "no", "DOWNLOAD"),
    ("yes", "MISSING", "yes", "HEAL"),
    ("yes", "WRONG", ANY, "HEAL"),
]
CASES = list(itertools.product([False, True], LocalState, [False, True]))


@pytest.mark.parametrize(("restorable", "local", "aside"), CASES)
def test_every_case_is_in_exactly_one_row_and_decided_so(restorable, local, aside):
    said = ("yes" if restorable else "no", local.name, "yes" if aside else "no")
    rows = [row for row in TABLE if all(cell in (ANY, value) for cell, value in zip(row[:3], said, strict=True))]
    assert len(rows) == 1
    assert decide(restorable=restorable, local=local, set_aside_before=aside) is Action[rows[0][3]]


def test_docstring_has_the_same_table():
    lines = [line.split() for line in decide.__doc__.splitlines()]
    rules = [index for index, words in enumerate(lines) if words and all(set(word) == {"="} for word in words)]
    rows = [tuple(words[:4]) for words in lines[rules[1] + 1 : rules[2]]]
    assert rows == TABLE
