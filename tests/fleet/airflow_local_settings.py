"""What the fleet adds to Airflow by its own hooks; the DAG files stay those that users run.

The fleet copies this into the `config` folder of each AIRFLOW_HOME, where Airflow looks for it.
"""

import os
import socket
from datetime import timedelta
from typing import Any

RETRY_DELAY = timedelta(seconds=2)


def task_policy(task: Any) -> None:
    """Retry after seconds instead of the DAG's five minutes. A cluster policy: applied where DAGs are parsed."""
    task.retry_delay = RETRY_DELAY


def host_name() -> str:
    """Name each worker as a container of its own would be named (`[core] hostname_callable`)."""
    return os.environ.get("FLEET_HOST") or socket.gethostname()
