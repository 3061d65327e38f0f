"""Who is the first to tell of something, among processes of one machine that know nothing of each other.

Airflow may ask for the failure of one attempt to be told more than once, from workers and from dag-processors, and this
project writes no database. A marker in the machine's temporary folder decides: of several that create it, one succeeds.
"""

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from pathlib import Path

_KEPT_S = 7 * 24 * 3600  # an attempt that ended longer ago is told of by nobody any more


def is_first_to_tell(*key: object) -> bool:
    """Whether nobody on this machine has told of it. Where that cannot be known: yes, as twice is better than never.

    Args:
        *key: what is told of; without one, everybody is the first.

    """
    if not key:
        return True
    try:
        folder = _folder()
        marker = os.open(folder / _name(key), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        logging.info("Whether this was told of before cannot be known (%s)", error)
        return True
    os.close(marker)
    _remove_old_ones(folder)
    return True


def forget(*key: object) -> None:
    """Let the next one tell of it: telling has failed."""
    with contextlib.suppress(OSError):
        (_folder() / _name(key)).unlink(missing_ok=True)


def _folder() -> Path:
    """The folder of this user's markers.

    Raises:
        OSError: if it cannot be made, or is somebody else's.

    """
    folder = Path(tempfile.gettempdir()) / f"s3_downloader_told_{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of this user")
    return folder


def _name(key: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:40]


def _remove_old_ones(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process may be removing them, too
        for marker in folder.iterdir():
            if marker.lstat().st_mtime < time.time() - _KEPT_S:
                marker.unlink()
