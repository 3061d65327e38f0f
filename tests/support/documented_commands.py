"""The commands in the documents, and which test holds each.

A command is a block of bash or Python, or a line such as `airflow pools set …` in running text. `the_command` gives it
to the test that runs it, as it stands in the document; `tests/documents/test_documents.py` fails when one has no test.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in (".", "design_docs", "benchmarks")
    for path in (REPOSITORY / folder).glob("*.md")
)

# How a command begins -> the test that runs it.
RUN_BY = {
    'make install DAGS="$DAGS"': "tests/system/test_documented_commands.py::test_install_steps",
    "make packages": "tests/system/test_documented_commands.py::test_install_steps",
    'make uninstall DAGS="$DAGS"': "tests/system/test_documented_commands.py::test_install_steps",
    "airflow dags delete --yes s3_downloader": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow dags list-runs s3_batch_downloader": "tests/system/test_stopped_batches.py::test_by_command",
    "airflow pools set s3_download_pool 2": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow pools set s3_download_pool 4": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow db clean": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow connections add aws_default": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow dags list-import-errors": "tests/system/test_documented_commands.py::test_install_steps",
    'python "$DAGS/impl/worker_check.py"': "tests/system/test_documented_commands.py::test_install_steps",
    "airflow dags test s3_downloader": "tests/system/test_documented_commands.py::test_install_steps",
    "airflow dags trigger s3_downloader": "tests/system/test_documented_commands.py::test_command_line",
    "airflow dags unpause s3_downloader": "tests/system/test_documented_commands.py::test_command_line",
    "cat /fs/pool/output/{PROJECT_ID}": "tests/system/test_documented_commands.py::test_command_line",
    "AIRFLOW=http://127.0.0.1:8080": "tests/system/test_documented_commands.py::test_rest_with_curl",
    "BATCH=RUN_ID": "tests/system/test_stopped_batches.py::test_by_rest",
    'python "$DAGS/impl/stop_batch.py"': "tests/system/test_stopped_batches.py::test_by_command",
    "import sys": "tests/system/test_documented_commands.py::test_rest_with_the_client",
    "airflow dags trigger s3_batch_downloader": "tests/system/test_documented_commands.py::test_batches",
    'find "$OUTPUT"': "tests/packaging/test_documented_commands.py::test_finding_what_was_left_behind",
    "cp -r airflow_src /tmp/broken": "tests/packaging/test_documented_commands.py::test_breaking_a_copy",
    "split --bytes=100M": "tests/packaging/test_documented_commands.py::test_etag_by_hand",
}

# How a command begins -> the test that holds what can be held of it here.
HELD_BY = {
    # The same by `pip wheel`, as the image is built.
    "pip install ./airflow_src/native": "tests/packaging/test_image.py::test_image_hashes_with_the_native_module",
    "make demo": "tests/packaging/test_repository_files.py::test_ci_runs_all_tests",
    "make up": "tests/documents/test_documents.py::test_make_targets_exist",  # needs a container engine
    # The script that it calls.
    "make install DEST=": "tests/drop_in/test_drop_in.py::test_feature_works_in_the_host_and_leaves_it_alone",
    "airflow celery worker": "tests/packaging/test_compose.py::test_worker_serves_the_queue_of_the_dag",
    ".venv/bin/python -m benchmarks.scaling": (
        "tests/documents/test_scaling.py::test_the_tables_of_the_document_are_those_of_the_calculation"
    ),
    "from impl.ensure_local import": "tests/impl/test_ensure_local.py::test_restores_only_what_is_wanted",
    "airflow pools set s3_download_pool 6": "tests/system/test_documented_commands.py::test_install_steps",  # as with 4
    "pip-audit": "tests/documents/test_documents.py::test_paths_of_the_repository_exist",  # needs the internet
}


@dataclass(frozen=True)
class Command:
    """A command; `where` is document and line."""

    text: str
    where: str

    @property
    def beginning(self) -> str:
        """Its first line that is no comment."""
        return next(line for line in self.text.splitlines() if line and not line.startswith("#"))

    @property
    def meaning(self) -> str:
        """What it does, whatever raw file it names: the same in two documents is tested once."""
        lines = [line for line in self.text.splitlines() if line and not line.startswith("#")]
        return re.sub(r'"(20250115_sample\.\w+|FILE_ID)"', '"…"', "\n".join(lines))


def commands() -> Iterator[Command]:
    """All commands of all documents."""
    for name in DOCUMENTS:
        text = (REPOSITORY / name).read_text()
        for fence in re.finditer(r"^```(?:bash|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield Command(fence[1], f"{name}:{text[: fence.start(1)].count(chr(10)) + 1}")
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for line in re.findall(r"`(airflow [a-z-]+ [^`\n]+)`", prose):
            yield Command(line, name)


def the_command(beginning: str, document: str = "") -> str:
    """The command that begins so, as it stands in a document; where it stands in several, in the first."""
    return next(
        command.text
        for command in commands()
        if command.beginning.startswith(beginning) and command.where.startswith(document)
    )
