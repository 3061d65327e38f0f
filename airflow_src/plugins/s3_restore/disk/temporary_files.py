"""Temporary files: made, taken over from dead attempts, given up to the next one, tidied away."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from s3_restore.disk import owners
from s3_restore.disk.destination import Destination
from s3_restore.disk.heartbeat import Heartbeat
from s3_restore.disk.open_file import Identity, OpenFile, TemporaryFile, journal_of, owner_of
from s3_restore.disk.owners import Standing
from s3_restore.model.exceptions import BlockedPathError, ChangedMeanwhileError, NotOnStorageError
from s3_restore.model.names import JOURNAL, PART, TEMPORARY_NAME, digest_of_name, temporary_name

_COPY_BYTES = 1024**2
_LONG_AGO_S = 10**9
_STAT_BLOCK_BYTES = 512  # what st_blocks counts in, whatever the file system's own blocks are
_OPEN_OURS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE = 0o666


class TemporaryFiles:
    """Temporary files below one destination.

    Args:
        destination: where they are.
        stale_after_s: silence after which an owner that nobody here knows counts as dead.
        heartbeat: keeps the files of this run alive.

    """

    def __init__(self, destination: Destination, stale_after_s: float, heartbeat: Heartbeat | None = None) -> None:
        self._destination = destination
        self._heartbeat = heartbeat or Heartbeat()
        self._stale_after_s = stale_after_s
        self._leftovers: dict[Path, dict[str, list[str]]] = {}
        self._lock = threading.Lock()

    def create(self, final: Path) -> TemporaryFile:
        """Create an empty temporary file in the folder of ``final``, with the mode that the umask gives.

        Raises:
            OSError: if it cannot.

        """
        self._destination.check_not_gone()
        self._destination.check_above(final)
        owner = owners.new_owner()
        path = final.with_name(temporary_name(final.name, owner, PART))
        try:
            fd = os.open(path, CREATE, FILE_MODE)
        except FileExistsError:  # no other process makes this name: the kernel asked twice after ESTALE
            owners.release(owner)
            raise ChangedMeanwhileError(str(path)) from None
        except BaseException:
            owners.release(owner)
            raise
        temporary = TemporaryFile(path, fd, final, owner, self._heartbeat)
        try:
            self._destination.check_not_gone()  # the mount may have been lost between the look and the making
        except OSError:
            temporary.remove()
            raise
        return temporary

    def take_over(self, final: Path) -> TemporaryFile | None:
        """Take over the temporary file that a dead attempt left with a journal; None when there is none.

        Renaming decides between two attempts that want the same one. Further leftovers of dead attempts are removed.
        What is taken over may never have reached the storage, and the error of that was told to nobody: so it is
        synced, and the kernel's copy of it dropped, before anything in it is believed (W8).
        """
        taken: TemporaryFile | None = None
        leftovers = self._dead_leftovers(final)
        if leftovers:
            self._destination.check_above(final)
        for path, standing in leftovers:
            journal = journal_of(path)
            if taken is None and path.suffix == f".{PART}" and _is_ours_alone(path) and _is_ours_alone(journal):
                taken = self._take(path, journal, final, standing)
            elif path.suffix == f".{PART}" or not path.with_suffix(f".{PART}").exists():
                remove_quietly(path)
        return taken

    def give_up(self, temporary: TemporaryFile) -> None:
        """Leave a temporary file to the next attempt, be it of this run or of another.

        Raises:
            NotOnStorageError: when closing it says that bytes were lost; then it is removed.

        """
        try:
            temporary.close()
        except NotOnStorageError:
            temporary.remove()
            raise
        with self._lock:
            names = self._leftovers.setdefault(temporary.final.parent, {})
            mine = names.setdefault(digest_of_name(temporary.final.name), [])
            mine.extend((temporary.path.name, temporary.journal_path.name))

    def remove_leftovers(self, final: Path) -> None:
        """Remove what dead attempts left beside a file that is right now."""
        for path, _ in self._dead_leftovers(final):
            remove_quietly(path)

    def look_afresh(self) -> None:
        """Forget which leftovers were seen: owners may have died since."""
        with self._lock:
            self._leftovers.clear()

    def _take(self, path: Path, journal: Path, final: Path, standing: Standing) -> TemporaryFile | None:
        owner = owners.new_owner()
        mine = final.with_name(temporary_name(final.name, owner, PART))
        try:
            journal.rename(journal_of(mine))
            path.rename(mine)
            if standing is not Standing.DEAD:
                _replace_by_copy(mine, self._heartbeat)
            fd = os.open(mine, _OPEN_OURS)
        except OSError:  # another attempt was faster, or there is no room for a copy
            if not mine.exists():
                journal_of(mine).unlink(missing_ok=True)
            owners.release(owner)
            return None
        temporary = TemporaryFile(mine, fd, final, owner, self._heartbeat)
        try:
            if _is_one_regular_file(temporary.status()):
                temporary.sync()
                temporary.drop_cache()
                return temporary
        except OSError as error:
            logging.warning("%s of an earlier attempt cannot be used (%s)", mine.name, error.strerror)
        except BaseException:
            temporary.close()
            raise
        temporary.remove()
        return None

    def _dead_leftovers(self, final: Path) -> list[tuple[Path, Standing]]:
        """Temporary files and journals for ``final`` whose owners are dead, or silent for too long; newest first."""
        folder = final.parent
        with self._lock:
            if folder not in self._leftovers:
                self._leftovers[folder] = temporary_names(folder)
            names = self._leftovers[folder].pop(digest_of_name(final.name), [])
        dead = []
        now: float | None = None
        for path in (folder / name for name in names):
            standing = owners.standing(owner_of(path))
            if standing is Standing.UNKNOWN:
                now = now if now is not None else self._now(final)
                silent_for_s = now - max(_mtime(path), _mtime(journal_of(path)))
                if silent_for_s <= self._stale_after_s:
                    continue
            if standing is not Standing.ALIVE:
                dead.append((path, standing))
        return sorted(dead, key=lambda each: (each[0].suffix != f".{PART}", -_mtime(each[0])))

    def _now(self, final: Path) -> float:
        """The time by the clock of the file system, which also says when a file was last touched.

        The clock of this worker may be minutes ahead of it, and a live owner would look dead.
        """
        made = self._probe(final)
        # Where nothing can be made, nothing can be taken over: nobody counts as silent.
        return made.st_mtime if made else 0.0

    def has_change_times(self, final: Path) -> bool:
        """Whether files beside ``final`` have a time of change that nobody can set, so that each write to one shows.

        SFTP and rclone show the time of modification in its stead, which tools put back, and rclone can do without any.
        Where nothing can be made, so that this cannot be found out, they are taken to have one, as most have.
        """
        made = self._probe(final, lambda probe: os.utime(probe, (_LONG_AGO_S, _LONG_AGO_S)))
        if made is None:
            return True
        state = Identity.of(made)
        return state.ctime_ns > state.mtime_ns

    def _probe(self, final: Path, change: Callable[[Path], None] = lambda _probe: None) -> os.stat_result | None:
        """What the system says of an empty file that is made beside ``final`` for it; None where none can be made."""
        owner = owners.new_owner()
        probe = final.with_name(temporary_name(final.name, owner, PART))
        try:
            self._destination.check_not_gone()
            self._destination.check_above(final)
            os.close(os.open(probe, CREATE, FILE_MODE))
            try:
                change(probe)
                return os.lstat(probe)
            finally:
                remove_quietly(probe)
        except (OSError, BlockedPathError):
            return None
        finally:
            owners.release(owner)


def temporary_names(folder: Path) -> dict[str, list[str]]:
    """Names of all temporary files and journals in a folder, by the digest of the name that they are for."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = TEMPORARY_NAME.fullmatch(entry.name)
            if match and match["kind"] in (PART, JOURNAL) and entry.is_file(follow_symlinks=False):
                found.setdefault(match["digest"], []).append(entry.name)
    return found


