"""Questions to Airflow about runs of another DAG, on both of its lines.

On Airflow 3 a task asks the API server through its task instance; on 2.11 it may, and must, ask the metadata database.
"""

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import XCom

_ACTIVE = ["queued", "running"]
_RUNS_PER_QUESTION = 50  # they travel in a URL


def count_active(ti: Any, dag_id: str, run_ids: Sequence[str]) -> int:
    """How many of these runs have not ended; those that do not exist count as ended."""
    if hasattr(ti, "get_dr_count"):
        chunks = [run_ids[start : start + _RUNS_PER_QUESTION] for start in range(0, len(run_ids), _RUNS_PER_QUESTION)]
        return sum(ti.get_dr_count(dag_id=dag_id, run_ids=list(chunk), states=_ACTIVE) for chunk in chunks)
    return sum(run.state in _ACTIVE for run in _runs_in_database(dag_id, run_ids))


def exists(ti: Any, dag_id: str, run_id: str) -> bool:
    """Whether there is such a run."""
    if hasattr(ti, "get_dr_count"):
        return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id]))
    return bool(_runs_in_database(dag_id, [run_id]))


def returned_by(dag_id: str, run_id: str, task_id: str) -> Any:
    """What a task of a run returned; None for nothing."""
    return XCom.get_one(dag_id=dag_id, run_id=run_id, task_id=task_id, key="return_value")


def _runs_in_database(dag_id: str, run_ids: Sequence[str]) -> Sequence[Any]:
    from airflow.models.dagrun import DagRun  # noqa: PLC0415 (Airflow 3 forbids it in a task)

    return list(DagRun.find(dag_id=dag_id, run_id=list(run_ids))) if run_ids else []
