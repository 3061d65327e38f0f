"""Settings of the restore: defaults that need no file edit, errors that name the setting."""

import os

import pytest

from s3_restore.model.settings import RestoreSettings, Verify, default_concurrency


def test_defaults_need_no_settings():
    settings = RestoreSettings.from_mapping({})
    assert settings == RestoreSettings()
    assert settings.max_concurrency == default_concurrency()
    assert settings.stall_timeout_s == 60
    assert settings.progress_interval_s == 10
    assert settings.verify is Verify.INFLIGHT


@pytest.mark.parametrize(("cores", "connections"), [(None, 12), (1, 12), (2, 12), (7, 14), (64, 16)])
def test_default_concurrency_follows_the_cores(monkeypatch, cores, connections):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_concurrency() == connections


def test_every_setting_can_be_set():
    given = {
        "max_concurrency": 3,
        "stall_timeout_s": 1.5,
        "verify": "readback",
        "progress_interval_s": 2,
        "stale_after_s": 60,
        "patience_s": 12.5,
        "min_speed_bytes_s": 0,
    }
    settings = RestoreSettings.from_mapping(given)
    assert {name: getattr(settings, name) for name in given} == given
    assert settings.verify is Verify.READBACK


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"max_concurency": 3}, "unknown setting 'max_concurency'; known are max_concurrency, "),
        ({"max_concurrency": 0}, "max_concurrency: expected a whole number above 0, got 0"),
        ({"max_concurrency": 2.5}, "max_concurrency: expected a whole number above 0, got 2.5"),
        ({"max_concurrency": "4"}, "max_concurrency: expected a whole number above 0, got '4'"),
        ({"max_concurrency": True}, "max_concurrency: expected a whole number above 0, got True"),
        ({"max_concurrency": None}, "max_concurrency: expected a whole number above 0, got None"),
        ({"patience_s": 0}, "patience_s: expected a number above 0, got 0"),
        ({"min_speed_bytes_s": -1}, "min_speed_bytes_s: expected a number of 0 or more, got -1"),
        (
            {"request_attempts": 5},
            "request_attempts is retired: set patience_s, the seconds for which S3 is tried again",
        ),
        ({"retry_wait_s": 0.5}, "retry_wait_s is retired: set patience_s, the seconds for which S3 is tried again"),
        ({"stall_timeout_s": 0}, "stall_timeout_s: expected a number above 0, got 0"),
        ({"stall_timeout_s": float("inf")}, "stall_timeout_s: expected a number above 0, got inf"),
        ({"stall_timeout_s": float("nan")}, "stall_timeout_s: expected a number above 0, got nan"),
        ({"progress_interval_s": [10]}, "progress_interval_s: expected a number above 0, got [10]"),
        ({"verify": "twice"}, "verify: expected one of ['inflight', 'readback'], got 'twice'"),
        ({"verify": None}, "verify: expected one of ['inflight', 'readback'], got None"),
    ],
)
def test_errors_name_setting_expected_and_got(mapping, said):
    with pytest.raises(ValueError) as caught:
        RestoreSettings.from_mapping(mapping)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
