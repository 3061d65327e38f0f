"""Counters and timers through Airflow's own metrics, as they arrive at a StatsD server (issue 5)."""

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.support.airflow_lines import configure_metrics
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import Rule, Status
from tests.support.kraken import Kraken
from tests.support.raw_files import raw_bytes

ID = "20250115_sample.d"
FILES = {f"{ID}/{name}": raw_bytes(100_000, name) for name in ("new", "right", "wrong", "lost")}


# Airflow leaves its socket to the garbage collector when it is told to send elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Counter[str]]]:
    """A UDP socket that Airflow is told to send its metrics to; called, it gives what has come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        for name, value in (("ON", "True"), ("HOST", "127.0.0.1"), ("PORT", str(receiver.getsockname()[1]))):
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        configure_metrics()

        def received() -> Counter[str]:
            found: Counter[str] = Counter()
            while "airflow.s3_downloader.duration" not in found:  # the last one that is sent
                name, value = re.fullmatch(r"([\w.]+):([\d.]+)\|(?:c|ms)", receiver.recv(65535).decode()).groups()
                found[name] += float(value)
            return found

        yield received
    monkeypatch.undo()
    configure_metrics()


def test_files_by_outcome_bytes_and_seconds(kraken: Kraken, listener):
    kraken.back_up(FILES, ID)
    folder = kraken.destination / ID
    folder.mkdir(parents=True)
    (folder / "right").write_bytes(FILES[f"{ID}/right"])
    (folder / "wrong").write_bytes(b"x" * 100_000)
    kraken.s3.erase(kraken.bucket, f"{ID}/lost")

    kraken.fail_to_download(ID)

    sent = listener()
    assert sent.pop("airflow.s3_downloader.duration") > 0
    assert sent == {
        "airflow.s3_downloader.runs.partial_failure": 1,
        "airflow.s3_downloader.files.downloaded": 1,
        "airflow.s3_downloader.files.skipped": 1,
        "airflow.s3_downloader.files.healed": 1,
        "airflow.s3_downloader.files.failed": 1,
        "airflow.s3_downloader.bytes_fetched": 200_000,
        "airflow.s3_downloader.retries": 0,
    }


def test_retries_of_requests_are_counted(kraken: Kraken, listener):
    kraken.back_up({ID: FILES[f"{ID}/new"]}, ID)
    with FaultProxy(kraken.s3.url, [Rule(Status(503, "SlowDown"), method="GET", times=2)]) as proxy:
        kraken.connect_s3(proxy.url)
        kraken.download(ID)

    sent = listener()
    assert sent["airflow.s3_downloader.retries"] == 2
    assert sent["airflow.s3_downloader.runs.success"] == 1


def test_broken_metrics_fail_no_restore(kraken: Kraken, monkeypatch: pytest.MonkeyPatch):
    from airflow.providers.common.compat.sdk import Stats  # noqa: PLC0415

    def broken(*_: object, **__: object) -> None:
        raise OSError("no metrics today")

    monkeypatch.setattr(Stats, "incr", broken)
    kraken.back_up({ID: FILES[f"{ID}/new"]}, ID)
    assert kraken.download(ID)["status"] == "SUCCESS"
