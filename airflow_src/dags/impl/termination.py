"""How a task is asked to end from outside, noted for the code that is at work to ask for (A5).

Three signals ask for it: SIGTERM ("mark failed", "clear", a stopping executor; on Airflow 3.3 nothing is raised in
the callable for these, and SIGKILL follows five seconds later), SIGALRM (the task's time limit: Airflow's own handler
raises AirflowTaskTimeout) and SIGINT (Ctrl-C in ``airflow dags test``).

Python calls handlers in the main thread, between any two of its lines, and an exception there would leave half of
something: half a report, or two. So nothing is raised here: what the former handlers raise is noted, and so is the
first SIGTERM where they raise nothing, and what a thread of ours asks for. There is no line at which an end is lost,
and none at which it tears something apart.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from s3_restore.model import reasons
from s3_restore.model.reasons import Failure

_Handler = Callable[[int, FrameType | None], Any] | int | None
_WHY = {
    signal.SIGTERM: reasons.TERMINATED.of(),
    signal.SIGALRM: reasons.TIME_LIMIT.of(),
    signal.SIGINT: reasons.INTERRUPTED.of(),
}


class TaskTerminated(BaseException):
    """The task was asked to end; no ``except Exception`` on the way may swallow it."""


@dataclass(frozen=True)
class Noted:
    """An end that was asked for.

    Attributes:
        error: what is to be raised for it.
        why: for the operator.
        is_urgent: whether the process is killed seconds later.

    """

    error: BaseException
    why: Failure
    is_urgent: bool


class Ends:
    """The ends that were asked for.

    Attributes:
        noted: the first one; None for none.
        on_first: called with it, from within the signal's handler, so it must neither wait nor take a lock.

    """

    def __init__(self) -> None:
        self.noted: Noted | None = None
        self.on_first: Callable[[Noted], None] = lambda _noted: None
        self._is_in_former = False

    def note(self, number: int, frame: FrameType | None, former: _Handler) -> None:
        """Be the handler of a signal. A second end is passed on, and changes nothing: the first is being followed.

        One that comes while a former handler runs is not passed on: Airflow's handler of a time-out logs, with a lock
        that its own thread cannot take twice, and would wait for itself.
        """
        why = _WHY[signal.Signals(number)]
        error: BaseException | None = TaskTerminated(str(why)) if number == signal.SIGTERM else None
        if callable(former) and not self._is_in_former:
            self._is_in_former = True
            try:
                former(number, frame)
            except BaseException as raised:  # noqa: BLE001 (noted, for whoever follows it)
                error = raised
            finally:
                self._is_in_former = False
        if error is not None and self.noted is None:
            self.noted = Noted(error, why, is_urgent=number == signal.SIGTERM)
            self.on_first(self.noted)

    def ask(self, error: BaseException, why: Failure) -> None:
        """Ask for the end from a thread of this process.

        Args:
            error: to be raised in the end.
            why: for the operator.

        """
        if self.noted is None:
            self.noted = Noted(error, why, is_urgent=False)
            self.on_first(self.noted)


@contextmanager
def noting_ends() -> Iterator[Ends]:
    """Note ends, and raise none; the former handlers are put back in the end."""
    ends = Ends()
    if threading.current_thread() is not threading.main_thread():
        yield ends  # only the main thread may set handlers, and only there are they called
        return
    former = {number: signal.getsignal(number) for number in _WHY}
    # What nobody handles stays so: Airflow sets no time limit, or Ctrl-C is ignored on purpose.
    former = {number: handler for number, handler in former.items() if number == signal.SIGTERM or callable(handler)}
    for number in former:
        signal.signal(number, lambda came, frame: ends.note(came, frame, former[signal.Signals(came)]))
    try:
        yield ends
    finally:
        for number, handler in former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