def bytes_held(finals: Iterable[Path]) -> dict[Path, int]:
    """Bytes on disk that temporary files of earlier attempts hold: the next attempt takes them over or frees them."""
    names: dict[Path, dict[str, list[str]]] = {}
    held: dict[Path, int] = {}
    for final in finals:
        folder = final.parent
        with contextlib.suppress(OSError):
            if folder not in names:
                names[folder] = temporary_names(folder)
            for name in names[folder].get(digest_of_name(final.name), ()):
                held[final] = held.get(final, 0) + os.lstat(folder / name).st_blocks * _STAT_BLOCK_BYTES
    return held


def remove_quietly(path: Path) -> None:
    """Remove what is no longer needed; that it cannot be is no reason to call what went well a failure."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logging.warning("%s could not be removed (%s)", path, error.strerror)


def _is_one_regular_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _is_ours_alone(path: Path) -> bool:
    """Whether it is a regular file of one name: written to, a hard link would change another file too (W9)."""
    try:
        return _is_one_regular_file(os.lstat(path))
    except OSError:
        return False


def _replace_by_copy(mine: Path, heartbeat: Heartbeat) -> None:
    """Give a temporary file that was taken over from an owner who may only be slow a body of its own.

    A slow one notices at its next checkpoint, but may write until then, and its host may bring to the storage later
    what it wrote before: into the old body, which is nowhere by then, and not into what was proved here (W1, W6).

    Raises:
        OSError: when it cannot be copied.

    """
    owner = owners.new_owner()
    copy = mine.with_name(f"{mine.name.removesuffix(f'{owner_of(mine)}.{PART}')}{owner}.{PART}")
    heartbeat.begin(journal_of(mine))
    try:
        os.utime(journal_of(mine))  # from here on it is silent on our account
        with OpenFile(mine, os.open(mine, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)) as source:
            source.sync()
            source.drop_cache()
            with OpenFile(copy, os.open(copy, CREATE, FILE_MODE)) as target:
                buffer = memoryview(bytearray(_COPY_BYTES))
                for start, end in source.data_ranges():
                    offset = start
                    while offset < end and (count := source.read_at(buffer[: min(len(buffer), end - offset)], offset)):
                        target.write_at(buffer[:count], offset)
                        offset += count
                target.sync()
        os.replace(copy, mine)
    except OSError:
        remove_quietly(copy)
        remove_quietly(mine)
        raise
    finally:
        heartbeat.end(journal_of(mine))
        owners.release(owner)


def _mtime(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0
