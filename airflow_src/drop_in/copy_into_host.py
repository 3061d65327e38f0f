"""`make drop-in DEST=…`: copies the feature into a deployment that has packages `impl`, `common`, `shared` of its own.

DEST is the folder that has the host's `dags` and `plugins`. Nothing there is changed, and no file of the host is
replaced: everything goes under names that only we use.

    dags/s3_downloader.py, dags/s3_batch_downloader.py
    plugins/s3_restore/            as it is
    plugins/s3_downloader_impl/    our impl and common, with their imports spelt so
        host.py                    the adapter, from alphakraken.py: a copy that is there is kept

Copied files carry a mark in their first line; with it, the next run replaces them.
"""

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
PACKAGE = "s3_downloader_impl"
ADAPTER = f"plugins/{PACKAGE}/host.py"
MARK = '# Copied from s3-downloader by "make drop-in", which replaces it: change it there.'
_OURS = re.compile(r"^(\s*from )(impl|common)\.", re.MULTILINE)
_SETTINGS = re.compile(r"^(\s*from )shared\.yamlsettings ", re.MULTILINE)
_OF_A_HOST = re.compile(r"^\s*(?:from|import) (?:impl|common|shared)\b.*$", re.MULTILINE)

LINES_TO_ADD = """
To do by hand, once (design_docs/DROP_IN.md):

  requirements of all Airflow containers   see "Requirements" there; then rebuild the image
  where the pools are made                 airflow pools set s3_download_pool 2 "Limit concurrent S3 downloads"
  docker-compose                           a worker with: celery worker -q kraken_queue_s3_download
                                           its output mount must be writable
  environment of that worker               AIRFLOW_CONN_AWS_DEFAULT, unless the connection is in the UI
"""


def files_to_copy() -> dict[str, str]:
    """Path below DEST -> text, for all files but the adapter."""
    files = {f"dags/{path.name}": _spelt_for_host(path) for path in sorted((SOURCE / "dags").glob("*.py"))}
    ours = [*(SOURCE / "dags/impl").glob("*.py"), *(SOURCE / "plugins/common").glob("[!_]*.py")]
    files |= {
        f"plugins/{PACKAGE}/{path.name}": _spelt_for_host(path) for path in sorted(ours) if path.name != "host.py"
    }
    engine = sorted((SOURCE / "plugins/s3_restore").glob("*.py"))
    files |= {f"plugins/s3_restore/{path.name}": _spelt_for_host(path) for path in engine}
    for package in (PACKAGE, "s3_restore"):
        # Each name by itself reads alike as glob and as regexp. Airflow would run them as plugins.
        names = sorted({Path(path).name for path in files if path.startswith(f"plugins/{package}/")} | {"host.py"})
        files[f"plugins/{package}/.airflowignore"] = "\n".join([MARK, *names]) + "\n"
    return files


def _spelt_for_host(path: Path) -> str:
    text = _SETTINGS.sub(rf"\1{PACKAGE}.host ", _OURS.sub(rf"\1{PACKAGE}.", path.read_text(encoding="utf-8")))
    if left := _OF_A_HOST.search(text):
        raise SystemExit(f"{path}: {left[0].strip()!r} would import a module of the host; only host.py may")
    return f"{MARK}\n{text}"


def main(arguments: list[str]) -> None:
    """Copy, or refuse with one line before anything is written."""
    dest = Path(arguments[0]) if arguments and arguments[0] else None
    if dest is None:
        raise SystemExit("Nothing was copied: say where to, as in: make drop-in DEST=/path/to/host/airflow_src")
    for folder in ("dags", "plugins"):
        if not (dest / folder).is_dir():
            raise SystemExit(f"Nothing was copied: {dest} has no folder {folder!r}")
    files = files_to_copy()
    of_the_host = [path for path in files if (dest / path).exists() and not _is_ours(dest / path)]
    if of_the_host:
        raise SystemExit(f"Nothing was copied: these files of the host would be replaced: {', '.join(of_the_host)}")
    for path, text in files.items():
        (dest / path).parent.mkdir(exist_ok=True)
        (dest / path).write_text(text, encoding="utf-8")
    print(f"Copied {len(files)} files into {dest}")  # noqa: T201
    if (dest / ADAPTER).exists():
        print(f"Kept {ADAPTER}, which is there; compare it with airflow_src/drop_in/alphakraken.py")  # noqa: T201
    else:
        (dest / ADAPTER).write_bytes((Path(__file__).parent / "alphakraken.py").read_bytes())
        print(f"Copied the adapter to {ADAPTER}: check the names of the host in it")  # noqa: T201
    print(LINES_TO_ADD)  # noqa: T201


def _is_ours(path: Path) -> bool:
    return path.read_bytes().startswith(MARK.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
