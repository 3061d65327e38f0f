"""Lines of an `.airflowignore` that also has lines of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def add_lines(file: Path, lines: Sequence[str]) -> None:
    """Add lines at the end, each on a line of its own."""
    if not lines:
        return
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    file.write_text(text + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def remove_lines(file: Path, lines: Sequence[str]) -> None:
    """Remove each of some lines once, from the end; a file that is empty then goes."""
    if not lines or not file.exists():
        return
    kept = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        for number in reversed(range(len(kept))):
            if kept[number].strip() == line:
                del kept[number]
                break
    if kept:
        file.write_text("".join(kept), encoding="utf-8")
    else:
        file.unlink()
