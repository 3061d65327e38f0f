"""Where bytes go that are only to be hashed: a download into it needs no disk."""

from __future__ import annotations

from collections.abc import Callable


class Nowhere:
    """Stands where a temporary file does. Nothing can be read back, so each stream is fetched in order."""

    def write_at(self, data: memoryview, offset: int) -> None:
        """Forget them."""

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """Nothing is there."""
        raise AssertionError(f"{len(buffer)} bytes at {offset} were never kept")

    def preallocate(self, size: int, before_each_step: Callable[[], None] = lambda: None) -> None:
        """No space is needed."""

    def is_still_mine(self) -> bool:
        """Nobody can take it over."""
        return True
