"""V1: verify only, as the tasks do it: the backup is proved, and nothing is written but the report."""

import logging
import re
import shutil
from pathlib import Path

import pytest

from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, raw_bytes

ID = "20250115_sample.d"
DATA = raw_bytes(300_000, "verify only")
FILES = {f"{ID}/a.tdf": DATA, f"{ID}/b.tdf_bin": raw_bytes(3 * MIB, "bin"), f"{ID}/empty": b""}


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.rule("V1")
def test_v1_a_good_backup_is_verified_and_only_the_report_is_written(kraken: Kraken):
    kraken.back_up(FILES, ID, part_mib=1)
    kraken.destination.mkdir()
    (kraken.destination / ID).mkdir()
    (kraken.destination / ID / "a.tdf").write_bytes(b"corrupted, and none of our business")
    before = everything(kraken.output)

    plan = kraken.validate(ID, verify_only=True)
    result = kraken.download(ID, verify_only=True)

    (report,) = kraken.reports
    after = everything(kraken.output)
    assert after.pop(str(report.relative_to(kraken.output))) is not None
    assert after == before
    for path, data in FILES.items():
        assert re.fullmatch(rf"OK - Backup verified \({len(data) / MIB:.1f} MB in \d+\.\ds\)", kraken.line(path))
    assert "\nMode: Verify only: " in kraken.report
    assert kraken.report.endswith("Total files: 3\nSuccessful: 3\nFailed: 0\nStatus: SUCCESS\n")
    assert (plan["mode"], plan["files_to_download"], plan["bytes_free"]) == ("verify_only", 3, None)
    assert (result["mode"], result["verified"], result["downloaded"]) == ("verify_only", 3, 0)
    assert result["bytes_total"] == result["bytes_fetched"] == sum(map(len, FILES.values()))
    assert result["report_path"] == str(report)
    assert kraken.s3.writes == []


@pytest.mark.rule("V1")
@pytest.mark.parametrize("place", ["no folder", "no output", "read-only"])
def test_v1_without_a_place_for_it_the_report_is_in_log_and_xcom(kraken: Kraken, caplog, unprivileged, place):
    caplog.set_level(logging.INFO)
    kraken.back_up(FILES, ID)
    if place == "no output":
        shutil.rmtree(kraken.output)
    if place == "read-only":
        kraken.destination.mkdir()
        kraken.destination.chmod(0o500)
    parent = kraken.output.parent
    before = sorted(parent.rglob("*"))

    plan, result = unprivileged(lambda: (kraken.validate(ID, verify_only=True), kraken.download(ID, verify_only=True)))

    assert sorted(parent.rglob("*")) == before
    assert plan["files_in_trouble"] == 0
    assert (result["status"], result["report_path"]) == ("SUCCESS", None)
    assert "Status report (in no file: " in caplog.text
    assert "a.tdf: OK - Backup verified (0.3 MB in " in caplog.text
    assert kraken.ti.pushed["report"].endswith("Status: SUCCESS\n")
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


@pytest.mark.rule("V1")
def test_v1_a_bad_backup_fails_the_task_and_names_the_file(kraken: Kraken):
    kraken.s3.versioning = False
    kraken.back_up(FILES, ID, part_mib=1)
    kraken.s3.upload(kraken.bucket, f"{ID}/a.tdf", DATA[:-1] + b"?")
    kraken.s3.delete(kraken.bucket, f"{ID}/empty")

    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    plan = kraken.validate(ID, verify_only=True)
    with pytest.raises(AirflowFailException) as failed:
        kraken.download(ID, verify_only=True)

    assert plan["files_in_trouble"] == 1
    assert str(failed.value).startswith("2/3 files failed. See: the log of this task. First: ")
    pushed = kraken.ti.pushed
    assert (pushed["return_value"]["status"], pushed["return_value"]["verified"]) == ("PARTIAL FAILURE", 1)
    first, second, third = pushed["files"]["files"]
    assert first["path"] == f"{ID}/a.tdf"
    assert first["reason"].startswith("Hash mismatch in S3: expected ")
    assert second["result"] == "failed"
    assert (third["path"], third["result"]) == (f"{ID}/b.tdf_bin", "verified")
    assert not kraken.destination.exists()


@pytest.mark.rule("V1")
def test_v1_only_files_like(kraken: Kraken):
    kraken.back_up(FILES, ID)
    kraken.destination.mkdir()
    assert kraken.download(ID, verify_only=True, include="*.tdf")["total_files"] == 1
    assert "\nOnly Files Like: *.tdf\nMode: Verify only: " in kraken.report


@pytest.mark.rule("V1")
def test_v1_neither_free_space_nor_a_mount_is_asked_for(kraken: Kraken, monkeypatch):
    from impl import preview  # noqa: PLC0415

    kraken.settings["s3_download"]["require_mount"] = True
    kraken.write_yaml()
    kraken.back_up(FILES, ID)
    monkeypatch.setattr(preview, "free_bytes", lambda _path: 0)
    kraken.validate(ID, verify_only=True)
    assert kraken.download(ID, verify_only=True)["status"] == "SUCCESS"
    assert "no mount point" in kraken.refuse(ID)


@pytest.mark.rule("V1")
@pytest.mark.parametrize("given", ["true", 1, "yes", ["x"]])
def test_v1_what_is_neither_true_nor_false_is_refused(kraken: Kraken, given):
    kraken.back_up(FILES, ID)
    assert f"'verify_only': expected true or false, got {given!r}" in kraken.refuse(ID, verify_only=given)


@pytest.mark.rule("V1")
@pytest.mark.parametrize("given", [False, None])
def test_v1_a_restore_is_asked_for_otherwise(kraken: Kraken, given):
    kraken.back_up(FILES, ID)
    result = kraken.download(ID, verify_only=given)
    assert (result["mode"], result["downloaded"], result["verified"]) == ("restore", 3, 0)
    assert "Mode:" not in kraken.report


@pytest.mark.rule("V1")
def test_v1_the_message_of_success_says_that_the_backup_is_verified(kraken: Kraken):
    from common.failed_attempts import describe_success  # noqa: PLC0415

    kraken.back_up(FILES, ID)
    result = kraken.download(ID, verify_only=True)
    ti = type("Ti", (), {"xcom_pull": lambda *_args, **_options: result})()
    assert "3 of 3 files of the backup are verified. See: the log of download_files" in describe_success({"ti": ti})
