"""Seeded source files, their hashes, and the bucket listing that tools ask for before they copy a folder."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.jobs import BUCKET, JobFile
from benchmarks.options import MIB

SMALL_SIZE = 64 * 1024
_BLOCK = 4 * MIB


def make_file(root: Path, path: str, size: int, part_size: int, seed: int) -> JobFile:
    """Write one object and hash it as the host's uploader does.

    Args:
        root: folder that stands for the bucket.
        path: relative path, also the key.
        size: bytes.
        part_size: bytes per part of the ETag, a whole number of MiB.
        seed: makes the content the same in every run.

    """
    generator = random.Random(seed)
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = hashlib.md5(usedforsecurity=False)
    digests = []
    with target.open("wb", buffering=0) as file:
        for start in range(0, size, part_size):
            part = hashlib.md5(usedforsecurity=False)
            end = min(start + part_size, size)
            for offset in range(start, end, _BLOCK):
                block = generator.randbytes(min(_BLOCK, end - offset))
                file.write(block)
                whole.update(block)
                part.update(block)
            digests.append(part.digest())
    folded = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    etag = whole.hexdigest() if len(digests) == 1 else f"{folded}-{len(digests)}"
    return JobFile(path, [size, whole.hexdigest(), f"{etag}__{part_size // MIB}"])


def make_small_files(root: Path, folder: str, count: int, part_size: int) -> list[JobFile]:
    """Write ``count`` objects of 64 KiB below ``folder``, as in a raw file that is a folder."""
    return [make_file(root, f"{folder}/{number:05d}.bin", SMALL_SIZE, part_size, number) for number in range(count)]


def without_etag(files: list[JobFile]) -> list[JobFile]:
    """The same files as older database rows have them: size and MD5 only (H1)."""
    return [JobFile(file.path, file.stored[:2]) for file in files]


def listing(files: list[JobFile], folder: str) -> str:
    """Answer of ListObjectsV2 for ``folder``: what aws-cli, rclone and s5cmd ask before they copy a folder."""
    contents = "".join(
        f"<Contents><Key>{escape(file.path)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{file.stored[1]}&quot;</ETag><Size>{file.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for file in files
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{escape(folder)}/</Prefix><KeyCount>{len(files)}</KeyCount>"
        f"<MaxKeys>{len(files)}</MaxKeys><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    )
