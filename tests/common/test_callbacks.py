"""on_failure_callback: one line, one post to a real receiver, never an exception, no database (A8)."""

import json
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from common import callbacks
from common.callbacks import on_failure_callback
from tests.support.http_wire import Connection, response_head
from tests.support.kraken import Kraken, RecordingTaskInstance
from tests.support.tcp_server import TcpServer
from tests.support.webhook_receiver import WebhookReceiver

SECRET_PATH = "/services/T000/B000/SECRET"
EXPECTED = (
    "Task s3_downloader.download_files failed for raw file '20250115_sample.raw' "
    "(run manual__2025-02-04T14:30:22+00:00): AirflowFailException: 1/3 files failed. "
    "See: /out/PRID001/_download_status_20250115_sample.raw_20250204_143022.txt. First: a.raw: why"
)


def context(error: BaseException | None = None) -> dict:
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415 (after the settings of conftest)

    text = EXPECTED.partition("AirflowFailException: ")[2]
    return {
        "task_instance": RecordingTaskInstance(),
        "params": {"raw_file_id": "20250115_sample.raw"},
        "exception": error or AirflowFailException(text),
    }


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


class TcpServerOfPages(TcpServer):
    """Answers whatever comes with 200."""

    def serve(self, client: Connection) -> None:
        if client.read_head() is not None:
            client.sock.sendall(response_head(200, [("Content-Length", "0"), ("Connection", "close")]).encode())


def configure(kraken: Kraken, url: object) -> None:
    kraken.settings["general"]["notifications"]["ops_alerts_webhook_url"] = url
    kraken.write_yaml()


@pytest.mark.rule("A8")
def test_a8_posts_what_it_logs(kraken: Kraken, receiver, caplog, mongo_commands):
    configure(kraken, receiver.url + SECRET_PATH)
    on_failure_callback(context())
    (post,) = receiver.wait_for()
    assert post.path == SECRET_PATH
    assert post.headers["content-type"] == "application/json"
    assert post.json() == {"text": EXPECTED}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("ERROR", EXPECTED)]
    assert mongo_commands == [], "no database"


@pytest.mark.rule("A8")
@pytest.mark.parametrize("url", ["", None])
def test_a8_without_a_webhook_it_only_logs(kraken: Kraken, caplog, url):
    configure(kraken, url)
    on_failure_callback(context())
    assert [record.getMessage() for record in caplog.records] == [EXPECTED]


def logged_failure(caplog: pytest.LogCaptureFixture) -> str:
    """The second record, which says that the post failed; the first one is the failure itself."""
    first, second = caplog.records
    assert first.getMessage() == EXPECTED
    assert second.levelno == logging.WARNING
    assert "\n" not in second.getMessage()
    assert second.exc_info is None
    assert "SECRET" not in caplog.text, "the URL lets everybody post"
    return second.getMessage()


@pytest.mark.rule("A8")
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a8_a_refused_post_is_logged_and_never_raised(kraken: Kraken, caplog, status):
    with WebhookReceiver(status=status) as receiver:
        configure(kraken, receiver.url + SECRET_PATH)
        on_failure_callback(context())
    assert logged_failure(caplog) == "Notification could not be posted to the webhook (HTTPError)"


@pytest.mark.rule("A8", fails_when="a post that was redirected, and so became a GET, counts as posted")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a8_a_redirected_post_is_no_post(kraken: Kraken, caplog, status):
    """By a GET somebody answers with a page and 200, such as where http:// leads to https://."""
    with TcpServerOfPages() as page, WebhookReceiver(status=status, location=page.url) as receiver:
        configure(kraken, receiver.url + SECRET_PATH)
        on_failure_callback(context())
    assert logged_failure(caplog) == "Notification could not be posted to the webhook (HTTPError)"


@pytest.mark.rule("A8")
def test_a8_nobody_listens(kraken: Kraken, receiver, caplog):
    receiver.kill()
    configure(kraken, receiver.url + SECRET_PATH)
    on_failure_callback(context())
    assert "could not be posted" in logged_failure(caplog)


