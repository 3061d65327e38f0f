"""Names that the DAG, its deployment and its tests share. The host's module of this name carries them too."""

AIRFLOW_QUEUE_PREFIX = "kraken_queue_"


class Dags:
    """DAG ids."""

    S3_DOWNLOADER = "s3_downloader"


class Pools:
    """Airflow pools; a task whose pool does not exist never starts (A3)."""

    S3_DOWNLOAD_POOL = "s3_download_pool"  # 2 slots


class DagParams:
    """Names of DAG parameters."""

    RAW_FILE_ID = "raw_file_id"


class DagContext:
    """Keys of the context that Airflow hands to a task."""

    PARAMS = "params"
