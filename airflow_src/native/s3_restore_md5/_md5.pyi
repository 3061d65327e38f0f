from collections.abc import Iterable
from typing import Final, final

from typing_extensions import Buffer

@final
class MD5:
    """An MD5 in the making, with the methods of hashlib's. One thread at a time: a second one gets a RuntimeError."""

    name: Final[str]
    digest_size: Final[int]
    block_size: Final[int]
    def __new__(cls, data: Buffer = b"", /) -> MD5: ...
    def update(self, data: Buffer, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> MD5: ...

def update_many(jobs: Iterable[tuple[MD5, Buffer]], /) -> None:
    """Feed to each state its buffer, all at once and without the interpreter lock.

    Raises:
        ValueError: if a state is given twice; nothing was hashed then.
        RuntimeError: if another thread uses one of the states; nothing was hashed then.

    """

def instruction_sets() -> tuple[str, ...]:
    """Name what this processor can do and this module was compiled for, slowest first: scalar, base, avx2, avx512."""

def instruction_set() -> str:
    """Name what `update_many` uses now: at first the fastest."""

def lane_count() -> int:
    """Tell how many streams it hashes at once."""

def select(name: str, /) -> None:
    """Let `update_many` use this instruction set, in the whole process."""
