"""`make install`, `make uninstall`: puts the downloader into an Airflow, upgrades it, takes it out again.

    install DAGS PLUGINS DEST AIRFLOW_PYTHON      DAGS and PLUGINS, or DEST; the others are empty
    uninstall DAGS PLUGINS DEST

DAGS and PLUGINS are the folders of an Airflow; DEST is the folder that has `dags` and `plugins` of a host with packages
`impl`, `common` and `shared` of its own (`sources`). Refuses with one line and a list before anything is written.

Runs on the Python of whatever machine has the folders, from 3.9 on (RHEL 9); Airflow's own is asked for its packages.
"""

# ruff: noqa: T201 (a command that speaks to whoever types it)

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from airflow_src.install.adapter import missing_names
from airflow_src.install.folder import Done, Folder, some_of
from airflow_src.install.packages import UnknownError, find_airflow_python, look
from airflow_src.install.sources import (
    ADAPTER,
    SourceError,
    is_alphakraken,
    parts_as_they_are,
    parts_for_a_host,
    version,
)

_USAGE = "make {} DAGS=/path/to/dags PLUGINS=/path/to/plugins, or DEST=/path/to/host/airflow_src"
_ANEW = "Now start scheduler, dag-processor, workers and api-server anew: what runs goes on with what it knows."


def main(arguments: list[str]) -> None:
    """Install or uninstall, as the first argument says."""
    command, dags, plugins, dest, python = [*arguments, "", "", "", "", ""][:5]
    if dest and (dags or plugins):
        raise SystemExit(
            f"Nothing was done: DAGS and PLUGINS are one way to say where, DEST the other: {_USAGE.format(command)}"
        )
    if not dest and not (dags and plugins):
        raise SystemExit(f"Nothing was done: say where, as in: {_USAGE.format(command)}")
    try:
        folders = _folders(dags, plugins, dest)
        if command == "uninstall":
            _uninstall(folders)
        else:
            _install(folders, python, is_host=bool(dest))
    except OSError as error:
        raise SystemExit(
            f"Broke off: {error.strerror}: {error.filename}. Nothing of others was changed; when that is mended, "
            "the same command goes on where this one ended"
        ) from None


def _folders(dags: str, plugins: str, dest: str) -> list[Folder]:
    """The folder of the DAGs, and that of the plugins, looked at and not changed."""
    try:
        of_dags, of_plugins = (
            parts_for_a_host(is_alphakraken=is_alphakraken(Path(dest))) if dest else parts_as_they_are()
        )
    except SourceError as error:
        raise SystemExit(f"Nothing was done: {error}") from None
    paths = [Path(dest, "dags"), Path(dest, "plugins")] if dest else [Path(dags), Path(plugins)]
    for path in paths:
        if not path.is_dir():
            raise SystemExit(f"Nothing was done: {path} is no folder")
        if not os.access(path, os.W_OK):
            raise SystemExit(f"Nothing was done: you may not write into {path}")
    if paths[0].samefile(paths[1]):
        # One list for both would be overwritten by the other's.
        raise SystemExit("Nothing was done: DAGS and PLUGINS are the same folder; Airflow needs two")
    for path in paths:
        _lock(path)
    return [Folder(paths[0].resolve(), of_dags), Folder(paths[1].resolve(), of_plugins)]


def _lock(folder: Path) -> None:
    """Keep others who install out of a folder until this process ends; where locks are unknown, nobody."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"Nothing was done: another make install or make uninstall is at work in {folder}") from None
    except OSError:
        os.close(opened)


def _install(folders: list[Folder], python: str, *, is_host: bool) -> None:
    problems = [line for folder in folders for line in folder.not_ours()]
    if problems:
        advice = "Move them away, then try again: a file of ours that was changed is put in place anew"
        if not is_host:
            advice += "; where these packages are yours, install with DEST=…, the folder that has dags and plugins"
        raise SystemExit(f"Nothing was done: not everything there is ours:\n{some_of(problems)}\n{advice}")
    before = next((folder.installed.version for folder in folders if folder.is_installed), "")
    new = version()
    done = [folder.install(new) for folder in reversed(folders)]  # plugins first: the DAGs import them
    dags, plugins = (folder.path for folder in folders)
    what = f"Upgraded s3-downloader {before} to {new}" if before else f"Installed s3-downloader {new}"
    print(f"{what}: {sum(each.written for each in done)} files in {dags} and {plugins}")
    _say_kept(done)
    has_adapter = bool(folders[1].part.may_be_changed)
    if has_adapter:
        _say_adapter(plugins / ADAPTER)
    _say_packages(python, is_host=is_host)
    if not before:
        _say_once("" if is_host else f"PYTHONPATH={dags}:{plugins}", has_adapter=has_adapter)
    print(f"\n{_ANEW}")


def _uninstall(folders: list[Folder]) -> None:
    if not any(folder.is_installed for folder in folders):
        raise SystemExit("Nothing was done: nothing of s3-downloader is listed there")
    done = [folder.uninstall() for folder in folders]  # DAGs first: they import the plugins
    print(f"Removed {sum(each.removed for each in done)} files of s3-downloader")
    _say_kept(done)
    print(
        "What stays until you remove it: the pool, the connection, variables, packages, the settings file, restored "
        "files with their reports,\nand the history of the runs in Airflow's database (design_docs/INSTALL.md).\n"
        f"{_ANEW}"
    )


def _say_kept(done: list[Done]) -> None:
    kept = [path for each in done for path in each.kept]
    if kept:
        print(f"Kept, since they were changed here:\n{some_of(kept)}")


def _say_adapter(adapter: Path) -> None:
    """A kept adapter may lack a name that the new version asks for."""
    missing = missing_names(adapter)
    print(f"The adapter, the only file that knows the host: {adapter}")
    if missing:
        print(f"  It lacks {', '.join(missing)}: compare it with airflow_src/install/alphakraken.py")


def _say_packages(python: str, *, is_host: bool) -> None:
    try:
        found = look(find_airflow_python(python))
    except UnknownError as error:
        print(f"Packages: not looked at: {error}. To see what would change: make packages AIRFLOW_PYTHON=…")
        return
    if found.changes:
        print(f"Packages that {found.python} needs, all others stay:")
        for change in found.changes:
            print(f"  {change}")
        requirements = " ".join(f"'{change.requirement}'" for change in found.changes)
        print(f"  {found.python} -m pip install {requirements}")
    else:
        print(f"Packages: {found.python} has all of them, nothing is to be changed")
    if not is_host:
        for name, where in found.shadows.items():
            print(f"  An installed package {name!r} ({where}) comes before ours, unless PYTHONPATH is as below")


def _say_once(path: str, *, has_adapter: bool) -> None:
    settings = "" if has_adapter else "ALPHAKRAKEN_YAML"
    variables = ", ".join(filter(None, [path, settings, "MONGO_HOST", "MONGO_PORT", "MONGO_USER", "MONGO_PASSWORD"]))
    guide = "DROP_IN.md" if has_adapter else "INSTALL.md"
    print(
        f"""
To do once, each is explained in design_docs/{guide}:
  the pool         airflow pools set s3_download_pool 2 "Limit concurrent S3 downloads"
  the connection   aws_default, or AIRFLOW_CONN_AWS_DEFAULT in the environment of the workers
  a worker         on the queue kraken_queue_s3_download, with the output mounted writable
  the environment  of scheduler, dag-processor and workers:
                   {variables}"""
    )


if __name__ == "__main__":
    main(sys.argv[1:])
