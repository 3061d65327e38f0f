"""Other programs in the destination: they write into files, rename, replace and delete them, at a drawn moment.

They act from within the process of the task, between two of its system calls, so that a seed hits the same moment
again. What they did is written down for the invariants, which must tell their bytes from ours.
"""

# os.* says which system call is made, and on what.
# ruff: noqa: PTH104, PTH105, PTH108, PTH112, PTH113, PTH114, PTH116, PTH118, PTH120, PTH123

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.chaos.scenarios import Intrusion
from tests.support.raw_files import md5, raw_bytes

PERSONS_NAME = ".persons-copy"


@dataclass(frozen=True)
class Done:
    """One thing that another program did.

    Attributes:
        how: what.
        path: relative to the destination; the one that it was done to.
        content: MD5 of what it left: at ``moved_to``, else at ``path``; empty for nothing.
        moved_to: where it put what was there; relative to the destination.
        after_the_looks: whether the report was being written already, so that no look could notice.
        is_sure: false where the process was killed about then.

    """

    how: str
    path: str
    content: str = ""
    moved_to: str = ""
    after_the_looks: bool = False
    is_sure: bool = True


Planned = tuple[Done, Callable[[], str]] | None
"""What will be done, and the doing of it, which gives the MD5 of what it left."""


class Intruders:
    """See the module.

    Args:
        destination: folder.
        intrusions: what to do, and at which operation.
        right: right bytes of a file, by its path.
        notes: file for what was done, one JSON value a line.

    """

    def __init__(
        self, destination: str, intrusions: Sequence[Intrusion], right: Callable[[str], bytes], notes: str
    ) -> None:
        self._destination = destination
        self._waiting = {each.at: each for each in intrusions}  # two at one moment: the second
        self._right = right
        self._notes = notes
        self._one_at_a_time = threading.Lock()  # else what one reads back has in it what another one wrote

    def are_due(self, operation: int) -> bool:
        return operation in self._waiting

    def postpone(self, operation: int) -> None:
        """Do it one operation later."""
        self._waiting[operation + 1] = self._waiting.pop(operation)

    def act(self, operation: int, *, after_the_looks: bool) -> None:
        """Do what is due. It is written down before and after, as the process may be killed between."""
        with self._one_at_a_time:
            self._act(operation, after_the_looks=after_the_looks)

    def _act(self, operation: int, *, after_the_looks: bool) -> None:
        intrusion = self._waiting.pop(operation)
        path = os.path.join(self._destination, intrusion.path)
        planned = getattr(self, f"_{intrusion.how.replace(' ', '_')}")(intrusion.path, path)
        if planned is None:
            return
        done, action = planned
        with open(self._notes, "a", encoding="utf-8") as notes:
            for is_sure in (False, True):
                said = {**asdict(done), "after_the_looks": after_the_looks, "is_sure": is_sure}
                print(json.dumps([operation, said]), file=notes, flush=True)
                if not is_sure:
                    try:
                        done = replace(done, content=action())
                    except OSError:  # the task was quicker: there is nothing there any more
                        done = Done("nothing", intrusion.path)

    # --- what they do; None where there is nothing to do it to ----------------------------------------------------

    def _overwrite(self, name: str, path: str) -> Planned:
        return self._written("overwrite", name, path, keep_times=False)

    def _overwrite_keeping_times(self, name: str, path: str) -> Planned:
        return self._written("overwrite keeping times", name, path, keep_times=True)

    def _written(self, how: str, name: str, path: str, *, keep_times: bool) -> Planned:
        if not _is_file(path):
            return None
        before = os.stat(path)
        words = b"written by another program"
        data = bytearray(Path(path).read_bytes())
        middle = len(data) // 2
        data[middle : middle + len(words)] = words

        def write() -> str:
            with open(path, "r+b", buffering=0) as file:
                file.seek(middle)
                file.write(words)
                if keep_times:
                    os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
                return md5(os.pread(file.fileno(), len(data) + len(words), 0))

        return Done(how, name, md5(bytes(data))), write

    def _delete(self, name: str, path: str) -> Planned:
        def delete() -> str:
            os.unlink(path)
            return ""

        return (Done("delete", name), delete) if _is_file(path) else None

    def _set_aside_by_hand(self, name: str, path: str) -> Planned:
        """``mv x.raw x.raw.corrupted``, as a person does who wants to keep it."""
        return self._moved("set aside by hand", name, path, f"{name}.corrupted")

    def _move_away(self, name: str, path: str) -> Planned:
        return self._moved("move away", name, path, os.path.join(os.path.dirname(name), f"moved{PERSONS_NAME}"))

    def _moved(self, how: str, name: str, path: str, moved_to: str) -> Planned:
        target = os.path.join(self._destination, moved_to)
        if not _is_file(path) or os.path.lexists(target) or _is_announced(path, target):
            return None

        def move() -> str:
            os.rename(path, target)
            return md5(Path(target))

        return Done(how, name, md5(Path(path)), moved_to=moved_to), move

    def _put_wrong(self, name: str, path: str) -> Planned:
        return self._put("put wrong", name, path, raw_bytes(5000, f"another program's {name}"))

    def _put_right(self, name: str, path: str) -> Planned:
        return self._put("put right", name, path, self._right(name))

    def _put(self, how: str, name: str, path: str, data: bytes) -> Planned:
        """Replace, or make, as a program does that writes to a temporary name first."""
        if not os.path.isdir(os.path.dirname(path)) or (os.path.lexists(path) and not _is_file(path)):
            return None

        def put() -> str:
            temporary = f"{self._notes}{PERSONS_NAME}"
            Path(temporary).write_bytes(data)
            os.replace(temporary, path)
            return md5(data)

        return Done(how, name, md5(data)), put


def _is_file(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _is_announced(path: str, target: str) -> bool:
    """Whether a record of a killed run announces this very move: then nothing on disk can tell who made it (W9)."""
    for announcement in Path(path).parent.glob(".s3dl.*.aside"):
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(announcement.read_bytes())
            if (record["aside"], record["inode"]) == (Path(target).name, os.lstat(path).st_ino):
                return True
    return False


def read_notes(path: Path) -> list[Done]:
    """What was done in one attempt."""
    done: dict[int, Done] = {}
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        if line:
            operation, said = json.loads(line)
            done[operation] = Done(**said)
    return [each for each in done.values() if each.how != "nothing"]
