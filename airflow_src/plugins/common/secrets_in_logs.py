"""Keeps credentials out of logs and notifications, also where botocore is switched to DEBUG.

Two layers, as neither sees everything:

- Values that are known go to Airflow's secrets masker, which writes ``***`` for them in task logs, whoever logs them.
- botocore logs whole requests and answers at DEBUG: signatures, session tokens, what STS answers for an assumed role.
  They come and go during a run, so they are blanked by their names in its log records.
"""

import logging
import re
from typing import Any

from airflow.providers.common.compat.sdk import mask_secret, redact

from s3_restore.s3.fast_path import credentials_of

_BLANK = "***"
# Those that log headers, bodies or what is signed: a filter counts for its own logger only, not for those below it.
_LOGGERS = (
    "botocore.auth", "botocore.credentials", "botocore.endpoint", "botocore.hooks", "botocore.httpsession",
    "botocore.parsers", "botocore.regions", "botocore.utils", "urllib3.connectionpool",
)  # fmt: skip
_QUOTE = r"(?:b?['\"])?"  # the b of bytes only before a quote: else the first letter of a value would be taken for it
_HEADER = re.compile(rf"(?i)(authorization['\"]?\s*[:=]\s*{_QUOTE})[^'\"\n]+")
_FIELD = re.compile(
    r"(?i)((?:token|signature(?:provided)?|credential|secret-?access-?key|access-?key-?id|samlassertion)"
    rf"['\"]?\s*[:=>]\s*{_QUOTE})[^\s'\"<>&,;}}]+"
)
# Of a URL. Looked for once in each word, and without going back in it: a word may be a pasted list, of any length.
_USER_AND_PASSWORD = re.compile(r"(?<![^\s/@'\"]):*+[^\s/@:'\"]++:[^\s/@'\"]++@")


class _Blanking(logging.Filter):
    """Blanks values of credentials in a record; everything else of it stays, as somebody wants to read it."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = _USER_AND_PASSWORD.sub(f"{_BLANK}@", record.getMessage())
        record.msg = _FIELD.sub(rf"\g<1>{_BLANK}", _HEADER.sub(rf"\g<1>{_BLANK}", text))
        record.args = None
        return True


_BLANKING = _Blanking()


def blank_credentials_of_botocore() -> None:
    """Blank credentials in what botocore logs at DEBUG, from now on; to repeat this is harmless."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_BLANKING)
    # At DEBUG it shows the extra's config_kwargs, in which a proxy may have a password.
    logging.getLogger("airflow.providers.amazon.aws.utils.connection_wrapper").setLevel(logging.INFO)


def mask_credentials_of(client: Any) -> None:
    """Have Airflow's task logs mask the secret key and the session token that a boto3 client signs with.

    Airflow masks what is in its connections by itself, but not what comes from an assumed role or the environment.

    Args:
        client: of boto3.

    Raises:
        BotoCoreError: if the credentials are temporary ones that cannot be renewed.

    """
    credentials = credentials_of(client)
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        mask(frozen.secret_key, frozen.token)


def mask_credentials_of_proxies(config_kwargs: Any) -> None:
    """Have Airflow's task logs mask the passwords of proxies: the Amazon provider logs these settings at DEBUG.

    Args:
        config_kwargs: of the Airflow connection's extra; whatever else it is, is for the provider to refuse.

    """
    proxies = config_kwargs.get("proxies") if isinstance(config_kwargs, dict) else None
    for url in proxies.values() if isinstance(proxies, dict) else ():
        user_of_url(str(url))


def user_of_url(url: str) -> str:
    """User and password of a URL, and mask them; empty for none.

    They go to the last ``@``: passwords that hold ``/``, ``#``, ``?`` or ``@`` unquoted end a host for every library,
    which then shows pieces of them.
    """
    before, at, _ = url.rpartition("@")
    user = before.partition("//")[2] if "//" in before else before
    if not at:
        return ""
    name, _, password = user.partition(":")
    mask(url, user, password or name)
    return user or "@"


def mask(*secrets: str | None) -> None:
    """Have Airflow's task logs mask these values; very short ones are not (``[logging] min_length_masked_secret``)."""
    for secret in filter(None, secrets):
        mask_secret(secret)


def without_secrets(text: str) -> str:
    """Blank what Airflow masks in a text that goes elsewhere than to a log, and user and password in URLs."""
    return _USER_AND_PASSWORD.sub(f"{_BLANK}@", str(redact(text)))
