"""requirements.txt names what the code imports, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.packaging.compose_parsers import REPOSITORY

SOURCE = REPOSITORY / "airflow_src"
OURS = {"impl", "common", "shared", "s3_restore", "s3_restore_md5"}
OF_AIRFLOW = {"starlette"}  # what its API server is made of; the page's plugin imports it only there
PROVIDER = re.compile(r"airflow\.providers\.(amazon|standard|common\.compat)\b")


def imported() -> Iterator[str]:
    """Modules of others that DAGs and plugins import, wherever in a file."""
    for root in (SOURCE / "dags", SOURCE / "plugins"):
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                yield from (name for name in names if name.split(".")[0] not in OURS | sys.stdlib_module_names)


def distributions_of(module: str) -> set[str]:
    if provider := PROVIDER.match(module):
        return {f"apache-airflow-providers-{provider[1].replace('.', '-')}"}
    if module.split(".", maxsplit=1)[0] == "airflow":
        return {"apache-airflow"}
    return {name.lower() for name in packages_distributions()[module.split(".", maxsplit=1)[0]]}


def test_requirements_are_what_is_imported() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    named = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    needed = {name for module in imported() for name in distributions_of(module)}
    assert needed - OF_AIRFLOW == named


def test_every_requirement_says_what_it_is_for() -> None:
    for line in (REPOSITORY / "requirements.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[\w-]+==\S+ +# .{10,}", line), line


def test_awscrt_is_imported_only_where_a_crc_is_computed() -> None:
    """It is large, and for nothing else; a worker without it fetches a damaged file as a whole."""
    code = """
import sys
sys.path[:0] = sys.argv[1:]
import s3_restore.run.restorer  # not s3: botocore imports what it finds of awscrt
from s3_restore.model import checksums
assert not any(name.partition(".")[0] == "awscrt" for name in sys.modules), "imported with the restore"
assert "CRC64NVME" in checksums.known_algorithms()
crc = checksums.checksum("CRC32C")
assert "awscrt.checksums" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(SOURCE / "dags"), str(SOURCE / "plugins")], check=True)


def test_without_awscrt_only_its_checksums_are_unknown() -> None:
    code = """
import importlib.util, sys
sys.path[:0] = sys.argv[1:]
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "awscrt" else find_spec(name, *rest)
from s3_restore.model import checksums
assert checksums.known_algorithms() == ("SHA256", "SHA1", "CRC32"), checksums.known_algorithms()
"""
    subprocess.run([sys.executable, "-c", code, str(SOURCE / "plugins")], check=True)
