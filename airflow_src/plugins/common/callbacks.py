"""What happens when a task fails, and the webhook. Writes no database (A8)."""

import json
import logging
import urllib.request
from collections.abc import Mapping
from typing import Any

from common.failed_attempts import (
    KILLED,
    attempt_of,
    describe_failure,
    describe_success,
    is_dry_run,
    is_of_a_batch,
    is_told,
    note_that_it_is_told,
    run_of,
)
from common.in_thread import InThread
from common.notifications import body_of, read_notification_settings
from common.secrets_in_logs import mask, without_secrets
from common.told_once import forget, is_first_to_tell
from shared.yamlsettings import SettingsError, get_ops_alerts_webhook_url

_TIMEOUT_S = 3.0  # for the whole: a task that is being terminated has five seconds in all
_MOST_CHARACTERS = 6_000  # of a post: Teams refuses one of 28 kB, and JSON may take four times as many bytes


def on_failure_callback(context: Mapping[str, Any]) -> None:
    """Log one line that says which file, task, exception and report, and post it to the webhook, if there is one.

    Never raises: a failed post is logged, so that it hides no failed task. The runs of a batch post nothing; the batch
    does, once. Runs in the task, or, for one that was killed or never started, in a dag-processor, maybe twice.

    Args:
        context: of the task, as Airflow gives it.

    """
    text = describe_failure(context)
    logging.error(text)
    if is_of_a_batch(context):
        logging.info("Not posted: the batch that started this run posts one summary")
        return
    if is_dry_run(context):
        logging.info("Not posted: a dry run restores nothing, and whoever asked for it will look")
        return
    note_that_it_is_told(context)
    _tell_once(text, attempt_of(context))


def on_run_failure_callback(context: Mapping[str, Any]) -> None:
    """Tell of a run whose task could not tell itself: its process was killed, and Airflow calls nobody for that.

    For the DAG; runs in a dag-processor. Never raises.

    Args:
        context: as Airflow gives it for a DAG.

    """
    if is_of_a_batch(context):
        return
    if not is_told(context):
        text = f"{run_of(context)} failed, and no task could say why: {KILLED}"
        logging.error(text)
        _tell_once(text, attempt_of(context))
    logging.info("Told of: %s", run_of(context))


def on_success_callback(context: Mapping[str, Any]) -> None:
    """Post that a raw file is restored, where the settings want it. Never raises."""
    try:
        if not is_of_a_batch(context) and read_notification_settings().on_success:
            notify(describe_success(context))
    except Exception as error:  # noqa: BLE001 (a restore that has ended well must not turn red for this)
        logging.warning("No notification was posted (%s)", type(error).__name__)


def _tell_once(text: str, attempt: tuple[object, ...]) -> None:
    if not is_first_to_tell(*attempt):
        logging.info("Not posted: this attempt was told of before")
    elif not notify(text):
        forget(*attempt)


def notify(text: str) -> bool:
    """Post a line to the webhook, if there is one. Never raises: a failed post is logged, and False is returned."""
    try:
        post_or_raise(text)
    except SettingsError as error:
        logging.warning("No notification was posted: %s", error)
    except Exception as error:  # noqa: BLE001 (whatever a webhook does must not hide the failure)
        # Without the exception's text: it may carry the URL, which is a secret of the receiver.
        logging.warning("Notification could not be posted to the webhook (%s)", type(error).__name__)
    else:
        return True
    return False


def post_or_raise(text: str) -> None:
    """Post a line to the webhook, if there is one; errors are the caller's."""
    url = get_ops_alerts_webhook_url()
    if url:
        mask(url)
        _post(url, _shortened(without_secrets(text)))


def _shortened(text: str) -> str:
    """Leave out the middle of a long text: which task failed stands at its beginning, and why at its end."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} … {text[-half:]}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it by a GET, which posts nothing and may be answered with 200."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, text: str) -> None:
    """Post in the form that the settings ask for."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("not an HTTP URL")
    request = urllib.request.Request(  # noqa: S310 (checked above)
        url, data=json.dumps(body_of(text)).encode(), headers={"Content-Type": "application/json"}
    )

    opener = urllib.request.build_opener(_NoRedirects)

    def post() -> None:
        with opener.open(request, timeout=_TIMEOUT_S):
            pass

    # The time-out of a request is for each byte: a receiver that drips would hold the task for as long as it likes.
    posting = InThread(post, "s3-restore-webhook")
    if not posting.wait(_TIMEOUT_S):
        raise TimeoutError(f"no answer within {_TIMEOUT_S} s")
    posting.result()
