"""Patience by time (S5), with a clock that only the waits move."""

import threading

import pytest

from s3_restore.model import reasons
from s3_restore.model.exceptions import (
    ObjectChangedError,
    PermanentStoreError,
    StoppedError,
    StoreUnreachableError,
    TransientStoreError,
)
from s3_restore.model.reasons import Failure
from s3_restore.run import retries
from s3_restore.run.retries import FilePatience, RunPatience, SpeedFloor


def said(text: str) -> Failure:
    return Failure(reasons.UNEXPECTED, text)


class Clock:
    """Time that stands still but for waits and what a test says a request took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        monkeypatch.setattr(retries.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(RunPatience, "sleep", lambda _run, seconds: self.sleep(seconds))

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run_patience(seconds: float = 300) -> RunPatience:
    run = RunPatience(seconds, threading.Event())
    run.answered()
    return run


def fail(error: Exception | None = None):
    raise error or TransientStoreError(said("busy"))


def test_default_patience_sits_out_25_seconds_and_4_minutes(clock: Clock) -> None:
    for outage_s in (25, 240):
        until = clock.now + outage_s
        assert run_patience().for_file().until_done(lambda until=until: clock.now >= until or fail())
        assert until <= clock.now < until + 20


def test_it_ends_after_the_patience_with_the_last_error(clock: Clock) -> None:
    begun = clock.now
    run = run_patience()
    with pytest.raises(TransientStoreError, match="busy"):
        run.for_file().until_done(fail)
    assert 300 <= clock.now - begun < 321
    assert run.made == len(clock.waits) > 15
    assert clock.waits[0] <= 0.5
    assert all(wait <= 20 for wait in clock.waits)


def test_a_byte_every_four_minutes_is_progress(clock: Clock) -> None:
    patience = run_patience().for_file()
    bytes_came: list[float] = []

    def work() -> bool:
        clock.now += 240
        bytes_came.append(clock.now)
        patience.progressed()
        return len(bytes_came) == 50 or fail()

    assert patience.until_done(work)
    assert sum(clock.waits) < 50, "and after progress the waits begin anew"


@pytest.mark.parametrize(
    "error", [PermanentStoreError(said("no"), "403"), ObjectChangedError(said("other")), OSError(5, "x")]
)
def test_what_does_not_pass_is_raised_at_once(clock: Clock, error: Exception) -> None:
    with pytest.raises(type(error)):
        run_patience().for_file().until_done(lambda: fail(error))
    assert clock.waits == []


def test_a_store_that_never_answered_is_given_up_after_30_seconds_for_all_files(clock: Clock) -> None:
    run = RunPatience(300, threading.Event())
    begun = clock.now
    with pytest.raises(StoreUnreachableError, match="refused"):
        run.for_file().until_done(lambda: fail(StoreUnreachableError(said("refused"))))
    assert 30 <= clock.now - begun <= 60
    clock.waits.clear()
    asked: list[int] = []
    for _ in range(1000):
        with pytest.raises(StoreUnreachableError, match="refused"):
            run.for_file().until_done(lambda: asked.append(1))
    assert clock.waits == asked == []


def test_any_answer_gives_the_whole_patience(clock: Clock) -> None:
    run = RunPatience(300, threading.Event())
    begun = clock.now
    answers = iter([TransientStoreError(said("503"))])
    with pytest.raises(StoreUnreachableError):
        run.for_file().until_done(lambda: fail(next(answers, StoreUnreachableError(said("refused")))))
    assert clock.now - begun >= 300


def test_ten_thousand_files_of_a_store_that_is_down_cost_one_patience(clock: Clock) -> None:
    run = run_patience()
    begun = clock.now
    for number in range(10_000):
        with pytest.raises(TransientStoreError) as caught:
            run.for_file().until_done(fail)
        assert isinstance(caught.value, StoreUnreachableError) is (number > 0), "so that the run counts them and ends"
    assert clock.now - begun < 321


def test_a_byte_for_anybody_gives_patience_to_all_again(clock: Clock) -> None:
    run = run_patience()
    with pytest.raises(TransientStoreError):
        run.for_file().until_done(fail)
    run.for_file().progressed()
    begun = clock.now
    with pytest.raises(TransientStoreError):
        run.for_file().until_done(fail)
    assert clock.now - begun >= 300


def test_a_disk_that_hung_is_no_fault_of_the_store(clock: Clock) -> None:
    """An error after ten minutes of writing one buffer is tried again all the same."""
    patience = run_patience().for_file()
    patience.progressed()
    clock.now += 600
    errors = iter([TransientStoreError(said("reset meanwhile"))])
    assert patience.until_done(lambda: (error := next(errors, None)) is None or fail(error))


def test_waiting_for_a_turn_is_no_fault_of_the_store(clock: Clock) -> None:
    """A file that waited behind others, between two of its pieces or for a connection, has its whole patience."""

    class Busy:
        def __enter__(self) -> None:
            clock.now += waits.pop() if waits else 0

        def __exit__(self, *_: object) -> None:
            pass

    waits: list[int] = []
    patience = run_patience().for_file(Busy())
    patience.until_done(patience.progressed)
    for wait_between, wait_for_connection in ((600, 0), (0, 600)):
        clock.now += wait_between
        waits.append(wait_for_connection)
        back_at = clock.now + wait_for_connection + 250
        patience.until_done(lambda back_at=back_at: clock.now >= back_at or fail())


def test_a_piece_that_begins_gives_no_new_patience_to_one_that_is_tried_again(clock: Clock) -> None:
    patience = run_patience().for_file()
    begun = clock.now

    def fail_while_others_begin() -> None:
        patience.until_done(lambda: None)
        fail()

    with pytest.raises(TransientStoreError):
        patience.until_done(fail_while_others_begin)
    assert clock.now - begun < 321


def test_a_stop_ends_a_wait() -> None:
    stop = threading.Event()
    run = RunPatience(300, stop)
    run.answered()
    stop.set()
    with pytest.raises(StoppedError):
        FilePatience(run).until_done(fail)


@pytest.mark.parametrize("patience_s", [0.3, 2, 60, 300, 10_000])
def test_waits_fit_into_every_patience(clock: Clock, patience_s: float) -> None:
    begun = clock.now
    with pytest.raises(TransientStoreError):
        run_patience(patience_s).for_file().until_done(fail)
    assert patience_s <= clock.now - begun <= patience_s * 1.1 + 20
    assert len(clock.waits) >= 10


def test_floor_of_speed() -> None:
    floor = SpeedFloor(1000, 60)
    assert floor.waited(0.01, 256)
    assert not floor.waited(10, 256), "slow so far, but its window is not over"
    with pytest.raises(TransientStoreError, match=r"too slow \(768 bytes in 60s, min_speed_bytes_s is 1000\)$"):
        floor.waited(50, 256)


def test_floor_of_speed_begins_anew_with_each_window() -> None:
    floor = SpeedFloor(1000, 60)
    assert floor.waited(60, 10**9)
    with pytest.raises(TransientStoreError):
        floor.waited(61, 59_000)


def test_no_floor() -> None:
    assert SpeedFloor(0, 60).waited(10_000, 1)
