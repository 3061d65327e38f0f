"""The task is asked to end at any line of it, in whatever thread that line is (R5, A5).

A child process runs the real handler and counts the lines of the product that its threads execute; at the one that is
drawn, it sends itself the signal. Whatever line that is: from the first line of the task on, the run has its one report
as soon as its destination is there, the report tells no lie, and it decides how the task ends.

`SIGNALS=1000` draws more, at all named points (hours: with `-o faulthandler_timeout=0`); `SIGNAL_SEED` draws others.
"""

import itertools
import json
import logging
import os
import random
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.impl.test_process_faults import Task
from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, raw_bytes

ID = "20250115_many.d"
FILES = {
    f"{ID}/large.bin": raw_bytes(17 * MIB + 3, "large"),
    f"{ID}/damaged.bin": raw_bytes(9 * MIB, "damaged"),
    f"{ID}/right.bin": raw_bytes(300_000, "right"),
    **{f"{ID}/sub/small_{number}.bin": raw_bytes(3_000 + number, number) for number in range(6)},
}
PRODUCT = str(Path(__file__).resolve().parents[2] / "airflow_src")
NUMBER = int(os.environ.get("SIGNALS", "6"))
NAMES_OF_ENDS = {signal.SIGTERM: "TaskTerminated", signal.SIGALRM: "AirflowTaskTimeout"}
DRAW = random.Random(int(os.environ.get("SIGNAL_SEED", "7")))


@dataclass(frozen=True)
class At:
    """Where the signal comes.

    Attributes:
        share: of the lines of a whole run, from 0 to 1; or above that, for a named point:
        function: name of a function, at whose ``nth`` line it comes.
        number: the signal.
        again: lines after which it comes once more; 0 for never.
        slow_s: how long each call that syncs, links, renames or removes takes longer, as on a slow disk.
        hangs_s: the same from the signal on, but for the one who only reports.

    """

    share: float = 2.0
    function: str = ""
    nth: int = 1
    number: int = signal.SIGTERM
    again: int = 0
    slow_s: float = 0.0
    hangs_s: float = 0.0

    def __str__(self) -> str:
        where = f"{self.function}+{self.nth}" if self.function else f"{self.share:.3f}"
        return f"{signal.Signals(self.number).name} {where} again={self.again} slow={self.slow_s} hangs={self.hangs_s}"


class Lines:
    """Counts the lines that are executed, in all threads, and sends the signal at one of them."""

    def __init__(self, at: At, total: int, count_file: str) -> None:
        self._at = at
        self._count = itertools.count(1)
        self._in_function = itertools.count(1)
        self._number = max(1, int(at.share * total)) if not at.function and total else -1
        self.is_sent = threading.Event()
        self.count_file = count_file
        self.last = 0

    def follow(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PRODUCT) else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "line":
            return self._line
        number = self.last = next(self._count)
        named = frame.f_code.co_qualname == self._at.function and next(self._in_function) == self._at.nth
        if named and not self.is_sent.is_set():
            self._number = number
        again = self.is_sent.is_set() and self._at.again
        if number == self._number or (again and number == self._number + again):
            self._send(frame)
        return self._line

    def _send(self, frame: FrameType) -> None:
        self.is_sent.set()
        logging.info("SIGNAL at %s:%d", frame.f_code.co_qualname, frame.f_lineno)
        os.kill(os.getpid(), self._at.number)


def slowly(at: At, is_sent: threading.Event) -> None:
    """Let what changes the file system take longer."""

    def wait() -> None:
        reports = threading.current_thread().name == "s3-restore-report"
        time.sleep(at.hangs_s if is_sent.is_set() and not reports else at.slow_s)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"os.link", "os.rename", "os.remove", "os.mkdir"} and PRODUCT not in str(arguments[0]):
            wait()

    sys.addaudithook(audit)
    fsync = os.fsync
    os.fsync = lambda descriptor: (wait(), fsync(descriptor))[1]


def meddle(handler: Any, *, at: At, total: int, count_file: str) -> None:
    """In the child: follow every line, and count how often the run is counted."""
    from impl import restore_run  # noqa: PLC0415

    lines = Lines(at, total, count_file)
    counted: list[str] = []
    count_restore = restore_run.count_restore

    def count(summary: Any) -> None:
        counted.append(summary.status.value)
        count_restore(summary)

    restore_run.count_restore = count
    download = handler.download_raw_file_from_s3

    def followed(*arguments: Any, **options: Any) -> Any:
        if at.slow_s or at.hangs_s:
            slowly(at, lines.is_sent)
        threading.settrace(lines.follow)
        sys.settrace(lines.follow)
        try:
            return download(*arguments, **options)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            Path(count_file).write_text(json.dumps({"lines": lines.last, "counted": counted}))

    handler.download_raw_file_from_s3 = followed


