"""How long a run waits for a file system that tells old news: a file is seen, and when it is read, it is not there.

Network file systems remember what they saw for up to half a minute, so a file is waited for that long. Where the server
has lost the folder for good, each file would be: once some were waited for in vain, the others are only briefly.
"""

from __future__ import annotations

from collections.abc import Iterator

_WAITS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # together longer than network file systems keep old news
_BRIEF_WAITS_S = _WAITS_S[:3]
_IN_VAIN = 2  # files, after which the others are waited for briefly


class OldNews:
    """What the files of one run share; safe to use from several threads."""

    def __init__(self) -> None:
        self._in_vain = 0

    def waits(self) -> Iterator[float]:
        """Seconds of the waits for one file, one after the other."""
        yield from _WAITS_S if self._in_vain < _IN_VAIN else _BRIEF_WAITS_S
        self._in_vain += 1

    def passed(self) -> None:
        """Note that a file was there after a wait: it is worth it."""
        self._in_vain = 0
