"""R3: whatever names, ids and reasons are, the report can be read back by its format alone, and says what happened."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3_restore.model import reasons
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result
from s3_restore.model.reasons import Failure
from s3_restore.model.status_report import ReportHeader, one_line, path_in_line, render_report, report_file_name
from tests.support.naughty_strings import ENCODABLE, NAUGHTY

NOW = datetime(2025, 2, 4, 14, 30, 22, tzinfo=UTC)
_SIZE = r"\(\d+\.\d MB in \d+\.\ds\)"
OK = {
    Result.DOWNLOADED: re.compile(rf"OK - Downloaded and verified {_SIZE}"),
    Result.VERIFIED: re.compile(r"OK - Backup verified \(\d+\.\d MB in \d+\.\ds\)"),
    Result.SKIPPED: re.compile(r"OK - Skipped \(already exists\)"),
    Result.HEALED: re.compile(
        r"OK - Self-healed \(hash mismatch detected, re-downloaded\) \((\d+\.\d of )?\d+\.\d MB in \d+\.\ds\)"
    ),
}


def failed(text: str) -> Failure:
    return Failure(reasons.UNEXPECTED, text)


# Texts that try to be lines of the report, or to look like the end of a path.
forgeries = st.lists(
    st.sampled_from(
        ["a", ":", " ", "\\", "\n", "x3a", "OK - Skipped (already exists)", "FAILURE - ", "Status: SUCCESS"]
    ),
    max_size=6,
).map("".join)
texts = st.one_of(st.sampled_from(NAUGHTY), forgeries, st.text(max_size=30))
paths = st.one_of(texts, st.lists(texts, min_size=2, max_size=3).map("/".join))
outcomes = st.builds(
    FileOutcome,
    relative_path=paths,
    result=st.sampled_from(Result),
    failure=texts.map(failed),
    size=st.integers(0, 2**60),
    bytes_fetched=st.integers(0, 2**60),
    bytes_reused=st.integers(0, 2**60),
    seconds=st.floats(0, 1e9),
)


def unescaped(text: str) -> str:
    """The reverse of the report's escaping, written apart from it."""
    short = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}
    return re.sub(
        r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})",
        lambda found: short.get(found[0]) or found[0].encode().decode("unicode_escape"),
        text,
    )


class ReadBack:
    """A report, parsed by its format alone: nothing is known of what should be in it."""

    def __init__(self, text: str) -> None:
        lines = iter(text.split("\n"))
        assert [next(lines), next(lines)] == ["S3 Download Status Report", "=" * 25]
        self.head = dict(self._fields(lines, ""))
        assert [next(lines), next(lines)] == ["Files:", "------"]
        self.files = list(self._fields(lines, ""))
        assert [next(lines), next(lines)] == ["Summary:", "--------"]
        self.summary = dict(self._fields(lines, ""))
        assert list(lines) == []

    @staticmethod
    def _fields(lines: Iterator[str], until: str) -> Iterator[tuple[str, str]]:
        for line in lines:
            if line == until:
                return
            name, colon, value = line.partition(": ")
            assert colon, line
            yield unescaped(name), value


@pytest.mark.rule("R3", fails_when="a path may look like a whole line")
@pytest.mark.rule("R1")
@settings(max_examples=200)
@given(
    files=st.lists(outcomes, max_size=6, unique_by=lambda outcome: outcome.relative_path),
    said=st.tuples(*[texts] * 6),
)
@example(
    files=[FileOutcome("a.raw: OK - Skipped (already exists)", Result.FAILED, failed("x"))],
    said=("i", "p", "b", "", "/d", ""),
)
@example(
    files=[FileOutcome(path, Result.FAILED, failed(path)) for path in NAUGHTY],
    said=("i", "p", "b", "x", "/d", "*"),
)
@example(files=[FileOutcome(path, Result.SKIPPED) for path in NAUGHTY], said=("i", "p", "b", "x", "/d", "*"))
def test_r3_report_is_read_back_as_what_was_rendered(files: list[FileOutcome], said: tuple[str, ...]) -> None:
    """R1, R3: no text, wherever it comes from, can add, hide or change a line, or move the end of a path."""
    raw_file_id, project_id, bucket, prefix, destination, include = said
    header = ReportHeader(raw_file_id, project_id, bucket, prefix, NOW, destination, include)

    text = render_report(header, RestoreSummary(tuple(files)))

    assert text.encode().decode() == text
    assert text.splitlines() == text.split("\n")[:-1], "no character that anybody takes for a new line"
    assert all(line.isprintable() for line in text.splitlines()), "nothing that hides or reorders text"
    report = ReadBack(text)
    assert {name: unescaped(value) for name, value in report.head.items()} == {
        "Raw File ID": raw_file_id,
        "Project ID": project_id,
        "S3 Bucket": bucket,
        **({"S3 Prefix": prefix} if prefix else {}),
        "Timestamp": "2025-02-04 14:30:22 UTC",
        "Destination": destination,
        **({"Only Files Like": include} if include else {}),
    }
    expected = sorted(files, key=lambda outcome: outcome.relative_path)
    assert [path for path, _ in report.files] == [outcome.relative_path for outcome in expected]
    for outcome, (_, told) in zip(expected, report.files, strict=True):
        if outcome.result is Result.FAILED:
            assert unescaped(told) == f"FAILURE - {outcome.reason}"
        else:
            assert OK[outcome.result].fullmatch(told)
    failed = sum(outcome.result is Result.FAILED for outcome in files)
    good = len(files) - failed
    assert report.summary == {
        "Total files": str(len(files)),
        "Successful": str(good),
        "Failed": str(failed),
        "Status": "SUCCESS" if good and not failed else "PARTIAL FAILURE" if good else "COMPLETE FAILURE",
    }


@pytest.mark.rule("R3")
@settings(max_examples=200)
@given(texts, texts)
def test_r3_two_texts_never_look_the_same(one: str, other: str) -> None:
    """Else one file's line could be taken for that of another."""
    assert (one_line(one) == one_line(other)) is (one == other)
    assert (path_in_line(one) == path_in_line(other)) is (one == other)


@pytest.mark.rule("R3")
@pytest.mark.parametrize("text", ["plain", "20250115 sample: part 1.raw", "Größe µm 試料.raw", "a:b", "x" * 255])
def test_r3_what_is_harmless_is_shown_as_it_is(text: str) -> None:
    assert one_line(text) == text
    assert path_in_line(text) == text.replace(": ", r"\x3a ")


@pytest.mark.rule("R3")
@settings(max_examples=200)
@given(texts, st.integers(1, 10**6))
def test_r3_report_name_is_one_plain_name_for_any_raw_file_id(raw_file_id: str, number: int) -> None:
    name = report_file_name(raw_file_id, NOW, number)

    assert re.fullmatch(r"_download_status_[\w.+-]*_20250204_143022(_\d+)?\.txt", name, re.ASCII)
    assert len(name) <= 255


@pytest.mark.rule("R3")
def test_r3_report_names_of_the_naughty_list() -> None:
    names = {report_file_name(text, NOW) for text in ENCODABLE}
    assert all(re.fullmatch(r"[\w.+-]{1,255}", name, re.ASCII) for name in names)
