"""The report, to the letter (R1 to R3)."""

import re
from datetime import UTC, datetime

import pytest

from s3_restore.model import reasons
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result
from s3_restore.model.reasons import Failure
from s3_restore.model.status_report import (
    ReportHeader,
    message,
    one_line,
    path_in_line,
    render_report,
    report_file_name,
)

MB = 1024**2


def failure(text: str) -> Failure:
    return Failure(reasons.UNEXPECTED, text)


NOW = datetime(2025, 2, 4, 14, 30, 22, 987654, tzinfo=UTC)
HEADER = ReportHeader(
    raw_file_id="20250115_sample",
    project_id="PRID001",
    bucket="alphakraken-PRID001",
    prefix="",
    timestamp=NOW,
    destination="/fs/pool/pool-0/alphakraken_sandbox/output/PRID001",
)


@pytest.mark.rule("R2")
def test_status_report_format():
    """The plan's own example: every line of it, in its order; the healed file's line as R2 has it."""
    summary = RestoreSummary(
        (
            FileOutcome("sample.raw", Result.DOWNLOADED, size=round(1234.5 * MB), seconds=45.2),
            FileOutcome("sample.raw/subfile3.bin", Result.FAILED, failure("Network error: Connection timeout")),
            FileOutcome("sample.raw/subfile1.bin", Result.SKIPPED, size=5, seconds=1.0),
            FileOutcome("sample.raw/subfile2.bin", Result.HEALED, size=round(12.3 * MB), seconds=4.5),
        )
    )
    assert (
        render_report(HEADER, summary)
        == """\
S3 Download Status Report
=========================
Raw File ID: 20250115_sample
Project ID: PRID001
S3 Bucket: alphakraken-PRID001
Timestamp: 2025-02-04 14:30:22 UTC
Destination: /fs/pool/pool-0/alphakraken_sandbox/output/PRID001

Files:
------
sample.raw: OK - Downloaded and verified (1234.5 MB in 45.2s)
sample.raw/subfile1.bin: OK - Skipped (already exists)
sample.raw/subfile2.bin: OK - Self-healed (hash mismatch detected, re-downloaded) (12.3 MB in 4.5s)
sample.raw/subfile3.bin: FAILURE - Network error: Connection timeout

Summary:
--------
Total files: 4
Successful: 3
Failed: 1
Status: PARTIAL FAILURE
"""
    )
    assert report_file_name("20250115_sample", NOW) == "_download_status_20250115_sample_20250204_143022.txt"


@pytest.mark.parametrize(
    ("results", "last_lines"),
    [
        ([Result.DOWNLOADED], ["Total files: 1", "Successful: 1", "Failed: 0", "Status: SUCCESS"]),
        ([Result.FAILED], ["Total files: 1", "Successful: 0", "Failed: 1", "Status: COMPLETE FAILURE"]),
        (
            [Result.FAILED, Result.SKIPPED],
            ["Total files: 2", "Successful: 1", "Failed: 1", "Status: PARTIAL FAILURE"],
        ),
    ],
)
def test_summary_lines(results, last_lines):
    outcomes = tuple(FileOutcome(str(number), result, failure("why")) for number, result in enumerate(results))
    assert render_report(HEADER, RestoreSummary(outcomes)).splitlines()[-4:] == last_lines


@pytest.mark.rule("R1")
def test_r1_prefix_has_its_own_line_only_when_there_is_one():
    header = ReportHeader("id", "P", "alphakraken--fallback", "test1/2025_01", NOW, "/out/P")
    lines = render_report(header, RestoreSummary(())).splitlines()
    assert lines[4:7] == [
        "S3 Bucket: alphakraken--fallback",
        "S3 Prefix: test1/2025_01",
        "Timestamp: 2025-02-04 14:30:22 UTC",
    ]


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (FileOutcome("a", Result.DOWNLOADED, size=0, seconds=0.04), "OK - Downloaded and verified (0.0 MB in 0.0s)"),
        (FileOutcome("a", Result.DOWNLOADED, size=MB, seconds=59.96), "OK - Downloaded and verified (1.0 MB in 60.0s)"),
        (FileOutcome("a", Result.SKIPPED, size=MB, seconds=7), "OK - Skipped (already exists)"),
        (
            FileOutcome("a", Result.HEALED, size=23 * MB, bytes_fetched=MB, bytes_reused=22 * MB, seconds=0.4),
            "OK - Self-healed (hash mismatch detected, re-downloaded) (1.0 of 23.0 MB in 0.4s)",
        ),
        (FileOutcome("a", Result.FAILED, failure("Disk full")), "FAILURE - Disk full"),
    ],
)
def test_r2_messages(outcome, text):
    assert message(outcome) == text


