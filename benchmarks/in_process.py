"""Child process: imports, makes and warms a client, then measures one restore call.

``python -m benchmarks.in_process MODULE`` reads a Job from standard input and writes two lines of JSON: the first when
it is about to begin, the second with what it measured.
"""

from __future__ import annotations

import importlib
import json
import sys
import time

from benchmarks.jobs import Job
from benchmarks.memory_peak import PeakMemory


def main() -> None:
    """Run one job."""
    restore = importlib.import_module(f"benchmarks.{sys.argv[1]}").prepare(Job.from_json(sys.stdin.read()))
    memory = PeakMemory()
    print(json.dumps({"ready": True}), flush=True)
    cpu, wall = time.process_time(), time.perf_counter()
    restore()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "peak_bytes": memory.growth()}), flush=True)


if __name__ == "__main__":
    main()
