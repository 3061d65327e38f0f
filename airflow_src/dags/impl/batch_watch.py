"""A run that a batch started ends with its batch, when somebody stops that: it looks for it before and during its work.

To stop a batch is to mark its run as failed, in the UI, over REST or with ``stop_batch``. Airflow then ends the tasks
of the batch, and knows nothing of the runs that it started; so they ask. A batch that came to its end by itself, well
or not, stops nothing: a run of it may be cleared later. What cannot be asked counts as going on.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from common.constants import DagContext, DagParams, Dags, Tasks
from impl.batch_runs import state_of, state_of_task
from impl.refusals import refusal
from impl.termination import Ends
from s3_restore.model import reasons

_LOOK_S = 10.0
# Of `summarize` in a batch that was ended before it: Airflow skips what has not begun.
_NOT_REACHED = {None, "skipped", "removed"}


def refuse_if_stopped(ti: Any, context: Mapping[str, Any]) -> None:
    """Refuse to begin when the batch of this run was stopped.

    Raises:
        AirflowFailException: then.

    """
    batch = _batch_of(context)
    if batch and _is_stopped(ti, batch):
        raise refusal(reasons.BATCH_STOPPED.of(batch))


@contextmanager
def stopping_with_the_batch(ti: Any, context: Mapping[str, Any], ends: Ends) -> Iterator[None]:
    """Ask for the end of the work in this block when the batch of this run is stopped."""
    batch = _batch_of(context)
    if not batch:
        yield
        return
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_S):
            if _is_stopped(ti, batch):
                why = reasons.BATCH_STOPPED.of(batch)
                ends.ask(refusal(why), why)
                return

    threading.Thread(target=watch, name="s3-restore-batch", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _batch_of(context: Mapping[str, Any]) -> str:
    batch = (context.get(DagContext.PARAMS) or {}).get(DagParams.BATCH)
    return batch if isinstance(batch, str) else ""


def _is_stopped(ti: Any, batch: str) -> bool:
    try:
        if state_of(ti, Dags.S3_BATCH_DOWNLOADER, batch) != "failed":
            return False
        return state_of_task(ti, Dags.S3_BATCH_DOWNLOADER, batch, Tasks.SUMMARIZE) in _NOT_REACHED
    except Exception as error:  # noqa: BLE001 (a restore goes on, whatever Airflow answers to this question)
        logging.debug("The batch %s cannot be asked for: %s", batch, error)
        return False
