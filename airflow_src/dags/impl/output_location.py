"""Where restored files go: is it there, is it ours to write to (W11). Everything here asks the file system."""

import contextlib
import logging
import os
import stat
from pathlib import Path

from impl import refusals
from impl.refusals import AirflowFailException, refusal
from s3_restore.disk.syscalls import sync_folder
from s3_restore.model.exceptions import DestinationGoneError
from s3_restore.model.settings import RestoreSettings

_ANY_MODE = 0o777


def check_output(output: Path, project_id: str, settings: RestoreSettings) -> Path:
    """Make sure that files can be restored to a project's folder.

    Returns:
        The nearest folder that exists: the project's, or the output location.

    Raises:
        AirflowFailException: if they cannot.

    """
    try:
        return _nearest_writable(output, project_id, settings)
    except PermissionError:  # a folder that may not be searched: nothing below it can be looked at
        raise refusal(refusals.NOT_WRITABLE.of(output)) from None


def _nearest_writable(output: Path, project_id: str, settings: RestoreSettings) -> Path:
    if not output.is_dir():
        raise refusal(refusals.OUTPUT_MISSING.of(output))
    if settings.require_mount and not os.path.ismount(output):
        raise refusal(refusals.NO_MOUNT.of(output))
    destination = output / project_id
    _check_project_folder(output, destination, settings)
    nearest = destination if destination.exists() else output
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise refusal(refusals.NOT_WRITABLE.of(nearest))
    return nearest


def _check_project_folder(output: Path, destination: Path, settings: RestoreSettings) -> None:
    if os.path.lexists(destination) and not destination.is_dir():
        raise refusal(refusals.NO_FOLDER.of(destination))
    leads_to = Path(os.path.realpath(destination))
    if not settings.allow_linked_projects and not leads_to.is_relative_to(os.path.realpath(output)):
        raise refusal(refusals.LEADS_OUT.of(destination, leads_to))


def why_no_report(output: Path, project_id: str, settings: RestoreSettings) -> str:
    """Why no report can be put beside the files, one line, where no folder is to be made for it; empty if it can."""
    try:
        nearest = check_output(output, project_id, settings)
    except AirflowFailException as error:
        return str(error)
    return "" if nearest == output / project_id else "the project has no folder there"


def make_destination(output: Path, project_id: str, settings: RestoreSettings) -> Path:
    """Make the project's folder; never the output location itself, whose absence means that a mount is lost.

    Raises:
        AirflowFailException: if it cannot be made, whoever tries again.
        DestinationGoneError: if the output location is away.

    """
    destination = output / project_id
    gone = refusals.OUTPUT_MISSING.of(output)
    if settings.require_mount and not os.path.ismount(output):
        raise DestinationGoneError(gone)
    try:
        destination.mkdir()
    except FileExistsError:
        _check_project_folder(output, destination, settings)
    except (FileNotFoundError, NotADirectoryError):
        raise DestinationGoneError(gone) from None
    except PermissionError:
        raise refusal(refusals.NOT_WRITABLE.of(output)) from None
    else:
        if settings.umask is not None:
            with contextlib.suppress(OSError):
                inherited = destination.stat().st_mode & stat.S_ISGID
                destination.chmod((_ANY_MODE & ~settings.umask) | inherited)
        try:
            sync_folder(output)
        except OSError as error:  # each file syncs it again before it is OK
            logging.warning("The name of %s could not be brought to the storage (%s)", destination, error.strerror)
    return destination
