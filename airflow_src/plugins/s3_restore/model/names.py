"""Every name that is ours, below the destination: built here and read here. Pure.

Beside a file ``name`` there may be, in the same folder (so that a rename never crosses a file system)::

    .s3dl.<digest of name>.<owner>.part        what has arrived, preallocated to the full size
    .s3dl.<digest of name>.<owner>.journal     how far it goes (see ``disk.journal``); large files only
    .s3dl.<digest of name>.<owner>.aside       which version of it was set aside, and as what (``disk.quarantine``)
    <name>.corrupted                           a version that did not match, until it is healed; ours by a record

and for the run (``model.status_report``, ``disk.atomic_write``)::

    .s3dl.<digest>.<owner>.report              a report while it is written
    _download_status_<raw file id>_<time>.txt  the report

The digest keeps temporary names short: ``name`` itself may be as long as the file system allows. What an owner is:
``disk.owners``.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from functools import lru_cache

REPORT_PREFIX = "_download_status_"
ASIDE_SUFFIX = ".corrupted"
MAX_NAME_BYTES = 255  # of most file systems

PART, JOURNAL, ASIDE_RECORD, REPORT = "part", "journal", "aside", "report"
TEMPORARY_NAME = re.compile(
    r"\.s3dl\.(?P<digest>[0-9a-f]{12})\.(?P<owner>[0-9a-z-]+)\.(?P<kind>part|journal|aside|report)"
)


@lru_cache(maxsize=256)  # each step of a file asks again
def digest_of_name(name: str) -> str:
    """Short stand-in for a file name in the temporary names beside it."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:12]


def temporary_name(name: str, owner: str, kind: str) -> str:
    """Temporary name beside the file ``name``; ``kind`` is one of those in TEMPORARY_NAME."""
    return f".s3dl.{digest_of_name(name)}.{owner}.{kind}"


def aside_names(name: str) -> Iterator[str]:
    """Names for a version that is set aside, in the order in which they are tried; without end."""
    for number in itertools.count(1):
        suffix = ASIDE_SUFFIX if number == 1 else f"{ASIDE_SUFFIX}_{number}"
        if len(os.fsencode(name + suffix)) <= MAX_NAME_BYTES:
            yield name + suffix
        else:
            keep = MAX_NAME_BYTES - len(suffix) - 13
            yield f"{os.fsencode(name)[:keep].decode(errors='ignore')}~{digest_of_name(name)}{suffix}"
