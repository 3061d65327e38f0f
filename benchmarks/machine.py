"""What the figures were measured on and with."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks.contenders import TOOLS

_MD5_BUFFER, _MD5_STREAMS = 128 * 1024, 16


def machine() -> str:
    """Processor, cores and memory."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, {memory:.0f} GiB of memory, Linux {platform.release().split('-')[0]}"


def versions() -> str:
    """Contenders, source, and what they stand on."""
    s5cmd = next(TOOLS.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"), TOOLS / "bin/s5cmd")
    return ", ".join(
        [
            f"Python {platform.python_version()}",
            f"boto3 {version('boto3')}",
            f"s5cmd {_first_line(str(s5cmd), 'version').lstrip('v').partition('-')[0]}",
            _first_line(str(TOOLS / "bin/rclone"), "version").replace(" v", " "),
            _first_line(str(TOOLS / "bin/aws"), "--version").partition(" ")[0].replace("/", " "),
            _first_line("nginx", "-v").rpartition(": ")[2].replace("/", " "),
            _first_line("openssl", "version").partition(" (")[0],
        ]
    )


def md5_figures() -> str:
    """How fast one core computes MD5, by back end: one stream with hashlib, full lanes with the native module."""
    buffers = [os.urandom(_MD5_BUFFER) for _ in range(_MD5_STREAMS)]
    hashers = [hashlib.md5(usedforsecurity=False) for _ in buffers]

    def with_hashlib() -> None:
        for hasher, buffer in zip(hashers, buffers, strict=True):
            hasher.update(buffer)

    figures = [f"hashlib {_md5_gb_s(with_hashlib):.2f}"]
    try:
        native = importlib.import_module("s3_restore_md5")
    except ImportError:
        return f"MD5 in GB/s on one core: {figures[0]}; the native module is not installed"
    chosen = native.instruction_set()
    states = [native.MD5() for _ in buffers]
    for name in native.instruction_sets():
        native.select(name)
        pairs = list(zip(states, buffers, strict=True))
        figures.append(f"{name} {_md5_gb_s(lambda pairs=pairs: native.update_many(pairs)):.2f}")  # type: ignore[misc]
    native.select(chosen)
    return f"MD5 in GB/s on one core: {', '.join(figures)}"


def _md5_gb_s(work: Callable[[], None]) -> float:
    """Best of some tries."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(10):
            work()
        best = min(best, time.process_time() - begun)
    return 10 * _MD5_BUFFER * _MD5_STREAMS / best / 1e9


def busy_cores(seconds: float = 1.0) -> float:
    """How many cores are busy now, while nothing of the benchmark runs: it must be near 0 for figures to mean much."""
    busy_before, all_before = _jiffies()
    time.sleep(seconds)
    busy, everything = _jiffies()
    share = (busy - busy_before) / max(1, everything - all_before)
    return share * (os.cpu_count() or 1)


def _jiffies() -> tuple[int, int]:
    user, nice, system, idle, waiting, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    busy = user + nice + system + sum(interrupts)
    return busy, busy + idle + waiting


def _first_line(*command: str) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": path})
    except OSError:
        return f"{Path(command[0]).name} (missing)"
    return ((ran.stdout or ran.stderr).splitlines() or [""])[0].strip()
