"""Deterministic bytes of any size, and hashes of them computed apart from the product's own code.

The bytes are made of 64 KiB blocks, each a rotation of one random base block with the block's own
name in front: as fast as memory, addressable at any offset, and no two blocks are equal.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

MIB = 1 << 20
_BLOCK = 1 << 16
_STAMP = 16


def raw_bytes(size: int, seed: int | str = 0, offset: int = 0) -> bytes:
    """`size` bytes of the endless stream `seed`, from `offset` on."""
    first, skipped = divmod(offset, _BLOCK)
    last = (offset + size + _BLOCK - 1) // _BLOCK
    return b"".join(_block(seed, index) for index in range(first, last))[skipped : skipped + size]


def write_raw(path: Path, size: int, seed: int | str = 0) -> Path:
    """Write the first `size` bytes of stream `seed` to `path` (parents are made), without holding them in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for at in range(0, size, 4 * MIB):
            file.write(raw_bytes(min(4 * MIB, size - at), seed, at))
    return path


def size_of(data: bytes | Path) -> int:
    return data.stat().st_size if isinstance(data, Path) else len(data)


def md5(data: bytes | Path) -> str:
    """Hex MD5 of the whole."""
    digest = hashlib.md5()
    for piece in _pieces(data, MIB):
        digest.update(piece)
    return digest.hexdigest()


def multipart_etag(data: bytes | Path, part_size: int) -> str:
    """S3's ETag of an upload in parts, `<md5 of the part md5s>-<parts>`, also when there is only one part."""
    digests = [hashlib.md5(part).digest() for part in _pieces(data, part_size)] or [hashlib.md5(b"").digest()]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def s3_etag(data: bytes | Path, part_size: int) -> str:
    """The ETag as the uploader writes it to `file_info`: plain MD5 up to one part, also for exactly one full part."""
    return md5(data) if size_of(data) <= part_size else multipart_etag(data, part_size)


def file_info(files: Mapping[str, bytes | Path], form: str = "H2", part_mib: float = 100) -> dict[str, list]:
    """`RawFile.file_info` for these files in the form "H1", "H2" or "H3" (decisions.md), parts of `part_mib` MiB."""
    part_size = int(part_mib * MIB)
    entries = {
        "H1": lambda data: [size_of(data), md5(data)],
        "H2": lambda data: [size_of(data), md5(data), f"{s3_etag(data, part_size)}__{part_mib}"],
        "H3": lambda data: [size_of(data), multipart_etag(data, part_size)],
    }
    return {name: entries[form](data) for name, data in files.items()}


@lru_cache(maxsize=64)
def _base_twice(seed: int | str) -> bytes:
    return random.Random(f"raw file {seed}").randbytes(_BLOCK) * 2


def _block(seed: int | str, index: int) -> bytes:
    stamp = hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=_STAMP).digest()
    turn = int.from_bytes(stamp[:2], "big")
    return stamp + _base_twice(seed)[turn : turn + _BLOCK - _STAMP]


def _pieces(data: bytes | Path, size: int) -> Iterator[bytes | memoryview]:
    if isinstance(data, Path):
        with data.open("rb") as file:
            while piece := file.read(size):
                yield piece
    else:
        view = memoryview(data)
        for at in range(0, len(view), size):
            yield view[at : at + size]
