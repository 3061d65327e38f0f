"""Which code hashes: the native module when it proves itself, else hashlib, and the log says which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.conftest import REPOSITORY, build_native

PLUGINS = REPOSITORY / "airflow_src/plugins"
CODE = """
import hashlib
from s3_restore.disk import md5_backend as backend
states = [backend.new_md5() for _ in range(20)]
backend.update_many((state, b"x" * 100 * i) for i, state in enumerate(states))
assert [s.digest() for s in states] == [hashlib.md5(b"x" * 100 * i).digest() for i in range(20)]
try:
    backend.update_many([(states[0], b""), (states[0], b"")])
except ValueError as error:
    assert "nothing was hashed" in str(error)
else:
    raise SystemExit("a state twice was taken")
print(backend.DESCRIPTION)
print(backend.BACKEND_NAME)
"""


def run(*folders: Path, forced: str = "") -> tuple[str, str]:
    """Return the log line and the name of the back end of a process with these folders."""
    path = os.pathsep.join(map(str, [*folders, PLUGINS]))
    environment = {**os.environ, "PYTHONPATH": path, "S3_RESTORE_MD5": forced}
    result = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    line, name = result.stdout.splitlines()
    return line, name


def stand_in(folder: Path, text: str) -> Path:
    (folder / "s3_restore_md5.py").write_text(text)
    return folder


def test_native_is_used_where_it_is(native_folder: Path) -> None:
    line, name = run(native_folder)
    assert line.startswith("s3_restore_md5, ")
    assert name.startswith("native ")


@pytest.mark.parametrize("forced", ["scalar", "base"])
def test_instruction_set_is_forced(native_folder: Path, forced: str) -> None:
    assert run(native_folder, forced=forced)[1] == f"native {forced}"


def test_hashlib_is_forced(native_folder: Path) -> None:
    assert run(native_folder, forced="hashlib") == ("hashlib (S3_RESTORE_MD5 says so)", "hashlib")


def test_what_the_processor_lacks_is_not_used(native_folder: Path) -> None:
    line, name = run(native_folder, forced="mmx")
    assert "S3_RESTORE_MD5=mmx: expected hashlib or one of scalar, base" in line
    assert name == "hashlib"


def test_absent_module(tmp_path: Path) -> None:
    stand_in(tmp_path, "raise ModuleNotFoundError('gone', name='s3_restore_md5')")
    line, name = run(tmp_path)
    assert line == "hashlib (the native module s3_restore_md5 is not installed)"
    assert name == "hashlib"


def test_module_of_another_machine(tmp_path: Path) -> None:
    line, name = run(stand_in(tmp_path, "raise ImportError('wrong ELF class')"))
    assert "cannot be loaded: wrong ELF class" in line
    assert name == "hashlib"


def test_module_that_cannot_be_loaded_for_whatever_reason(tmp_path: Path) -> None:
    line, name = run(stand_in(tmp_path, "raise OSError('odd')"))
    assert "cannot be loaded: OSError: odd" in line
    assert name == "hashlib"


@pytest.mark.parametrize("from_block", [1, 2, 9, 25])
@pytest.mark.parametrize("lanes", [8, 16])
def test_miscompiled_kernel_is_never_believed(tmp_path: Path, lanes: int, from_block: int) -> None:
    """From some block on, it reads the first one again."""
    if not any(name in Path("/proc/cpuinfo").read_text() for name in ("avx2", "avx512f")):
        pytest.skip("this processor has no kernel of 16 lanes")

    def damage(source: Path) -> None:
        header = source / "md5_kernel.h"
        right, text = "TRANSPOSE(data + g * WIDTH, 64 * block, words[g]);", header.read_text()
        assert right in text
        again = f"LANES == {lanes} && block >= {from_block} ? 0 : 64 * block"
        header.write_text(text.replace(right, right.replace("64 * block", again)))

    line, name = run(build_native(tmp_path, damage))
    assert "failed its self-test: " in line
    assert name == "hashlib"


SABOTAGED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("s3_restore_md5._md5", {so!r})
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
MD5, select, lane_count = real.MD5, real.select, real.lane_count
instruction_set, instruction_sets = real.instruction_set, real.instruction_sets
def update_many(jobs):
    jobs = list(jobs)
    {sabotage}
    real.update_many(jobs)
"""


@pytest.mark.parametrize(
    "sabotage",
    [
        "jobs = jobs[:-1] if len(jobs) == lane_count() else jobs",
        "jobs = [(s, bytes(b[:-1]) + b'!') if len(jobs) == 1 and b else (s, b) for s, b in jobs]",
        "jobs = [(jobs[0][0], jobs[-1][1]), *jobs[1:]] if len(jobs) == 3 else jobs",
        "raise MemoryError('odd')",
    ],
)
def test_wrong_digests_are_never_believed(native_folder: Path, tmp_path: Path, sabotage: str) -> None:
    (so,) = (native_folder / "s3_restore_md5").glob("_md5*.so")
    line, name = run(stand_in(tmp_path, SABOTAGED.format(so=str(so), sabotage=sabotage)))
    assert "failed its self-test: " in line
    assert name == "hashlib"
