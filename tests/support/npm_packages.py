"""Tools from npm for tests of the page: of pinned versions, in a folder that git ignores; none is part of the product.

Without npm, or where its registry cannot be reached, the tests that need one are skipped.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".venv-page"
VERSIONS = {
    "typescript": "5.9.3",  # the newest in JavaScript, so that it runs wherever node does
    "axe-core": "4.14.1",  # the rules that the page was made to pass
}
_SECONDS = 120


def npm_package(name: str) -> Path:
    """Return the folder of a package, installed if it is not there."""
    folder = FOLDER / f"{name}-{VERSIONS[name]}"
    if not folder.exists():
        _install(name, folder)
    return folder / "node_modules" / name


def _install(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"no npm, which brings {name}")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as made:
        package = f"{name}@{VERSIONS[name]}"
        options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made]
        try:
            subprocess.run([npm, "install", *options, package], check=True, capture_output=True, timeout=_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"npm cannot install {package}: {(error.stderr or b'').decode(errors='replace')[-200:]}")
        # Renamed only now, so that an install that was interrupted, or one of another process, is never half there.
        try:
            Path(made).rename(folder)
        except OSError:
            if not folder.exists():
                raise
        else:
            os.mkdir(made)  # noqa: PTH102 - for its clean-up
