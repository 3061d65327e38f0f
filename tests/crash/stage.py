"""Plays a scenario once, on a real folder, and gives back what was recorded."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from s3_restore.model.outcomes import RestoreSummary
from tests.crash.disk import Attributes, Crashed, CrashedFile, CrashedFolder, Disk, FileNode, FolderNode, Op, load
from tests.crash.product import new_process, run_task, scaled
from tests.crash.recorder import Killed, Process, Recorder, within
from tests.crash.scenarios import Run, Scenario
from tests.crash.store import MemoryStore
from tests.support.raw_files import raw_bytes

OUTPUT, PROJECT = "output", "PRID001"
BEFORE = f"{OUTPUT}/{PROJECT}/"
ASIDE = ".corrupted"
_OLD_NS = 1_700_000_000_000_000_000
_MODE = 0o640
_HANG_S = 30.0


@dataclass
class Recording:
    """What was recorded.

    Attributes:
        before: what was on the storage in the beginning.
        log: what was done then.
        notes: what else a reader may want to know.
        sync_places: where in the product something was synced.

    """

    before: Crashed
    log: list[Op]
    notes: list[str] = field(default_factory=list)
    sync_places: set[str] = field(default_factory=set)

    def replayed(self) -> Iterator[tuple[int, Op, Disk]]:
        """The disk after each step."""
        disk = load(self.before)
        for step, op in enumerate(self.log, start=1):
            disk.apply(op)
            yield step, op, disk


def strangers(scenario: Scenario) -> dict[str, bytes]:
    """Files of others, below the root: nothing of them may change."""
    found = {f"{OUTPUT}/PRID002/other.raw": b"another project"}
    if not scenario.makes_project and scenario.strangers:
        found |= {
            f"{BEFORE}notes.txt": b"notes of a person",
            f"{BEFORE}other.raw{ASIDE}": b"a corrupted file of another raw file",
            f"{BEFORE}_download_status_another_20250101_000000.txt": b"another report",
        }
    for file in scenario.files:
        if file.foreign_aside:
            found[f"{BEFORE}{file.path}{ASIDE}"] = raw_bytes(700, f"foreign {file.path}")
    return found


def first_disk(scenario: Scenario) -> Crashed:
    """What is on the storage before the first run."""
    crashed: Crashed = {}
    numbers = iter(range(20, 1000))

    def put(path: str, data: bytes, mode: int = 0o644) -> None:
        components = path.split("/")
        for depth in range(1, len(components)):
            above = "/".join(components[:depth])
            if above not in crashed:
                crashed[above] = CrashedFolder(next(numbers), 0o755)
        number = next(numbers)
        crashed[path] = CrashedFile(number, data, Attributes(mode, 0, _OLD_NS + number * 1_000_003))

    for path, data in strangers(scenario).items():
        put(path, data)
    for file in scenario.files:
        if file.local == "right":
            put(BEFORE + file.path, scenario.right(file.path))
        elif file.local == "wrong":
            put(BEFORE + file.path, scenario.wrong(file.path), _MODE)
    if not scenario.makes_project and f"{OUTPUT}/{PROJECT}" not in crashed:
        crashed[f"{OUTPUT}/{PROJECT}"] = CrashedFolder(next(numbers), 0o755)
    return crashed


class Stage:
    """Plays scenarios in folders below one of its own; ``ignored_sync`` breaks the product (see ``Recorder``)."""

    def __init__(self, ignored_sync: str = "") -> None:
        shared = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="crash-", dir=shared if shared.is_dir() else None))
        self._ignored_sync = ignored_sync
        self._count = 0

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def play(self, scenario: Scenario, before: Crashed, runs: tuple[Run, ...]) -> Recording:
        """Record some runs, one after the other, or together where the scenario says so."""
        together = bool(scenario.together) and len(runs) > 1
        with self._laid_out(before) as recorder, scaled(together=together), recorder.installed():
            recording = Recording(before, recorder.log)
            recorder.has_links, recorder.has_free_rename = scenario.has_links, scenario.has_free_rename
            if runs is scenario.runs:
                _write_as_others(scenario, recorder)
            if together:
                _play_together(scenario, recorder, runs, recording.notes)
            else:
                for number, run in enumerate(runs):
                    _play_run(scenario, recorder, run, number, recording.notes)
            recording.sync_places = recorder.sync_places
            return recording

    def end_well(self, scenario: Scenario, crashed: Crashed) -> tuple[RestoreSummary | None, str, Disk]:
        """What a run makes of what a power cut left: its outcomes, or the error; and the disk."""
        with self._laid_out(crashed) as recorder, scaled(a_day_later=True), recorder.installed():
            store = MemoryStore({file.path: scenario.right(file.path) for file in scenario.files})
            said: list[RestoreSummary] = []
            process = new_process("eeeeeeee")  # of another boot
            recorder.has_links, recorder.has_free_rename = scenario.has_links, scenario.has_free_rename
            try:
                run_task(Path(recorder.root) / OUTPUT, PROJECT, scenario.specs(), store, process, said=said)
            except Exception as error:  # noqa: BLE001 (told as a violation)
                return None, f"{type(error).__name__}: {error}", recorder.disk
            return said[0], "", recorder.disk

    @contextmanager
    def _laid_out(self, before: Crashed) -> Iterator[Recorder]:
        self._count += 1
        root = self._folder / str(self._count)
        root.mkdir()
        recorder = Recorder(root)
        recorder.ignored_sync = self._ignored_sync
        recorder.lay_out(before)
        try:
            yield recorder
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _write_as_others(scenario: Scenario, recorder: Recorder) -> None:
    """What another program has just written, and not brought to the storage."""
    for file in scenario.files:
        if file.local not in ("just written", "just broken"):
            continue
        path = Path(recorder.root) / BEFORE / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = scenario.right(file.path) if file.local == "just written" else scenario.wrong(file.path)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        os.pwrite(fd, data, 0)
        os.close(fd)


def _play_run(scenario: Scenario, recorder: Recorder, run: Run, number: int, notes: list[str]) -> None:
    process = new_process(run.host)
    rng = random.Random(f"{scenario.seed} run {number}")
    syncs = 0

    def before_call(caller: Process | None, _name: str) -> None:
        _kill_at_its_time(caller, process, run)

    def sync_fails(caller: Process | None, _node: FileNode | FolderNode) -> tuple[int, int] | None:
        nonlocal syncs
        if caller is not process or not run.failing_sync:
            return None
        syncs += 1
        nth, error = run.failing_sync
        return (error, rng.randrange(10**9)) if syncs == nth else None

    recorder.before_call, recorder.sync_fails = before_call, sync_fails
    try:
        _run_and_say(scenario, recorder, run, process, notes)
    finally:
        recorder.before_call, recorder.sync_fails = (lambda *_: None), (lambda *_: None)
        process.is_dead = True
    if run.loses_write_back:
        for node in list(recorder.disk.nodes.values()):
            if isinstance(node, FileNode) and (node.versions or node.sizes) and rng.random() < 0.8:
                recorder.lose(node.number, rng.randrange(10**9))


def _kill_at_its_time(caller: Process | None, process: Process, run: Run) -> None:
    if caller is process and run.killed_at and process.calls + 1 >= run.killed_at:
        process.is_dead = True
        raise Killed


def _run_and_say(scenario: Scenario, recorder: Recorder, run: Run, process: Process, notes: list[str]) -> None:
    """Run the task, and note what it says is right."""
    store = MemoryStore(
        {file.path: scenario.right(file.path) for file in scenario.files},
        part_bytes=32 * 1024,
        tells_checksums=scenario.tells_checksums,
        fails_after=run.store_fails_after,
    )
    output = Path(recorder.root) / OUTPUT
    said: list[RestoreSummary] = []
    report: Path | None = None
    try:
        with suppress(Killed):
            report = run_task(output, PROJECT, scenario.specs(), store, process, verify=run.verify, said=said)
    except Exception as error:  # noqa: BLE001 (such as a report that could not be written)
        notes.append(f"raised {type(error).__name__}: {error}")
    for summary in said:
        notes.extend(f"{each.relative_path}: {each.result.value} {each.reason}" for each in summary.outcomes)
        if not process.is_dead:
            recorder.say("right", *(BEFORE + each.relative_path for each in summary.outcomes if each.ok))
    # Where the name of a report cannot be brought to the storage, the log says so, and the report is left as it is.
    if report and not process.is_dead and "atomic_write" not in recorder.failed_place:
        recorder.say("right", BEFORE + report.name)


def _play_together(scenario: Scenario, recorder: Recorder, runs: tuple[Run, ...], notes: list[str]) -> None:
    """Two runs, of which one has its turn at a time: the interleaving is that of the seed."""
    processes = [new_process(run.host) for run in runs]
    turns = _Turns(processes, scenario.together)

    def before_call(caller: Process | None, name: str) -> None:
        turns.wait(caller, name)
        for run, process in zip(runs, processes, strict=True):
            _kill_at_its_time(caller, process, run)

    recorder.before_call = before_call

    def play(run: Run, process: Process) -> None:
        try:
            with within(process):
                _run_and_say(scenario, recorder, run, process, notes)
        finally:
            turns.end(process)

    threads = [threading.Thread(target=play, args=each) for each in zip(runs, processes, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_HANG_S)
        assert not thread.is_alive(), "the two runs wait for each other"
    recorder.before_call = lambda *_: None
    for process in processes:
        process.is_dead = True


class _Turns:
    """Lets one process at a time make calls, for as many as the seed says."""

    def __init__(self, processes: list[Process], counts: tuple[int, ...]) -> None:
        self._waiting = list(processes)
        self._counts = list(counts)
        self._left = self._counts.pop(0)
        self._changed = threading.Condition()

    def wait(self, process: Process | None, _name: str) -> None:
        if process is None:
            return
        with self._changed:
            if process is self._waiting[0]:
                if self._left <= 0 and len(self._waiting) > 1:
                    self._next()
                self._left -= 1
            self._changed.wait_for(lambda: self._waiting[0] is process, _HANG_S)

    def end(self, process: Process) -> None:
        with self._changed:
            self._waiting.remove(process)
            self._changed.notify_all()

    def _next(self) -> None:
        self._waiting.append(self._waiting.pop(0))
        self._left = self._counts.pop(0) if self._counts else 5
        self._changed.notify_all()
