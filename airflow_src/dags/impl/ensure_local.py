"""Automatic fallback for other DAGs: their input is missing, so restore it (``examples/ensure_local_example.py``)."""

from pathlib import Path
from typing import Any

from common.constants import DagContext, DagParams
from impl.handler_impl import download_raw_file_from_s3, validate_s3_download_parameters, wanted_paths


def ensure_local(raw_file_id: str, include: str = "") -> list[Path]:
    """Make sure that the files of a raw file are on disk, proved byte by byte: restores like the DAG ``s3_downloader``.

    What is there and right is kept, which takes as long as reading it. A status report is written, as for a run of the
    DAG. Call it within a task, best one with ``pool=Pools.S3_DOWNLOAD_POOL``: it counts as a download.

    Args:
        raw_file_id: with its extension, such as ``20250115_sample.d``.
        include: glob of the files that are wanted, such as ``*.tdf*``; empty for all.

    Returns:
        Absolute paths of the files, in the order of ``file_info``.

    Raises:
        AirflowFailException: if a file cannot be restored; one line that says why and names the report.
        NotReadyYetError: if S3 was asked to bring archived objects back; try again later.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    context: dict[str, Any] = {DagContext.PARAMS: {DagParams.RAW_FILE_ID: raw_file_id, DagParams.INCLUDE: include}}
    validate_s3_download_parameters(None, **context)
    download_raw_file_from_s3(None, **context)
    return wanted_paths(context)
