"""Names that the DAG, its deployment and its tests share. The host's module of this name carries them too."""

AIRFLOW_QUEUE_PREFIX = "kraken_queue_"


class Dags:
    """DAG ids."""

    S3_DOWNLOADER = "s3_downloader"
    S3_BATCH_DOWNLOADER = "s3_batch_downloader"


class Tasks:
    """Task ids that other modules ask for."""

    DOWNLOAD_FILES = "download_files"
    VALIDATE_PARAMETERS = "validate_parameters"
    LIST_RAW_FILES = "list_raw_files"
    SUMMARIZE = "summarize"


class Pools:
    """Airflow pools; a task whose pool does not exist never starts (A3)."""

    S3_DOWNLOAD_POOL = "s3_download_pool"  # 2 slots


class DagParams:
    """Names of DAG parameters."""

    RAW_FILE_ID = "raw_file_id"

    # Of the batch:
    RAW_FILE_IDS = "raw_file_ids"
    PROJECT_ID = "project_id"
    DRY_RUN = "dry_run"

    # Of the batch, and no parameters of the downloader, which has one: it takes them from the conf of its run.
    INCLUDE = "include"
    VERIFY_ONLY = "verify_only"
    BATCH = "batch"


class DagContext:
    """Keys of the context that Airflow hands to a task."""

    PARAMS = "params"
