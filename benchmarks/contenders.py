"""Who competes, and how each is run: a call in a running Python process, or a whole command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.jobs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Job
from benchmarks.measurements import Sample
from benchmarks.source_data import without_etag

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-bench"


class ContenderError(Exception):
    """A contender failed; its own words."""


@dataclass
class Running:
    """A contender at work.

    Attributes:
        process: its main process.
        written_before: bytes that this process had written when its work began.

    """

    process: subprocess.Popen[bytes]
    written_before: int = 0

    def written(self) -> int:
        """Bytes written since the work began; 0 when the process has ended."""
        return max(0, written_bytes(self.process.pid) - self.written_before)


class Contender(Protocol):
    """One way to get files from S3 to a folder."""

    @property
    def name(self) -> str:
        """How it is called in tables."""

    def run(self, job: Job) -> Sample:
        """Do the job, whole.

        Raises:
            ContenderError: if it fails.

        """

    def start(self, job: Job) -> Running:
        """Begin the job, to be killed while it works."""


def written_bytes(pid: int) -> int:
    """Bytes that a process has handed to write calls; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)


@contextmanager
def _not_outliving(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a process, and what it started, when the block is left by an error such as Ctrl-C."""
    try:
        yield
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


@dataclass(frozen=True)
class InProcess:
    """A module of this package with ``prepare``, timed in a process that has imported and connected.

    Attributes:
        name: of the contender.
        module: name of the module.
        change: what is done to a job before.
        back_end: which code hashes, as S3_RESTORE_MD5 names it; empty: what a restore would choose.

    """

    name: str
    module: str
    change: Callable[[Job], Job] = lambda job: job
    back_end: str = ""

    def run(self, job: Job) -> Sample:
        """Do the job, whole."""
        with tempfile.TemporaryFile() as errors:
            running = self._start(job, errors)
            with _not_outliving(running.process):
                output, _ = running.process.communicate()
            if running.process.returncode:
                errors.seek(0)
                raise ContenderError(f"{self.name}: {errors.read().decode()[-2000:]}")
        return Sample(**json.loads(output))

    def start(self, job: Job) -> Running:
        """Begin the job, to be killed while it works."""
        return self._start(job, subprocess.DEVNULL)

    def _start(self, job: Job, errors: int | object) -> Running:
        path = os.pathsep.join([str(ROOT), str(ROOT / "airflow_src/dags"), str(ROOT / "airflow_src/plugins")])
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.in_process", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,  # type: ignore[arg-type]
            env={
                **os.environ,
                "PYTHONPATH": path,
                "AWS_EC2_METADATA_DISABLED": "true",
                "S3_RESTORE_MD5": self.back_end,
            },
            start_new_session=True,
        )
        if not process.stdin or not process.stdout:
            raise ContenderError(f"{self.name}: no pipes")
        process.stdin.write(self.change(job).to_json().encode())
        process.stdin.close()
        process.stdin = None
        process.stdout.readline()  # it is ready; or it failed, which the return code tells
        return Running(process, written_bytes(process.pid))


@dataclass(frozen=True)
class Command:
    """A command line, timed whole.

    Attributes:
        name: of the contender.
        one: makes the command for a job of one file.
        many: makes the command for a job of a folder of files; None when there is none.

    """

    name: str
    one: Callable[[Job], str]
    many: Callable[[Job], str] | None = None

    def run(self, job: Job) -> Sample:
        """Do the job, whole."""
        with tempfile.TemporaryFile() as errors:
            begin = time.perf_counter()
            process = self._start(job, errors)
            with _not_outliving(process):
                _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                raise ContenderError(f"{self.name}: {errors.read().decode()[-2000:]}")
        return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)

    def start(self, job: Job) -> Running:
        """Begin the job, to be killed while it works."""
        return Running(self._start(job, subprocess.DEVNULL))

    def _start(self, job: Job, errors: int | object) -> subprocess.Popen[bytes]:
        if job.folder and not self.many:
            raise ContenderError(f"{self.name}: has no command for a folder")
        line = self.many(job) if job.folder and self.many else self.one(job)
        Path(job.destination).mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            ["/bin/sh", "-c", line if "&&" in line else f"exec {line}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,  # type: ignore[arg-type]
            env=_environment(job),
            start_new_session=True,
        )


def _environment(job: Job) -> dict[str, str]:
    """Only what the tools need, so that nobody's settings change the race."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": job.destination,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_BENCHMARK_TYPE": "s3",
        "RCLONE_CONFIG_BENCHMARK_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCHMARK_ENDPOINT": job.endpoint_url,
        "RCLONE_CONFIG_BENCHMARK_REGION": REGION,
        "RCLONE_CONFIG_BENCHMARK_ENV_AUTH": "true",
    }
    if job.ca_bundle:
        environment |= {"AWS_CA_BUNDLE": job.ca_bundle, "SSL_CERT_FILE": job.ca_bundle}
    return environment


