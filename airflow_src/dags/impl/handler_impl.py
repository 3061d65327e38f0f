"""The two tasks of the S3 downloader: Airflow's context in, files and a report out, AirflowFailException on failure.

AirflowFailException fails a task without a retry: for what another attempt would find again (bad settings, bad input,
failed files). What may pass (MongoDB away, output gone) is an ordinary exception, which Airflow retries (A4).
"""

import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytz
from airflow.providers.common.compat.sdk import AirflowFailException

from common.constants import DagContext, DagParams
from common.restore_metrics import count_restore
from common.secrets_in_logs import mask
from impl.host import (
    RawFile,
    SettingsError,
    YamlKeys,
    get_path,
    get_raw_file,
    get_s3_download_settings,
    get_s3_upload_config,
    is_s3_upload_enabled,
    parse_file_info_item,
    settings_path,
)
from impl.patient_operator import NotReadyYetError
from impl.s3_utils import get_s3_client, reconstruct_s3_paths, split_s3_upload_path
from impl.termination import sigterm_raises
from s3_restore.file_specs import FileSpec, build_file_specs, is_included, total_bytes, why_not_one_component
from s3_restore.hashing import get_file_hash
from s3_restore.local_files import free_bytes, write_new_file
from s3_restore.object_store import ObjectStoreError
from s3_restore.outcomes import RestoreSummary, Result, not_attempted
from s3_restore.restore_plan import RestorePlan, look_ahead, missing_bytes
from s3_restore.restorer import DestinationGoneError, Restorer
from s3_restore.s3_object_store import S3ObjectStore
from s3_restore.settings import RestoreSettings
from s3_restore.status_report import ReportHeader, one_line, path_in_line, render_report, report_file_name

_MB = 1024**2
_DEFAULT_REGION = "eu-central-1"
_NO_UNICODE = re.compile("[\ud800-\udfff]")  # JSON can carry it, a database cannot
_UPLOAD_DONE = "upload_done"
_MOST_TROUBLES = 20  # lines of a plan; the report will have them all
_ARCHIVE_DAYS = 7  # how long S3 keeps an object readable that it brought back


@dataclass(frozen=True)
class Planned:
    """What a restore of one raw file will do.

    Attributes:
        destination: folder below which the files go.
        plan: of all files that are wanted.
        free: bytes free there.
        store: where from.
        settings: how.

    """

    destination: Path
    plan: RestorePlan
    free: int
    store: S3ObjectStore
    settings: RestoreSettings

    def as_xcom(self) -> dict[str, Any]:
        """Summary for REST clients and for the table of a dry run."""
        files = self.plan.files
        to_download = self.plan.to_download
        return {
            "destination": str(self.destination),
            "total_files": len(files),
            "bytes_total": total_bytes([file.spec for file in files]),
            "files_there": sum(file.is_there for file in files),
            "files_to_download": len(to_download),
            "bytes_to_download": total_bytes([file.spec for file in to_download]),
            "bytes_free": self.free,
            "files_archived": len(self.plan.archived),
            "files_in_trouble": len(self.plan.in_trouble),
            "troubles": [
                f"{path_in_line(file.spec.relative_path)}: {one_line(file.trouble)}"
                for file in self.plan.in_trouble[:_MOST_TROUBLES]
            ],
            "s3_not_asked_because": self.plan.unasked_because,
        }


