"""The process that runs the task: the real handler, with its document and its S3 client handed in.

Forked from a server that has imported everything already, so that a process costs 20 ms and not seconds. MongoDB and
the Airflow connection are left out for the same reason; other tests cover them.
"""

# ruff: noqa: PTH115, PTH208

import atexit
import contextlib
import dataclasses
import faulthandler
import gc
import json
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tests.chaos import power
from tests.chaos.faults import Faults
from tests.chaos.intruders import Intruders
from tests.chaos.sabotage import SABOTAGES
from tests.chaos.scenarios import Attempt
from tests.crash.recorder import Recorder
from tests.support.fork_server import fork_server
from tests.support.raw_files import raw_bytes

_THREADS_END_S = 4.0


@dataclass(frozen=True)
class Job:
    """What a child needs to know."""

    attempt: Attempt
    document: dict[str, Any]
    settings_file: str
    endpoint_url: str
    root: str
    umask: int
    scaled: bool
    log_file: str
    result_file: str
    notes_file: str  # what other programs did
    power_file: str  # what a power cut left
    seed: int
    sizes: dict[str, int]
    sabotage: str = ""


@dataclass
class ChildResult:
    """What a child that lived to its end tells."""

    end: str
    text: str = ""
    xcom: dict[str, Any] | None = None
    injected: dict[str, int] = field(default_factory=dict)
    descriptors: tuple[int, int] = (0, 0)
    threads: tuple[int, int] = (0, 0)
    opened: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    memory_growth: int = 0
    signalled_at: float | None = None  # by the monotonic clock, which is the same in all processes
    ended_at: float = 0.0


def server() -> ForkServerContext:
    """The context whose processes are forked from a server that has imported the product."""
    if "AIRFLOW_HOME" not in os.environ:
        os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-of-chaos-")
        atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
    return fork_server("tests.chaos.preloaded")


def main(job: Job) -> None:
    """Run the task once and write what came of it."""
    log = Path(job.log_file).open("a", buffering=1)  # noqa: SIM115 (until the process ends)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    logging.basicConfig(stream=log, level=logging.INFO, force=True, format="%(asctime)s %(threadName)s %(message)s")
    os.umask(job.umask)
    # As in a task of Airflow: locks of pools are unnamed then, and nothing tracks them.
    multiprocessing.set_start_method("fork", force=True)
    os.environ["ALPHAKRAKEN_YAML"] = job.settings_file
    try:
        result = _run(job)
    except BaseException:  # noqa: BLE001 (told to the parent)
        traceback.print_exc(file=log)
        result = ChildResult("harness error", traceback.format_exc())
    text = json.dumps(dataclasses.asdict(result))
    temporary = Path(job.result_file + ".tmp")
    temporary.write_text(text)
    temporary.rename(job.result_file)


def _choose_back_end(seed: int) -> None:
    """Every other seed hashes with hashlib, also where the native module is; `S3_RESTORE_MD5` says it for all."""
    from s3_restore.disk import md5_backend  # noqa: PLC0415

    if seed % 2 and not os.environ.get(md5_backend.FORCED_BY):
        md5_backend._native, md5_backend.LANES, md5_backend.DESCRIPTION = None, 1, "hashlib (an odd seed)"


