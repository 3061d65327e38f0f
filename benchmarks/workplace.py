"""The folder on a tmpfs that a run works in: source files, output, logs. It goes when the run ends."""

from __future__ import annotations

import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.certificates import Certificate, make_certificate
from benchmarks.jobs import BUCKET, JobFile
from benchmarks.options import MIB, Options
from benchmarks.source_data import SMALL_SIZE, listing, make_file, make_small_files

if TYPE_CHECKING:
    from typing import Self

SEVERAL = 20  # files of case ``several``
_RESERVE = 512 * MIB


class Workplace:
    """Source and output below one temporary folder; files are made when a case first asks for them.

    ::

        <tmpfs>/s3-bench-XXXX/
        ├── source/listing.xml    answer to ListObjectsV2 for small.d/
        ├── source/bench/         the bucket: one.raw, large.raw, small.d/00000.bin …
        ├── output/               emptied before and after each run
        └── <case>/               nginx's configuration and logs

    """

    small_folder = "small.d"
    several_folder = "several.d"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._check_room()
        self._folder = Path(tempfile.mkdtemp(prefix="s3-bench-", dir=options.tmpfs))
        self.source = self._folder / "source"
        self.output = self._folder / "output"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_room(self) -> None:
        options = self._options
        large = options.large_size if "large" in options.cases else 0
        several = 2 * SEVERAL * options.several_size if "several" in options.cases else 0
        needed = (
            several + options.size + large + max(options.size, large) + 2 * options.small_files * SMALL_SIZE + _RESERVE
        )
        free = min(shutil.disk_usage(options.tmpfs).free, _available_memory())
        if free < needed:
            raise RuntimeError(
                f"{options.tmpfs}: source and output need {needed // MIB} MiB of memory, {free // MIB} MiB are free; "
                "make them smaller (LARGE_MIB, SIZE_MIB) or leave a case out (CASES)"
            )

    def new_folder(self, name: str) -> Path:
        """Path of a folder that does not exist yet."""
        return self._folder / name

    @cached_property
    def _bucket(self) -> Path:
        bucket = self.source / BUCKET
        bucket.mkdir(parents=True)
        return bucket

    @cached_property
    def _one_file(self) -> JobFile:
        return make_file(self._bucket, "one.raw", self._options.size, self._options.part_size, seed=1)

    @cached_property
    def _part_file(self) -> JobFile:
        return make_file(self._bucket, "part.raw", self._options.part_size, self._options.part_size, seed=1)

    @cached_property
    def _large_file(self) -> JobFile:
        return make_file(self._bucket, "large.raw", self._options.large_size, self._options.part_size, seed=2)

    @cached_property
    def _small_files(self) -> list[JobFile]:
        files = make_small_files(self._bucket, self.small_folder, self._options.small_files, self._options.part_size)
        (self.source / "listing.xml").write_text(listing(files, self.small_folder))
        return files

    @cached_property
    def _several_files(self) -> list[JobFile]:
        size, part_size = self._options.several_size, self._options.part_size
        names = [f"{self.several_folder}/{number:02d}.bin" for number in range(SEVERAL)]
        return [make_file(self._bucket, name, size, part_size, seed) for seed, name in enumerate(names, start=3)]

    @cached_property
    def _certificate(self) -> Certificate:
        return make_certificate(self._folder)

    def one_file(self) -> JobFile:
        """The file of most cases."""
        return self._one_file

    def part_file(self) -> JobFile:
        """An object of one part, which is the first part of that file."""
        return self._part_file

    def large_file(self) -> JobFile:
        """The file of case ``large``."""
        return self._large_file

    def small_files(self) -> list[JobFile]:
        """The files of case ``small``."""
        return self._small_files

    def several_files(self) -> list[JobFile]:
        """The files of case ``several``."""
        return self._several_files

    def certificate(self) -> Certificate:
        """Certificate of the source with TLS."""
        return self._certificate


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")
