"""What a run measures, from variables of ``make bench``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
CASES = ("http", "tls", "link", "large", "small", "skip", "several", "resume", "heal")


@dataclass(frozen=True)
class Options:
    """Variables of one run; the defaults are what README.md publishes.

    Attributes:
        rounds: ROUNDS, how often each contender runs in each case.
        cases: CASES, names separated by commas.
        contenders: CONTENDERS, names separated by commas; empty means all.
        size: SIZE_MIB, bytes of the one file of most cases.
        large_size: LARGE_MIB, bytes of the file of case ``large``.
        several_size: SEVERAL_MIB, bytes of each of the files of case ``several``.
        small_files: SMALL_FILES, how many files of 64 KiB.
        part_size: PART_MIB, bytes per part of the multipart ETag.
        link_mb_s: LINK_MB_S, the shaped link, in 10^6 bytes per second.
        tmpfs: TMPFS, a folder on a tmpfs for source and output.
        publish: PUBLISH=1, whether README.md and results.svg are rewritten.

    """

    rounds: int = 5
    cases: tuple[str, ...] = CASES
    contenders: tuple[str, ...] = ()
    size: int = 1024 * MIB
    large_size: int = 8192 * MIB
    several_size: int = 50 * MIB
    small_files: int = 2000
    part_size: int = 100 * MIB
    link_mb_s: int = 100
    tmpfs: Path = Path("/dev/shm")
    publish: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the sizes are those that the targets are meant for."""
        sizes = ("size", "large_size", "several_size", "small_files", "part_size", "link_mb_s")
        return all(getattr(self, name) == getattr(Options, name) for name in sizes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Options:
        """Read the variables.

        Raises:
            ValueError: for a number that is none, or a case that does not exist.

        """

        def number(name: str, default: int) -> int:
            text = environment.get(name) or str(default)
            if not text.isdecimal() or not int(text):
                raise ValueError(f"{name}: expected a whole number above 0, got {text!r}")
            return int(text)

        def names(name: str) -> tuple[str, ...]:
            return tuple(filter(None, environment.get(name, "").replace(",", " ").split()))

        cases = names("CASES") or CASES
        unknown = sorted(set(cases) - set(CASES))
        if unknown:
            raise ValueError(f"CASES: {unknown[0]!r} does not exist, there are {', '.join(CASES)}")
        return cls(
            rounds=number("ROUNDS", cls.rounds),
            cases=cases,
            contenders=names("CONTENDERS"),
            size=number("SIZE_MIB", cls.size // MIB) * MIB,
            large_size=number("LARGE_MIB", cls.large_size // MIB) * MIB,
            several_size=number("SEVERAL_MIB", cls.several_size // MIB) * MIB,
            small_files=number("SMALL_FILES", cls.small_files),
            part_size=number("PART_MIB", cls.part_size // MIB) * MIB,
            link_mb_s=number("LINK_MB_S", cls.link_mb_s),
            tmpfs=Path(environment.get("TMPFS") or cls.tmpfs),
            publish=environment.get("PUBLISH") == "1",
        )
