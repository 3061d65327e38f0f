"""Measures what Airflow itself costs on the fleet, with raw files that have next to no bytes.

    .venv/bin/python -m tests.fleet

Prints how many raw files it restores in a minute, for how long a slot of the pool is taken for each, and how many
connections to PostgreSQL there are: the constants `SLOT_IDLE_S` and `…_CONNECTIONS` of benchmarks/scaling.py.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from demo.airflow_stack import DAG_ID, POOL_SLOTS
from tests.fleet.fleet import WORKERS
from tests.fleet.stage import Stage, opened

COUNT = 30


def measure(stage: Stage) -> None:
    """Restore all at once, and print what came of it."""
    api = stage.fleet.api
    names = [f"20250115_tiny_{number}.raw" for number in range(COUNT)]
    for name in names:
        stage.store(name, {name: name.encode()})
    begin = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda name: api.trigger(DAG_ID, {"raw_file_id": name}).body["dag_run_id"], names))
    for run in runs:
        state = api.wait_for_run(DAG_ID, run, timeout_seconds=600)
        assert state == "success", f"{run} is {state}"
    seconds = time.monotonic() - begin
    tasks = api.get(f"/dags/{DAG_ID}/dagRuns/~/taskInstances?limit=100&task_id=download_files")["task_instances"]
    starts, ends = (sorted(datetime.fromisoformat(task[f"{end}_date"]) for task in tasks) for end in ("start", "end"))
    slot_seconds = (ends[-1] - starts[0]).total_seconds() * POOL_SLOTS / COUNT
    running = sum(task["duration"] for task in tasks) / COUNT
    print(f"{COUNT} raw files, {POOL_SLOTS} slots: {COUNT / seconds * 60:.0f} a minute")  # noqa: T201
    print(f"a slot is taken for {slot_seconds:.1f} s for each, of which the task runs {running:.1f} s")  # noqa: T201
    for workers in (len(WORKERS), 0):
        print(f"{workers} workers: {stage.fleet.postgres.connections()} connections to PostgreSQL")  # noqa: T201
        stage.fleet.stop_workers()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="kraken-fleet-") as home, opened(Path(home)) as stage:
        measure(stage)
