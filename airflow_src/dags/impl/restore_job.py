"""What is asked for, loaded once: the raw file, its files, where they go, and how. Asks MongoDB and the settings."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.constants import DagContext, DagParams, Dags
from common.secrets_in_logs import mask
from impl import refusals
from impl.host import (
    RawFile,
    SettingsError,
    YamlKeys,
    get_path,
    get_s3_download_settings,
    get_s3_upload_config,
    is_s3_upload_enabled,
    parse_file_info_item,
    settings_path,
)
from impl.raw_file_lookup import UPLOAD_DONE, find_raw_file, refuse_misdirected, refuse_misspelt, why_no_backup
from impl.refusals import failure_of_refusal, refusal
from impl.s3_utils import get_s3_client, reconstruct_s3_paths, split_s3_upload_path
from s3_restore.model.file_specs import FileSpec, build_file_specs, is_included, why_not_one_component
from s3_restore.model.settings import RestoreSettings
from s3_restore.model.status_report import one_line
from s3_restore.s3.s3_object_store import S3ObjectStore

_DEFAULT_REGION = "eu-central-1"
_NO_UNICODE = re.compile("[\ud800-\udfff]")  # JSON can carry it, a database cannot


@dataclass(frozen=True)
class RestoreJob:
    """One raw file to restore.

    Attributes:
        raw_file_id: as in the database.
        project_id: name of the folder below the output location.
        s3_upload_path: as in the database.
        output: output location.
        include: glob that chose among the files; empty for all of them.
        verify_only: whether only the backup is verified, and nothing restored (V1).
        specs: the files that are wanted, in the order of ``file_info``.
        reserved: relative paths of all its files, also of those that are not wanted.
        settings: how to restore.

    """

    raw_file_id: str
    project_id: str
    s3_upload_path: str
    output: Path
    include: str
    verify_only: bool
    specs: tuple[FileSpec, ...]
    reserved: tuple[str, ...]
    settings: RestoreSettings

    @property
    def destination(self) -> Path:
        """Folder below which the files go."""
        return self.output / self.project_id

    @property
    def bucket_and_prefix(self) -> tuple[str, str]:
        """Name of the bucket, and key prefix in it; empty for none."""
        return split_s3_upload_path(self.s3_upload_path)

    @property
    def paths(self) -> list[Path]:
        """Final paths of the files that are wanted."""
        return [self.destination / spec.relative_path for spec in self.specs]

    def connect(self) -> S3ObjectStore:
        """Make the object store, from the Airflow connection.

        Raises:
            ValueError: if the connection cannot be used.

        """
        return _connect(self.settings)


def load(raw_file_id: Any, include: Any = "", *, verify_only: bool = False) -> RestoreJob:
    """Load what a restore needs to know.

    Args:
        raw_file_id: id of the raw file, or what somebody pasted for it.
        include: glob of the files that are wanted; empty for all of them.
        verify_only: whether only the backup is to be verified.

    Raises:
        AirflowFailException: if these are no texts, or it cannot be restored as it stands in settings and database.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    if not isinstance(raw_file_id, str) or not raw_file_id or _NO_UNICODE.search(raw_file_id):
        raise refusal(refusals.NO_ID.of(repr(DagParams.RAW_FILE_ID), repr(raw_file_id)))
    include = include or ""
    if not isinstance(include, str):
        raise refusal(refusals.NO_GLOB.of(repr(include)))
    with one_clear_line():
        if not is_s3_upload_enabled():
            raise refusal(refusals.NOT_ENABLED.of(settings_path()))
        raw_file = _find_raw_file(raw_file_id)
        parsed = {path: parse_file_info_item(item) for path, item in raw_file.file_info.items()}
        specs = build_file_specs(parsed, reconstruct_s3_paths(raw_file.s3_upload_path, parsed))
        wanted = [spec for spec in specs if not include or is_included(spec.relative_path, include)]
        if not wanted:
            some = ", ".join(one_line(spec.relative_path) for spec in specs[:3])
            raise refusal(refusals.NOTHING_LIKE.of(len(specs), repr(raw_file.id), repr(include), some))
        return RestoreJob(
            raw_file.id,
            raw_file.project_id,
            raw_file.s3_upload_path,
            get_path(YamlKeys.Locations.OUTPUT),
            include,
            verify_only,
            tuple(wanted),
            tuple(parsed),
            read_restore_settings(),
        )


