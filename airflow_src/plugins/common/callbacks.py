"""What happens when a task fails, and the webhook. Writes no database (A8)."""

import json
import logging
import urllib.request
from collections.abc import Mapping
from typing import Any

from common.constants import DagContext, DagParams
from common.secrets_in_logs import mask, without_secrets
from shared.yamlsettings import SettingsError, get_ops_alerts_webhook_url

_TIMEOUT_S = 3  # a task that is being terminated has five seconds in all


def on_failure_callback(context: Mapping[str, Any]) -> None:
    """Log one line that says which file, task, exception and report, and post it to the webhook, if there is one.

    Never raises: a failed post is logged, so that it hides no failed task. The runs of a batch post nothing; the batch
    does, once.

    Args:
        context: of the task, as Airflow gives it.

    """
    text = _describe(context)
    logging.error(text)
    if (context.get(DagContext.PARAMS) or {}).get(DagParams.BATCH):
        logging.info("Not posted: the batch that started this run posts one summary")
    else:
        notify(text)


def notify(text: str) -> None:
    """Post a line to the webhook, if there is one. Never raises: a failed post is logged."""
    try:
        url = get_ops_alerts_webhook_url()
        if url:
            mask(url)
            _post(url, without_secrets(text))
    except SettingsError as error:
        logging.warning("No notification was posted: %s", error)
    except Exception as error:  # noqa: BLE001 (whatever a webhook does must not hide the failure)
        # Without the exception's text: it may carry the URL, which is a secret of the receiver.
        logging.warning("Notification could not be posted to the webhook (%s)", type(error).__name__)


def _describe(context: Mapping[str, Any]) -> str:
    task_instance = context.get("task_instance") or context.get("ti")
    exception = context.get("exception")
    params = context.get(DagContext.PARAMS) or {}
    said = [str(exception), *getattr(exception, "__notes__", ())]
    of_many = DagParams.RAW_FILE_IDS in params  # a batch: its text names the raw files
    concerning = "" if of_many else f" for raw file {params.get(DagParams.RAW_FILE_ID, '?')!r}"
    text = (
        f"Task {getattr(task_instance, 'dag_id', '?')}.{getattr(task_instance, 'task_id', '?')} failed"
        f"{concerning} (run {getattr(task_instance, 'run_id', '?')}): "
        f"{type(exception).__name__}: {'; '.join(said)}"
    )
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _post(url: str, text: str) -> None:
    """Post in the form that Slack, Mattermost and Teams workflows understand."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("not an HTTP URL")
    request = urllib.request.Request(  # noqa: S310 (checked above)
        url, data=json.dumps({"text": text}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
        pass