def validate_s3_download_parameters(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Check what a download needs, before a byte moves, and say what it will do.

    Checks: S3 is enabled; the RawFile exists, has a backup, a project, files; the output location exists, is writable
    and has room for what is missing. What S3 lacks is only warned of: the download reports it file by file.

    Args:
        ti: the task instance, for the reason of a failed check.
        **kwargs: Airflow's context, with ``raw_file_id`` in its ``params``.

    Returns:
        The plan: files and bytes in all, there, to download, free, and troubles to expect.

    Raises:
        AirflowFailException: if a check fails.
        NotReadyYetError: if S3 was asked to bring archived objects back (``s3_download.restore_archived``).
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    with _reason_in_the_log():
        try:
            planned = plan_restore(kwargs)
        except AirflowFailException as error:
            if ti is not None:
                ti.xcom_push(key="return_value", value={"status": "REFUSED", "reason": str(error)})
            raise
        if planned.plan.archived and planned.settings.restore_archived:
            _bring_back_archived(planned)
        return planned.as_xcom()


def plan_restore(context: dict[str, Any]) -> Planned:
    """Make all checks of a validation and look ahead; only reads.

    Raises:
        AirflowFailException: if a check fails.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    with _one_clear_line():
        raw_file_id = _raw_file_id(context)
        if not is_s3_upload_enabled():
            raise AirflowFailException(
                f"S3 is not enabled: expected backup.backup_type 's3' in the settings file {settings_path()}"
            )
        raw_file = _find_raw_file(raw_file_id)
        if raw_file.backup_status != _UPLOAD_DONE:
            logging.warning(
                "backup_status of %s is %r, not %r: files may be missing in S3",
                raw_file_id,
                raw_file.backup_status,
                _UPLOAD_DONE,
            )
        output = get_path(YamlKeys.Locations.OUTPUT)
        if not output.is_dir():
            raise AirflowFailException(f"Output location missing: {output} (is it mounted on this worker?)")
        destination = output / raw_file.project_id
        if os.path.lexists(destination) and not destination.is_dir():
            raise AirflowFailException(f"Destination {destination} is no folder")
        nearest = destination if destination.exists() else output
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise AirflowFailException(f"Output location not writable: {nearest}")
        settings = _read_restore_settings()
        store = _store(settings)
        specs = _specs_of(raw_file, _include(context))
        missing = missing_bytes(destination, specs)
        free = free_bytes(nearest)
        if missing > free:
            raise AirflowFailException(
                f"Not enough space on {nearest}: {missing / _MB:.1f} MB are missing, {free / _MB:.1f} MB are free"
            )
        plan = look_ahead(store, destination, specs, settings.max_concurrency)
        planned = Planned(destination, plan, free, store, settings)
        _log_plan(raw_file_id, planned)
        return planned


def _log_plan(raw_file_id: str, planned: Planned) -> None:
    said = planned.as_xcom()
    logging.info(
        "Validation passed: %s -> %s (%d files, up to %.1f MB to download, %.1f MB free); "
        "%.1f MB in all, %d files there with the right size, %d to download",
        raw_file_id,
        planned.destination,
        said["total_files"],
        said["bytes_to_download"] / _MB,
        planned.free / _MB,
        said["bytes_total"] / _MB,
        said["files_there"],
        said["files_to_download"],
    )
    for trouble in said["troubles"]:
        logging.warning("Cannot be downloaded as it is: %s", trouble)
    if said["files_in_trouble"] > len(said["troubles"]):
        logging.warning("... and %d more", said["files_in_trouble"] - len(said["troubles"]))
    if planned.plan.archived and not planned.settings.restore_archived:
        logging.warning("Archived objects can be brought back from here: s3_download.restore_archived in the YAML")
    if planned.plan.unasked_because:
        logging.warning("S3 was not asked for every file: %s", planned.plan.unasked_because)


def _bring_back_archived(planned: Planned) -> None:
    """Ask S3 for archived objects; always raises, as they take hours to come."""
    archived = [(file.spec, file.archived) for file in planned.plan.archived if file.archived]
    asked = [(spec, version) for spec, version in archived if not version.coming_back]
    for spec, version in asked:
        try:
            planned.store.bring_back(spec.bucket, spec.key, version, _ARCHIVE_DAYS)
        except ObjectStoreError as error:
            raise AirflowFailException(
                f"S3 was asked to bring back an archived object and does not: {error}. "
                "The connection's user needs s3:RestoreObject on this bucket"
            ) from None
    raise NotReadyYetError(
        f"{len(archived)} archived objects are coming back, {len(asked)} of them were asked for now "
        f"(class {', '.join(sorted({version.storage_class for _, version in archived}))}: it takes S3 hours)"
    )


def download_raw_file_from_s3(ti: Any, **kwargs: Any) -> dict[str, Any]:
    """Restore all files of a raw file to ``{output}/{project_id}/`` and write the status report.

    Right files are skipped, corrupted ones healed, all are tried even if some fail. No database writes.

    Args:
        ti: the task instance, for the summary of a run that fails.
        **kwargs: Airflow's context, with ``raw_file_id`` in its ``params``.

    Returns:
        Summary for REST clients (A7): status, counts, bytes, seconds, report path.

    Raises:
        AirflowFailException: if any file failed; its text names the report.
        DatabaseUnavailableError: if MongoDB does not answer.
        DestinationGoneError: if the output location vanished.

    """
    with sigterm_raises():
        with _reason_in_the_log(), _one_clear_line():
            destination, summary, path = _restore(kwargs)
        result = _xcom(summary, path)
        if summary.failed:
            if ti is not None:
                ti.xcom_push(key="return_value", value=result)
            failed, total, first = summary.failed, len(summary.outcomes), result["first_failure"]
            logging.error("%d/%d files failed. First: %s", failed, total, first)
            raise AirflowFailException(f"{failed}/{total} files failed. See: {path}. First: {first}")
        logging.info("%d of %d files are right in %s", summary.successful, len(summary.outcomes), destination)
        return result


def _restore(context: dict[str, Any]) -> tuple[Path, RestoreSummary, Path | None]:
    """Restore and report. Returns the destination, what came of each file, and where the report is."""
    raw_file_id = _raw_file_id(context)
    raw_file = _find_raw_file(raw_file_id)
    destination = _make_destination(get_path(YamlKeys.Locations.OUTPUT), raw_file.project_id)
    settings = _read_restore_settings()
    include = _include(context)
    specs = _specs_of(raw_file, include)
    restorer: Restorer | None = None
    finished: RestoreSummary | None = None
    try:
        store = _store(settings)
        logging.info("Starting download: %d files from %s to %s", len(specs), raw_file.s3_upload_path, destination)
        restorer = Restorer(store, destination, settings, file_hash=get_file_hash)
        finished = restorer.run(specs)
        return destination, finished, _conclude(raw_file, destination, include, finished)
    except BaseException as error:
        if restorer is None and isinstance(error, Exception):
            raise  # of the connection, and not about a file
        # Whatever ends the run gets its report first (A5), also when it comes while the report is being written:
        # the operator must not have to guess what is on disk.
        path = _conclude(raw_file, destination, include, finished or _so_far(restorer, specs, _said(error)))
        error.add_note(f"Report: {path or 'could not be written'}")
        raise


def wanted_paths(context: dict[str, Any]) -> list[Path]:
    """Final paths of the files that a restore brings, in the order of ``file_info``.

    Raises:
        AirflowFailException: if the raw file cannot be restored.

    """
    with _one_clear_line():
        raw_file = _find_raw_file(_raw_file_id(context))
        destination = get_path(YamlKeys.Locations.OUTPUT) / raw_file.project_id
        return [destination / spec.relative_path for spec in _specs_of(raw_file, _include(context))]


def _said(error: BaseException) -> str:
    return one_line(str(error) or type(error).__name__)


@contextmanager
def _reason_in_the_log() -> Iterator[None]:
    """Log why a task ends in a line of its own, which a reader of the UI finds.

    The UI shows an exception far right, above a stack trace, cut off at the edge; and the line of the failure callback
    in a section that is closed.
    """
    try:
        yield
    except NotReadyYetError:
        raise
    except BaseException as error:
        logging.error(_said(error))
        raise


@contextmanager
def _one_clear_line() -> Iterator[None]:
    """Turn errors of settings and data into one line, without a chain of causes to dig through."""
    try:
        yield
    except (SettingsError, ValueError) as error:
        raise AirflowFailException(str(error)) from None


def _raw_file_id(context: dict[str, Any]) -> str:
    raw_file_id = (context.get(DagContext.PARAMS) or {}).get(DagParams.RAW_FILE_ID)
    if not isinstance(raw_file_id, str) or not raw_file_id or _NO_UNICODE.search(raw_file_id):
        raise AirflowFailException(
            f"Parameter {DagParams.RAW_FILE_ID!r}: expected the id of a raw file, got {raw_file_id!r}"
        )
    return raw_file_id


def _find_raw_file(raw_file_id: str) -> RawFile:
    """Find the raw file with everything that a restore needs.

    Raises:
        AirflowFailException: if there is none, or something is missing in it.

    """
    mask(os.environ.get("MONGO_PASSWORD"))
    raw_file = get_raw_file(raw_file_id)
    if raw_file is None:
        raise AirflowFailException(f"RawFile not found: {raw_file_id!r}. Check the id; it includes the extension")
    if not raw_file.s3_upload_path:
        raise AirflowFailException(f"No S3 backup for {raw_file_id!r}: s3_upload_path is empty")
    if not raw_file.project_id:
        raise AirflowFailException(f"No project_id for {raw_file_id!r}: the destination cannot be determined")
    unsafe = why_not_one_component(raw_file.project_id)
    if unsafe:
        raise AirflowFailException(f"Unsafe project_id {raw_file.project_id!r} for {raw_file_id!r}: it {unsafe}")
    if not raw_file.file_info or not isinstance(raw_file.file_info, dict):
        raise AirflowFailException(f"Empty file_info for {raw_file_id!r}: there is no file to restore")
    return raw_file


def _include(context: dict[str, Any]) -> str:
    """Glob of the files that are wanted; empty for all. Comes with the conf of the run, as the batch gives it."""
    include = (context.get(DagContext.PARAMS) or {}).get(DagParams.INCLUDE) or ""
    if not isinstance(include, str):
        raise AirflowFailException(f"{DagParams.INCLUDE!r}: expected a glob such as '*.tdf*', got {include!r}")
    return include


def _specs_of(raw_file: RawFile, include: str = "") -> list[FileSpec]:
    parsed = {path: parse_file_info_item(item) for path, item in raw_file.file_info.items()}
    specs = build_file_specs(parsed, reconstruct_s3_paths(raw_file.s3_upload_path, parsed))
    wanted = [spec for spec in specs if not include or is_included(spec.relative_path, include)]
    if not wanted:
        some = ", ".join(one_line(spec.relative_path) for spec in specs[:3])
        raise AirflowFailException(
            f"None of the {len(specs)} files of {raw_file.id!r} is like {include!r}; the first ones are {some}"
        )
    return wanted


def _store(settings: RestoreSettings) -> S3ObjectStore:
    region = get_s3_upload_config().get("region") or _DEFAULT_REGION
    return S3ObjectStore(get_s3_client(region, settings=settings))


def _read_restore_settings() -> RestoreSettings:
    try:
        return RestoreSettings.from_mapping(get_s3_download_settings())
    except ValueError as error:
        raise SettingsError(f"Settings file {settings_path()}: key 's3_download': {error}") from None


def _make_destination(output: Path, project_id: str) -> Path:
    """Make the project's folder; never the output location itself, whose absence means that a mount is lost."""
    destination = output / project_id
    try:
        destination.mkdir(exist_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        raise DestinationGoneError(f"Output location missing: {output} (is it mounted on this worker?)") from None
    except FileExistsError:
        raise AirflowFailException(f"Destination {destination} is no folder") from None
    except PermissionError:
        raise AirflowFailException(f"Output location not writable: {output}") from None
    return destination


def _so_far(restorer: Restorer | None, specs: Sequence[FileSpec], why_not_finished: str) -> RestoreSummary:
    """Outcomes of a run that is ended from outside, be it before its first file."""
    summary = restorer.summary(why_not_finished) if restorer else None
    if summary and summary.outcomes:
        return summary
    return RestoreSummary(tuple(not_attempted([spec.relative_path for spec in specs], why_not_finished)))


def _conclude(raw_file: RawFile, destination: Path, include: str, summary: RestoreSummary) -> Path | None:
    """Report a run: file, log, metrics."""
    path = _report(raw_file, destination, include, summary)
    count_restore(summary)
    return path


def _report(raw_file: RawFile, destination: Path, include: str, summary: RestoreSummary) -> Path | None:
    """Write the report and log it; where it cannot be written, the log is all there is."""
    bucket, prefix = split_s3_upload_path(raw_file.s3_upload_path)
    now = datetime.now(tz=pytz.utc)
    header = ReportHeader(raw_file.id, raw_file.project_id, bucket, prefix, now, str(destination), include)
    text = render_report(header, summary)
    names = (report_file_name(raw_file.id, now, number) for number in itertools.count(1))
    try:
        path = write_new_file(destination, names, text)
    except OSError as error:
        logging.error("Status report could not be written to %s (%s). It says:\n%s", destination, error.strerror, text)
        return None
    logging.info("Status report: %s\n%s", path, text)
    return path


def _xcom(summary: RestoreSummary, report_path: Path | None) -> dict[str, Any]:
    first = next((outcome for outcome in summary.outcomes if not outcome.ok), None)
    failure = {"first_failure": f"{path_in_line(first.relative_path)}: {one_line(first.reason)}"} if first else {}
    return {
        **failure,
        "status": summary.status.value,
        "total_files": len(summary.outcomes),
        "successful": summary.successful,
        "failed": summary.failed,
        "downloaded": summary.count(Result.DOWNLOADED),
        "skipped": summary.count(Result.SKIPPED),
        "healed": summary.count(Result.HEALED),
        "bytes_total": summary.bytes_total,
        "bytes_fetched": summary.bytes_fetched,
        "seconds": round(summary.seconds, 3),
        "report_path": str(report_path) if report_path else None,
    }
