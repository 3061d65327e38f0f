"""Hosts, and a deployment whose output is mounted on each of them."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from demo.mongo_server import MongoServer
from tests.hosts import host
from tests.hosts.host import LIMIT_S, Host
from tests.hosts.task import End, Task
from tests.support.kraken import Kraken
from tests.support.s3_stand_in import RecordedRequest, S3StandIn

ID = "20250115_sample.raw"


@pytest.fixture(autouse=True, scope="session")
def _hosts_can_be() -> None:
    if reason := host.why_not():
        pytest.skip(f"no hosts here: {reason}")


class Deployment(Kraken):
    """A deployment whose output is a share.

    Attributes:
        output: where the workers have it mounted.
        share: the folder on the server; what tests look at is what is there.

    """

    def __init__(self, folder: Path, s3: S3StandIn, mongo: MongoServer, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, s3, mongo, patch)
        self.folder = folder
        self.share = folder / "share"
        self.share.mkdir()
        self.destination = self.share / self.project_id
        self.files: dict[str, bytes] = {}
        self._hosts: list[Host] = []
        self._tasks: list[Task] = []
        self.set(max_concurrency=4, stall_timeout_s=30)

    def set(self, **settings: Any) -> None:
        """Settings of the section `s3_download`."""
        self.settings["s3_download"] |= settings
        self.write_yaml()

    def put(self, files: Mapping[str, bytes], raw_file_id: str = ID, **options: Any) -> None:
        """Back files up."""
        self.files |= files
        self.back_up(files, raw_file_id, **{"part_mib": 4} | options)

    def host(self, name: str, **options: Any) -> Host:
        self._hosts.append(Host(name, self.folder, **options))
        return self._hosts[-1]

    def begin(self, host: Host, raw_file_id: str = ID, **options: Any) -> Task:
        folder = self.folder / f"task-{len(self._tasks)}-{host.name}"
        self._tasks.append(Task(host, raw_file_id, folder, **options))
        return self._tasks[-1]

    def restore(self, host: Host, raw_file_id: str = ID, **options: Any) -> End:
        """Run the task on a host to its end."""
        return self.begin(host, raw_file_id, **options).end()

    def restore_well(self, host: Host, raw_file_id: str = ID, **options: Any) -> End:
        """The same where all files must be right in the end."""
        task = self.begin(host, raw_file_id, **options)
        end = task.end()
        end.assert_success(task.log)
        return end

    def assert_right(self, *paths: str) -> None:
        """These files (all, if none are named) are on the storage."""
        for path in paths or self.files:
            assert (self.destination / path).read_bytes() == self.files[path], f"{path}: wrong bytes on the storage"

    def assert_no_wrong_ok(self, before: Mapping[str, bytes] | None = None) -> None:
        """W1: what is on a final path is right, or still what was there before; no report calls right what is not."""
        right = set()
        for path, data in self.files.items():
            there = self.destination / path
            if there.exists():
                content = there.read_bytes()
                assert content in (data, (before or {}).get(path)), f"W1: {path} has other bytes"
                right |= {path} if content == data else set()
        if self.reports:
            said = {path for path in self.files if f"\n{path}: OK - " in self.report}
            assert said <= right, f"called OK, and not there: {said - right}"

    def assert_tidy(self) -> None:
        assert self.others(*self.files) == []

    def age_temporary_files(self, seconds: float = 3600) -> int:
        """Make what attempts have left look silent for so long, by the clock of the file system; returns how many."""
        count = 0
        for file in self.destination.rglob(".s3dl.*"):
            then = file.stat().st_mtime - seconds
            os.utime(file, (then, then))
            count += 1
        return count

    def close(self) -> None:
        for each in self._hosts:
            each.close()
        for task in self._tasks:
            task.close()
        super().close()


@pytest.fixture
def kraken(tmp_path: Path, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with S3StandIn() as s3:
        deployment = Deployment(tmp_path, s3, mongo_server, monkeypatch)
        try:
            yield deployment
        finally:
            s3.on_request = None
            deployment.close()


class Hold:
    """Lets so many GETs through and holds the others, so that a test knows how far a run is."""

    def __init__(self, s3: S3StandIn, after: int) -> None:
        self._left = itertools.count(after, -1)
        self._reached = threading.Event()
        self._open = threading.Event()
        s3.on_request = self._meet

    def _meet(self, request: RecordedRequest) -> None:
        if request.operation == "GetObject" and not self._open.is_set() and next(self._left) <= 0:
            self._reached.set()
            self._open.wait(LIMIT_S)

    def wait(self, task: Task) -> None:
        """Until a run stands before it."""
        assert self.reached(task), f"it ended and was never held:\n{task.log}"

    def reached(self, task: Task) -> bool:
        """Whether a run came to stand before it, or ended without."""
        host.wait_for(lambda: self._reached.is_set() or not task.is_alive(), "a request or an end")
        return self._reached.is_set()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def hold(kraken: Deployment) -> Iterator[Callable[[int], Hold]]:
    made: list[Hold] = []

    def make(after: int) -> Hold:
        made.append(Hold(kraken.s3, after))
        return made[-1]

    yield make
    for each in made:
        each.open()
