"""The truth table of ``decide``: the same one as in its docstring, line by line."""

import pytest

from s3_restore.model.decisions import Action, LocalState, decide

TABLE = [
    ("MISSING", "DOWNLOAD"),
    ("RIGHT", "SKIP"),
    ("WRONG", "HEAL"),
    ("UNPROVABLE", "DOWNLOAD_BESIDE"),
]


@pytest.mark.parametrize(("local", "action"), TABLE)
def test_each_state_is_decided_as_the_table_says(local, action):
    assert decide(LocalState[local]) is Action[action]


def test_the_table_has_every_state_and_every_action():
    assert [local for local, _ in TABLE] == [state.name for state in LocalState]
    assert {action for _, action in TABLE} == {action.name for action in Action}


def test_docstring_has_the_same_table():
    lines = [line.split() for line in decide.__doc__.splitlines()]
    rules = [index for index, words in enumerate(lines) if words and all(set(word) == {"="} for word in words)]
    rows = [tuple(words[:2]) for words in lines[rules[1] + 1 : rules[2]]]
    assert rows == TABLE