FORGERIES = [
    "x\nb.raw: OK - Downloaded and verified (1.0 MB in 1.0s)",
    "x\r\nStatus: SUCCESS",
    "x\rStatus: SUCCESS",
    "x\x0bStatus: SUCCESS",
    "x\x0cStatus: SUCCESS",
    "x\x1c\x1d\x1eStatus: SUCCESS",
    "x\x85Status: SUCCESS",
    "x\u2028Status: SUCCESS",
    "x\u2029Status: SUCCESS",
    "x\x00y",
    "x\x1b[2K\x1b[1A\x1b[32mOK",
    "x\x08\x08\x08",
    "x\u202eKO",
    "x\u200b\ufeff",
    "x\ud800",
    "x\x7f",
]


@pytest.mark.rule("R3")
@pytest.mark.parametrize("text", FORGERIES, ids=ascii)
@pytest.mark.parametrize("where", ["path", "reason", "raw_file_id", "project_id", "bucket", "prefix", "destination"])
def test_r3_no_line_can_be_forged(where, text):
    def render(value: str) -> str:
        header = {
            "raw_file_id": "id",
            "project_id": "P",
            "bucket": "b",
            "prefix": "p",
            "destination": "/d",
            **({where: value} if where not in ("path", "reason") else {}),
        }
        outcome = FileOutcome(
            value if where == "path" else "a", Result.FAILED, failure(value if where == "reason" else "why")
        )
        return render_report(ReportHeader(timestamp=NOW, **header), RestoreSummary((outcome,)))

    rendered = render(text)
    rendered.encode()
    assert len(rendered.splitlines()) == len(render("plain").splitlines())
    assert all(line.isprintable() for line in rendered.split("\n"))
    shown = path_in_line(text) if where == "path" else one_line(text)
    assert shown in rendered
    assert shown.encode().decode("unicode_escape") == text, "and what was there can be read back"


@pytest.mark.rule("R3")
def test_r3_escaping_cannot_be_forged_either():
    assert one_line("a\\nb") == "a\\\\nb"
    assert one_line("a\nb") == "a\\nb"
    assert one_line("Größe 試料.raw") == "Größe 試料.raw"


@pytest.mark.rule("R3")
@pytest.mark.parametrize(
    "raw_file_id",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a b\nc",
        "..",
        "*?[x]",
        "nul\0",
        "Größe 試料",
        "\ud800",
        "'; rm -rf ~",
        "x" * 255,
        "試" * 255,
        "",
    ],
    ids=ascii,
)
def test_r3_raw_file_id_is_made_safe_for_a_file_name(raw_file_id):
    name = report_file_name(raw_file_id, NOW)
    assert re.fullmatch(r"_download_status_[A-Za-z0-9_.+-]*_20250204_143022\.txt", name)
    assert len(name) <= 255


@pytest.mark.rule("R3")
def test_r3_long_ids_that_begin_alike_get_different_reports():
    assert report_file_name("x" * 200 + "1", NOW) != report_file_name("x" * 200 + "2", NOW)


@pytest.mark.rule("R3")
def test_r3_second_report_of_the_same_second():
    assert report_file_name("id", NOW, 2) == "_download_status_id_20250204_143022_2.txt"
    assert report_file_name("id", NOW, 3) == "_download_status_id_20250204_143022_3.txt"
