"""A deployment whose output is a disk of its own, and what must hold of a disk whatever happened to it."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.mongo_server import MongoServer
from tests.chaos import child as chaos_child
from tests.disks import child
from tests.disks.child import End, Job, Trigger
from tests.support.kraken import Kraken
from tests.support.mounts import Disk, Mounts, own_namespace, run
from tests.support.s3_stand_in import S3StandIn

ID = "20250115_sample.raw"
PROJECT = Kraken.project_id
LIMIT_S = 60
SKIPPED = "OK - Skipped (already exists)"
_ENVIRONMENT = (
    "ALPHAKRAKEN_YAML",
    "AIRFLOW_CONN_AWS_DEFAULT",
    "MONGO_HOST",
    "MONGO_PORT",
    "MONGO_USER",
    "MONGO_PASSWORD",
)


def long(*values: object) -> list[Any]:
    """Parameters that only `make test-disks` runs."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


class Deployment(Kraken):
    """Its output folder is where disks are mounted.

    Attributes:
        mounts: makes the disks.
        files: what is backed up, by path.
        former: other bytes that were at a path before, which may be the last copy.

    """

    def __init__(
        self, folder: Path, mounts: Mounts, s3: S3StandIn, mongo: MongoServer, patch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(folder, s3, mongo, patch)
        self.folder = folder
        self.mounts = mounts
        self.files: dict[str, bytes] = {}
        self.former: dict[str, bytes] = {}
        self._tasks: list[Task] = []
        self._others = 0
        self.set(max_concurrency=2, stall_timeout_s=30)

    def set(self, **settings: Any) -> None:
        """Settings of the section `s3_download`."""
        self.settings["s3_download"] |= settings
        self.write_yaml()

    def put(self, files: Mapping[str, bytes], **options: Any) -> None:
        """Back these files up."""
        self.files = dict(files)
        self.back_up(files, ID, **{"part_mib": 4} | options)

    def disk(self, kind: str = "ext4", *options: str, **more: Any) -> Disk:
        """Make a file system and mount it as the output."""
        return self.mounts.disk(kind, self.output, *options, **more)

    def place(self, path: str, content: bytes, *, synced: bool = True) -> Path:
        """Put bytes at a path, as another program does, and bring them to the storage if it is a careful one."""
        file = self.destination / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if synced:
            run("sync", "--file-system", file)
        return file

    def damage(self, path: str, offset: int = 9) -> bytes:
        """Put the file there with one wrong bit; returns its bytes."""
        content = bytearray(self.files[path])
        content[offset] ^= 0x10
        self.place(path, bytes(content))
        self.former[path] = bytes(content)
        return self.former[path]

    # --- runs ------------------------------------------------------------------------------------------------------

    def begin(
        self, *triggers: Trigger, call: str = "download_raw_file_from_s3", at_the_end: Trigger | None = None
    ) -> "Task":
        name = f"task-{len(self._tasks)}"
        files = [str(self.folder / f"{name}.{kind}") for kind in ("log", "json")]
        environment = {name: os.environ[name] for name in _ENVIRONMENT}
        job = Job(own_namespace(), ID, call, environment, str(self.output), triggers, at_the_end, *files)
        self._tasks.append(Task(job))
        return self._tasks[-1]

    def restore(self, *triggers: Trigger, **options: Any) -> "Task":
        """One run to its end, whatever that is."""
        return self.begin(*triggers, **options).ended()

    def restore_well(self, **options: Any) -> "Task":
        task = self.restore(**options)
        assert (task.end.raised, task.end.told.get("status")) == ("", "SUCCESS"), task.log
        self.assert_right(self.output)
        left = [name for name in self.strays(self.output) if not self._is_former(self.destination / name)]
        said = {name: (self.destination / name).read_bytes()[:300] for name in left}
        assert left == [], f"left behind: {said}\n{task.log}"
        return task

    def _is_former(self, file: Path) -> bool:
        """Whether it is the corrupted version that a run set aside; where one was killed then, it may stay."""
        final = str(file.relative_to(self.destination)).partition(".corrupted")[0]
        return final in self.former and file.read_bytes() == self.former[final]

    # --- what must hold --------------------------------------------------------------------------------------------

    def assert_right(self, output: Path, paths: Iterable[str] | None = None) -> None:
        """All files have the right bytes below an output folder, or those that are named."""
        for path in self.files if paths is None else paths:
            file = output / PROJECT / path
            assert file.exists(), f"{path} is missing"
            assert file.read_bytes() == self.files[path], f"{path}: {_difference(file.read_bytes(), self.files[path])}"

    def assert_true(self, task: "Task", output: Path | None = None) -> None:
        """What a run has called OK is right on the storage."""
        self.assert_right(output or self.output, [path for path, said in task.lines.items() if said.startswith("OK")])

    def assert_sound(self, output: Path, *, reports_count: bool = True) -> None:
        """What must hold of every disk at every instant, be the power cut or not.

        A final path has the right bytes, those from before, or nothing. Those from before are somewhere until the right
        ones are there. A report is whole, and what it calls OK is right.

        Args:
            output: where the disk is mounted.
            reports_count: whether what reports say is still to be true.

        """
        for path, data in self.files.items():
            final, former = output / PROJECT / path, self.former.get(path)
            there = final.read_bytes() if final.is_file() else None
            if there is not None:
                difference = _difference(there, data)
                assert there in (data, former), f"{path} has bytes that it never should have: {difference}"
            if former is not None and there is None:
                beside = {other.read_bytes() for other in final.parent.glob(f"{final.name}.corrupted*")}
                assert former in beside, f"{path}: the last local copy is gone, and there is no other"
        for report in (output / PROJECT).glob("_download_status_*.txt") if reports_count else ():
            text = report.read_text()
            assert re.search(r"\nStatus: [A-Z ]+\n\Z", text), f"a report that is not whole: {text!r}"
            self.assert_right(output, [path for path, said in lines_of(text).items() if said.startswith("OK")])

    def strays(self, output: Path) -> list[str]:
        """Files below the destination that are neither backed up nor a report."""
        folder = output / PROJECT
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
        return sorted(name for name in found - set(self.files) if not name.startswith("_download_status_"))

    def close(self) -> None:
        for task in self._tasks:
            task.close()
        super().close()


def age(disk: Disk, paths: Iterable[str], hours: int = 2) -> None:
    """Let files of an unmounted ext4 be changed for the last time so long ago; no call can set the change time back."""
    then = int(time.time()) - 3600 * hours
    commands = "".join(f'sif "/{PROJECT}/{path}" {field} @{then}\n' for path in paths for field in ("ctime", "mtime"))
    argv = ["debugfs", "-w", "-f", "-", str(disk.image)]
    subprocess.run(argv, input=commands, text=True, check=True, capture_output=True)


def lines_of(text: str) -> dict[str, str]:
    """Path -> what a report says of it, from the report or from a log that quotes it last."""
    files = text.rpartition("Files:\n------\n")[2].partition("\n\nSummary:")[0]
    return dict(line.split(": ", 1) for line in files.splitlines() if ": " in line)


def _difference(got: bytes, expected: bytes) -> str:
    if len(got) != len(expected):
        return f"{len(got)} bytes instead of {len(expected)}"
    step = 4096
    wrong = [at for at in range(0, len(got), step) if got[at : at + step] != expected[at : at + step]]
    zeros = sum(not any(got[at : at + step]) for at in wrong)
    return f"{len(wrong)} of {-(-len(got) // step)} blocks are wrong, {zeros} of them zeros"


@dataclass
class Task:
    """One attempt in a process of its own."""

    job: Job

    def __post_init__(self) -> None:
        self.process = chaos_child.server().Process(target=child.main, args=(self.job,), daemon=True)
        self.process.start()

    def ended(self) -> "Task":
        self.process.join(LIMIT_S)
        assert self.process.exitcode is not None, f"still running after {LIMIT_S} s:\n{self.log}"
        return self

    @property
    def was_killed(self) -> bool:
        return self.process.exitcode == -9

    @property
    def end(self) -> End:
        file = Path(self.job.end_file)
        assert file.exists(), f"died with {self.process.exitcode}:\n{self.log}"
        return End(**json.loads(file.read_text()))

    @property
    def log(self) -> str:
        file = Path(self.job.log_file)
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def lines(self) -> dict[str, str]:
        """What the report says, which the log quotes even where it cannot be written."""
        return lines_of(self.log) if "Files:\n------\n" in self.log else {}

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
