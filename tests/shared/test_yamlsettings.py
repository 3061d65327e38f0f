"""The YAML settings: what is read, and errors that name the file and the key."""

from pathlib import Path

import pytest

from shared import yamlsettings
from shared.yamlsettings import (
    SettingsError,
    YamlKeys,
    get_ops_alerts_webhook_url,
    get_path,
    get_s3_download_settings,
    get_s3_upload_config,
    is_s3_upload_enabled,
    settings_path,
)

FULL = """
general:
  notifications:
    ops_alerts_webhook_url: "https://hooks.example.org/abc"
locations:
  output:
    absolute_path: /fs/pool/pool-0/alphakraken_sandbox/output
backup:
  backup_type: s3
  s3:
    region: eu-central-1
    bucket_prefix: alphakraken
s3_download:
  max_concurrency: 3
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "alphakraken.test.yaml"

    def write(text: str | bytes) -> Path:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    monkeypatch.setenv("ALPHAKRAKEN_YAML", str(path))
    return write


def test_everything_is_read(settings_file):
    path = settings_file(FULL)
    assert settings_path() == path
    assert get_path(YamlKeys.Locations.OUTPUT) == Path("/fs/pool/pool-0/alphakraken_sandbox/output")
    assert is_s3_upload_enabled()
    assert get_s3_upload_config() == {"region": "eu-central-1", "bucket_prefix": "alphakraken"}
    assert get_s3_download_settings() == {"max_concurrency": 3}
    assert get_ops_alerts_webhook_url() == "https://hooks.example.org/abc"


@pytest.mark.parametrize(
    "text",
    [
        "x: 1",
        "s3_download:\ngeneral:",
        "general: {notifications: {}}",
        "general: {notifications: {ops_alerts_webhook_url: ''}}",
    ],
)
def test_optional_settings_may_be_missing_or_empty(settings_file, text):
    settings_file(text)
    assert get_s3_download_settings() == {}
    assert get_ops_alerts_webhook_url() == ""
    assert not is_s3_upload_enabled()


@pytest.mark.parametrize(
    ("backup", "enabled"), [("s3", True), ("local", False), ('""', False), ("S3 bucket", False), ("", False)]
)
def test_is_s3_upload_enabled(settings_file, backup, enabled):
    settings_file(f"backup:\n  backup_type: {backup}\n")
    assert is_s3_upload_enabled() is enabled


def test_a_change_of_the_file_is_seen_at_once(settings_file):
    settings_file("backup: {backup_type: s3}")
    assert is_s3_upload_enabled()
    settings_file("backup: {backup_type: local}")
    assert not is_s3_upload_enabled()


@pytest.mark.parametrize(("env_name", "file"), [(None, "local"), ("", "local"), ("production", "production")])
def test_without_a_path_env_name_tells_the_file(monkeypatch, env_name, file):
    monkeypatch.delenv("ALPHAKRAKEN_YAML", raising=False)
    monkeypatch.delenv("ENV_NAME", raising=False)
    if env_name is not None:
        monkeypatch.setenv("ENV_NAME", env_name)
    envs = Path(yamlsettings.__file__).parents[2] / "envs"
    assert settings_path() == envs / f"alphakraken.{file}.yaml"
    if file == "local":
        assert settings_path().is_file()


def output() -> Path:
    return get_path(YamlKeys.Locations.OUTPUT)


@pytest.mark.parametrize(
    ("text", "read", "said"),
    [
        ("", output, "expected keys and values, got NoneType"),
        ("- a\n- b", output, "expected keys and values, got list"),
        ("just text", output, "expected keys and values, got str"),
        ("locations: {}", output, "key 'locations.output.absolute_path': expected str, got nothing"),
        ("locations:", output, "key 'locations.output.absolute_path': expected str, got nothing"),
        ("locations: /output", output, "key 'locations.output.absolute_path': expected str, got nothing"),
        (
            "locations: {output: {absolute_path: 5}}",
            output,
            "'locations.output.absolute_path': expected str, got int 5",
        ),
        ("locations: {output: {absolute_path: ''}}", output, "'locations.output.absolute_path': expected str, got str"),
        ("locations: {output: {absolute_path: out}}", output, "expected an absolute path, got 'out'"),
        ("backup: {backup_type: [s3]}", is_s3_upload_enabled, "key 'backup.backup_type': expected str, got list"),
        ("backup: {backup_type: s3}", get_s3_upload_config, "key 'backup.s3': expected dict, got nothing"),
        ("backup: {s3: eu}", get_s3_upload_config, "key 'backup.s3': expected dict, got str 'eu'"),
        ("backup: {s3: {region: 5}}", get_s3_upload_config, "key 'backup.s3.region': expected str, got int 5"),
        ("s3_download: 5", get_s3_download_settings, "key 's3_download': expected dict, got int 5"),
        ("general: {notifications: {ops_alerts_webhook_url: 5}}", get_ops_alerts_webhook_url, "expected str, got int"),
        ("a: [1", output, "is no valid YAML"),
        ("a: b: c", output, "is no valid YAML"),
        ("\tx: 1", output, "is no valid YAML"),
        (b"a: \xff\xfe", output, "is no valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", output, "is no valid YAML"),
    ],
)
def test_errors_are_one_line_with_file_and_key(settings_file, text, read, said):
    path = settings_file(text)
    with pytest.raises(SettingsError) as caught:
        read()
    assert str(caught.value).startswith(f"Settings file {path}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_missing_file(monkeypatch, tmp_path):
    monkeypatch.setenv("ALPHAKRAKEN_YAML", str(tmp_path / "none.yaml"))
    with pytest.raises(SettingsError, match=r"none\.yaml cannot be read: No such file or directory"):
        output()


def test_folder_in_place_of_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("ALPHAKRAKEN_YAML", str(tmp_path))
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        output()


def test_an_error_in_the_file_shows_where_it_is_but_no_secret(settings_file):
    """The file may hold the webhook's URL, which is a secret: a log must not show the line."""
    settings_file('general:\n  ops_alerts_webhook_url: "https://hooks.example.org/SECRET" : x\n')
    with pytest.raises(SettingsError) as caught:
        get_ops_alerts_webhook_url()
    assert "line 2" in str(caught.value)
    assert "SECRET" not in str(caught.value)
