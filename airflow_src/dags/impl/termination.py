"""Makes SIGTERM something that ``except`` and ``finally`` see (A5).

On "mark failed", "clear" and a stopping executor, Airflow 3.3 raises nothing in the callable: SIGTERM comes, and five
seconds later SIGKILL. Airflow 2.11 raises an exception of its own from its handler, which is called first here.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TaskTerminated(BaseException):
    """The task was asked to end; no ``except Exception`` on the way may swallow it."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise TaskTerminated in the main thread on the first SIGTERM; put the former handler back in the end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only there would it raise
        return
    former = signal.getsignal(signal.SIGTERM)
    raised = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if raised:  # a second one must not cut short the writing of the report
            return
        raised = True
        if callable(former):
            former(number, frame)
        raise TaskTerminated("The task was terminated (SIGTERM)")

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former if former is not None else signal.SIG_DFL)
