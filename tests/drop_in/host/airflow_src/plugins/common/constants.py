"""The host's constants."""

AIRFLOW_QUEUE_PREFIX = "kraken_queue_"
