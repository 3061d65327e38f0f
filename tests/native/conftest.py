"""The native module, built from this tree with the command that builds it everywhere."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def build_native(folder: Path, change: Callable[[Path], None] = lambda _source: None) -> Path:
    """Build the module from a copy of its source, with a change to it or without, and return the folder it is in."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    source, target = folder / "source", folder / "installed"
    shutil.copytree(REPOSITORY / "airflow_src/native", source, ignore=shutil.ignore_patterns("build", "*.so", "*-info"))
    change(source)
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def native_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the module in it; `NATIVE_BUILT` names one built already (sanitizers)."""
    if built := os.environ.get("NATIVE_BUILT"):
        return Path(built)
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def md5_module(native_folder: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(native_folder))
        for name in [name for name in sys.modules if name.startswith("s3_restore_md5")]:
            patch.delitem(sys.modules, name)
        yield importlib.import_module("s3_restore_md5")


@pytest.fixture(params=["scalar", "base", "avx2", "avx512"])
def native(request: pytest.FixtureRequest, md5_module: ModuleType) -> ModuleType:
    """The module with each instruction set that this processor has."""
    if request.param not in md5_module.instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    md5_module.select(request.param)
    return md5_module
