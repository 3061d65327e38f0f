"""What `make demo` shows: every step prints what it does, then checks on disk that it really happened."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from demo.airflow_stack import DAG_ID, POOL, POOL_SLOTS
from demo.sample_files import FOLDER, MIB, PART_SIZE_MIB, SAMPLES, SampleRawFile, differences, strangers
from demo.stand import Stand

_UNKNOWN_ID = "20250115_never_measured.raw"
_WIDTH = 100
_DAMAGED = "20250115_sample.d/analysis.tdf_bin"
_REMOVED = "20250115_sample.d/1234.m/microTOFQImpacTemAcquisition.method"


class StepFailedError(Exception):
    """A step did not show what it must."""


class Story:
    """The steps, in the order in which they are told.

    Args:
        stand: all parts; nothing of it runs yet.
    """

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self._begin

    def tell(self) -> None:
        """Go through all steps.

        Raises:
            StepFailedError: a step did not show what it must.
            StartError: a part does not run.
        """
        self._introduce()
        self._start_and_upload()
        self.tell_of_runs()

    def tell_of_runs(self) -> None:
        """Go through the steps that need a started stand with the samples uploaded and an empty output.

        Raises:
            StepFailedError: a step did not show what it must.
        """
        for sample in SAMPLES:
            self._restore(sample)
        self._heal()
        self._ask_for_unknown_id()

    def _introduce(self) -> None:
        stand = self._stand
        mongo_address = f"{stand.mongo.host}:{stand.mongo.port}"
        print(f"""Restoring raw files from S3 with Airflow, on this machine only.

  real       Airflow {version("apache-airflow")} (api-server, scheduler, dag-processor; LocalExecutor, SQLite),
             the DAG {DAG_ID}, its S3 and MongoDB clients, the command line, every byte and every hash
  stand-in   for S3: moto {version("moto")} at {stand.s3.endpoint_url}, checks no credentials
             for MongoDB: SecantusDB {version("secantusdb")} at {mongo_address}, enforces users and roles
  made up    the raw files: bytes from a fixed seed, parts of {PART_SIZE_MIB} MiB (the host's have 100)""")

    def _start_and_upload(self) -> None:
        stand = self._stand
        self._headline("Start the servers")
        stand.start_servers()
        _say(f"S3 and MongoDB answer. The DAG logs in to MongoDB as {stand.mongo.reader.name}, which may only read.")
        if not stand.airflow.is_migrated:
            _say("First start: Airflow makes its database, about 10 s.")
        stand.airflow.start()

        self._headline("Upload three raw files as the host does, while Airflow starts")
        stand.upload_samples(self._uploaded)
        with _progress() as show:
            stand.airflow.wait(lambda: show(f"Airflow is starting ({self.seconds:.0f} s)", "Airflow is starting"))
        _say(f"Airflow is up at {stand.airflow.url}, with the pool {POOL} ({POOL_SLOTS} slots).")

    def _uploaded(self, sample: SampleRawFile) -> None:
        files = "1 file " if len(sample.sizes) == 1 else f"{len(sample.sizes)} files"
        megabytes = sum(sample.sizes.values()) / MIB
        _say(f"{sample.raw_file_id:<22} {files} {megabytes:5.1f} MB -> {sample.s3_upload_path}")

    def _restore(self, sample: SampleRawFile) -> None:
        self._headline(f"Restore {sample.raw_file_id}")
        count = len(sample.sizes)
        self._run_successfully(sample, {"downloaded": count, "skipped": 0, "healed": 0})
        self.check_files(sample)

    def _heal(self) -> None:
        self._headline("Damage one file, remove another, and restore again")
        folder = self._stand.project_output
        untouched = {path: _identity(folder / path) for path in FOLDER.sizes if path not in {_DAMAGED, _REMOVED}}
        _flip_bytes(folder / _DAMAGED)
        _say(f"4 bytes flipped in the middle of {_DAMAGED}: the size is still right")
        (folder / _REMOVED).unlink()
        _say(f"removed {_REMOVED}")

        report = self._run_successfully(FOLDER, {"downloaded": 1, "skipped": len(untouched), "healed": 1})
        _expect(
            f"{_DAMAGED}: OK - Self-healed (hash mismatch detected, re-downloaded) (" in report, "a self-healed file"
        )
        _expect(f"{_REMOVED}: OK - Downloaded and verified (" in report, "a downloaded file")
        for path, before in untouched.items():
            _expect(f"{path}: OK - Skipped (already exists)" in report, f"{path} skipped")
            _expect(_identity(folder / path) == before, f"{path} left alone on disk")
        self.check_files(FOLDER)
        _ok(f"The {len(untouched)} right files were not touched: same inode, same time of change.")

    def _ask_for_unknown_id(self) -> None:
        self._headline("Ask for a raw file that does not exist")
        run_id, state = self._trigger(_UNKNOWN_ID)
        api = self._stand.airflow.api
        _expect(state == "failed", f"a failed run, got {state}")
        _expect(
            (got := api.task_states(DAG_ID, run_id))
            == {"validate_parameters": "failed", "download_files": "upstream_failed"},
            f"validate_parameters to fail and download_files not to run, got {got}",
        )
        errors = [error for error in api.task_errors(DAG_ID, run_id, "validate_parameters") if _UNKNOWN_ID in error]
        _expect(bool(errors), "the id in an error of the task log")
        _expect("\n" not in errors[0].strip(), f"an error of one line, got: {errors[0]}")
        print("\n   From the log of validate_parameters:")
        print(f"   | {errors[0]}\n")
        _expect(api.task_tries(DAG_ID, run_id, "validate_parameters") == 1, "no retry")
        _ok("The run failed at once, without retries and with nothing written.")

    def _run_successfully(self, sample: SampleRawFile, counts: Mapping[str, int]) -> str:
        """Trigger, wait, print the report; check state, summary and database. Returns the report."""
        document = self._stand.document(sample.raw_file_id)
        run_id, state = self._trigger(sample.raw_file_id)
        api = self._stand.airflow.api
        if state != "success":
            states = api.task_states(DAG_ID, run_id)
            errors = [error for task_id in states for error in api.task_errors(DAG_ID, run_id, task_id)]
            raise StepFailedError("\n".join([f"Expected success of run {run_id}, got {state}: {states}", *errors]))
        summary = api.xcom(DAG_ID, run_id, "download_files")
        report = Path(summary["report_path"]).read_text()
        print()
        print("".join(f"   | {line}\n" for line in report.splitlines()))
        expected = {**counts, "total_files": len(sample.sizes), "successful": len(sample.sizes), "failed": 0}
        got = {name: summary.get(name) for name in expected}
        _expect(got == expected, f"the summary {expected}, got {got}")
        _expect("Status: SUCCESS" in report, "Status: SUCCESS in the report")
        _expect(self._stand.document(sample.raw_file_id) == document, "the document in MongoDB to be unchanged")
        return report

    def _trigger(self, raw_file_id: str) -> tuple[str, str]:
        """Trigger from the command line, follow over REST. Returns the run id and the state at the end."""
        airflow = self._stand.airflow
        conf = {"raw_file_id": raw_file_id}
        _say(f"$ {trigger_line(airflow.command, raw_file_id)}")
        with _progress() as show:
            begin = time.monotonic()
            show("The command takes some seconds", "")
            run_id = airflow.trigger(conf)

            def tick(states: Mapping[str, str | None]) -> None:
                tasks = ", ".join(f"{task_id}: {state or 'waiting'}" for task_id, state in states.items())
                show(f"{tasks} ({time.monotonic() - begin:.0f} s)", tasks if any(states.values()) else "")

            state = airflow.api.wait_for_run(DAG_ID, run_id, tick=tick)
        return run_id, state

    def check_files(self, sample: SampleRawFile) -> None:
        """Compare what is on disk with the instrument's files.

        Raises:
            StepFailedError: a byte differs, a file is missing, or there is one that does not belong there.
        """
        folder = self._stand.project_output
        problems = differences(sample, self._stand.instrument, folder)
        problems += [f"{path} should not be there" for path in strangers(SAMPLES, folder)]
        _expect(not problems, "; ".join(problems) or "right files")
        files = "The file has" if len(sample.sizes) == 1 else f"All {len(sample.sizes)} files have"
        _ok(f"{files} the instrument's bytes, nothing else was left behind, MongoDB is unchanged.")

    def _headline(self, text: str) -> None:
        print(f"\n-- {text} ".ljust(_WIDTH - 8, "-") + f" {self.seconds:5.1f} s\n")


def trigger_line(command: Path, raw_file_id: str) -> str:
    """Return the shell line that triggers the DAG with the real CLI."""
    return f"{_shown(command)} dags trigger {DAG_ID} --conf '{json.dumps({'raw_file_id': raw_file_id})}'"


def rest_lines(url: str, raw_file_id: str) -> str:
    """Return the shell lines that trigger the DAG over REST, with curl."""
    body = json.dumps({"logical_date": None, "conf": {"raw_file_id": raw_file_id}})
    return (
        f'TOKEN=$(curl -s {url}/auth/token | sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\')\n'
        f"curl -s -X POST {url}/api/v2/dags/{DAG_ID}/dagRuns -H 'Content-Type: application/json' \\\n"
        f"  -H \"Authorization: Bearer $TOKEN\" -d '{body}'"
    )


def directions(stand: Stand) -> str:
    """Return how to go on by oneself: UI, CLI, REST, and where things are."""
    ids = ", ".join(sample.raw_file_id for sample in SAMPLES)
    rest = rest_lines(stand.airflow.url, FOLDER.raw_file_id).replace("\n", "\n          ")
    return f"""Now you. Raw file ids: {ids}

   PAGE   {stand.airflow.url}/plugin/s3-restores   (no login: everybody is admin, on this machine only)
          what was restored, and why not; button "Restore ...", paste one id or all three
   UI     {stand.airflow.url}/dags/{DAG_ID}
          button "Trigger", fill in raw_file_id, button "Trigger"
   CLI    {trigger_line(stand.airflow.command, FOLDER.raw_file_id)}
   REST   {rest}

   Restored files and reports   {_shown(stand.project_output)}
   The originals                {_shown(stand.instrument)}
   Logs of the servers          {_shown(stand.home)}, {_shown(stand.airflow.home)}
"""


def _say(text: str) -> None:
    print(f"   {text}")


def _ok(text: str) -> None:
    print(f"   ok: {text}")


def _expect(condition: bool, what: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not condition:
        raise StepFailedError(f"Expected {what}.")


def _shown(path: Path) -> str:
    """Return a path as one types it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _identity(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _flip_bytes(file: Path, count: int = 4) -> None:
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2)
        old = content.read(count)
        content.seek(-count, os.SEEK_CUR)
        content.write(bytes(byte ^ 0xFF for byte in old))


@contextmanager
def _progress() -> Iterator[Callable[[str, str], None]]:
    """Give a function that shows progress: `(text for a terminal, text for a log)`.

    A terminal gets one line that is written over; a log gets a line whenever the text for logs changes.
    """
    last = ""

    def show(live: str, logged: str) -> None:
        nonlocal last
        if sys.stdout.isatty():
            print(f"\r\033[K     {live}"[: _WIDTH + 20], end="", flush=True)
        elif logged not in {last, ""}:
            print(f"     {logged}")
            last = logged

    try:
        yield show
    finally:
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)
