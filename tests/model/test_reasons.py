"""Reasons for FAILURE are data: what the code can say is in them, and what the documents say is made from them."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from impl.refusals import AirflowFailException, failure_of_refusal, refusal
from s3_restore.model import reasons, store_reasons
from s3_restore.model.exceptions import BlockedPathError, ChangedMeanwhileError, NotOnStorageError
from s3_restore.model.outcomes import FileOutcome, Result, not_attempted
from s3_restore.model.reasons import Reason
from s3_restore.run.failures import failure_of
from s3_restore.s3.s3_errors import _PERMANENT
from tests.support.reasons_table import DOCUMENT, all_reasons, with_tables

SOURCE = Path(__file__).resolve().parents[2] / "airflow_src"
ROOTS = (SOURCE / "dags", SOURCE / "plugins")
PACKAGES = ("impl", "common", "shared", "s3_restore")


def modules() -> Iterator[tuple[ModuleType, ast.Module]]:
    """Every module of the product, and its source."""
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if name.split(".")[0] in PACKAGES:
                yield importlib.import_module(name), ast.parse(path.read_text())


def test_the_documented_tables_are_those_of_the_code() -> None:
    """When this is red: make reasons."""
    assert DOCUMENT.read_text() == with_tables(DOCUMENT.read_text())


def test_every_reason_of_the_code_is_in_the_tables() -> None:
    found = {value for module, _ in modules() for value in vars(module).values() if isinstance(value, Reason)}
    assert len(found) > 100
    assert found == set(all_reasons())


def test_codes_are_unique_and_stay_readable_for_programs() -> None:
    codes = [reason.code for reason in all_reasons()]
    assert len(codes) == len(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", code)] == []


@pytest.mark.parametrize("reason", all_reasons(), ids=lambda reason: reason.code)
def test_every_reason_has_words_and_a_next_step_in_one_line(reason: Reason) -> None:
    for words in (reason.text, reason.what_to_do):
        assert len(words) > 7
        assert words.isprintable()
        assert "|" not in words, "it stands in a table"
    assert not reason.what_to_do.endswith("."), "it may go on with another one"


def test_texts_tell_reasons_apart() -> None:
    texts = [reason.text for reason in all_reasons()]
    assert len(texts) == len(set(texts))


# --- how the code uses them ------------------------------------------------------------------------------------------


def said_in(module: ModuleType, tree: ast.Module) -> Iterator[tuple[Reason, ast.Call]]:
    """Calls such as `reasons.DISK_FULL.of(…)` of a module, with the reason that each is about."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "of":
            value: object = None
            if isinstance(node.func.value, ast.Name):
                value = getattr(module, node.func.value.id, None)
            elif isinstance(node.func.value, ast.Attribute) and isinstance(node.func.value.value, ast.Name):
                value = getattr(getattr(module, node.func.value.value.id, None), node.func.value.attr, None)
            if isinstance(value, Reason):
                yield value, node


def test_every_use_of_a_reason_has_a_value_for_each_of_its_gaps() -> None:
    uses = [(module.__name__, *use) for module, tree in modules() for use in said_in(module, tree)]
    assert len(uses) > 80
    for module, reason, call in uses:
        assert len(call.args) == reason.text.count("…"), f"{module}:{call.lineno}: {reason.code}"


def test_every_reason_is_used() -> None:
    sources = {module.__name__: ast.unparse(tree) for module, tree in modules()}
    names = {
        (module.__name__, name)
        for module, _ in modules()
        for name, value in vars(module).items()
        if isinstance(value, Reason)
    }
    for home, name in names:
        uses = [re.search(rf"\b{name}\b", text) for module, text in sources.items() if module != home]
        assert any(uses), f"{home}.{name}"


def test_reasons_of_s3_codes_have_one_gap_for_the_code() -> None:
    for code, reason in _PERMANENT.items():
        assert f"({code})" in reason.of(code).text


def test_airflows_exception_is_made_in_one_place() -> None:
    """So that each carries a reason."""
    for module, tree in modules():
        if module.__name__ == "impl.refusals":
            continue
        made = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AirflowFailException")
        ]
        assert made == [], module.__name__


# --- what they are for one case --------------------------------------------------------------------------------------


ERRORS = [
    (OSError(28, "No space left on device"), "disk_full", "Disk full: No space left on device (ENOSPC)"),
    (OSError(122, "Disk quota exceeded"), "disk_full", "Disk full: Disk quota exceeded (EDQUOT)"),
    (OSError(13, "Permission denied"), "no_permission", "Local file system error: Permission denied (EACCES)"),
    (OSError(30, "Read-only"), "read_only_file_system", "Local file system error: Read-only (EROFS)"),
    (NotOnStorageError(5, "I/O error"), "storage_error", "Local file system error: I/O error (EIO)"),
    (OSError(40, "Too many levels"), "file_system_error", "Local file system error: Too many levels (ELOOP)"),
    (MemoryError(), "out_of_memory", "Out of memory on the worker (MemoryError)"),
    (ChangedMeanwhileError("/x"), "keeps_changing", "Another program or run keeps changing this file"),
    (BlockedPathError(reasons.LINK_ABOVE.of()), "link_above", reasons.LINK_ABOVE.text),
    (ZeroDivisionError("division by zero"), "unexpected", "Unexpected ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("error", "code", "text"), ERRORS, ids=[code for _, code, _ in ERRORS])
def test_every_error_has_a_reason(error: Exception, code: str, text: str) -> None:
    failure = failure_of(error)
    assert (failure.code, failure.text) == (code, text)
    assert failure.what_to_do


def test_a_reason_that_goes_on_has_both_next_steps() -> None:
    failure = store_reasons.WRONG_SIZE.of(7, 8).and_also(store_reasons.MAY_NOT_LIST_VERSIONS.of())
    assert failure.code == "wrong_size"
    assert failure.text == (
        "Object in S3 has 7 bytes, file_info says 8 (wrong size); "
        "older versions cannot be looked at: that takes s3:ListBucketVersions"
    )
    steps = (store_reasons.WRONG_SIZE.what_to_do, store_reasons.MAY_NOT_LIST_VERSIONS.what_to_do)
    assert failure.what_to_do == "; ".join(steps)


def test_an_outcome_has_words_for_people_and_a_code_for_programs() -> None:
    (outcome,) = not_attempted(["a"], reasons.ENDED_DISK_FULL.of())
    assert (outcome.reason, outcome.reason_code) == ("Not attempted (disk full)", "not_attempted")
    assert outcome.what_to_do.endswith("make room or raise the quota")
    right = FileOutcome("b", Result.SKIPPED)
    assert (right.reason, right.reason_code, right.what_to_do) == ("", "", "")


def test_a_value_may_look_like_a_gap() -> None:
    assert store_reasons.REFUSED.of("wait … please {x}", "Busy").text == "S3 refuses: wait … please {x} (Busy)"


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        reasons.DISK_FULL.of("one")


def test_a_refusal_is_airflows_exception_with_its_reason() -> None:
    error = refusal(reasons.ENDED.of())
    assert type(error) is AirflowFailException
    assert (str(error), failure_of_refusal(error).code) == ("the run was ended", "ended")
    assert failure_of_refusal(ValueError("by somebody else")).code == "unexpected"
    assert failure_of_refusal(ValueError("by somebody else")).text == "by somebody else"
