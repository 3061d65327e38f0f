"""Power cuts: the task runs on the model of the disk that the crash tests have, and its storage is laid out afterwards.

What was on disk when the process began counts as stored.
"""

# os.* says which system call is made, and on what; the pickle is our own.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH112, PTH114, PTH116, PTH118, PTH123

import json
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path

from tests.crash.disk import Crashed, CrashedFile, CrashedFolder, draw_style
from tests.crash.recorder import Recorder

_STYLES = 12


def cut(recorder: Recorder, seed: str, kept: str) -> None:
    """Write down what a power cut leaves now; the process must end at once."""
    with recorder.lock:
        rng = random.Random(seed)
        style = replace(draw_style(rng, rng.randrange(_STYLES), recorder.disk.step), loses_renamed=False)
        Path(kept).write_bytes(pickle.dumps(recorder.disk.cut(rng, style)))


def lay_out(root: Path, kept: Path) -> bool:
    """Make the folder what the power cut left; false where there was none. What is as it was is not touched."""
    if not kept.exists():
        return False
    crashed: Crashed = pickle.loads(kept.read_bytes())
    kept.unlink()
    kept_inodes = _remove_what_differs(root, crashed)
    made: dict[int, str] = dict(kept_inodes)
    for path, entry in crashed.items():
        real = os.path.join(root, path)
        if isinstance(entry, CrashedFolder):
            if not os.path.isdir(real):
                os.mkdir(real)
                os.chmod(real, entry.mode)
        elif not os.path.lexists(real):
            if entry.number in made:
                os.link(made[entry.number], real)
            else:
                _make(real, entry)
                made[entry.number] = real
    numbers = {number: os.lstat(path).st_ino for number, path in made.items()}
    for path, entry in crashed.items():
        if isinstance(entry, CrashedFile) and path.endswith(".aside"):
            _say_new_inode(os.path.join(root, path), numbers)
    return True


def _remove_what_differs(root: Path, crashed: Crashed) -> dict[int, str]:
    """Remove files and folders that are not as the cut left them; returns where the others are, by inode."""
    same: dict[int, str] = {}
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files:
            real = os.path.join(folder, name)
            entry = crashed.get(os.path.relpath(real, root))
            if os.path.islink(real):
                continue
            status = os.lstat(real)
            is_same = (
                isinstance(entry, CrashedFile)
                and (status.st_ino, status.st_mtime_ns, status.st_mode & 0o7777)
                == (entry.number, entry.attributes.mtime_ns, entry.attributes.mode)
                and Path(real).read_bytes() == entry.data
            )
            if is_same:
                same[status.st_ino] = real
            else:
                os.unlink(real)
        for name in folders:
            real = os.path.join(folder, name)
            if os.path.relpath(real, root) not in crashed and not os.path.islink(real):
                os.rmdir(real)
    return same


def _make(real: str, entry: CrashedFile) -> None:
    Path(real).write_bytes(entry.data)
    os.chmod(real, entry.attributes.mode)
    os.utime(real, ns=(entry.attributes.mtime_ns, entry.attributes.mtime_ns))


def _say_new_inode(record: str, numbers: dict[int, int]) -> None:
    """A file that had to be made anew has another inode number; a record that names the old one follows."""
    status = os.stat(record)
    try:
        said = json.loads(Path(record).read_bytes())
        said["inode"] = numbers.get(said["inode"], said["inode"])
    except (ValueError, KeyError, TypeError):
        return  # torn
    with open(record, "r+b", buffering=0) as file:
        file.truncate(0)
        file.write(json.dumps(said).encode())
    os.utime(record, ns=(status.st_atime_ns, status.st_mtime_ns))
