"""Connections that are faster than the processor take turns; nobody is kept waiting by one that stalls."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack

import pytest

from s3_restore.run import receive_turns
from s3_restore.run.receive_turns import ReceiveTurns

_LIMIT_S = 20


@pytest.fixture(params=[1, 2, 3, 64])
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many turns there are, on a machine with so many processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(request.param)))
    return min(request.param, 4)


def all_taken(turns: ReceiveTurns, most: int) -> ExitStack:
    held = ExitStack()
    for _ in range(most):
        held.enter_context(turns.turn(is_fast=True))
    return held


def test_one_more_waits_until_a_turn_is_given_back(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_turns, "_WAIT_S", _LIMIT_S)
    turns = ReceiveTurns()
    happened: list[str] = []

    def want_one() -> None:
        with turns.turn(is_fast=True):
            happened.append("taken")

    with all_taken(turns, most):
        thread = threading.Thread(target=want_one)
        thread.start()
        thread.join(0.1)
        happened.append("given back")
    thread.join(_LIMIT_S)
    assert happened == ["given back", "taken"]


def test_a_slow_connection_needs_no_turn(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_turns, "_WAIT_S", 1000)
    turns = ReceiveTurns()
    with all_taken(turns, most), turns.turn(is_fast=False):
        pass


def test_connections_that_stall_in_their_turn_hold_up_no_other_for_long(most: int) -> None:
    turns = ReceiveTurns()
    with all_taken(turns, most):
        for _ in range(3):
            with turns.turn(is_fast=True):
                pass


def test_a_turn_is_given_back_whatever_happens(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_turns, "_WAIT_S", 0)
    turns = ReceiveTurns()
    for _ in range(3 * most):
        with pytest.raises(OSError, match="reset"), turns.turn(is_fast=True):
            raise OSError("reset")
    with all_taken(turns, most):
        assert not turns._free.acquire(blocking=False), "and none twice"
    all_taken(turns, most).close()
