"""Peak memory of a call in this process, without what was there before it."""

from __future__ import annotations

import gc
from pathlib import Path

_RESET_PEAK = "5"  # proc(5), clear_refs


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


class PeakMemory:
    """Bytes of resident memory above those at its making. Written files count only where they are mapped."""

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
        self._before = _status("VmRSS")

    def growth(self) -> int:
        """Highest growth so far."""
        return max(0, _status("VmHWM") - self._before)
