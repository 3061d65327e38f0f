"""S3 downloader DAG: restore a raw file from its S3 backup to the output location."""

from datetime import datetime, timedelta

import pytz
from airflow.providers.common.compat.sdk import DAG, Param

from common.callbacks import on_failure_callback, on_run_failure_callback, on_success_callback
from common.constants import DagParams, Dags, Pools, Tasks
from impl.handler_impl import download_raw_file_from_s3, validate_s3_download_parameters
from impl.host import S3_DOWNLOAD_QUEUE
from impl.linked_operators import LinkedPythonOperator
from impl.patient_operator import PatientPythonOperator

# The UI shows it in a small window, where code in two lines below each other overlaps.
_DOC_MD = """
### Restore a raw file from S3

Press *Trigger* and give the **raw file id**, extension included, such as `20250115_sample.raw`.

- **The files go to** {locations.output}/{project_id}/.
- **Every byte is proved** against the hash that was taken at the instrument.
- **What is there already** and right is skipped, what is corrupted is replaced, what was begun is resumed. To run it
  again is always safe.
- **The report** is in the log of *download_files*, and in a file beside the restored ones:
  `_download_status_{raw_file_id}_{timestamp}.txt`
- **When it fails**, the log of the red task says why, in the ERROR line above *Task failed with exception*. Red
  *validate_parameters*: nothing was touched. Red *download_files*: at least one file is not proved; the report names
  each one and why.

The database is only read.
"""


def create_s3_downloader_dag() -> DAG:
    """Create the DAG: ``validate_parameters >> download_files``, triggered by hand with one parameter."""
    with DAG(
        Dags.S3_DOWNLOADER,
        schedule=None,
        start_date=datetime(2025, 1, 1, tzinfo=pytz.utc),
        default_args={
            "depends_on_past": False,
            "retries": 2,
            "retry_delay": timedelta(minutes=5),
            "queue": S3_DOWNLOAD_QUEUE,
            "on_failure_callback": on_failure_callback,
        },
        description="Download raw files from S3 to output location (self-healing)",
        doc_md=_DOC_MD,
        catchup=False,
        on_failure_callback=on_run_failure_callback,
        is_paused_upon_creation=False,  # A2: else the first trigger would hang in "queued"
        tags=["s3", "download", "manual", "restoration"],
        params={
            DagParams.RAW_FILE_ID: Param(
                type="string",
                minLength=3,
                title="Raw file id",
                description=(
                    "Its id in the database, extension included, such as 20250115_sample.raw or 20250115_sample.d. "
                    "Its files go to {locations.output}/{project_id}/. It is safe to run this again."
                ),
            ),
        },
    ) as dag:
        # Waits when S3 brings archived objects back; without any, it is a PythonOperator like the other.
        validate_parameters_ = PatientPythonOperator(
            task_id=Tasks.VALIDATE_PARAMETERS,
            python_callable=validate_s3_download_parameters,
            poke_interval=timedelta(minutes=15).total_seconds(),
            timeout=timedelta(days=4).total_seconds(),
        )
        download_files_ = LinkedPythonOperator(
            task_id=Tasks.DOWNLOAD_FILES,
            python_callable=download_raw_file_from_s3,
            execution_timeout=timedelta(hours=8),
            pool=Pools.S3_DOWNLOAD_POOL,
            on_success_callback=on_success_callback,
        )
        validate_parameters_ >> download_files_

    return dag


dag = create_s3_downloader_dag()
