"""Waiting for what tells nobody: another process, a file that appears."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Look until there is something, and return it; fails the test when there is nothing for so long."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found
