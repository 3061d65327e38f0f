"""Every rule that must not be lost has tests that are marked with it; design_docs/TESTED_RULES.md is made from them."""

import pytest

from tests.support import rules

HELD = rules.all_held()


@pytest.mark.parametrize("rule", rules.ALL)
def test_rule_has_a_test(rule: str) -> None:
    assert [held.test for held in HELD if held.rule == rule], f"no test is marked with the rule {rule!r}"


def test_document_is_what_the_markers_say() -> None:
    document = rules.DOCUMENT.read_text()
    assert rules.with_tables(document, HELD) == document, "`make rules` writes it anew"
