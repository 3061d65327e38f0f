"""Who owns a temporary file, and whether that owner is dead, so that its work may be taken over (W3, W6, W13).

``flock`` is not used: on some network file systems it succeeds without doing anything. A temporary name carries its
owner's token instead::

    <host>-<process>-<start of the process>-<random number of the process>-<count>

The random number tells this process from every other one, whatever else is equal: clones of a machine, containers of
one name, process numbers used again. Of another process on the same host the kernel knows whether it lives, where it
may be asked. Whatever cannot be known is told from silence: an owner whose file nobody touched for ``stale_after_s``
counts as dead (a live one touches it every ``heartbeat.INTERVAL_S``), and its bytes are copied, as it may only be
slow; a slow one stops by itself when it sees its file taken.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import socket
import threading
from enum import Enum
from functools import lru_cache
from pathlib import Path

_TOKEN = re.compile(
    r"(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})-(?P<random>[0-9a-f]{16})-(?P<count>\d{1,10})"
)
_STATE, _THREADS, _START = 0, 17, 19  # where they are in ``_status_of``
_START_UNKNOWN = "0"
_count = itertools.count(1)
_active: set[str] = set()
_lock = threading.Lock()


class Standing(Enum):
    """What is known of an owner."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """Nobody here can tell: another host or container, or the system does not say."""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _sees_processes() -> bool:
    """Whether ``/proc`` is that of our own process namespace: in a container it may be the host's, or none."""
    return _link("/proc/self") == str(os.getpid())


def _random_of(pid: int) -> str:
    """Random number of this process; a forked one has another."""
    with _lock:  # of several threads that ask first, each would draw one of its own
        return _drawn_for(pid)


@lru_cache(maxsize=1)
def _drawn_for(_pid: int) -> str:
    return secrets.token_hex(8)


@lru_cache(maxsize=1)
def _host_of(pid: int) -> str:
    """Name this boot of this machine and this process namespace: process numbers mean something only within it.

    Where that cannot be found out, the name is this process's alone, so that it is taken for no other's neighbour.
    """
    boot, namespace = _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")
    known = boot and namespace and _sees_processes()
    identity = (socket.gethostname(), boot, namespace) if known else (_random_of(pid),)
    return hashlib.sha256("\n".join(identity).encode()).hexdigest()[:8]


def _host() -> str:
    return _host_of(os.getpid())


def _status_of(pid: int) -> list[str]:
    """Fields of proc(5) from the third on; empty when there is no such process or the system does not tell."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields if len(fields) > _START else []


def _has_ended(fields: list[str]) -> bool:
    """Whether a process only waits to be collected: its first thread has ended, and no other may still write."""
    return fields[_STATE] in "ZX" and int(fields[_THREADS]) <= 1


@lru_cache(maxsize=1)
def _start_of_own(pid: int) -> str:
    """Start time of this process in clock ticks since boot."""
    fields = _status_of(pid) if _sees_processes() else []
    return fields[_START] if fields else _START_UNKNOWN


def new_owner() -> str:
    """Make a token for one temporary file of this process, alive until ``release``."""
    pid = os.getpid()
    token = f"{_host()}-{pid}-{_start_of_own(pid)}-{_random_of(pid)}-{next(_count)}"
    with _lock:
        _active.add(token)
    return token


def release(token: str) -> None:
    """Say that this process no longer writes to the file of ``token``."""
    with _lock:
        _active.discard(token)


def standing(token: str) -> Standing:
    """What is known here of the owner of a token."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return Standing.UNKNOWN
    if match["random"] == _random_of(os.getpid()):
        with _lock:
            return Standing.ALIVE if token in _active else Standing.DEAD
    if match["host"] != _host() or not _sees_processes():
        return Standing.UNKNOWN
    pid = int(match["pid"])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return Standing.DEAD
    except PermissionError:
        pass  # somebody else's process has that number; whether it is the owner says its start
    fields = _status_of(pid)
    if not fields or match["start"] == _START_UNKNOWN:
        return Standing.UNKNOWN  # such as hidden from us (hidepid)
    return Standing.DEAD if fields[_START] != match["start"] or _has_ended(fields) else Standing.ALIVE
