"""What Airflow 3.3 and 2.11 call differently, for tests that run on both (`make test-airflow2`)."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

AIRFLOW_VERSION = importlib.metadata.version("apache-airflow")
IS_AIRFLOW_2 = AIRFLOW_VERSION.startswith("2.")

# All imports below are late: Airflow takes seconds, and must not be imported before AIRFLOW_HOME is set.


def load_dags(folder: Path) -> Any:
    """A DagBag: all DAGs of a folder, by Airflow's own loader."""
    if IS_AIRFLOW_2:
        from airflow.models.dagbag import DagBag  # noqa: PLC0415

        return DagBag(folder, include_examples=False)
    from airflow.dag_processing.dagbag import BundleDagBag  # noqa: PLC0415

    return BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")


def find_modules(folder: Path, ignore_file_syntax: str) -> Iterator[str]:
    """Paths that Airflow's own walker finds below a folder."""
    if IS_AIRFLOW_2:
        from airflow.utils.file import find_path_from_directory  # noqa: PLC0415
    else:
        from airflow._shared.module_loading import find_path_from_directory  # noqa: PLC0415

    yield from find_path_from_directory(str(folder), ".airflowignore", ignore_file_syntax)


def plugin_errors() -> dict[str, str]:
    """Errors of plugin files, by file, after all plugins were loaded."""
    from airflow import plugins_manager  # noqa: PLC0415

    plugins_manager.ensure_plugins_loaded()
    return dict(plugins_manager.import_errors if IS_AIRFLOW_2 else plugins_manager._get_plugins()[1])


def store_and_load(dag: Any) -> Any:
    """A DAG as it comes back from the metadata database; the form in which it is stored is checked."""
    if IS_AIRFLOW_2:
        from airflow.serialization.serialized_objects import SerializedDAG as Stored  # noqa: PLC0415
    else:
        from airflow.serialization.serialized_objects import DagSerialization as Stored  # noqa: PLC0415

    stored = Stored.to_dict(dag)
    Stored.validate_schema(stored)
    return Stored.from_dict(stored)


def task_timeout() -> type:
    """The context manager that raises AirflowTaskTimeout in a task after so many seconds."""
    if IS_AIRFLOW_2:
        from airflow.utils.timeout import TimeoutPosix  # noqa: PLC0415
    else:
        from airflow.sdk.execution_time.timeout import TimeoutPosix  # noqa: PLC0415

    return TimeoutPosix


def configure_metrics() -> None:
    """Send metrics where Airflow's settings say now, as a process that has just started does."""
    if IS_AIRFLOW_2:
        from airflow.configuration import conf  # noqa: PLC0415
        from airflow.metrics import base_stats_logger, statsd_logger  # noqa: PLC0415
        from airflow.stats import Stats  # noqa: PLC0415

        on = conf.getboolean("metrics", "statsd_on")
        type(Stats).factory = statsd_logger.get_statsd_logger if on else base_stats_logger.NoStatsLogger
        Stats.instance = None
    else:
        from airflow.providers.common.compat.sdk import Stats  # noqa: PLC0415
        from airflow.sdk.observability.metrics.stats_utils import get_stats_factory  # noqa: PLC0415

        Stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
