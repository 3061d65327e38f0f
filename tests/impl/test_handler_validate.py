"""validate_s3_download_parameters: every check, its one clear line, and that nothing is touched (R4, A4)."""

import logging
from pathlib import Path

import pytest

from s3_restore.disk.destination import Destination, free_bytes
from s3_restore.disk.temporary_files import TemporaryFiles
from tests.support.kraken import Kraken, assert_one_clear_line
from tests.support.raw_files import file_info, raw_bytes

DATA = raw_bytes(100_000, "validate")
ID = "20250115_sample.raw"


def test_validate_s3_download_parameters_success(kraken: Kraken, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    kraken.back_up({ID: DATA})
    kraken.validate(ID)
    assert f"Validation passed: {ID} -> {kraken.destination} (1 files, up to 0.1 MB to download" in caplog.text
    assert list(kraken.output.iterdir()) == [], "nothing is made before the download"
    assert set(kraken.ti.pushed) - {"_link_RestoresPageLink"} == {"plan"}, "a link where there is a page"


@pytest.mark.rule("Missing project_id", fails_when="the check is left out")
@pytest.mark.parametrize("project_id", [None, ""])
def test_validate_s3_download_parameters_no_project_id(kraken: Kraken, project_id):
    """Plan 4.1: Missing project_id."""
    kraken.back_up({ID: DATA}, project_id=project_id)
    assert kraken.refuse(ID) == f"No project_id for {ID!r}: the destination cannot be determined"


@pytest.mark.rule("No S3 backup", fails_when="the check is left out")
@pytest.mark.parametrize("s3_upload_path", [None, ""])
def test_validate_s3_download_parameters_no_s3_backup(kraken: Kraken, s3_upload_path):
    """Plan 4.1: No S3 backup."""
    kraken.back_up({ID: DATA}, s3_upload_path=s3_upload_path)
    assert kraken.refuse(ID) == f"No S3 backup for {ID!r}: s3_upload_path is empty"


@pytest.mark.rule("RawFile not found", fails_when="an ordinary exception is raised, which Airflow would retry")
def test_raw_file_not_found(kraken: Kraken):
    """Plan 4.1: RawFile not found."""
    assert kraken.refuse("no_such_file.raw").startswith("RawFile not found: 'no_such_file.raw'")


@pytest.mark.parametrize("missing", ["project_id", "s3_upload_path", "file_info", "backup_status"])
def test_documents_of_other_times_lack_fields(kraken: Kraken, missing):
    document = kraken.store(ID, file_info=file_info({ID: DATA}))
    del document[missing]
    kraken._writer["krakendb"]["raw_file"].replace_one({"_id": ID}, document)
    if missing == "backup_status":
        kraken.validate(ID)
    else:
        assert ID in kraken.refuse(ID)


def test_unknown_fields_are_ignored(kraken: Kraken):
    kraken.back_up({ID: DATA}, something_new={"a": [1, 2]})
    kraken.validate(ID)


@pytest.mark.parametrize("info", [{}, None])
def test_empty_file_info(kraken: Kraken, info):
    kraken.store(ID, file_info=info)
    assert kraken.refuse(ID) == f"Empty file_info for {ID!r}: there is no file to restore"


@pytest.mark.parametrize("info", [["a.raw"], "a.raw", 5, True], ids=repr)
def test_file_info_of_another_type(kraken: Kraken, info):
    kraken.store(ID, file_info=info)
    assert f"file_info for {ID!r}" in kraken.refuse(ID)


@pytest.mark.parametrize("raw_file_id", [None, "", 5, [ID], {"$ne": None}], ids=repr)
def test_raw_file_id_must_be_a_text(kraken: Kraken, raw_file_id):
    kraken.back_up({ID: DATA})
    assert kraken.refuse(raw_file_id).startswith("Parameter 'raw_file_id': expected the id of a raw file, got ")


@pytest.mark.parametrize("context", [{}, {"params": {}}, {"params": None}])
def test_no_params_at_all(kraken: Kraken, context):
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415

    from impl.handler_impl import download_raw_file_from_s3, validate_s3_download_parameters  # noqa: PLC0415

    for task in (validate_s3_download_parameters, download_raw_file_from_s3):
        with pytest.raises(AirflowFailException, match="Parameter 'raw_file_id'"):
            task(kraken.ti, **context)


@pytest.mark.parametrize("backup_type", ["local", "", None])
def test_s3_not_enabled(kraken: Kraken, backup_type):
    kraken.back_up({ID: DATA})
    kraken.settings["backup"]["backup_type"] = backup_type
    kraken.write_yaml()
    said = kraken.refuse(ID)
    assert said.startswith("S3 is not enabled: expected backup.backup_type 's3'")
    assert str(kraken.yaml_path) in said


def test_output_location_missing(kraken: Kraken):
    kraken.back_up({ID: DATA})
    kraken.output.rmdir()
    assert kraken.refuse(ID).startswith(f"Output location missing: {kraken.output}")
    kraken.output.write_text("a file")
    assert kraken.refuse(ID).startswith(f"Output location missing: {kraken.output}")


@pytest.mark.rule("Output location not writable", fails_when="the check is left out")
def test_output_location_not_writable(kraken: Kraken, unprivileged):
    """Plan 4.1: Output location not writable."""
    kraken.back_up({ID: DATA})
    kraken.output.chmod(0o555)
    assert unprivileged(lambda: kraken.refuse(ID)) == f"Output location not writable: {kraken.output}"


@pytest.mark.parametrize("below", ["", "deeper"], ids=["the output", "a folder above it"])
def test_output_location_that_may_not_be_searched_is_refused_and_not_tried_again(kraken: Kraken, unprivileged, below):
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415 (Airflow takes seconds)

    kraken.back_up({ID: DATA})
    output = kraken.output / below
    output.mkdir(exist_ok=True)
    kraken.settings["locations"]["output"]["absolute_path"] = str(output)
    kraken.write_yaml()
    kraken.output.chmod(0o666)
    with pytest.raises(AirflowFailException) as caught:
        unprivileged(lambda: kraken.validate(ID))
    kraken.output.chmod(0o755)
    assert str(caught.value) == f"Output location not writable: {output}"
    assert_one_clear_line(caught.value)


def test_project_folder_not_writable(kraken: Kraken, unprivileged):
    kraken.back_up({ID: DATA})
    kraken.destination.mkdir()
    kraken.destination.chmod(0o555)
    assert unprivileged(lambda: kraken.refuse(ID)) == f"Output location not writable: {kraken.destination}"


def test_project_folder_may_be_writable_where_the_output_is_not(kraken: Kraken, unprivileged):
    kraken.back_up({ID: DATA})
    kraken.destination.mkdir()
    kraken.output.chmod(0o555)
    unprivileged(lambda: kraken.validate(ID))


def test_a_file_where_the_project_folder_belongs(kraken: Kraken):
    kraken.back_up({ID: DATA})
    kraken.destination.write_text("a file")
    assert kraken.refuse(ID) == f"Destination {kraken.destination} is no folder"


@pytest.mark.rule("W4", fails_when="a project may be several folders")
@pytest.mark.parametrize(
    "project_id", ["..", ".", "/", "/etc", "../PRID002", "PRID001/..", "a/b", "a/", "new\nline", "esc\x1b[0m", 5, ["P"]]
)
def test_w4_project_id_must_be_one_plain_component(kraken: Kraken, project_id):
    kraken.back_up({ID: DATA}, project_id=project_id)
    said = kraken.refuse(ID)
    assert said.startswith(f"Unsafe project_id {project_id!r} for {ID!r}: it ")
    assert said.isprintable()


@pytest.mark.rule("S1")
@pytest.mark.parametrize("s3_upload_path", ["s3://", "/", " ", 5])
def test_s1_no_bucket_in_the_path(kraken: Kraken, s3_upload_path):
    kraken.back_up({ID: DATA}, s3_upload_path=s3_upload_path)
    assert kraken.refuse(ID) == (f"s3_upload_path: expected 's3://bucket/prefix/' or 'bucket', got {s3_upload_path!r}")


@pytest.mark.parametrize("backup_status", ["upload_in_progress", "upload_failed", None])
def test_another_backup_status_warns_and_refuses_not(kraken: Kraken, caplog: pytest.LogCaptureFixture, backup_status):
    kraken.back_up({ID: DATA}, backup_status=backup_status)
    kraken.validate(ID)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"backup_status of {ID} is {backup_status!r}" in warning.getMessage()


@pytest.mark.rule("R4")
def test_r4_a_missing_bucket_is_no_validation_failure(kraken: Kraken):
    kraken.store(ID, file_info=file_info({ID: DATA}), s3_upload_path="s3://no-such-bucket")
    kraken.validate(ID)


@pytest.mark.rule("H4")
def test_h4_w4_bad_entries_are_no_validation_failure(kraken: Kraken):
    kraken.store(ID, file_info={"../x": [5, "0" * 32], "a": None, "b": [], "c": [2**62, None]})
    kraken.validate(ID)


@pytest.mark.rule("W5", fails_when="the free space is not looked at")
def test_w5_not_enough_space(kraken: Kraken):
    size = free_bytes(kraken.output) + 2**40
    kraken.store(ID, file_info={"large.raw": [size, "0" * 32]})
    said = kraken.refuse(ID)
    assert said.startswith(f"Not enough space on {kraken.output}: {size / 2**20:.1f} MB are missing, ")


@pytest.mark.rule("W5")
def test_w5_what_is_there_already_needs_no_space(kraken: Kraken):
    large = kraken.destination / "large.raw"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(2**42)  # sparse
    kraken.store(ID, file_info={"large.raw": [2**42, "0" * 32]})
    kraken.validate(ID)


@pytest.mark.rule("W3")
def test_w3_w5_what_an_interrupted_attempt_holds_needs_no_space(kraken: Kraken, monkeypatch: pytest.MonkeyPatch):
    """It has reserved the whole file already; else a nearly full disk would never be allowed to finish it."""
    kraken.back_up({"s.d/large": DATA * 30, "s.d/other": DATA}, "s.d")
    final = kraken.destination / "s.d/large"
    final.parent.mkdir(parents=True)
    temporary = TemporaryFiles(Destination(kraken.destination), 300).create(final)
    temporary.write_at(memoryview(DATA * 29), 0)
    temporary.close()
    monkeypatch.setattr("impl.preview.free_bytes", lambda _folder: 3 * len(DATA))
    kraken.validate("s.d")
    temporary.remove()
    assert kraken.refuse("s.d").startswith("Not enough space on ")


@pytest.mark.rule("A4")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is no valid YAML: "),
        ("", "expected keys and values, got NoneType"),
        ("backup: {backup_type: s3}", "key 'locations.output.absolute_path': expected str, got nothing"),
        ("backup: {backup_type: 3}", "key 'backup.backup_type': expected str, got int 3"),
        (
            "backup: {backup_type: s3, s3: {}}\nlocations: {output: {absolute_path: out}}",
            "key 'locations.output.absolute_path': expected an absolute path, got 'out'",
        ),
    ],
)
def test_a4_broken_yaml(kraken: Kraken, text, said):
    kraken.back_up({ID: DATA})
    kraken.yaml_path.write_text(text)
    refused = kraken.refuse(ID)
    assert refused.startswith(f"Settings file {kraken.yaml_path}")
    assert said in refused


