"""Commands of the documents that need no Airflow, run as they stand there."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.support.documented_commands import REPOSITORY, the_command

DAY_S = 86_400


def run(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=os.environ | variables, capture_output=True, text=True, check=False
    )


def test_finding_what_was_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / "PRID001" / "20250115_sample.d"
    folder.mkdir(parents=True)
    old = (".s3dl.0a.part", ".s3dl.0a.journal", "analysis.tdf", "analysis.tdf.corrupted", "log.txt.corrupted_2")
    for name in (*old, ".s3dl.0b.part"):
        (folder / name).touch()
    for name in old:
        os.utime(folder / name, (0, folder.stat().st_mtime - 2 * DAY_S))

    call = run(the_command('find "$OUTPUT"'), tmp_path, OUTPUT=str(tmp_path))

    assert call.returncode == 0, call.stderr
    assert {Path(line).name for line in call.stdout.splitlines()} == set(old) - {"analysis.tdf"}


def test_breaking_a_copy(tmp_path: Path) -> None:
    command = the_command("cp -r airflow_src /tmp/broken", "CLAUDE.md").replace("/tmp/broken", str(tmp_path / "broken"))

    call = run(command.replace(".venv/bin/python", sys.executable), REPOSITORY)

    assert call.returncode == 1, call.stdout + call.stderr
    assert "FAILED tests/model/test_decisions.py" in call.stdout


def test_etag_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "FILE"
    file.write_bytes(bytes(range(256)) * 100)
    parts = [file.read_bytes()[start : start + 10_000] for start in range(0, 25_600, 10_000)]
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    command = the_command("split --bytes=100M", "design_docs/S3_BACKUP_DESIGN.md").replace("100M", "10000")

    assert run(command, tmp_path).stdout.split()[0] == expected
