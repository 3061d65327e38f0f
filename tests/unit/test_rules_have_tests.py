"""Every rule that must not be lost has tests that name it: design_docs/TESTED_RULES.md is the list, and is true."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PLAN_4_1 = [
    "RawFile not found",
    "Missing project_id",
    "No S3 backup",
    "Output location not writable",
    "S3 bucket doesn't exist",
    "Network error during download",
    "Hash mismatch after download",
    "Local file corrupted",
    "Some files fail",
    "All succeed",
]
DECISIONS = ["A4", "A5", "H4", "H5", "W1", "W2", "W3", "W4", "W5", "W6", "W7", "R3", "S2", "D1"]

LINES = re.findall(
    r"^\| (?P<rule>[^|]+) \| [^|]+ \| `(?P<file>[^|]+)` \| `(?P<test>\w+)` \| [^|]+ \|$",
    (REPOSITORY / "design_docs/TESTED_RULES.md").read_text(),
    re.MULTILINE,
)


@lru_cache
def functions_in(file: str) -> dict[str, str]:
    """Name -> docstring of each test function of a file."""
    tree = ast.parse((REPOSITORY / file).read_text())
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def names(test: str, docstring: str, rule: str) -> bool:
    """Whether a test says which rule it is for: `test_w4_…`, "W4: …", "Plan 4.1: RawFile not found."."""
    if rule in PLAN_4_1:
        return f"Plan 4.1: {rule}." in docstring
    return rule.lower() in test.split("_") or re.search(rf"\b{rule}\b", docstring) is not None


def test_every_rule_is_in_the_list() -> None:
    assert list(dict.fromkeys(rule for rule, _, _ in LINES)) == PLAN_4_1 + DECISIONS


@pytest.mark.parametrize(("rule", "file", "test"), LINES, ids=[f"{rule}-{test}" for rule, _, test in LINES])
def test_rule_has_a_test_that_names_it(rule: str, file: str, test: str) -> None:
    assert test in functions_in(file), f"{test} is gone from {file}: give {rule} another one"
    assert names(test, functions_in(file)[test], rule), f"{test} does not say that it is for {rule}"
