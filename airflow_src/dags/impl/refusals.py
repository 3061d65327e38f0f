"""What a task fails for without a retry, as data: what another attempt would find again (A4).

Every AirflowFailException of ours is made here, so that it carries a reason (see ``s3_restore.model.reasons``).
"""

from airflow.providers.common.compat.sdk import AirflowFailException

from s3_restore.model import reasons
from s3_restore.model.reasons import Failure, Group, failure_in

__all__ = ["AirflowFailException", "failure_of_refusal", "refusal"]


def refusal(failure: Failure) -> AirflowFailException:
    """Make the exception for a failure; its text is the failure's."""
    error = AirflowFailException(failure.text)
    error.failure = failure
    return error


def failure_of_refusal(error: BaseException) -> Failure:
    """Say why a task failed; errors of others are given by their own words."""
    return failure_in(error) or Failure(reasons.UNEXPECTED, str(error) or type(error).__name__)


# --- what is asked for -----------------------------------------------------------------------------------------------

ASKED = Group("What is asked for")

NO_ID = ASKED.reason("no_raw_file_id", "Parameter …: expected the id of a raw file, got …", 'pass {"raw_file_id": "…"}')
OTHER_DAG = ASKED.reason(
    "parameter_of_other_dag",
    "Parameter … is for the DAG …: trigger that one; … takes …",
    "do what the line says: one raw file is for s3_downloader, many are for s3_batch_downloader",
)
MISSPELT = ASKED.reason(
    "parameter_misspelt",
    "Parameter … is none of …; is … meant? Nothing was done",
    "correct the name: an unknown parameter has no effect, and a restore would begin that was not asked for",
)
NO_GLOB = ASKED.reason(
    "include_no_glob", "'include': expected a glob such as '*.tdf*', got …", "include in the conf must be a text"
)
NEITHER_TRUE_NOR_FALSE = ASKED.reason(
    "neither_true_nor_false", "…: expected true or false, got …", "pass true or false, without quotes"
)
NOTHING_LIKE = ASKED.reason(
    "nothing_included",
    "None of the … files of … is like …; the first ones are …",
    "the glob include matches no file of this raw file: compare it with the names that follow",
)
NOTHING_ASKED = ASKED.reason(
    "nothing_asked_for", "Nothing to restore: give … or …", "give the batch ids of raw files, or a project"
)
NO_LIST_OF_IDS = ASKED.reason(
    "no_list_of_ids", "…: expected a list of ids or a text, got …", "pass a list of texts, or one text"
)
EMPTY_PROJECT = ASKED.reason(
    "project_without_backup",
    "Project … has no raw file with a backup in S3",
    "check the id of the project; nothing of it was backed up to S3",
)
TOO_MANY = ASKED.reason(
    "batch_too_large",
    "… raw files are more than Airflow starts in one batch: expected at most …. Make smaller batches, or set [core] "
    "max_map_length",
    "do what the line says; it is 1024 unless set",
)

# --- the raw file in the database --------------------------------------------------------------------------------

RAW_FILE = Group("The raw file in the database")

LIKE_ONE = RAW_FILE.reason(
    "raw_file_not_found_one_near",
    "RawFile not found: …. Did you mean …?",
    "that id is there; the text as it was given is none",
)
LIKE_SOME = RAW_FILE.reason(
    "raw_file_not_found_some_near",
    "RawFile not found: …. Near ids: …",
    "one of these is meant; the text as it was given is none",
)
SEVERAL_IDS = RAW_FILE.reason(
    "raw_file_not_found_several",
    "RawFile not found: …. It looks like several ids; the DAG s3_batch_downloader takes them, one in each line",
    "trigger that one with raw_file_ids",
)
LIKE_NONE = RAW_FILE.reason(
    "raw_file_not_found",
    "RawFile not found: …. Check the id; the database has none like it",
    "correct the id",
)
NO_EXTENSION = RAW_FILE.reason(
    "raw_file_not_found_without_extension",
    "RawFile not found: …. Check the id; it includes the extension",
    "correct the id",
)
NO_BACKUP = RAW_FILE.reason(
    "no_backup",
    "No S3 backup for …: s3_upload_path is empty",
    "it was never backed up to S3; there is nothing to restore",
)
NO_BACKUP_YET = RAW_FILE.reason(
    "no_backup_by_status",
    "No S3 backup for …: s3_upload_path is empty, backup_status is …: …",
    "do what the line says",
)
NO_PROJECT = RAW_FILE.reason(
    "no_project_id",
    "No project_id for …: the destination cannot be determined",
    "have the document corrected in the host system",
)
UNSAFE_PROJECT = RAW_FILE.reason(
    "unsafe_project_id",
    "Unsafe project_id … for …: it …",
    "have the document corrected in the host system: it must be one plain folder name",
)
NO_FILES = RAW_FILE.reason(
    "empty_file_info",
    "Empty file_info for …: there is no file to restore",
    "have the document corrected in the host system",
)
BAD_UPLOAD_PATH = RAW_FILE.reason(
    "bad_s3_upload_path",
    "s3_upload_path: expected 's3://bucket/prefix/' or 'bucket', got …",
    "have the document corrected in the host system",
)

