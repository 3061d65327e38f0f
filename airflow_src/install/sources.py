"""What is installed, and how it is spelt there: as it is, or under names that no host has.

An Airflow without packages `impl`, `common` and `shared` of its own gets the folders as they are:

    DAGS/      s3_downloader.py, s3_batch_downloader.py, impl/
    PLUGINS/   common/, shared/, s3_restore/ and whatever else is in our plugin folder

A host that has such packages gets, below DEST:

    dags/s3_downloader.py, dags/s3_batch_downloader.py
    plugins/s3_restore/            as it is
    plugins/s3_downloader_impl/    our impl, common and shared, with their imports spelt so

Where the host is AlphaKraken, its own `shared` is used, through an adapter, and ours stays out:

        host.py                    the adapter, from alphakraken.py: one that was changed is kept

and a mark in the first lines of each file, so that a reader knows where it is from and the host's lint leaves it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
PACKAGE = "s3_downloader_impl"
ADAPTER = f"{PACKAGE}/host.py"
OLD_MARK = '# Copied from s3-downloader by "make drop-in", which replaces it: change it there.'
MARK = '# Copied from s3-downloader by "make install", which replaces it: change it there.'
ADAPTER_MARK = "# The adapter of the S3 downloader to this host: this copy may be changed, and is kept then."
# For ruff (the second line for newer ones, which else complain about the first), for formatters, for type checkers.
LEAVE_ALONE = ("# ruff: noqa", "# ruff: noqa: PGH004", "# fmt: off", "# type: ignore")

_OURS = re.compile(r"^(\s*from )(impl|common|shared\.db|shared)(?=\.| import )", re.MULTILINE)
_OURS_BUT_SHARED = re.compile(r"^(\s*from )(impl|common)(?=\.| import )", re.MULTILINE)
_SETTINGS = re.compile(r"^(\s*from )shared\.yamlsettings ", re.MULTILINE)
_OF_A_HOST = re.compile(r"^\s*(?:from|import) (?:impl|common|shared)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """What goes into one folder.

    Attributes:
        files: path below the folder -> content.
        ignore_lines: lines that its ``.airflowignore`` must have.
        may_be_changed: paths of files that belong to whoever installs, once they are there.

    """

    files: dict[str, bytes]
    ignore_lines: tuple[str, ...] = ()
    may_be_changed: frozenset[str] = frozenset()


class SourceError(Exception):
    """Our own files cannot be installed so. ``str()`` of it is one line."""


def parts_as_they_are() -> tuple[Part, Part]:
    """For folders of an Airflow that has no packages of these names: for its DAGs, and for its plugins."""
    dags, plugins = SOURCE / "dags", SOURCE / "plugins"
    of_dags = {path.name: path for path in dags.glob("*.py")} | _below(dags, "impl")
    of_plugins = _below(plugins, ".")
    return (
        Part(_contents(of_dags), _ignored(dags, of_dags)),
        Part(_contents(of_plugins), _ignored(plugins, of_plugins)),
    )


def parts_for_a_host(*, is_alphakraken: bool) -> tuple[Part, Part]:
    """For the folders `dags` and `plugins` of a host with packages of these names.

    Raises:
        SourceError: if a module of ours would import one of the host.

    """
    source = SOURCE / "plugins"
    dags = {path.name: _spelt_for_a_host(path, is_alphakraken) for path in (SOURCE / "dags").glob("*.py")}
    ours = [*(SOURCE / "dags/impl").glob("*.py"), *(source / "common").glob("[!_]*.py")]
    if is_alphakraken:
        ours = [path for path in ours if path.name != "host.py"]
    else:
        ours += (source / "shared").rglob("[!_]*.py")
    plugins = {f"{PACKAGE}/{path.name}": _spelt_for_a_host(path, is_alphakraken) for path in ours}
    for path, file in _below(source, ".").items():
        if path.split("/")[0] not in {"common", "shared"}:
            plugins[path] = _spelt_for_a_host(file, is_alphakraken) if file.suffix == ".py" else file.read_bytes()
    for package in (PACKAGE, "s3_restore"):
        # Each name by itself reads alike as glob and as regexp. Airflow would run them as plugins.
        names = sorted({Path(path).name for path in plugins if path.startswith(f"{package}/")} | {"host.py"})
        plugins[f"{package}/.airflowignore"] = "\n".join([MARK, *names, ""]).encode()
    if not is_alphakraken:
        return Part(dags), Part(plugins)
    adapter = (Path(__file__).parent / "alphakraken.py").read_text(encoding="utf-8")
    plugins[ADAPTER] = "\n".join([ADAPTER_MARK, *LEAVE_ALONE, adapter]).encode()
    return Part(dags), Part(plugins, may_be_changed=frozenset({ADAPTER}))


def is_alphakraken(dest: Path) -> bool:
    """Whether a host is AlphaKraken, or one made like it: with a database module of its own to ask."""
    return any((above / "shared/db/interface.py").is_file() for above in (dest, dest.parent, dest / "plugins"))


def version() -> str:
    """Version of what is installed."""
    text = (SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    return found[1] if found else "unknown"


def _below(folder: Path, name: str) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in (folder / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path != folder / ".airflowignore"
    }


def _contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {path: source.read_bytes() for path, source in sorted(files.items())}


def _ignored(folder: Path, files: dict[str, Path]) -> tuple[str, ...]:
    """Our lines for what is installed; one for another name would hide what is not ours."""
    lines = (folder / ".airflowignore").read_text(encoding="utf-8").splitlines()
    installed = {path.split("/")[0] for path in files}
    return tuple(line for line in lines if line.rstrip("/") in installed)


def _spelt_for_a_host(path: Path, is_alphakraken: bool) -> bytes:  # noqa: FBT001 (said where it is called)
    text = path.read_text(encoding="utf-8")
    if is_alphakraken:
        text = _SETTINGS.sub(rf"\1{PACKAGE}.host ", text)
    spelt = _OURS if not is_alphakraken else _OURS_BUT_SHARED
    text = spelt.sub(rf"\1{PACKAGE}", text)
    if left := _OF_A_HOST.search(text):
        raise SourceError(f"{path}: {left[0].strip()!r} would import a module of the host; only host.py may")
    return "\n".join([MARK, *LEAVE_ALONE, text]).encode()
