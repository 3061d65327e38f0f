"""What a restore will do, checked and told before a byte moves; only reads."""

import logging
from dataclasses import dataclass
from typing import Any

from common.in_thread import in_thread
from impl import refusals
from impl.output_location import check_output
from impl.refusals import refusal
from impl.restore_job import RestoreJob, one_clear_line
from impl.run_data import NextSteps, capped, head, iso, mode_of, now
from impl.shared_paths import warn_of_shared_paths
from s3_restore.disk.destination import free_bytes
from s3_restore.model.file_specs import total_bytes
from s3_restore.model.object_store import ObjectStore
from s3_restore.model.status_report import one_line, path_in_line
from s3_restore.run.restore_plan import PlannedFile, RestorePlan, missing_bytes, plan_restore
from s3_restore.run.versions import shown_date

_MB = 1024**2
_MOST_TROUBLES = 20  # lines of a plan; the report will have them all


@dataclass(frozen=True)
class Preview:
    """What a restore of one raw file will do.

    Attributes:
        job: what is asked for.
        plan: of all files that are wanted.
        free: bytes free at the destination; None where only the backup is verified, which needs none.
        needed: bytes of these that the restore takes: what an interrupted attempt holds is there already.

    """

    job: RestoreJob
    plan: RestorePlan
    free: int | None
    needed: int = 0

    @property
    def files_there(self) -> int:
        """Number of files that are there with the right size."""
        return sum(file.is_there for file in self.plan.files)

    @property
    def bytes_total(self) -> int:
        """Bytes of all files that are wanted."""
        return total_bytes([file.spec for file in self.plan.files])

    @property
    def bytes_to_download(self) -> int:
        """Bytes of the files that are not there."""
        return total_bytes([file.spec for file in self.plan.to_download])

    @property
    def troubles(self) -> list[str]:
        """Why files would fail now: a line for each of the first ones."""
        return [
            f"{path_in_line(file.spec.relative_path)}: {one_line(str(file.trouble))}"
            for file in self.plan.in_trouble[:_MOST_TROUBLES]
        ]

    def as_xcom(self) -> dict[str, Any]:
        """Summary for REST clients."""
        job = self.job
        return {
            "mode": mode_of(verify_only=job.verify_only),
            "raw_file_id": job.raw_file_id,
            "project_id": job.project_id,
            "include": job.include,
            "source": job.s3_upload_path,
            "destination": str(job.destination),
            "total_files": len(self.plan.files),
            "bytes_total": self.bytes_total,
            "files_there": self.files_there,
            "files_to_download": len(self.plan.to_download),
            "bytes_to_download": self.bytes_to_download,
            "bytes_free": self.free,
            "files_archived": len(self.plan.archived),
            "files_from_older_versions": len(self.plan.from_older),
            "files_in_doubt": len(self.plan.in_doubt),
            "files_in_trouble": len(self.plan.in_trouble),
            "troubles": self.troubles,
            "s3_not_asked_because": str(self.plan.unasked_because or ""),
        }

    def as_plan(self) -> dict[str, Any]:
        """The same with every file, those in trouble first; as many as fit."""
        said = self.as_xcom()
        del said["troubles"]
        steps = NextSteps()
        ordered = sorted(self.plan.files, key=lambda file: (not file.trouble, file.spec.relative_path))
        rows, left_out = capped(self._row(file, steps) for file in ordered)
        return {**head(said["mode"]), **said, "left_out": left_out, "what_to_do": steps.by_code, "files": rows}

    def _row(self, file: PlannedFile, steps: NextSteps) -> dict[str, Any]:
        row: dict[str, Any] = {
            "path": one_line(file.spec.relative_path),
            "action": self._action(file),
            "size": file.spec.size,
        }
        if file.trouble:
            row |= steps.said(file.trouble.text, file.trouble.code, file.trouble.what_to_do)
        if file.older and file.older.last_modified:
            row["older_version_of"] = iso(file.older.last_modified)
        return row

    def _action(self, file: PlannedFile) -> str:
        if file.archived:
            return "archived"
        if file.trouble:
            return "trouble"
        if self.job.verify_only:
            return "verify"
        return "there" if file.is_there else "download"

    def as_waiting(self, why: str, looks_again_in_s: float | None) -> dict[str, Any]:
        """What is waited for, while archived objects come back."""
        said = self.as_xcom()
        return {
            **head(said["mode"]),
            "phase": "waiting for an archive",
            "at": now(),
            "files_total": said["total_files"],
            "files_archived": said["files_archived"],
            "bytes_archived": total_bytes([file.spec for file in self.plan.archived]),
            "bytes_total": said["bytes_total"],
            "looks_again_in_s": looks_again_in_s,
            "reason": one_line(why),
        }


