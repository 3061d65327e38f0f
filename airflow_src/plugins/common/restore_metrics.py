"""What a restore reports to Airflow's own metrics (StatsD or OpenTelemetry, whichever Airflow is configured for).

    s3_downloader.runs.<success|partial_failure|complete_failure>   counter
    s3_downloader.files.<downloaded|skipped|healed|failed>          counter, only those above 0
    s3_downloader.bytes_fetched                                     counter, bytes from S3
    s3_downloader.retries                                           counter, requests to S3 made again
    s3_downloader.duration                                          timer

Airflow puts its own prefix in front (``[metrics] statsd_prefix``, ``airflow`` by default).
"""

import logging
from datetime import timedelta

from s3_restore.model.outcomes import RestoreSummary, Result

_PREFIX = "s3_downloader"


def count_restore(summary: RestoreSummary) -> None:
    """Report one run. Never raises: where Airflow has no metrics, or they break, nothing is reported."""
    try:
        from airflow.providers.common.compat.sdk import Stats  # noqa: PLC0415 (not where DAG files are parsed)

        Stats.incr(f"{_PREFIX}.runs.{summary.status.name.lower()}")
        for result in Result:
            if count := summary.count(result):
                Stats.incr(f"{_PREFIX}.files.{result.value}", count=count)
        Stats.incr(f"{_PREFIX}.bytes_fetched", count=summary.bytes_fetched)
        Stats.incr(f"{_PREFIX}.retries", count=summary.retries)
        Stats.timing(f"{_PREFIX}.duration", timedelta(seconds=summary.seconds))
    except Exception as error:  # noqa: BLE001 (files are restored or not; numbers about it must not change that)
        logging.debug("No metrics were reported (%s: %s)", type(error).__name__, error)
