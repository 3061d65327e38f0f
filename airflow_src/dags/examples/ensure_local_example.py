"""Example: a processing DAG that restores its input when it is missing. Not parsed by Airflow (.airflowignore)."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytz
from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.standard.operators.python import PythonOperator

from common.constants import DagContext, DagParams, Pools
from impl.ensure_local import ensure_local
from shared.yamlsettings import YamlKeys, get_path

PROJECT_ID = "PRID001"


def process(**kwargs: Any) -> int:
    """Count the bytes of a raw file, restoring it first where it is missing."""
    raw_file_id = kwargs[DagContext.PARAMS][DagParams.RAW_FILE_ID]
    expected: Path = get_path(YamlKeys.Locations.OUTPUT) / PROJECT_ID / raw_file_id
    files = [expected] if expected.is_file() else ensure_local(raw_file_id)
    return sum(file.stat().st_size for file in files)


with DAG(
    "ensure_local_example",
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=pytz.utc),
    catchup=False,
    params={DagParams.RAW_FILE_ID: Param(type="string", minLength=3)},
) as dag:
    PythonOperator(task_id="process", python_callable=process, pool=Pools.S3_DOWNLOAD_POOL)