def preview(job: RestoreJob, store: ObjectStore, requests_at_once: int | None = None) -> Preview:
    """Make all checks of a validation, and plan the restore.

    Args:
        job: what is asked for.
        store: where from.
        requests_at_once: by default as many as a download may have.

    Raises:
        AirflowFailException: if a check fails.

    """
    with one_clear_line():
        most = requests_at_once or job.settings.max_concurrency
        return in_thread(lambda: _preview(job, store, most), "s3-restore-preview")


def _preview(job: RestoreJob, store: ObjectStore, requests_at_once: int) -> Preview:
    if job.verify_only:
        seen = Preview(job, plan_restore(store, None, job.specs, requests_at_once), None)
        _log_verify_only(job, seen)
        return seen
    nearest = check_output(job.output, job.project_id, job.settings)
    missing = missing_bytes(job.destination, job.specs)
    free = free_bytes(nearest)
    if missing > free:
        raise refusal(refusals.NO_SPACE.of(nearest, f"{missing / _MB:.1f}", f"{free / _MB:.1f}"))
    plan = plan_restore(store, job.destination, job.specs, requests_at_once)
    seen = Preview(job, plan, free, missing)
    _log(job, seen, free)
    warn_of_shared_paths(job)
    return seen


def _log(job: RestoreJob, seen: Preview, free: int) -> None:
    logging.info(
        "Validation passed: %s -> %s (%d files, up to %.1f MB to download, %.1f MB free); "
        "%.1f MB in all, %d files there with the right size, %d to download",
        job.raw_file_id,
        job.destination,
        len(seen.plan.files),
        seen.bytes_to_download / _MB,
        free / _MB,
        seen.bytes_total / _MB,
        seen.files_there,
        len(seen.plan.to_download),
    )
    _log_troubles(job, seen)


def _log_verify_only(job: RestoreJob, seen: Preview) -> None:
    files, megabytes = len(job.specs), seen.bytes_total / _MB
    logging.info(
        "Validation passed: backup of %s to be verified (%d files, %.1f MB)", job.raw_file_id, files, megabytes
    )
    _log_troubles(job, seen)


def _log_troubles(job: RestoreJob, seen: Preview) -> None:
    for trouble in seen.troubles:
        logging.warning("Cannot be downloaded as it is: %s", trouble)
    if more := len(seen.plan.in_trouble[_MOST_TROUBLES:]):
        logging.warning("... and %d more", more)
    for file in seen.plan.in_doubt[:_MOST_TROUBLES]:
        logging.warning("%s: %s", path_in_line(file.spec.relative_path), file.doubt)
    if more := len(seen.plan.in_doubt[_MOST_TROUBLES:]):
        logging.warning("... and %d more objects that may have other bytes", more)
    for file in seen.plan.from_older:
        path, date = one_line(file.spec.relative_path), shown_date(file.older)
        logging.warning("%s: its newest version in S3 is not the backup; the version of %s is tried", path, date)
    if seen.plan.archived and not job.settings.restore_archived:
        logging.warning("Archived objects can be brought back from here: s3_download.restore_archived in the YAML")
    if seen.plan.unasked_because:
        logging.warning("S3 was not asked for every file: %s", seen.plan.unasked_because)
