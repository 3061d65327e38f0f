"""Lines of an `.airflowignore` that also has lines of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_src.install.whole_file import write_whole


def lines_of(file: Path) -> list[str]:
    """What a list of names says, without blanks and comments."""
    lines = [line.split("#")[0].strip() for line in _read(file).splitlines()]
    return [line for line in lines if line]


def add_lines(file: Path, lines: Sequence[str]) -> None:
    """Add lines at the end, each on a line of its own."""
    if not lines:
        return
    text = _read(file)
    if text and not text.endswith("\n"):
        text += "\n"
    _write(file, text + "".join(f"{line}\n" for line in lines))


def remove_lines(file: Path, lines: Sequence[str]) -> None:
    """Remove each of some lines once, from the end; a file that is empty then goes."""
    if not lines or not file.exists():
        return
    kept = _read(file).splitlines(keepends=True)
    for line in lines:
        for number in reversed(range(len(kept))):
            if kept[number].strip() == line:
                del kept[number]
                break
    if kept:
        _write(file, "".join(kept))
    else:
        file.unlink()


# Lines of others stay as they are, also in another encoding, and as Windows ends them.


def _read(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.exists() else ""


def _write(file: Path, text: str) -> None:
    write_whole(file.resolve(), text.encode("utf-8", "surrogateescape"), keeps_attributes=True)  # a link stays one
