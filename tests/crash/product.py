"""How the crash tests run the product: the real restore and the real report, with small numbers and model processes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from s3_restore.disk import atomic_write, hashing, owners, quarantine, temporary_files
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.outcomes import RestoreSummary
from s3_restore.model.settings import RestoreSettings, Verify
from s3_restore.model.status_report import ReportHeader, render_report, report_file_name
from s3_restore.run import attempt, file_restore, old_news, transfer
from s3_restore.run.restorer import Restorer
from tests.crash.recorder import Process, current_process, within
from tests.crash.store import MemoryStore

KIB = 1024
RAW_FILE_ID = "20250115_crash.d"
_NEVER_S = -1.0  # everybody has been silent for longer, also who wrote within the same tick of the clock of file times
_FIRST_PID = 100
_pids = itertools.count(_FIRST_PID)
_processes: dict[int, Process] = {}


def new_process(host: str = "aaaaaaaa") -> Process:
    """A process of the model."""
    process = Process(next(_pids), host)
    _processes[process.pid] = process
    return process


@contextmanager
def scaled(*, a_day_later: bool = False, together: bool = False) -> Iterator[None]:
    """Small files take the ways of large ones, nothing is waited for, and owners are processes of the model.

    Runs that are there together take each other's files over, alive as they are, but not each other's reports: nobody
    writes one for five minutes.
    """
    _processes.clear()
    report_stale_after_s = atomic_write._STALE_AFTER_S if together else _NEVER_S
    forgotten_after_s = _NEVER_S if a_day_later else 24 * 3600.0
    with (
        patch.object(attempt, "JOURNAL_FROM_BYTES", 24 * KIB),
        patch.object(file_restore, "_WAIT_WHEN_CHANGED_S", 0.001),
        patch.object(old_news, "_WAITS_S", (0.001,) * 3),
        patch.object(transfer, "CHECKPOINT_BYTES", 16 * KIB),
        patch.object(transfer, "SEGMENT_BYTES", 32 * KIB),
        patch.object(transfer, "BUFFER_BYTES", 8 * KIB),
        patch.object(hashing, "BUFFER_BYTES", 8 * KIB),
        patch.object(hashing, "_buffers", threading.local()),  # else a thread keeps its small buffer
        patch.object(temporary_files, "_COPY_BYTES", 16 * KIB),
        patch.object(quarantine, "_FORGOTTEN_AFTER_S", forgotten_after_s),
        patch.object(atomic_write, "_STALE_AFTER_S", report_stale_after_s),
        patch.object(owners, "_active", set()),
        patch.object(owners, "_host_of", lambda _pid: _mine().host),
        patch.object(owners, "_random_of", lambda _pid: _mine().random),
        patch.object(owners, "_start_of_own", str),
        patch.object(owners, "_sees_processes", lambda: True),
        patch.object(owners, "_status_of", _status_of),
        patch.object(owners, "os", SimpleNamespace(getpid=lambda: _mine().pid, kill=_kill)),
    ):
        yield


def run_task(
    output: Path,
    project: str,
    specs: Sequence[FileSpec],
    store: MemoryStore,
    process: Process,
    *,
    stale_after_s: float = _NEVER_S,
    verify: str = "inflight",
    said: list[RestoreSummary],
) -> Path:
    """What the task does from the making of the destination to the end of the report.

    Returns:
        Where the report is; ``said`` gets the summary as soon as there is one.

    """
    with within(process):
        destination = output / project
        destination.mkdir(exist_ok=True)
        settings = RestoreSettings(max_concurrency=1, stale_after_s=stale_after_s, verify=Verify(verify))
        restorer = Restorer(store, destination, settings, reserved=[spec.relative_path for spec in specs])
        summary = restorer.run(specs)
        said.append(summary)
        now = datetime.now(tz=UTC)
        header = ReportHeader(RAW_FILE_ID, project, "bucket", "", now, str(destination))
        names = (report_file_name(RAW_FILE_ID, now, number) for number in itertools.count(1))
        return atomic_write.write_new_file(destination, names, render_report(header, summary))


def _mine() -> Process:
    process = current_process()
    assert process is not None
    return process


def _kill(pid: int, _signal: int) -> None:
    if pid not in _processes or _processes[pid].is_dead:
        raise ProcessLookupError


def _status_of(pid: int) -> list[str]:
    fields = ["0"] * 30
    fields[owners._STATE], fields[owners._THREADS], fields[owners._START] = "S", "2", str(pid)
    return fields if pid in _processes and not _processes[pid].is_dead else []
