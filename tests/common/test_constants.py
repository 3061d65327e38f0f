"""Names that the deployment relies on (plan, stage 2; N1)."""

from common.constants import AIRFLOW_QUEUE_PREFIX, DagContext, DagParams, Dags, Pools


def test_constants_are_accessible():
    assert Dags.S3_DOWNLOADER == "s3_downloader"
    assert Pools.S3_DOWNLOAD_POOL == "s3_download_pool"
    assert DagParams.RAW_FILE_ID == "raw_file_id"
    assert DagContext.PARAMS == "params"
    assert AIRFLOW_QUEUE_PREFIX == "kraken_queue_"
