"""Who owns a temporary file, and whether that owner is dead, so that its work may be taken over (W3, W6).

``flock`` is not used: on some network file systems it succeeds without doing anything. A temporary name carries its
owner instead: host, process, start of the process, and a count. On the same host the kernel knows whether that process
lives. For another host only time can tell: an owner that has not written to its journal for ``stale_after_s`` counts as
dead (a live one writes at least every ``journal.MAX_SILENCE_S``), and stops by itself when it sees its file taken.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import socket
import threading
from functools import lru_cache
from pathlib import Path

_TOKEN = re.compile(r"(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})-(?P<count>\d{1,10})")
_STATE, _THREADS, _START = 0, 17, 19  # where they are in ``_status_of``
_count = itertools.count(1)
_active: set[str] = set()
_lock = threading.Lock()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _host() -> str:
    """Name this boot of this machine and this process namespace: process numbers mean something only within it."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    identity = "\n".join((socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), namespace))
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _status_of(pid: int) -> list[str]:
    """Fields of proc(5) from the third on; empty when there is no such process or the system does not tell."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields if len(fields) > _START else []


def _start_of(pid: int) -> str:
    """Start time of a process in clock ticks since boot; empty when it is not known."""
    fields = _status_of(pid)
    return fields[_START] if fields else ""


def _has_ended(fields: list[str]) -> bool:
    """Whether a process only waits to be collected: its first thread has ended, and no other may still write."""
    return bool(fields) and fields[_STATE] in "ZX" and int(fields[_THREADS]) <= 1


@lru_cache(maxsize=1)
def _own_process(pid: int) -> str:
    return f"{pid}-{_start_of(pid) or 0}"


def new_owner() -> str:
    """Make a token for one temporary file of this process, alive until ``release``."""
    token = f"{_host()}-{_own_process(os.getpid())}-{next(_count)}"
    with _lock:
        _active.add(token)
    return token


def release(token: str) -> None:
    """Say that this process no longer writes to the file of ``token``."""
    with _lock:
        _active.discard(token)


def is_of_this_host(token: str) -> bool:
    """Whether the kernel here knows the owner, so that ``is_dead`` is sure of what it says."""
    match = _TOKEN.fullmatch(token)
    return match is not None and match["host"] == _host()


def is_dead(token: str, silent_for_s: float, stale_after_s: float) -> bool:
    """Whether the owner can no longer write.

    Args:
        token: from the temporary file's name.
        silent_for_s: seconds since it last wrote, by the clock of the file system.
        stale_after_s: silence after which an owner on another host counts as dead.

    """
    match = _TOKEN.fullmatch(token)
    if not match or match["host"] != _host():
        return silent_for_s > stale_after_s
    pid = int(match["pid"])
    if pid == os.getpid():
        with _lock:
            return token not in _active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    fields = _status_of(pid)
    return bool(fields) and (fields[_START] != match["start"] or _has_ended(fields))
