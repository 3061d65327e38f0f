"""Warns where two raw files of a project claim the same path with other bytes: each restore would replace the other's.

It happens where the host gathers the files of a raw file by its name up to the extension (``f18.wiff`` and ``f18.raw``
both take ``f18.*``). Those are looked for, by the index of the ids. Nothing is refused: nobody can say which is right.
"""

import logging
from collections.abc import Mapping

from impl.host import DatabaseUnavailableError, find_raw_file_ids, get_raw_file, parse_file_info_item
from impl.raw_file_ids import beginning_with
from impl.restore_job import RestoreJob
from s3_restore.model.status_report import one_line

_MOST_NEIGHBOURS = 20
_SHORTEST_STEM = 3
_MOST_NAMED = 3


def warn_of_shared_paths(job: RestoreJob) -> None:
    """Log a warning for each other raw file that claims a path of this one, and has other bytes there.

    Never raises: it is a help, and what the restore needs is known already.
    """
    stem = job.raw_file_id.partition(".")[0]
    if len(stem) < _SHORTEST_STEM:
        return
    ours = {spec.relative_path: (spec.size, spec.expected) for spec in job.specs}
    try:
        same_stem = {"_id": beginning_with(f"{stem}.")}
        for other in sorted(find_raw_file_ids(same_stem, _MOST_NEIGHBOURS)):
            if other != job.raw_file_id:
                _warn_of(job, other, ours)
    except DatabaseUnavailableError as error:
        logging.info("Whether other raw files have the same paths is not known (%s)", error)


def _warn_of(job: RestoreJob, other: str, ours: Mapping[str, tuple[object, object]]) -> None:
    raw_file = get_raw_file(other)
    if raw_file is None or raw_file.project_id != job.project_id or not isinstance(raw_file.file_info, dict):
        return
    differing = [
        path
        for path in ours.keys() & raw_file.file_info.keys()
        if ours[path] != parse_file_info_item(raw_file.file_info[path])
    ]
    if differing:
        some = ", ".join(one_line(path) for path in sorted(differing)[:_MOST_NAMED])
        more = ", …" if len(differing) > _MOST_NAMED else ""
        logging.warning(
            "%d of its files have the same path as a file of raw file %r, with other bytes (%s%s): restoring "
            "one replaces what was restored of the other",
            len(differing),
            other,
            some,
            more,
        )
