"""Questions to Airflow about runs of another DAG, on both of its lines.

On Airflow 3 a task asks the API server through its task instance; on 2.11 it may, and must, ask the metadata database.
"""

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import XCom

ACTIVE = ("queued", "running")
_RUNS_PER_QUESTION = 50  # they travel in a URL


def runs_in(ti: Any, dag_id: str, run_ids: Sequence[str], states: Sequence[str]) -> set[str]:
    """Those of some runs that are in one of these states.

    On Airflow 3 a task can only ask how many there are. So runs of which all or none are meant take one question, and
    others are asked for by halves.
    """
    if not hasattr(ti, "get_dr_count"):
        return {run.run_id for run in _runs_in_database(dag_id, run_ids) if run.state in states}
    found: set[str] = set()
    waiting = [
        list(run_ids[start : start + _RUNS_PER_QUESTION]) for start in range(0, len(run_ids), _RUNS_PER_QUESTION)
    ]
    while waiting:
        some = waiting.pop()
        count = ti.get_dr_count(dag_id=dag_id, run_ids=some, states=list(states))
        if count >= len(some):
            found.update(some)
        elif count:
            half = len(some) // 2
            waiting += [some[:half], some[half:]]
    return found


def exists(ti: Any, dag_id: str, run_id: str) -> bool:
    """Whether there is such a run."""
    if hasattr(ti, "get_dr_count"):
        return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id]))
    return bool(_runs_in_database(dag_id, [run_id]))


def state_of(ti: Any, dag_id: str, run_id: str) -> str | None:
    """State of a run; None for no such run.

    Raises:
        Exception: whatever Airflow raises when it cannot be asked.

    """
    if hasattr(ti, "get_dagrun_state"):
        return _as_text(ti.get_dagrun_state(dag_id=dag_id, run_id=run_id))
    runs = _runs_in_database(dag_id, [run_id])
    return _as_text(runs[0].state) if runs else None


def state_of_task(ti: Any, dag_id: str, run_id: str, task_id: str) -> str | None:
    """State of a task that is not mapped; None where it has none yet.

    Raises:
        Exception: whatever Airflow raises when it cannot be asked.

    """
    if hasattr(ti, "get_task_states"):
        states = ti.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=[run_id])
        state = (states.get(run_id) or {}).get(task_id)
    else:
        runs = _runs_in_database(dag_id, [run_id])
        task = runs[0].get_task_instance(task_id) if runs else None
        state = task.state if task else None
    return _as_text(state)


def returned_by(dag_id: str, run_id: str, task_id: str) -> Any:
    """What a task of a run returned; None for nothing."""
    return pushed_by(dag_id, run_id, task_id, "return_value")


def pushed_by(dag_id: str, run_id: str, task_id: str, key: str) -> Any:
    """An XCom of a task of a run; None for nothing."""
    return XCom.get_one(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)


def _as_text(state: Any) -> str | None:
    """A state is a text, or an Enum whose ``str()`` is not its value."""
    return str(getattr(state, "value", state)) if state else None


def _runs_in_database(dag_id: str, run_ids: Sequence[str]) -> Sequence[Any]:
    from airflow.models.dagrun import DagRun  # noqa: PLC0415 (Airflow 3 forbids it in a task)

    return list(DagRun.find(dag_id=dag_id, run_id=list(run_ids))) if run_ids else []