# --- settings and connection ---------------------------------------------------------------------------------------

SET_UP = Group("Settings and connection")

NOT_ENABLED = SET_UP.reason(
    "s3_not_enabled",
    "S3 is not enabled: expected backup.backup_type 's3' in the settings file …",
    "correct the settings file that it names",
)
BAD_SETTING = SET_UP.reason(
    "bad_restore_setting",
    "Settings file …: key 's3_download': …",
    "a setting is misspelt or has a value that cannot be; the line says which",
)
BAD_CONNECTION = SET_UP.reason(
    "bad_connection",
    "Airflow connection … cannot be used: … (…)",
    "correct the connection; no file was touched",
)
MAY_NOT_BRING_BACK = SET_UP.reason(
    "may_not_bring_back",
    "S3 was asked to bring back an archived object and does not: …. The connection's user needs s3:RestoreObject on "
    "this bucket",
    "give the permission, or switch restore_archived off and restore the object in S3 by hand",
)

# --- the output ----------------------------------------------------------------------------------------------------

OUTPUT = Group("The output")

OUTPUT_MISSING = OUTPUT.reason(
    "output_missing",
    "Output location missing: … (is it mounted on this worker?)",
    "mount it; the folder itself is never created",
)
NOT_WRITABLE = OUTPUT.reason(
    "output_not_writable",
    "Output location not writable: …",
    "give the worker's user the right to write there",
)
NO_MOUNT = OUTPUT.reason(
    "output_no_mount",
    "Output location … is no mount point, and s3_download.require_mount is set: is it mounted?",
    "mount it on the worker; or set require_mount to false where the output is an ordinary folder",
)
LEADS_OUT = OUTPUT.reason(
    "destination_leads_out",
    "Destination … is a symbolic link that leads out of the output location, to …; where that is meant, set "
    "s3_download.allow_linked_projects",
    "look where it leads; remove the link, or set allow_linked_projects",
)
NO_FOLDER = OUTPUT.reason(
    "destination_no_folder",
    "Destination … is no folder",
    "a file has the name of the project's folder: move it away",
)
NO_SPACE = OUTPUT.reason(
    "not_enough_space",
    "Not enough space on …: … MB are missing, … MB are free",
    "make room; files of the right size count as there",
)

# --- how runs end --------------------------------------------------------------------------------------------------

ENDED = Group("How a run ends")

FILES_FAILED = ENDED.reason(
    "files_failed",
    "…/… files failed. See: …. First: …",
    "the report names each file with its own reason",
)
BATCH_FAILED = ENDED.reason(
    "batch_failed",
    "… of … raw files restored, … failed: …",
    "the table in the log and XCom of summarize names each raw file with its own reason",
)
BATCH_NOT_VERIFIED = ENDED.reason(
    "batch_not_verified",
    "… of … backups verified, … failed: …",
    "the table in the log and XCom of summarize names each raw file with its own reason; keep the originals of these",
)
DRY_RUN_AGAINST = ENDED.reason(
    "dry_run_against",
    "Dry run: …. …",
    "the table in the log and XCom of summarize says what each raw file would do",
)