class Restores:
    """Runs of the task, each on a folder as it was in the beginning."""

    def __init__(self, kraken: Kraken, folder: Path) -> None:
        self.kraken = kraken
        self._folder = folder
        self._count_file = folder / "lines.json"
        self.total = 0
        kraken.settings["s3_download"] |= {"max_concurrency": 3}
        kraken.write_yaml()
        kraken.back_up(FILES, ID, part_mib=5)

    def run(self, at: At) -> tuple[Task, dict[str, Any]]:
        """Returns the task, and what it counted; nothing where the signal killed it."""
        self.reset()
        self._count_file.unlink(missing_ok=True)
        (self._folder / "task.log").unlink(missing_ok=True)
        options = partial(meddle, at=at, total=self.total, count_file=str(self._count_file))
        task = Task(self._folder, meddle=options)
        try:
            task.ended_after(time.monotonic())
            return task, json.loads(self._count_file.read_text()) if self._count_file.exists() else {}
        finally:
            task.close()

    def reset(self) -> None:
        destination = self.kraken.destination
        for path in sorted(destination.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (destination / ID).mkdir(parents=True, exist_ok=True)
        (destination / f"{ID}/right.bin").write_bytes(FILES[f"{ID}/right.bin"])
        damaged = bytearray(FILES[f"{ID}/damaged.bin"])
        damaged[6 * MIB] ^= 1
        (destination / f"{ID}/damaged.bin").write_bytes(damaged)


@pytest.fixture
def restores(kraken: Kraken, tmp_path: Path) -> Restores:
    made = Restores(kraken, tmp_path)
    task, told = made.run(At())
    assert told["counted"] == ["SUCCESS"], task.log
    made.total = told["lines"]
    assert made.total > 1_000, "its lines are followed"
    return made


def assert_one_report_that_is_true(restores: Restores, at: At) -> None:
    task, told = restores.run(at)
    assert "SIGNAL at" in task.log, f"{at}: no such line; {told}"
    kraken, context = restores.kraken, f"{at}\n{task.log[-6000:]}"
    if not told or not told["counted"]:  # before the task could note an end, while it was loaded, or after its end
        assert not (told and kraken.reports), f"a report that was not counted; {context}"
        assert len(kraken.reports) == (kraken.destination / f"{ID}/sub").exists(), context
        return
    assert len(told["counted"]) == 1, f"counted once; {context}"
    if at.hangs_s and not kraken.reports:
        assert task.log.count("(it does not answer in time). It says:\nS3 Download Status Report") == 1, context
        assert task.told.raised == NAMES_OF_ENDS[at.number], context
        assert task.told.notes == ["Report: could not be written"], context
        return
    assert len(kraken.reports) == 1, context
    lines = {path: kraken.line(path) for path in FILES}
    right = set()
    for path, data in FILES.items():
        there = kraken.destination / path
        if there.exists() and there.read_bytes() == data:
            right.add(path)
        elif there.exists():
            assert path.endswith("damaged.bin"), f"W1: {path}; {context}"
    said = {path for path, line in lines.items() if line.startswith("OK - ")}
    assert said <= right, context
    is_success = kraken.report.endswith("Status: SUCCESS\n")
    assert is_success == (said == set(FILES)), context
    # Where the disk hangs, it may appear when nobody waits for it any more: the log has it, and the task has ended.
    is_late = bool(at.hangs_s) and task.told.notes == ["Report: could not be written"]
    assert (is_success and not is_late) == (not task.told.raised), f"the report decides how the task ends; {context}"
    if is_late:
        assert task.log.count("(it does not answer in time). It says:\nS3 Download Status Report") == 1, context
        assert task.told.raised == NAMES_OF_ENDS[at.number], context
    if not is_success:
        assert task.told.raised == NAMES_OF_ENDS[at.number], context
        expected = [f"Report: {kraken.reports[0]}"]
        # Where the disk hangs, it may have appeared when nobody waited for it any more.
        assert task.told.notes == expected or (at.hangs_s and len(task.told.notes) == 1), context
        for line in lines.values():
            assert re.match(r"OK - |FAILURE - Not (attempted|finished) \(The task", line), context
    assert task.told.handler_put_back, context


def draw(number: int) -> At:
    return At(
        share=DRAW.random(),
        number=DRAW.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGALRM]),
        again=DRAW.choice([0, 0, 1, 30, 400]),
        slow_s=DRAW.choice([0.0, 0.0, 0.02]),
        hangs_s=DRAW.choice([0.0, 0.0, 0.0, DRAW.uniform(1.5, 3.5)]),
    )


@pytest.mark.timeout(max(300, 30 * NUMBER))  # where the disk hangs, a run takes 14 s
def test_at_lines_drawn_at_random(restores: Restores) -> None:
    for at in [draw(number) for number in range(NUMBER)]:
        assert_one_report_that_is_true(restores, at)


NAMED = [
    "download_raw_file_from_s3", "_load", "load", "_restore", "RestoreRun.__init__", "RestoreRun.to_its_end",
    "make_destination", "RestoreRun._work", "Restorer.__init__", "Restorer.run", "RestoreRun._conclude",
    "Report.__init__", "Report.write", "write_new_file", "count_restore", "RestoreRun._settle", "_result",
]  # fmt: skip


def test_at_the_first_lines_of_each_named_point(restores: Restores) -> None:
    some = NAMED if "SIGNALS" in os.environ else DRAW.sample(NAMED, 8)
    for function in some:
        assert_one_report_that_is_true(restores, At(function=function, nth=DRAW.choice([1, 1, 2]), again=2))
