"""Finds raw files by what people typed or pasted; only reads, by the index of the ids."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from common.constants import DagParams, Dags
from impl import refusals
from impl.host import DatabaseUnavailableError, RawFile, find_raw_file_ids, get_raw_file
from impl.raw_file_ids import (
    ReadId,
    looks_like_several,
    nearest,
    possible_ids,
    query_of_near_ids,
    read_ids,
    shown,
    spellings,
)
from impl.refusals import refusal
from s3_restore.model.reasons import Failure

_IDS_PER_QUESTION = 1_000
_MOST_ASKED_FOR = 100
_MOST_NAMED = 5
_MOST_SAID = 20

_OF_BOTH = (DagParams.INCLUDE, DagParams.VERIFY_ONLY, DagParams.DRY_RUN)
_OF_DAG = {
    Dags.S3_DOWNLOADER: (DagParams.RAW_FILE_ID, *_OF_BOTH),
    Dags.S3_BATCH_DOWNLOADER: (DagParams.RAW_FILE_IDS, DagParams.PROJECT_ID, *_OF_BOTH),
}
_SHORTEST_PART = 3  # of a name: "dry", "verify"
_ALIKE = 0.8

UPLOAD_DONE = "upload_done"

# What a raw file without a backup is waiting for, by its backup_status, and what helps.
_NO_BACKUP = {
    "upload_in_progress": "its upload has not ended; try again later",
    "upload_failed": "its upload failed; it must be uploaded again before it can be restored",
    "copying_in_progress": "it is being copied to the local backup and was not uploaded yet; try again later",
    "copying_done": "it is in the local backup and was not uploaded; copy it from there",
    "copying_failed": "copying it to the local backup failed; look for it on the instrument",
    "skipped": "its backup was left out on purpose; look for it on the instrument",
}


def find_raw_file(given: str) -> RawFile:
    """Find a raw file by its id, exactly as given if there is one; else without what was pasted around the id.

    Raises:
        AirflowFailException: if there is none; its text names near ids.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    raw_file = get_raw_file(given)
    if raw_file is not None:
        return raw_file
    known = find_known(spellings(given))
    for spelling in spellings(given):
        if spelling in known:
            raw_file = get_raw_file(spelling)
            if raw_file is not None:
                logging.info(ReadId(spelling, given).note)
                return raw_file
    raise refusal(_not_found(given))


def read_pasted_ids(given: str | Sequence[str]) -> list[str]:
    """Read raw file ids from a list or a text, each once; what is no id stays as it is, for its run to refuse it.

    Raises:
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    found = read_ids(given, find_known(possible_ids(given)))
    notes = [read.note for read in found if read.note]
    for line in notes[:_MOST_SAID]:
        logging.info(line)
    if len(notes) > _MOST_SAID:
        logging.info("... and %d more were read so", len(notes) - _MOST_SAID)
    return [read.raw_file_id for read in found]


def why_no_backup(raw_file: RawFile) -> Failure:
    """Say that a raw file has no backup in S3, and what its ``backup_status`` says about that."""
    status = raw_file.backup_status
    if not status or status == UPLOAD_DONE:
        return refusals.NO_BACKUP.of(repr(raw_file.id))
    meaning = _NO_BACKUP.get(str(status), "it was not uploaded")
    return refusals.NO_BACKUP_YET.of(repr(raw_file.id), repr(status), meaning)


def refuse_misdirected(params: Mapping[str, Any], dag_id: str) -> None:
    """Refuse the parameter of the other DAG, and name the DAG that takes it.

    Raises:
        AirflowFailException: if it is there.

    """
    own, of_dag = DagParams.RAW_FILE_ID, Dags.S3_BATCH_DOWNLOADER
    others = [DagParams.RAW_FILE_IDS, DagParams.DRY_RUN]  # what was only to be looked at must never be restored
    if dag_id == Dags.S3_BATCH_DOWNLOADER:
        own, of_dag, others = DagParams.RAW_FILE_IDS, Dags.S3_DOWNLOADER, [DagParams.RAW_FILE_ID]
    for other in others:
        if params.get(other):
            raise refusal(refusals.OTHER_DAG.of(repr(other), of_dag, dag_id, repr(own)))


def refuse_misspelt(params: Mapping[str, Any], dag_id: str) -> None:
    """Refuse a parameter that nobody knows and that looks like one: a dry run must not restore for a slip in its name.

    Raises:
        AirflowFailException: if there is one, and it is set.

    """
    own = {*_OF_DAG[dag_id], DagParams.BATCH}
    for name in sorted(name for name, value in params.items() if value and name not in own):
        if meant := next((known for known in _OF_DAG[dag_id] if _looks_like(_letters(name), _letters(known))), ""):
            raise refusal(refusals.MISSPELT.of(shown(name), dag_id, repr(meant)))
        logging.info("Parameter %s is none of %s: it has no effect", shown(name), dag_id)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _looks_like(name: str, known: str) -> bool:
    begins_so = len(name) >= _SHORTEST_PART and (known.startswith(name) or name.startswith(known))
    return begins_so or SequenceMatcher(None, name, known).ratio() >= _ALIKE


def find_known(raw_file_ids: Iterable[str]) -> set[str]:
    """Those of some ids that there are.

    Raises:
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    wanted = sorted(raw_file_ids)
    known: set[str] = set()
    for start in range(0, len(wanted), _IDS_PER_QUESTION):
        some = wanted[start : start + _IDS_PER_QUESTION]
        known |= set(find_raw_file_ids({"_id": {"$in": some}}, len(some)))
    return known


def _not_found(given: str) -> Failure:
    """Say that an id is none: with near ids if there are any, else with what the text looks like."""
    near = _near_ids(given)
    if len(near) == 1:
        return refusals.LIKE_ONE.of(shown(given), repr(near[0]))
    if near:
        more = ", …" if len(near) > _MOST_NAMED else ""
        return refusals.LIKE_SOME.of(shown(given), ", ".join(map(repr, near[:_MOST_NAMED])) + more)
    if looks_like_several(given):
        return refusals.SEVERAL_IDS.of(shown(given))
    return (refusals.LIKE_NONE if "." in given else refusals.NO_EXTENSION).of(shown(given))


def _near_ids(given: str) -> list[str]:
    query = query_of_near_ids(given)
    try:
        found = find_raw_file_ids(query, _MOST_ASKED_FOR) if query else []
    except DatabaseUnavailableError as error:
        logging.info("No near ids can be named (%s)", error)  # they are a help; that there is no such id is known
        found = []
    return nearest(given, set(found), _MOST_NAMED + 1)
