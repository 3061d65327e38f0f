"""What is measured in each case. Every run starts from an untouched folder, and its bytes are compared afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contenders import (
    AWS,
    CONTENDERS,
    MD5SUM,
    OURS_H1,
    OURS_H1_HASHLIB,
    OURS_H2,
    OURS_HASHLIB,
    OURS_PART,
    OURS_RIGHT,
    OURS_UNPROVED,
    PLAN,
    RCLONE,
    ROOT,
    S5CMD,
    S5CMD_MD5SUM,
    Contender,
    ContenderError,
    killed_after,
)
from benchmarks.jobs import BUCKET, Job
from benchmarks.measurements import Sample
from benchmarks.nginx_source import NginxSource
from benchmarks.options import Options
from benchmarks.shaped_link import ShapedLink
from benchmarks.workplace import SEVERAL, Workplace

_ALL = (OURS_H2, OURS_H1, OURS_HASHLIB, OURS_UNPROVED, PLAN, S5CMD_MD5SUM, S5CMD, RCLONE, AWS)


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        title: for tables.
        contenders: who takes part.
        open: makes everything that all runs of the case share; yields what does one run.

    """

    title: str
    contenders: Sequence[str]
    open: Callable[[], Iterator[Callable[[Contender], Sample]]]


class CaseList:
    """The cases of one run.

    Args:
        options: sizes and limits.
        workplace: source files and room for output.

    """

    def __init__(self, options: Options, workplace: Workplace) -> None:
        self._options = options
        self._place = workplace
        size = _size(options.size)
        parts = _size(options.part_size)
        link = f"{options.link_mb_s} MB/s"
        self.cases = {
            "http": Case(f"{size}, plain HTTP", _ALL, self._plain),
            "tls": Case(f"{size}, TLS", _ALL, self._tls),
            "link": Case(f"{size} over a {link} link", _ALL, self._link),
            "large": Case(f"{_size(options.large_size)}, plain HTTP", (OURS_H2, OURS_H1, PLAN), self._large),
            "small": Case(
                f"{options.small_files:,} files of 64 KiB",
                (OURS_H2, PLAN, S5CMD_MD5SUM, S5CMD, RCLONE, AWS),
                self._small,
            ),
            "skip": Case(f"{size} already right", (OURS_H2, OURS_H1, OURS_HASHLIB, PLAN, MD5SUM), self._skip),
            "several": Case(
                f"{SEVERAL} files of {_size(options.several_size)} already right, only MD5s known",
                (OURS_H1, OURS_H1_HASHLIB, MD5SUM),
                self._several,
            ),
            "resume": Case(
                f"{size}, killed at half, then again", (OURS_H2, OURS_H1, PLAN, S5CMD, RCLONE, AWS), self._resume
            ),
            "heal": Case(
                f"{size} with one bad bit, the store tells checksums of {parts} parts",
                (OURS_H2, OURS_PART, OURS_RIGHT, PLAN),
                self._heal,
            ),
        }

    def _plain(self) -> Iterator[Callable[[Contender], Sample]]:
        with NginxSource(self._place.new_folder("http"), self._place.source) as source:
            yield lambda contender: self._download(contender, self._job(source))

    def _tls(self) -> Iterator[Callable[[Contender], Sample]]:
        certificate = self._place.certificate()
        with NginxSource(self._place.new_folder("tls"), self._place.source, certificate) as source:
            yield lambda contender: self._download(contender, self._job(source))

    def _link(self) -> Iterator[Callable[[Contender], Sample]]:
        folder = self._place.new_folder("link")
        with (
            ShapedLink(self._options.link_mb_s) as link,
            NginxSource(folder, self._place.source, address=link.address, prefix=link.prefix) as source,
        ):
            yield lambda contender: self._download(contender, self._job(source))

    def _large(self) -> Iterator[Callable[[Contender], Sample]]:
        with NginxSource(self._place.new_folder("large"), self._place.source) as source:
            job = replace(self._job(source), files=[self._place.large_file()])
            yield lambda contender: self._download(contender, job)

    def _small(self) -> Iterator[Callable[[Contender], Sample]]:
        files = self._place.small_files()
        with NginxSource(self._place.new_folder("small"), self._place.source) as source:
            job = replace(self._job(source), files=files, folder=self._place.small_folder)
            yield lambda contender: self._download(contender, job)

    def _skip(self) -> Iterator[Callable[[Contender], Sample]]:
        with NginxSource(self._place.new_folder("skip"), self._place.source) as source:
            job = self._job(source)

            def run(contender: Contender) -> Sample:
                with self._empty_output(job):
                    shutil.copyfile(self._source_of(job), job.target())
                    return contender.run(job)

            yield run

    def _several(self) -> Iterator[Callable[[Contender], Sample]]:
        files = self._place.several_files()
        with NginxSource(self._place.new_folder("several"), self._place.source) as source:
            job = replace(self._job(source), files=files, folder=self._place.several_folder)

            def run(contender: Contender) -> Sample:
                with self._empty_output(job):
                    shutil.copytree(self._place.source / BUCKET / job.folder, job.target())
                    return contender.run(job)

            yield run

    def _resume(self) -> Iterator[Callable[[Contender], Sample]]:
        with NginxSource(self._place.new_folder("resume"), self._place.source) as source:
            job = self._job(source)

            def run(contender: Contender) -> Sample:
                with self._empty_output(job), killed_after(contender, job, job.size // 2):
                    before = source.log_position()
                    sample = contender.run(job)
                    self._compare(contender, job)
                    return replace(sample, fetched_bytes=source.bytes_sent_since(before))

            yield run

    def _heal(self) -> Iterator[Callable[[Contender], Sample]]:
        whole = self._job(None)
        part = replace(whole, files=[self._place.part_file()])
        sources = [self._source_of(whole), self._source_of(part)]
        with _part_checksum_source(sources, self._options.part_size) as (url, sent):

            def run(contender: Contender) -> Sample:
                job = replace(part if contender.name == OURS_PART else whole, endpoint_url=url)
                with self._empty_output(job):
                    if contender.name != OURS_PART:
                        shutil.copyfile(self._source_of(job), job.target())
                    if contender.name not in {OURS_PART, OURS_RIGHT}:
                        _flip_one_bit(job.target(), job.size // 2)
                    sent()
                    sample = contender.run(job)
                    self._compare(contender, job)
                    return replace(sample, fetched_bytes=sent())

            yield run

    def _job(self, source: NginxSource | None) -> Job:
        return Job(
            files=[self._place.one_file()],
            destination=str(self._place.output),
            endpoint_url=source.url if source else "",
            ca_bundle=source.ca_bundle if source else "",
        )

    def _download(self, contender: Contender, job: Job) -> Sample:
        with self._empty_output(job):
            sample = contender.run(job)
            self._compare(contender, job)
            return sample

    @contextmanager
    def _empty_output(self, job: Job) -> Iterator[None]:
        shutil.rmtree(self._place.output, ignore_errors=True)
        job.target().parent.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self._place.output, ignore_errors=True)

    def _source_of(self, job: Job) -> Path:
        return self._place.source / BUCKET / job.key()

    def _compare(self, contender: Contender, job: Job) -> None:
        command = ["diff", "--recursive", "--brief"] if job.folder else ["cmp"]
        compared = subprocess.run(
            [*command, str(self._source_of(job)), str(job.target())], check=False, capture_output=True, text=True
        )
        if compared.returncode:
            raise ContenderError(f"{contender.name}: wrong bytes: {compared.stdout[-300:]}{compared.stderr[-300:]}")


@contextmanager
def opened(case: Case) -> Iterator[Callable[[Contender], Sample]]:
    """Open a case for its runs."""
    with contextmanager(case.open)() as run:
        yield run


def contenders_of(case: Case, options: Options) -> list[Contender]:
    """Who takes part in a case, with the choice of CONTENDERS: parts of names, case and blanks do not count."""

    def plain(name: str) -> str:
        return "".join(filter(str.isalnum, name.lower()))

    chosen = [plain(name) for name in options.contenders]
    return [CONTENDERS[name] for name in case.contenders if not chosen or any(part in plain(name) for part in chosen)]


def _size(size: int) -> str:
    mib = size // 1024**2
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def _flip_one_bit(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@contextmanager
def _part_checksum_source(paths: Sequence[Path], part_size: int) -> Iterator[tuple[str, Callable[[], int]]]:
    command = [sys.executable, "-m", "benchmarks.part_checksum_source", str(part_size), *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        if not server.stdin or not server.stdout:
            raise RuntimeError("the stand-in has no pipes")
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError("the S3 stand-in of the tests did not start")
        requests, answers = server.stdin, server.stdout

        def sent() -> int:
            requests.write("\n")
            requests.flush()
            return int(answers.readline())

        try:
            yield url, sent
        finally:
            server.stdin.close()
