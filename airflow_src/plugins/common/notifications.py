"""How notifications are to be posted: settings of the deployment, and the form in which a receiver shows them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from s3_restore.model import settings_reasons
from s3_restore.model.reasons import Failure
from shared.yamlsettings import SettingsError, get_notification_settings, settings_path

_FORMAT = "general.notifications.ops_alerts_format"
_ON_SUCCESS = "general.notifications.ops_alerts_on_success"


class Format(StrEnum):
    """What the receiver of the webhook understands."""

    TEXT = "text"
    """``{"text": …}``: Slack and Mattermost."""
    TEAMS = "teams"
    """A message with an Adaptive Card: a workflow of Microsoft Teams."""


@dataclass(frozen=True)
class NotificationSettings:
    """How to notify.

    Attributes:
        form: of what is posted.
        on_success: whether a restore that ends well is told of, too.

    """

    form: Format = Format.TEXT
    on_success: bool = False


def read_notification_settings() -> NotificationSettings:
    """Read ``general.notifications`` of the settings file.

    Raises:
        SettingsError: if they cannot be read, or one is none that is known.

    """
    section = get_notification_settings()
    form = section.get(_FORMAT.rpartition(".")[2]) or Format.TEXT.value
    on_success = section.get(_ON_SUCCESS.rpartition(".")[2]) or False
    if form not in list(Format):
        raise SettingsError(_wrong(_FORMAT, f"one of {', '.join(Format)}", form))
    if not isinstance(on_success, bool):
        raise SettingsError(_wrong(_ON_SUCCESS, "true or false", on_success))
    return NotificationSettings(Format(form), on_success)


def _wrong(key: str, expected: str, got: object) -> Failure:
    shown = repr(got) if isinstance(got, (str, int, float)) else type(got).__name__
    return settings_reasons.WRONG_KEY.of(settings_path(), repr(key), expected, shown[:100])


def body_of(text: str) -> Mapping[str, Any]:
    """What to post, as JSON, so that the receiver shows the text; where a setting is wrong, as plain text."""
    try:
        form = read_notification_settings().form
    except SettingsError as error:
        logging.warning("Posted as plain text: %s", error)
        form = Format.TEXT
    if form is Format.TEXT:
        return {"text": text}
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    # Not a TextBlock, which is Markdown: the underscores of an id would make it italic.
                    "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}],
                },
            }
        ],
    }
