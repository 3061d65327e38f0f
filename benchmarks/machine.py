"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.contenders import TOOLS


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
