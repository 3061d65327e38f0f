"""S3 batch downloader DAG: restore many raw files, each with a run of its own of the S3 downloader."""

from datetime import datetime, timedelta

import pytz
from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from common.callbacks import on_failure_callback
from common.constants import DagParams, Dags, Tasks
from impl.batch_impl import list_raw_files, summarize, wait_for_restores
from impl.host import S3_DOWNLOAD_QUEUE
from impl.linked_operators import LinkedPythonOperator
from impl.patient_operator import PatientPythonOperator

_DOC_MD = """
### Restore many raw files from S3

Give **raw file ids** (a list, or pasted text with new lines, commas or spaces between them), a **project id** for all
backed-up raw files of a project, or both. Each raw file gets a run of its own of `s3_downloader`, so one that fails
stops no other, and all wait in the same pool.

| parameter | meaning |
| --- | --- |
| `raw_file_ids` | ids, extensions included, as a list or as text; an id that is given twice is restored once |
| `project_id` | all raw files of this project that have a backup |
| `include` | glob: only files like this, such as `*.tdf*`; matched with the path and with the file name alone |
| `verify_only` | restore nothing: fetch every byte of the backup and compare it with its hash; needs no disk |
| `dry_run` | start nothing; the table of `summarize` says what would be downloaded |

The log and the XCom of `summarize` hold one table with the status and the report of every raw file. It is red when one
raw file was not restored. To try those again, start a batch again: what is right is skipped.

**To stop it**, mark its run as failed: the runs that it started end, too, with their reports, and nothing new starts.
"""


def _params() -> dict[str, Param]:
    return {
        DagParams.RAW_FILE_IDS: Param(
            [],
            type=["array", "string", "null"],
            title="Raw file ids",
            description="Ids of raw files, extensions included, one a line. Pasted paths and commas are fine, too.",
        ),
        DagParams.PROJECT_ID: Param(
            None,
            type=["null", "string"],
            title="Project id",
            description="All raw files of this project that have a backup in S3.",
        ),
        DagParams.INCLUDE: Param(
            None,
            type=["null", "string"],
            title="Only files like",
            description="Glob for files inside of a raw file, such as *.tdf*; empty for all.",
        ),
        DagParams.VERIFY_ONLY: Param(
            default=False,
            type="boolean",
            title="Verify only",
            description="Restore nothing, prove that every byte of the backup is right.",
        ),
        DagParams.DRY_RUN: Param(
            default=False,
            type="boolean",
            title="Dry run",
            description="Start nothing, say what would be downloaded.",
        ),
    }


def create_s3_batch_downloader_dag() -> DAG:
    """Create the DAG: list, start one run for each raw file, wait without holding a slot, summarize."""
    with DAG(
        Dags.S3_BATCH_DOWNLOADER,
        schedule=None,
        start_date=datetime(2025, 1, 1, tzinfo=pytz.utc),
        default_args={
            "depends_on_past": False,
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "queue": S3_DOWNLOAD_QUEUE,
        },
        description="Download many raw files from S3, each with a run of s3_downloader",
        doc_md=_DOC_MD,
        catchup=False,
        is_paused_upon_creation=False,  # else the first trigger would hang in "queued" (A2)
        tags=["s3", "download", "manual", "restoration"],
        params=_params(),
    ) as dag:
        list_raw_files_ = LinkedPythonOperator(
            task_id=Tasks.LIST_RAW_FILES,
            python_callable=list_raw_files,
            on_failure_callback=on_failure_callback,
        )
        # No failure callback: the summary tells of what was not started, once.
        start_restores_ = TriggerDagRunOperator.partial(
            task_id="start_restores",
            map_index_template="{{ task.conf['raw_file_id'][:200] }}",  # 250 are what Airflow's database takes
            trigger_dag_id=Dags.S3_DOWNLOADER,
            logical_date=None,  # a date of its own could be that of another run, which Airflow refuses
            skip_when_already_exists=True,  # a retry after the run was started
        ).expand_kwargs(list_raw_files_.output)
        wait_for_restores_ = PatientPythonOperator(
            task_id="wait_for_restores",
            python_callable=wait_for_restores,
            poke_interval=20,
            timeout=timedelta(days=14).total_seconds(),
            soft_fail=True,  # whatever has come by then is summarized
            trigger_rule="all_done",
            retries=20,  # it asks Airflow for days, and each question may fail in passing
            # Without its end there is no summary, and the runs of a batch tell of nothing.
            on_failure_callback=on_failure_callback,
        )
        summarize_ = LinkedPythonOperator(
            task_id=Tasks.SUMMARIZE,
            python_callable=summarize,
            trigger_rule="none_failed",
            on_failure_callback=on_failure_callback,
        )
        list_raw_files_ >> start_restores_ >> wait_for_restores_ >> summarize_
        list_raw_files_ >> summarize_  # without a list there is nothing to summarize

    return dag


dag = create_s3_batch_downloader_dag()
