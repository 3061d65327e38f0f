"""Rules that must not be lost, and the tests that hold them, as their markers say.

    @pytest.mark.rule("W2", "W9")                                   this test holds these rules
    @pytest.mark.rule("W2", fails_when="it is deleted at once")     and was seen to fail then

.venv/bin/python -m tests.support.rules     writes the tables of design_docs/TESTED_RULES.md (`make rules`)
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "design_docs/TESTED_RULES.md"

OF_THE_PLAN = {
    "RawFile not found": "validation fails",
    "Missing project_id": "validation fails",
    "No S3 backup": "validation fails",
    "Output location not writable": "validation fails",
    "S3 bucket doesn't exist": "`FAILURE` for all files",
    "Network error during download": "`FAILURE` for that file, the others go on",
    "Hash mismatch after download": "the download is deleted, `FAILURE`",
    "Local file corrupted": "set aside, downloaded again (W2)",
    "Some files fail": "report written, task fails",
    "All succeed": "report written, task succeeds",
}
DECISIONS = {
    "A4": "failed files end the task without a retry; what may pass is retried, inside the task or by Airflow",
    "A5": "a report on every end that leaves a moment",
    "H4": "no usable hash: `FAILURE`, nothing is touched; a wrong one never gives `OK`",
    "H5": "S3's ETag proves nothing; it is `If-Match`",
    "H8": "any part size; S3's own counts only where its ETag is the expected one",
    "W1": "a final path holds proved bytes only",
    "W2": "a corrupted file is set aside until it is healed",
    "W3": "what was fetched and proved is not fetched again",
    "W4": "paths of the database are not trusted",
    "W5": "a full disk stops the run; validation looks at the free space",
    "W6": "two runs at once end with right files and no false `OK`",
    "W7": "memory does not grow with files, parts or their number",
    "W8": "`OK` means on the storage; what a failed sync left proves nothing",
    "W9": "nothing of others is removed, replaced or called healed",
    "W10": "each `OK` is looked at again just before a run ends, however it ends",
    "W11": "a lost mount is noticed before it costs",
    "W12": "a healed file keeps mode, group and ACL",
    "W13": "on network file systems a file that was taken over is looked at again; no hung mount holds a task",
    "R3": "reports are neither overwritten nor forged",
    "R5": "one run, one report, however it ends",
    "S2": "`GetObject` and `HeadObject` are enough; nothing writes",
    "S4": "what the proof does not need is not demanded of a store",
    "S5": "what may pass is tried again, by time since the last byte",
    "S6": "archived objects: what may pass is waited for",
    "S7": "where the newest version is not the backup, an older one that proves itself is taken",
    "D1": "only `find`",
    "U2": "progress and outcomes are data, and cost a restore nothing",
    "U3": "what people paste is understood",
    "V1": "a backup is verified without a disk",
}
ALL = OF_THE_PLAN | DECISIONS


@dataclass(frozen=True)
class Held:
    """A test that holds a rule.

    Attributes:
        rule: its name.
        file: of the test, below the repository.
        test: its name.
        fails_when: what was broken when it was seen to fail; empty where that was not written down.

    """

    rule: str
    file: str
    test: str
    fails_when: str


def all_held() -> list[Held]:
    """What the markers of all tests say."""
    return [held for path in sorted((REPOSITORY / "tests").rglob("test_*.py")) for held in _held_in(path)]


def _held_in(path: Path) -> Iterator[Held]:
    file = str(path.relative_to(REPOSITORY))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.rule":
                    options = {each.arg: str(ast.literal_eval(each.value)) for each in call.keywords}
                    for argument in call.args:
                        yield Held(ast.literal_eval(argument), file, node.name, options.get("fails_when", ""))


def with_tables(document: str, held: list[Held]) -> str:
    """A document with its tables made anew, below the marks that it has for each."""
    for name, rules in {"of the plan": OF_THE_PLAN, "decisions": DECISIONS}.items():
        mark = f"<!-- rules {name}: made by `make rules` -->\n"
        pattern = re.compile(re.escape(mark) + r"(?:\|.*\n)*")
        if len(pattern.findall(document)) != 1:
            raise ValueError(f"expected the line {mark!r} once")
        made = mark + _table(rules, held)
        document = pattern.sub(lambda _found, made=made: made, document)
    return document


def _table(rules: dict[str, str], held: list[Held]) -> str:
    lines = ["| rule | what must hold | test | seen to fail when |", "| --- | --- | --- | --- |"]
    for rule, what in rules.items():
        of_rule = [each for each in held if each.rule == rule]
        seen = [each for each in of_rule if each.fails_when]
        lines += [f"| {rule} | {what} | `{each.file}` `{each.test}` | {each.fails_when} |" for each in seen]
        more = Counter(each.file for each in of_rule if not each.fails_when)
        if more:
            where = ", ".join(f"`{file}` ({count})" for file, count in sorted(more.items()))
            lines.append(f"| {rule} | {'and more' if seen else what} | {where} | |")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), all_held()))
