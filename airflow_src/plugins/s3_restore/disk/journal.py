"""What of a temporary file is already there, written beside it so that the next attempt can go on (W3).

A text file, one JSON value a line. The first line says what is being fetched; each further one that the bytes of
stream ``s`` up to the count ``n`` had the MD5 ``md5``::

    {"format": 1, "bucket": …, "key": …, "etag": …, "version_id": …, "size": …, "stream_size": …}
    {"s": 0, "n": 16777216, "md5": "…"}

A journal proves nothing: what it claims is hashed again from disk before it is kept, and the whole file is proved
against the instrument's hash in the end. So a torn, stale or forged one costs time, never truth.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from s3_restore.disk.syscalls import close_fd

CHECKPOINT_BYTES = 16 * 1024**2
"""A stream is journalled each time it has got this many bytes further, …"""
CHECKPOINT_EVERY_S = 30.0
"""… and after this many seconds in any case, so that little of a slow download is lost."""

_FORMAT = 1
_MD5 = re.compile(r"[0-9a-f]{32}")
_MAX_LINE_BYTES = 16 * 1024  # a header has a key of at most 1,024 bytes
_MAX_CHECKPOINTS = 100_000  # fifteen times those of 100 GB


@dataclass(frozen=True)
class JournalHeader:
    """What is being fetched, and how it is cut into streams. Another value of any field: start over."""

    bucket: str
    key: str
    etag: str
    version_id: str
    size: int
    stream_size: int


@dataclass(frozen=True)
class Checkpoint:
    """The first ``count`` bytes of a stream have this MD5 (hex)."""

    count: int
    md5: str


class Journal:
    """Appends checkpoints; safe to use from several threads."""

    def __init__(self, path: Path, header: JournalHeader | None) -> None:
        """Open for appending; with a header: create it.

        Raises:
            OSError: if it cannot be written, or is there although it should be created.

        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        # A new one is never made of what is there: that may be a FIFO, or a hard link to another file.
        self._fd = os.open(path, flags | (os.O_CREAT | os.O_EXCL if header else 0), 0o666)
        self._lock = threading.Lock()
        try:
            if header:
                self._append({"format": _FORMAT, **asdict(header)})
            else:
                self._write(b"\n")  # ends a line that was torn, so that it does not tear the next one too
        except BaseException:
            self.close()
            raise

    def _append(self, value: Mapping[str, object]) -> None:
        self._write(json.dumps(value).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._lock:
            if self._fd >= 0:
                os.write(self._fd, line)

    def checkpoint(self, stream: int, count: int, md5: str) -> None:
        """Note that the first ``count`` bytes of a stream are written and have this MD5.

        Raises:
            OSError: if it cannot be written.

        """
        self._append({"s": stream, "n": count, "md5": md5})

    def close(self) -> None:
        """End the writing; the file stays."""
        with self._lock:
            fd, self._fd = self._fd, -1  # an error of the call below gives the number back too
        if fd >= 0:
            with contextlib.suppress(OSError):  # what a journal claims is hashed again in any case
                close_fd(fd)


def read_journal(path: Path, header: JournalHeader) -> dict[int, list[Checkpoint]] | None:
    """Read the checkpoints of a journal that was written for exactly ``header``.

    Returns:
        Stream -> checkpoints in rising order; None when there is no journal for this header. Lines that make no sense
        are left out.

    """
    found: dict[int, list[Checkpoint]] = {}
    left = _MAX_CHECKPOINTS
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            if _parse(file.readline(_MAX_LINE_BYTES)) != {"format": _FORMAT, **asdict(header)}:
                return None
            while left and (line := file.readline(_MAX_LINE_BYTES)):
                left -= 1
                if checkpoint := _as_checkpoint(_parse(line)):
                    stream, count, md5 = checkpoint
                    found.setdefault(stream, []).append(Checkpoint(count, md5))
    except OSError:
        return None
    for checkpoints in found.values():
        checkpoints.sort(key=lambda checkpoint: checkpoint.count)
    return found


def _as_checkpoint(value: object) -> tuple[int, int, str] | None:
    if not isinstance(value, dict):
        return None
    stream, count, md5 = value.get("s"), value.get("n"), value.get("md5")
    if type(stream) is int and type(count) is int and isinstance(md5, str) and count > 0 and _MD5.fullmatch(md5):
        return stream, count, md5
    return None


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
