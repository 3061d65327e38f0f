"""Settings, database and queue of the deployment: all that `impl` needs of `shared`, and the only one that imports it.

A deployment that has a `shared` of its own gets another version of this file with these names (design_docs/DROP_IN.md).
"""

from common.constants import AIRFLOW_QUEUE_PREFIX
from shared.db.interface import (
    DatabaseUnavailableError,
    find_raw_file_ids,
    get_backed_up_raw_file_ids,
    get_file_infos,
    get_raw_file,
)
from shared.db.models import RawFile, parse_file_info_item
from shared.yamlsettings import (
    SettingsError,
    YamlKeys,
    get_ops_alerts_webhook_url,
    get_path,
    get_s3_download_settings,
    get_s3_upload_config,
    is_s3_upload_enabled,
    settings_path,
)

__all__ = [
    "S3_DOWNLOAD_QUEUE",
    "DatabaseUnavailableError",
    "RawFile",
    "SettingsError",
    "YamlKeys",
    "find_raw_file_ids",
    "get_backed_up_raw_file_ids",
    "get_file_infos",
    "get_ops_alerts_webhook_url",
    "get_path",
    "get_raw_file",
    "get_s3_download_settings",
    "get_s3_upload_config",
    "is_s3_upload_enabled",
    "parse_file_info_item",
    "settings_path",
]

S3_DOWNLOAD_QUEUE = f"{AIRFLOW_QUEUE_PREFIX}s3_download"
