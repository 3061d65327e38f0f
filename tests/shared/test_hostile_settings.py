"""Whatever the YAML settings file holds: values of the right kind, or one line that names the file."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3_restore.model.settings import RestoreSettings
from shared.yamlsettings import (
    SettingsError,
    YamlKeys,
    get_notification_settings,
    get_ops_alerts_webhook_url,
    get_path,
    get_s3_download_settings,
    get_s3_upload_config,
    is_s3_upload_enabled,
)
from tests.support.naughty_strings import NAUGHTY, is_encodable

READERS: list[Callable[[], Any]] = [
    lambda: get_path(YamlKeys.Locations.OUTPUT),
    is_s3_upload_enabled,
    get_s3_upload_config,
    get_s3_download_settings,
    get_ops_alerts_webhook_url,
]
NINE_TIMES_NINE = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}' if before else 'x'] * 9)}]\n"
    for before, name in zip(["", *"abcdefgh"], "abcdefghi", strict=True)
)

SHORT = [text for text in NAUGHTY if len(text) < 100]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([text for text in SHORT if is_encodable(text)]),
    st.dates(),
    st.binary(max_size=4),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=5
)


@pytest.fixture(scope="module")
def settings_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "alphakraken.hostile.yaml"
        patch.setenv("ALPHAKRAKEN_YAML", str(path))
        yield path


def read(reader: Callable[[], Any]) -> Any:
    """What it gives, None where it refuses; a refusal is one line that names the file, and has an end."""
    try:
        return reader()
    except SettingsError as error:
        said = str(error)
    path = os.environ["ALPHAKRAKEN_YAML"]
    assert said.startswith(f"Settings file {path}")
    assert "\n" not in said
    assert len(said) < 1000 + len(path)
    return None


def read_all(path: Path, text: str) -> list[Any]:
    path.write_text(text)
    return [read(reader) for reader in READERS]


@settings(max_examples=150)
@given(
    st.one_of(st.binary(max_size=60), st.text(max_size=60), st.lists(st.sampled_from(SHORT), max_size=5).map("\n".join))
)
@example("[" * 5000)
@example("{a: " * 5000)
@example("a: 2025-99-99")
@example("a: !!int x")
@example("a: !!int ''")
@example("a: !!bool x")
@example("a: !!timestamp x")
@example("a: !!float .")
@example("a: " + "9" * 5000)
@example("? [a]\n: b")
@example("a: &a [*a]")
@example("a: 1\n---\nb: 2")
@example("a: *nobody")
@example("<<: 5")
@example(b"\xff\xfe")
@example("%YAML 9.9\n---\na: 1")
def test_any_file_is_settings_or_one_line(settings_file: Path, content: str | bytes) -> None:
    settings_file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    read(get_s3_download_settings)  # all of them read the whole file


@settings(max_examples=150)
@given(values, values, values, values, values)
def test_any_values_are_of_the_right_kind_or_refused(  # noqa: PLR0917 (Hypothesis gives them)
    settings_file: Path, output: Any, backup_type: Any, s3: Any, download: Any, url: Any
) -> None:
    text = yaml.safe_dump(
        {
            "locations": {"output": {"absolute_path": output}},
            "backup": {"backup_type": backup_type, "s3": s3},
            "s3_download": download,
            "general": {"notifications": {"ops_alerts_webhook_url": url}},
        }
    )

    path, enabled, s3_config, downloader, webhook = read_all(settings_file, text)

    assert path is None or path.is_absolute()
    assert path is None or not {"\0", "\n", "\r"} & set(str(path))
    assert enabled in (None, True, False)
    assert enabled is not True or backup_type == "s3"
    assert s3_config is None or isinstance(s3_config.get("region", ""), (str, type(None)))
    assert webhook is None or isinstance(webhook, str)
    if downloader is not None:
        restore_settings(downloader)


def restore_settings(mapping: dict[Any, Any]) -> None:
    """Settings that can be used, or one line."""
    try:
        made = RestoreSettings.from_mapping(mapping)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert "\n" not in said
        assert len(said) < 1000
        return
    assert 0 < made.max_concurrency <= 1000
    for seconds in (made.stall_timeout_s, made.progress_interval_s, made.stale_after_s, made.patience_s):
        assert 0 < seconds <= 1_000_000


@settings(max_examples=200)
@given(st.sampled_from([*RestoreSettings.__dataclass_fields__, "nonsense", 7, None]), values)
@example("max_concurrency", 10**6)
@example("max_concurrency", -(10**5000))
@example("stall_timeout_s", 1e300)
@example("stall_timeout_s", 10**5000)
@example("verify", ["inflight"])
def test_any_downloader_setting_is_usable_or_refused(name: Any, value: Any) -> None:
    """A thousand connections are a thousand threads: a slip of the finger must not take the worker down."""
    restore_settings({name: value, "another": 1} if name in (7, None) else {name: value})


@pytest.mark.parametrize(
    "key", ["locations.output.absolute_path", "backup.backup_type", "backup.s3", "s3_download.verify", "general"]
)
def test_aliases_that_grow_without_end_are_not_written_out(settings_file: Path, key: str) -> None:
    """A few lines of YAML that would be gigabytes when shown in an error."""
    *_, downloader, _url = read_all(settings_file, bomb(key))
    if downloader:
        restore_settings(downloader)


def bomb(key: str) -> str:
    *above, last = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(above)]
    return NINE_TIMES_NINE + "\n".join([*lines, f"{'  ' * len(above)}{last}: *i"]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [{}]",
        "locations: !!python/object/apply:os.mkdir [{}]",
        "a: !!python/name:os.system",
    ],
)
def test_no_code_is_run(settings_file: Path, tmp_path: Path, text: str) -> None:
    trap = tmp_path / "made by the settings file"

    assert read_all(settings_file, text.format(trap)) == [None] * len(READERS)

    assert not trap.exists()


SECRET = "https://hooks.example.org/services/HOOKSECRET"


@pytest.mark.parametrize("value", [[SECRET], {"url": SECRET}, [[SECRET]], {SECRET: 1}], ids=repr)
def test_a_secret_of_the_wrong_type_is_not_shown(settings_file: Path, value: Any) -> None:
    """Found by these tests: the line goes to a log."""
    settings_file.write_text(yaml.safe_dump({"general": {"notifications": {"ops_alerts_webhook_url": value}}}))

    with pytest.raises(SettingsError) as caught:
        get_ops_alerts_webhook_url()

    assert "HOOKSECRET" not in str(caught.value)
    assert str(caught.value).endswith(f"expected str, got {type(value).__name__}")
    assert os.environ["ALPHAKRAKEN_YAML"] in str(caught.value)


@pytest.mark.parametrize("value", [SECRET, [SECRET]], ids=repr)
@pytest.mark.parametrize("read", [get_notification_settings, get_ops_alerts_webhook_url])
def test_a_secret_a_level_too_high_is_not_shown_and_not_passed_over(
    settings_file: Path, value: Any, read: Callable[[], Any]
) -> None:
    """It went to the terminal of ``worker_check``, while each failure was told to nobody, and that to nobody either."""
    settings_file.write_text(yaml.safe_dump({"general": {"notifications": value}}))

    with pytest.raises(SettingsError) as caught:
        read()

    assert "HOOKSECRET" not in str(caught.value)
    assert str(caught.value).endswith(f"key 'general.notifications': expected dict, got {type(value).__name__}")
