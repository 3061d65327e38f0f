"""How far a batch is while it waits: runs that have ended, and bytes, from what the runs say of themselves (U2)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.constants import Dags, Tasks
from impl.batch_runs import ACTIVE, pushed_by, runs_in
from impl.run_data import head, now

_MB = 1024**2
_MOST_READ = 50  # running runs that are asked how far they are; a question takes some 20 ms


@dataclass(frozen=True)
class BatchProgress:
    """How far the runs of a batch are.

    Attributes:
        total: runs.
        running: those that are running.
        queued: those that wait.
        failed: those that have ended, and not well, or were never started.
        files_total: files of all raw files; None where the database did not tell.
        files_done: those of runs that have ended, and those with a result of the running ones.
        bytes_total: as files_total.
        bytes_done: as files_done.
        bytes_per_s: of all runs that are running.

    """

    total: int
    running: int
    queued: int
    failed: int
    files_total: int | None
    files_done: int
    bytes_total: int | None
    bytes_done: int
    bytes_per_s: float

    @property
    def active(self) -> int:
        """Runs that have not ended."""
        return self.running + self.queued

    @property
    def eta_s(self) -> float | None:
        """Seconds until all bytes are there, at this speed; None for unknown."""
        if not self.bytes_per_s or self.bytes_total is None or not self.active:
            return None
        return max(0, self.bytes_total - self.bytes_done) / self.bytes_per_s

    def as_data(self, mode: str) -> dict[str, Any]:
        """For the page."""
        return {
            **head(mode),
            "phase": "waiting for restores" if self.active else "done",
            "at": now(),
            "runs_total": self.total,
            "runs_ended": self.total - self.active,
            "runs_failed": self.failed,
            "runs_running": self.running,
            "runs_queued": self.queued,
            "files_total": self.files_total,
            "files_done": self.files_done,
            "bytes_total": self.bytes_total,
            "bytes_done": self.bytes_done,
            "bytes_per_s": round(self.bytes_per_s, 1),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
        }

    def line(self) -> str:
        """For the log."""
        said = f"{self.active} of {self.total} runs have not ended ({self.running} running), {self.failed} failed"
        if not self.bytes_total:
            return said
        done, percent = self.bytes_done / _MB, 100 * self.bytes_done / self.bytes_total
        eta = "unknown" if self.eta_s is None else f"{self.eta_s:.0f}s"
        return (
            f"{said}; {done:.1f} of {self.bytes_total / _MB:.1f} MB ({percent:.0f}%), "
            f"{self.bytes_per_s / _MB:.1f} MB/s, ETA {eta}"
        )


def look_at(ti: Any, run_ids: Sequence[str], raw_files: Sequence[Mapping[str, Any]]) -> BatchProgress:
    """Ask Airflow how far the runs of a batch are.

    Args:
        ti: the task instance.
        run_ids: of its runs.
        raw_files: what is known of their raw files: ``run_id``, ``files``, ``bytes``.

    """
    active = runs_in(ti, Dags.S3_DOWNLOADER, run_ids, ACTIVE)
    running = runs_in(ti, Dags.S3_DOWNLOADER, [each for each in run_ids if each in active], ["running"])
    well = runs_in(ti, Dags.S3_DOWNLOADER, [each for each in run_ids if each not in active], ["success"])
    told = [told for each in sorted(running)[:_MOST_READ] if (told := _told_by(each))]
    ended = [raw for raw in raw_files if raw["run_id"] not in active]
    return BatchProgress(
        total=len(run_ids),
        running=len(running),
        queued=len(active) - len(running),
        failed=len(run_ids) - len(active) - len(well),
        files_total=_sum(raw_files, "files"),
        files_done=(_sum(ended, "files") or 0) + sum(each["files_done"] for each in told),
        bytes_total=_sum(raw_files, "bytes"),
        bytes_done=(_sum(ended, "bytes") or 0) + sum(each["bytes_done"] for each in told),
        bytes_per_s=sum(each["bytes_per_s"] for each in told),
    )


def _told_by(run_id: str) -> Mapping[str, Any] | None:
    try:
        told = pushed_by(Dags.S3_DOWNLOADER, run_id, Tasks.DOWNLOAD_FILES, "progress")
    except Exception as error:  # noqa: BLE001 (how far a run is helps, and the batch waits as well without it)
        logging.info("How far run %s is cannot be known (%s)", run_id, type(error).__name__)
        return None
    return told if isinstance(told, Mapping) else None


def _sum(raw_files: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """Add up what is known; None where nothing is."""
    known = [raw[key] for raw in raw_files if raw[key] is not None]
    return sum(known) if known else None
