"""One folder that is installed into: what of it is ours, and how that is put in place, replaced and taken out again.

Beside our files lies a list of them, `.s3_downloader.json`, with the hash of each. What is not in it as it is now
is somebody else's: a file of that name, or one of ours that was changed by hand. Everything is looked at before
anything is written; an installation that was interrupted is completed by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_src.install.ignore_file import add_lines, lines_of, remove_lines
from airflow_src.install.sources import MARK, OLD_MARK, Part
from airflow_src.install.whole_file import begun, write_whole

LIST = ".s3_downloader.json"
_ABOUT = "What make install of s3-downloader has put here, with SHA-256; make uninstall needs it"
_MOST_NAMED = 10


@dataclass
class Installed:
    """The list of what was installed into a folder."""

    version: str = ""
    files: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    """Hashes of what an installation that was interrupted has begun to replace."""
    ignore_lines: list[str] = field(default_factory=list)
    """Lines that were added to ``.airflowignore``: those that were there before are not ours."""

    def knows(self, path: str, content: bytes) -> bool:
        """Whether a file is as it was installed."""
        return _hash(content) in {self.files.get(path, ""), self.before.get(path, "")}


@dataclass
class Done:
    """What was done to a folder."""

    written: int = 0
    removed: int = 0
    kept: list[str] = field(default_factory=list)
    """Files that were changed by hand, and stay."""


class Folder:
    """A folder of an Airflow.

    Args:
        path: where it is.
        part: what belongs into it.

    """

    def __init__(self, path: Path, part: Part) -> None:
        self.path = path
        self.part = part
        self.installed = _read(path / LIST)

    @property
    def is_installed(self) -> bool:
        """Whether something of ours is listed."""
        return (self.path / LIST).exists()

    def not_ours(self) -> list[str]:
        """Why nothing may be written here: one line for each file and package that is not ours."""
        found = [problem for path, content in self.part.files.items() if (problem := self._problem(path, content))]
        for package in sorted({path.split("/")[0] for path in self.part.files if "/" in path}):
            # One line for a package of somebody else, and not one for each of its files.
            if strangers := self._strangers(package):
                found = [line for line in found if not line.startswith(f"{self.path / package}{os.sep}")]
                found.append(f"{self.path / package}: a package of that name is there, with {', '.join(strangers)}")
        return found

    def install(self, version: str) -> Done:
        """Write all files, remove ours that are no more, and list them."""
        done = Done()
        wanted = {path: _hash(content) for path, content in self.part.files.items()}
        old = self.installed
        for path in self.part.may_be_changed & wanted.keys():
            here = self._read(path)
            if here is not None and not old.knows(path, here) and here != self.part.files[path]:
                wanted[path] = old.files.get(path, "")
                done.kept.append(path)
        lines = [*old.ignore_lines]
        missing = self._missing_lines()
        listed = Installed(version, {**old.files, **wanted}, {**old.before, **old.files}, [*lines, *missing])
        self._list(listed)
        for path, content in self.part.files.items():
            if path not in done.kept:
                _write(self.path / path, content)
                done.written += 1
        self._remove(old.files.keys() - wanted.keys(), done)
        add_lines(self.path / ".airflowignore", missing)
        kept = self._remove_lines([line for line in lines if line not in self.part.ignore_lines])
        ours = [line for line in listed.ignore_lines if line in self.part.ignore_lines or line in kept]
        self._list(Installed(version, wanted, {}, ours))
        return done

    def uninstall(self) -> Done:
        """Remove what is as it was installed, our lines of ``.airflowignore``, and the list."""
        done = Done()
        self._remove(self.installed.files.keys() | self.installed.before.keys(), done)
        self._remove_lines(self.installed.ignore_lines)
        for file in (self.path / LIST, begun(self.path / LIST)):
            file.unlink(missing_ok=True)
        return done

    def _remove_lines(self, lines: list[str]) -> list[str]:
        """Remove lines of ours but those of folders in which something is left: Airflow would run that."""
        kept = [line for line in lines if (self.path / line.rstrip("/")).exists()]
        remove_lines(self.path / ".airflowignore", [line for line in lines if line not in kept])
        return kept

    def _problem(self, path: str, content: bytes) -> str:
        target = self.path / path
        for above in [*target.parents][: path.count("/")]:
            if above.is_symlink() or (above.exists() and not above.is_dir()):
                return f"{above} is no folder of ours"
        if target.is_symlink() or (target.exists() and not target.is_file()):
            return f"{target} is no file of ours"
        here = self._read(path)
        if here is None or here == content or path in self.part.may_be_changed or self.installed.knows(path, here):
            return ""
        if path in self.installed.files:
            return f"{target} was changed since it was installed"
        return "" if here.startswith((MARK.encode(), OLD_MARK.encode())) else f"{target} is there"

    def _strangers(self, package: str) -> list[str]:
        """Modules of a package that is not ours, some of them."""
        if any(path.startswith(f"{package}/") for path in self.installed.files):
            return []
        found = []
        for path in sorted((self.path / package).rglob("*.py")):
            name = path.relative_to(self.path).as_posix()
            content = path.read_bytes()
            if name in self.part.may_be_changed or content == self.part.files.get(name):
                continue
            if not content.startswith((MARK.encode(), OLD_MARK.encode())):
                found.append(name)
        return [*found[:3], "…"] if len(found) > 3 else found  # noqa: PLR2004 (enough to recognise it)

    def _missing_lines(self) -> list[str]:
        there = lines_of(self.path / ".airflowignore")
        return [line for line in self.part.ignore_lines if line not in there]

    def _remove(self, paths: Any, done: Done) -> None:
        for path in sorted(paths):
            begun(self.path / path).unlink(missing_ok=True)
            here = self._read(path)
            if here is None:
                continue
            if not self.installed.knows(path, here):
                done.kept.append(path)
                continue
            (self.path / path).unlink()
            done.removed += 1
        for folder in sorted({above for path in paths for above in (self.path / path).parents}, reverse=True):
            if folder != self.path and folder.is_relative_to(self.path):
                _remove_if_empty(folder)

    def _read(self, path: str) -> bytes | None:
        target = self.path / path
        return target.read_bytes() if target.is_file() else None

    def _list(self, installed: Installed) -> None:
        listed = {
            "about": _ABOUT,
            "version": installed.version,
            "files": dict(sorted(installed.files.items())),
            "before": installed.before,
            "ignore_lines": installed.ignore_lines,
        }
        _write(self.path / LIST, (json.dumps(listed, indent=1) + "\n").encode())


def some_of(lines: list[str]) -> str:
    """Lines to show, the first ones of many."""
    more = [f"… and {len(lines) - _MOST_NAMED} more"] if len(lines) > _MOST_NAMED else []
    return "\n".join(f"  {line}" for line in [*lines[:_MOST_NAMED], *more])


def _read(file: Path) -> Installed:
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        return Installed(listed["version"], listed["files"], listed["before"], listed["ignore_lines"])
    except FileNotFoundError:
        return Installed()
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"{file} cannot be read: was it changed by hand?") from None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)


def _remove_if_empty(folder: Path) -> None:
    compiled = folder / "__pycache__"
    with contextlib.suppress(OSError):
        if compiled.is_dir() and [*folder.iterdir()] == [compiled]:
            for file in compiled.glob("*.pyc"):
                file.unlink()
            compiled.rmdir()
        folder.rmdir()