@pytest.mark.rule("A8")
def test_a8_a_receiver_that_never_answers_holds_up_nothing(kraken: Kraken, caplog, monkeypatch):
    assert callbacks._TIMEOUT_S <= 4, "SIGKILL follows SIGTERM after five seconds"
    monkeypatch.setattr(callbacks, "_TIMEOUT_S", 0.1)
    with WebhookReceiver(delay_s=60) as receiver:
        configure(kraken, receiver.url + SECRET_PATH)
        on_failure_callback(context())
    assert "could not be posted" in logged_failure(caplog)


@pytest.mark.rule("A8")
def test_a8_a_receiver_that_drips_holds_up_nothing(kraken: Kraken, caplog, monkeypatch):
    """Each byte comes in time, and all of them would take minutes: the limit is for the whole."""
    monkeypatch.setattr(callbacks, "_TIMEOUT_S", 0.5)
    with WebhookReceiver(drips_s=0.3) as receiver:
        configure(kraken, receiver.url + SECRET_PATH)
        begun = time.monotonic()
        on_failure_callback(context())
        assert time.monotonic() - begun < 5
    assert "could not be posted to the webhook (TimeoutError)" in logged_failure(caplog)


@pytest.mark.rule("A8")
@pytest.mark.parametrize("url", ["file:///etc/SECRET", "hooks/SECRET", "http://[SECRET", "http://127.0.0.1:x/SECRET"])
def test_a8_an_url_that_is_none(kraken: Kraken, caplog, url):
    configure(kraken, url)
    on_failure_callback(context())
    assert "could not be posted" in logged_failure(caplog)


@pytest.mark.rule("A8")
def test_a8_broken_settings(kraken: Kraken, caplog):
    kraken.yaml_path.write_text("a: [1")
    on_failure_callback(context())
    assert logged_failure(caplog).startswith(f"No notification was posted: Settings file {kraken.yaml_path}")


@pytest.mark.rule("A8")
def test_a8_one_line_whatever_the_exception_says(kraken: Kraken, receiver, caplog):
    configure(kraken, receiver.url)
    error = ValueError("first\nsecond\r\n\tthird\x1b[31m\u2028fourth")
    error.add_note("Report: /out/report.txt")
    on_failure_callback(context(error))
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert record.getMessage().endswith("; Report: /out/report.txt")
    assert receiver.wait_for()[0].json() == {"text": record.getMessage()}


@pytest.mark.rule("A8")
def test_a8_a_list_pasted_as_one_id_is_told_of_in_a_post_that_receivers_take(kraken: Kraken, receiver, caplog):
    configure(kraken, receiver.url)
    long = context()
    long["params"] = {"raw_file_id": "\n".join(f"20250115_sample_{number:05}.raw" for number in range(5_000))}
    on_failure_callback(long)
    posted = receiver.wait_for()[0].json()["text"]
    assert len(json.dumps({"text": posted})) < 28_000, "Teams refuses it"
    beginning, end = EXPECTED.split("20250115_sample.raw", 1)
    assert posted.startswith(beginning)
    assert posted.endswith(end)


@pytest.mark.rule("A8")
@pytest.mark.parametrize("word", ["20250115_sample.raw\\n", "a:"], ids=repr)
def test_a8_a_long_word_does_not_hold_up_the_post_until_the_task_is_killed(word):
    from common.secrets_in_logs import without_secrets  # noqa: PLC0415 (Airflow takes seconds)

    text = word * (60_000 // len(word))
    before = time.process_time()
    said = without_secrets(f"{text} https://user:pass:word@host/x")
    assert time.process_time() - before < 2
    assert said == f"{text} https://***@host/x"


@pytest.mark.rule("A8")
@pytest.mark.parametrize("sparse", [{}, {"ti": SimpleNamespace()}, {"params": None, "exception": None}])
def test_a8_a_context_that_lacks_something(kraken: Kraken, caplog, sparse):
    on_failure_callback(sparse)
    assert caplog.records[0].getMessage().startswith("Task ?.? failed for raw file '?'")
