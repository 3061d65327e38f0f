"""A DAG of the host, with its callback; imports spelt in both of its ways."""

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.python import PythonOperator
from callbacks import on_failure_callback
from common.keys import Dags
from dags.impl.handler_impl import copy_raw_file

with DAG(
    Dags.ACQUISITION_HANDLER,
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    default_args={"on_failure_callback": on_failure_callback},
) as dag:
    PythonOperator(task_id="copy_raw_file", python_callable=copy_raw_file)