def _run(job: Job) -> ChildResult:  # noqa: PLR0915 (one thing after the other)
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowTaskTimeout  # noqa: PLC0415
    from airflow.sdk.execution_time.timeout import TimeoutPosix  # noqa: PLC0415

    from impl import handler_impl, raw_file_lookup, restore_job  # noqa: PLC0415
    from impl.termination import TaskTerminated  # noqa: PLC0415
    from s3_restore.s3.s3_object_store import client_config  # noqa: PLC0415
    from shared.db.models import RawFile  # noqa: PLC0415
    from tests.chaos.preloaded import SESSION  # noqa: PLC0415

    _choose_back_end(job.seed)
    _scale(job)
    if job.sabotage:
        SABOTAGES[job.sabotage]()
    document = dict(job.document)
    raw_file = RawFile(id=document.pop("_id"), **document)
    clients: list[Any] = []

    def client(region: str, *_: object, settings: Any, **__: object) -> Any:
        config = client_config(settings.max_concurrency, settings.stall_timeout_s)
        clients.append(
            SESSION.client(
                "s3",
                endpoint_url=job.endpoint_url,
                region_name=region,
                aws_access_key_id="AKIDFORCHAOS",
                aws_secret_access_key="a-secret-key-that-no-log-may-show",
                config=config.merge(type(config)(proxies={}, s3={"addressing_style": "path"})),
            )
        )
        return clients[-1]

    raw_file_lookup.get_raw_file = lambda _id: raw_file
    restore_job.get_s3_client = client
    intruders = Intruders(
        job.root,
        job.attempt.intrusions,
        lambda path: raw_bytes(job.sizes[path], f"{job.seed} {path}"),
        job.notes_file,
    )
    recorder = _on_a_model_of_the_disk(job) if job.attempt.death and job.attempt.death.how == "power cut" else None
    faults = Faults(job.root, job.attempt, intruders, partial(_cut_power, job, recorder) if recorder else None)
    descriptors, threads = _open_descriptors(), _threads()
    memory = _reset_peak_memory()
    result = ChildResult("returned")
    faults.install()
    try:
        with TimeoutPosix(1000):
            result.xcom = handler_impl.download_raw_file_from_s3(None, params={"raw_file_id": job.document["_id"]})
    except AirflowFailException as error:
        result.end, result.text = "failed", str(error)
    except (TaskTerminated, AirflowTaskTimeout) as error:
        result.end, result.text = "ended from outside", f"{error} {getattr(error, '__notes__', '')}"
    except Exception as error:  # noqa: BLE001 (told to the parent)
        traceback.print_exc()
        result.end, result.text = "raised", f"{type(error).__name__}: {error}"
    faults.on = False
    result.ended_at = time.monotonic()
    result.signalled_at = faults.signalled_at
    result.memory_growth = _peak_memory() - memory
    for each in clients:
        each.close()
    end = time.monotonic() + _THREADS_END_S
    while (
        result.end != "ended from outside"
        and (_threads() > threads or _open_descriptors() > descriptors)
        and time.monotonic() < end
    ):
        gc.collect()  # sockets of broken connections may hang in cycles with the error that told of it
        time.sleep(0.01)
    result.descriptors = (descriptors, _open_descriptors())
    result.opened = sorted(_descriptor_targets())
    result.running = [repr(thread) for thread in threading.enumerate()]
    result.threads = (threads, _threads())
    result.injected = dict(faults.injected)
    if result.threads[1] > result.threads[0]:
        faulthandler.dump_traceback(file=2, all_threads=True)
    return result


def _scale(job: Job) -> None:
    """Make small files take the ways of large ones; give this process a host of its own."""
    from s3_restore.disk import atomic_write, owners, quarantine  # noqa: PLC0415
    from s3_restore.run import attempt, transfer  # noqa: PLC0415

    if job.attempt.host:
        owners._host = lambda: job.attempt.host  # type: ignore[assignment]
    atomic_write._STALE_AFTER_S = job.attempt.stale_after_s
    if job.attempt.clean:
        quarantine._FORGOTTEN_AFTER_S = job.attempt.stale_after_s
    if job.scaled:
        attempt.JOURNAL_FROM_BYTES = 128 * 1024
        transfer.CHECKPOINT_BYTES = 64 * 1024
        transfer.SEGMENT_BYTES = 128 * 1024


_until_the_end = contextlib.ExitStack()


def _on_a_model_of_the_disk(job: Job) -> Recorder:
    """From here on, until the process ends."""
    recorder = Recorder(Path(job.root).parents[1])
    recorder.adopt()
    _until_the_end.enter_context(recorder.installed())
    return recorder


def _cut_power(job: Job, recorder: Recorder) -> None:
    power.cut(recorder, f"{job.seed} {job.attempt.number}", job.power_file)


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _descriptor_targets() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{name}")


def _reset_peak_memory() -> int:
    """Forget the peak so far; returns the bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak_memory() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{name} is not in /proc/self/status of {sys.platform}")