def _s5cmd(job: Job, key: str) -> str:
    binary = next(TOOLS.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"), TOOLS / "bin/s5cmd")  # not its wrapper
    return shlex.join([str(binary), "--endpoint-url", job.endpoint_url, "cp", f"s3://{BUCKET}/{key}"])


def _s5cmd_one(job: Job) -> str:
    return f"{_s5cmd(job, job.key())} {shlex.quote(str(job.target()))}"


def _s5cmd_many(job: Job) -> str:
    return f"{_s5cmd(job, job.key() + '/*')} {shlex.quote(str(job.target()))}/"


def _md5sum_one(job: Job) -> str:
    return f"md5sum {shlex.quote(str(job.target()))}"


def _md5sum_many(job: Job) -> str:
    return f"find {shlex.quote(str(job.target()))} -type f -exec md5sum {{}} +"


def _rclone(job: Job, verb: str) -> str:
    return shlex.join([str(TOOLS / "bin/rclone"), verb, f"benchmark:{BUCKET}/{job.key()}", str(job.target())])


def _aws(job: Job, *options: str) -> str:
    source = f"s3://{BUCKET}/{job.key()}" + ("/" if options else "")
    command = [str(TOOLS / "bin/aws"), "--endpoint-url", job.endpoint_url, "s3", "cp", source, str(job.target())]
    return shlex.join([*command, "--only-show-errors", *options])


OURS_H2 = "ours, H2"
OURS_H1 = "ours, H1"
OURS_HASHLIB = "ours, H2, hashlib"
OURS_H1_HASHLIB = "ours, H1, hashlib"
OURS_UNPROVED = "ours, H2, hash left out"
OURS_PART = "ours, H2, that part alone"
OURS_RIGHT = "ours, H2, already right"
PLAN = "plan taken literally"
S5CMD_MD5SUM = "s5cmd, then md5sum"
S5CMD = "s5cmd alone"
RCLONE = "rclone alone"
AWS = "aws-cli alone"
MD5SUM = "md5sum"

CONTENDERS: dict[str, Contender] = {
    each.name: each
    for each in (
        InProcess(OURS_H2, "ours"),
        InProcess(OURS_H1, "ours", lambda job: replace(job, files=without_etag(job.files))),
        InProcess(OURS_HASHLIB, "ours", back_end="hashlib"),
        InProcess(OURS_H1_HASHLIB, "ours", lambda job: replace(job, files=without_etag(job.files)), "hashlib"),
        InProcess(OURS_UNPROVED, "ours_unproved"),
        InProcess(OURS_PART, "ours"),
        InProcess(OURS_RIGHT, "ours"),
        InProcess(PLAN, "plan_literal"),
        Command(
            S5CMD_MD5SUM,
            lambda job: f"{_s5cmd_one(job)} && {_md5sum_one(job)}",
            lambda job: f"{_s5cmd_many(job)} && {_md5sum_many(job)}",
        ),
        Command(S5CMD, _s5cmd_one, _s5cmd_many),
        Command(RCLONE, lambda job: _rclone(job, "copyto"), lambda job: _rclone(job, "copy")),
        Command(AWS, _aws, lambda job: _aws(job, "--recursive")),
        Command(MD5SUM, _md5sum_one, _md5sum_many),
    )
}


@contextmanager
def killed_after(contender: Contender, job: Job, written: int) -> Iterator[None]:
    """Run a contender and kill it (SIGKILL) once it has written so many bytes; the block sees what it left.

    Raises:
        ContenderError: if it ended by itself before.

    """
    running = contender.start(job)
    try:
        while running.written() < written:
            if running.process.poll() is not None:
                raise ContenderError(f"{contender.name}: ended before it had written {written} bytes")
            time.sleep(0.001)
    finally:
        running.process.kill()
        running.process.wait()
        if running.process.stdout:
            running.process.stdout.close()
    yield
