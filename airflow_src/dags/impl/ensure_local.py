"""Automatic fallback for other DAGs: their input is missing, so restore it (``examples/ensure_local_example.py``)."""

from pathlib import Path

from impl.handler_impl import restore, validate
from impl.restore_job import load


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
    job = load(raw_file_id, include)
    validate(job)
    restore(job)
    return job.paths
