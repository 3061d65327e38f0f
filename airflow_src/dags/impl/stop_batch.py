"""Stops a batch: the run of s3_batch_downloader, and all runs of s3_downloader that it has started.

    python "$DAGS/impl/stop_batch.py" RUN_ID

Run it where the other commands of Airflow work, such as beside the scheduler. It marks the runs as failed, as a person
would in the UI: what is being downloaded ends within seconds, with a report, and nothing new starts.
"""

# Imports of Airflow stand where its environment is known.
# ruff: noqa: PLC0415, T201

import os
import sys
from pathlib import Path
from typing import Any

_ACTIVE = ("queued", "running")


def stop(run_id: str) -> str:
    """Mark the batch and its runs as failed; returns what was done, one line.

    Raises:
        SystemExit: if there is no such batch, or nothing of it is going on.

    """
    from airflow.models.dagrun import DagRun

    from common.constants import DagParams, Dags

    batches = DagRun.find(dag_id=Dags.S3_BATCH_DOWNLOADER, run_id=run_id)
    if not batches:
        raise SystemExit(f"{Dags.S3_BATCH_DOWNLOADER} has no run {run_id!r}: airflow dags list-runs shows them")
    stopped = _mark_as_failed(batches)  # first, so that it starts no more
    going_on = [run for state in _ACTIVE for run in DagRun.find(dag_id=Dags.S3_DOWNLOADER, state=state)]
    ended = _mark_as_failed([run for run in going_on if (run.conf or {}).get(DagParams.BATCH) == run_id])
    if not stopped and not ended:
        raise SystemExit(f"{run_id} and all runs that it started have ended before")
    return f"Stopped {run_id}, and {ended} runs that it had started"


def _mark_as_failed(runs: list[Any]) -> int:
    from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
    from airflow.utils.session import create_session

    active = [run for run in runs if str(getattr(run.state, "value", run.state)) in _ACTIVE]
    for run in active:
        with create_session() as session:
            dag = _dag_of(run, session)
            set_dag_run_state_to_failed(dag=dag, run_id=run.run_id, commit=True, session=session)
    return len(active)


def _dag_of(run: Any, session: Any) -> Any:
    """The DAG as Airflow has stored it."""
    try:
        from airflow.models.dagbag import DBDagBag
    except ImportError:  # 2.11
        from airflow.models.dagbag import DagBag

        return DagBag(read_dags_from_db=True).get_dag(run.dag_id, session=session)
    return DBDagBag().get_dag_for_run(dag_run=run, session=session)


def main(arguments: list[str]) -> None:
    """Stop the batch that is named."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__)
        raise SystemExit(2)
    print(stop(arguments[0]))


if __name__ == "__main__":
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow.configuration import conf

    folders = [str(Path(__file__).resolve().parents[1]), conf.get("core", "plugins_folder", fallback="")]
    sys.path[0:1] = [folder for folder in folders if folder]
    main(sys.argv[1:])
