"""Hashes of local bytes: whole files and ranges. Reads only."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from s3_restore.disk.md5_backend import new_md5
from s3_restore.model.checksums import Hasher

BUFFER_BYTES = 512 * 1024  # threads switch once for each; beyond it no faster (benchmarks/README.md)


_buffers = threading.local()


def thread_buffer() -> memoryview:
    """One reusable buffer for each thread, so that memory grows with threads and not with files (W7)."""
    if not hasattr(_buffers, "view"):
        _buffers.view = memoryview(bytearray(BUFFER_BYTES))
    view: memoryview = _buffers.view
    return view


def get_file_hash(file: Path | str | int, on_bytes: Callable[[int], None] = lambda _count: None) -> str:
    """MD5 of a whole file, 32 hex digits.

    Args:
        file: its path, or its number where it is open: what is at the path may be another file meanwhile.
        on_bytes: told of bytes that were hashed; may raise to stop.

    Raises:
        OSError: if the file cannot be read.

    """
    hasher = new_md5()
    if isinstance(file, int):
        update_from_file(hasher, lambda buffer, offset: os.preadv(file, [buffer], offset), 0, sys.maxsize, on_bytes)
    else:
        with Path(file).open("rb", buffering=0) as opened:
            return get_file_hash(opened.fileno(), on_bytes)
    return hasher.digest().hex()


def update_from_file(
    hasher: Hasher,
    read_at: Callable[[memoryview, int], int],
    start: int,
    end: int,
    on_chunk: Callable[[int], None] = lambda _count: None,
) -> int:
    """Feed the bytes from ``start`` to ``end`` of a file to ``hasher``.

    Args:
        hasher: takes the bytes.
        read_at: fills a buffer from an offset, returns the count, 0 at the end of the file.
        start: first byte.
        end: the byte after the last one.
        on_chunk: called with the count of bytes after each chunk; may raise to stop.

    Returns:
        Bytes fed: fewer than asked for when the file ends earlier.

    """
    buffer = thread_buffer()
    offset = start
    while offset < end:
        count = read_at(buffer[: min(len(buffer), end - offset)], offset)
        if not count:
            break
        hasher.update(buffer[:count])
        offset += count
        on_chunk(count)
    return offset - start
