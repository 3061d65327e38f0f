"""What can be wrong with the settings file, as data (see ``reasons``). Pure."""

from __future__ import annotations

from s3_restore.model.reasons import Group

SETTINGS = Group("The settings file")

SETTINGS_NOT_SET = SETTINGS.reason(
    "settings_file_not_set",
    "Settings file … cannot be read: … (ALPHAKRAKEN_YAML is not set in the environment of this process on …; "
    "ENV_NAME is …)",
    "set ALPHAKRAKEN_YAML where this worker is started, and start the worker anew",
)
SETTINGS_UNREADABLE = SETTINGS.reason(
    "settings_file_unreadable",
    "Settings file … cannot be read: … (ALPHAKRAKEN_YAML names it)",
    "the file is not on this worker, or may not be read by its user",
)
NO_YAML = SETTINGS.reason("settings_no_yaml", "Settings file … is no valid YAML: …", "correct the file at that line")
NO_MAPPING = SETTINGS.reason(
    "settings_no_mapping",
    "Settings file …: expected keys and values, got …",
    "the file is empty or a list: write into it what the example file has",
)
WRONG_KEY = SETTINGS.reason(
    "settings_wrong_key", "Settings file …: key …: expected …, got …", "correct that key of the settings file"
)
