"""A Python task that may have to wait for something without holding a slot meanwhile.

Airflow lets only sensors come back later on both of its lines (on 2.11 a plain operator that asks to be rescheduled is
started again at once), and a deferred task needs a triggerer, which not every deployment runs.
"""

import logging
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue

from impl.linked_operators import LINKS


class NotReadyYetError(Exception):
    """What a task needs will be there later. ``str()`` of it is one line for the operator."""


class PatientPythonOperator(BaseSensorOperator):
    """Calls a Python callable with Airflow's context, as PythonOperator does.

    After NotReadyYetError it calls again in ``poke_interval`` seconds. Between the calls the task is "up for
    reschedule" and holds neither a worker nor a pool slot.
    """

    operator_extra_links = LINKS

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.python_callable = python_callable

    def poke(self, context: Any) -> Any:
        """Call; what the callable returns becomes the task's XCom."""
        try:
            value = self.python_callable(**context)
        except NotReadyYetError as error:
            logging.info("Not ready yet: %s. Looking again in %.0f s", error, self.poke_interval)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=value)