@pytest.mark.rule("A4")
def test_a4_missing_yaml(kraken: Kraken):
    kraken.yaml_path.unlink()
    said = "No such file or directory (ALPHAKRAKEN_YAML names it)"
    assert kraken.refuse(ID) == f"Settings file {kraken.yaml_path} cannot be read: {said}"


def test_bad_downloader_setting(kraken: Kraken):
    kraken.back_up({ID: DATA})
    kraken.settings["s3_download"] = {"max_concurrency": 0}
    kraken.write_yaml()
    assert kraken.refuse(ID) == (
        f"Settings file {kraken.yaml_path}: key 's3_download': max_concurrency: expected a whole number above 0, got 0"
    )


@pytest.mark.parametrize("s3_settings", [None, "eu-central-1", {"region": 5}])
def test_bad_s3_settings_are_found_before_the_download(kraken: Kraken, s3_settings):
    kraken.back_up({ID: DATA})
    kraken.settings["backup"]["s3"] = s3_settings
    kraken.write_yaml()
    assert kraken.refuse(ID).startswith(f"Settings file {kraken.yaml_path}: key 'backup.s3")


def test_validation_reads_no_file(kraken: Kraken, tmp_path: Path, unprivileged):
    """A look at sizes is enough: hashing terabytes is the download's business."""
    kraken.back_up({ID: DATA})
    kraken.destination.mkdir()
    (kraken.destination / ID).write_bytes(bytes(len(DATA)))
    (kraken.destination / ID).chmod(0)
    unprivileged(lambda: kraken.validate(ID))