def open_store() -> tuple[S3ObjectStore, RestoreSettings]:
    """Connect to S3 for several jobs; the settings are those of all of them.

    Raises:
        AirflowFailException: if settings or connection are wrong.

    """
    with one_clear_line():
        settings = read_restore_settings()
        return _connect(settings), settings


def load_from(context: dict[str, Any]) -> RestoreJob:
    """Load what the parameters of a DAG run ask for.

    Args:
        context: Airflow's, with ``raw_file_id`` and perhaps ``include`` and ``verify_only`` in its ``params``.

    Raises:
        AirflowFailException: if they make no sense, or as ``load`` does.
        DatabaseUnavailableError: if MongoDB does not answer.

    """
    params = context.get(DagContext.PARAMS) or {}
    refuse_misdirected(params, Dags.S3_DOWNLOADER)
    refuse_misspelt(params, Dags.S3_DOWNLOADER)
    include = params.get(DagParams.INCLUDE)  # comes with the conf of the run, as the batch gives it
    return load(params.get(DagParams.RAW_FILE_ID), include, verify_only=read_verify_only(params))


def read_verify_only(params: Mapping[str, Any]) -> bool:
    """Whether a run is asked to verify only.

    Raises:
        AirflowFailException: if it is neither true nor false: a run that restores must never look like one that does
            not, and the other way round.

    """
    asked = params.get(DagParams.VERIFY_ONLY) or False
    if not isinstance(asked, bool):
        raise refusal(refusals.NEITHER_TRUE_NOR_FALSE.of(repr(DagParams.VERIFY_ONLY), repr(asked)))
    return asked


@contextmanager
def one_clear_line() -> Iterator[None]:
    """Turn errors of settings and data into one line, without a chain of causes to dig through."""
    try:
        yield
    except (SettingsError, ValueError) as error:
        raise refusal(failure_of_refusal(error)) from None


def _find_raw_file(raw_file_id: str) -> RawFile:
    """Find the raw file with everything that a restore needs.

    Raises:
        AirflowFailException: if there is none, or something is missing in it.

    """
    mask(os.environ.get("MONGO_PASSWORD"))
    raw_file = find_raw_file(raw_file_id)
    raw_file_id = raw_file.id
    if not raw_file.s3_upload_path:
        raise refusal(why_no_backup(raw_file))
    if not raw_file.project_id:
        raise refusal(refusals.NO_PROJECT.of(repr(raw_file_id)))
    unsafe = why_not_one_component(raw_file.project_id)
    if unsafe:
        raise refusal(refusals.UNSAFE_PROJECT.of(repr(raw_file.project_id), repr(raw_file_id), unsafe))
    if not raw_file.file_info or not isinstance(raw_file.file_info, dict):
        raise refusal(refusals.NO_FILES.of(repr(raw_file_id)))
    if raw_file.backup_status != UPLOAD_DONE:
        logging.warning(
            "backup_status of %s is %r, not %r: files may be missing in S3",
            raw_file_id,
            raw_file.backup_status,
            UPLOAD_DONE,
        )
    return raw_file


def _connect(settings: RestoreSettings) -> S3ObjectStore:
    region = get_s3_upload_config().get("region") or _DEFAULT_REGION
    return S3ObjectStore(get_s3_client(region, settings=settings))


def read_restore_settings() -> RestoreSettings:
    """Settings of the downloader; raises AirflowFailException, as a refusal that names the file."""
    try:
        return RestoreSettings.from_mapping(get_s3_download_settings())
    except ValueError as error:
        raise refusal(refusals.BAD_SETTING.of(settings_path(), error)) from None
