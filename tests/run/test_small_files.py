"""How many small files are in work at once follows from what keeps them."""

from __future__ import annotations

import threading

import pytest

from s3_restore.run import small_files
from s3_restore.run.small_files import SMALL_BYTES, SmallFileTurns

_LIMIT_S = 20


class Clocks:
    """Time of the day and of the processor, as the test has it."""

    def __init__(self) -> None:
        self.now = self.computed = 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.computed


def most_at_once(turns: SmallFileTurns, clocks: Clocks, seconds: float, computing: float, files: int = 100) -> int:
    """Files one after the other, as many side by side as get a turn at once; each takes so long."""
    most = 0
    for _ in range(files):
        held = [turns.turn(1) for _ in range(turns._turns)]
        for each in held:
            each.__enter__()
        clocks.now += seconds
        clocks.computed += computing
        for each in held:
            each.__exit__(None, None, None)
        most = len(held)
    return most


@pytest.mark.parametrize(
    ("seconds", "computing", "at_once"),
    [(0.1, 0.0, 12), (0.1, 0.005, 12), (0.1, 0.08, 1), (0.1, 0.1, 1)],
    ids=["only waiting", "a far S3", "hardly any waiting", "no waiting"],
)
def test_as_many_as_wait(monkeypatch: pytest.MonkeyPatch, seconds: float, computing: float, at_once: int) -> None:
    clocks = Clocks()
    monkeypatch.setattr(small_files, "time", clocks)
    turns = SmallFileTurns(12)
    assert most_at_once(turns, clocks, seconds, computing) == at_once
    assert most_at_once(turns, clocks, 0.1, 0.0) == 12, "and follows when it changes"


def test_files_that_hang_let_others_in() -> None:
    """A store that does not answer keeps no turn from those that could wait too."""
    turns = SmallFileTurns(9)
    together = threading.Barrier(9, timeout=_LIMIT_S)

    def hang() -> None:
        with turns.turn(SMALL_BYTES):
            together.wait()

    threads = [threading.Thread(target=hang) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LIMIT_S)
    assert not together.broken


@pytest.mark.parametrize("size", [None, SMALL_BYTES + 1, 10**11])
def test_others_need_no_turn(size: int | None) -> None:
    turns = SmallFileTurns(1)
    with turns.turn(SMALL_BYTES), turns.turn(size):
        pass


def test_a_turn_is_given_back_whatever_happens() -> None:
    turns = SmallFileTurns(1)
    for _ in range(3):
        with pytest.raises(OSError, match="full"), turns.turn(1):
            raise OSError("full")
