"""Work in pieces: side by side, in order, and ended by the first error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from s3_restore.model.exceptions import StoppedError
from s3_restore.run.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.close()


class OfOnePieceError(Exception):
    pass


def test_results_come_in_the_order_of_the_pieces(workers: Workers) -> None:
    first_may_end = threading.Event()

    def first() -> str:
        assert first_may_end.wait(10)
        return "first"

    def second() -> str:
        first_may_end.set()
        return "second"

    with workers.group() as group:
        assert group.all_of([first, second]) == ["first", "second"]


def test_a_single_piece_is_done_by_the_caller(workers: Workers) -> None:
    with workers.group() as group:
        assert group.all_of([threading.get_ident]) == [threading.get_ident()]


def test_the_first_error_ends_the_pieces_at_work_and_those_not_begun(workers: Workers) -> None:
    failed = threading.Event()
    ended: list[str] = []

    def fails() -> None:
        failed.set()
        raise OfOnePieceError

    def goes_on() -> None:
        assert failed.wait(10)
        while True:
            try:
                group.check()
            except StoppedError:
                ended.append("at work")
                raise

    group = workers.group()
    pieces = [group.go(goes_on), group.go(fails), *(group.go(lambda: ended.append("begun")) for _ in range(20))]
    for piece in pieces:  # whichever is asked tells why all were ended
        with pytest.raises(OfOnePieceError):
            piece.result()
    assert ended == ["at work"]


def test_at_the_end_of_the_group_all_pieces_have_ended(workers: Workers) -> None:
    may_end = threading.Event()
    done: list[int] = []

    def piece() -> None:
        assert may_end.wait(10)
        done.append(1)

    with workers.group() as group:
        for _ in range(5):
            group.go(piece)
        may_end.set()
    assert len(done) == 5


def test_it_is_waited_for_as_long_as_one_likes(workers: Workers) -> None:
    may_end = threading.Event()
    group = workers.group()
    group.go(lambda: may_end.wait(10))
    assert not group.wait(0.01)
    may_end.set()
    assert group.wait(10)


def test_an_error_of_the_caller_ends_them_too_and_is_raised(workers: Workers) -> None:
    begun = threading.Event()

    def until_ended() -> None:
        begun.set()
        while True:
            group.check()

    group = workers.group()

    def caller() -> None:
        with group:
            group.go(until_ended)
            assert begun.wait(10)
            raise OfOnePieceError

    with pytest.raises(OfOnePieceError):
        caller()


def test_an_interrupt_of_the_caller_waits_for_nobody(workers: Workers) -> None:
    """The process is to end: a piece may wait for a disk without end."""
    may_end = threading.Event()
    begun = threading.Event()

    def hangs() -> None:
        begun.set()
        assert may_end.wait(10)

    def caller() -> None:
        with workers.group() as group:
            group.go(hangs)
            assert begun.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        caller()
    assert not may_end.is_set()
    may_end.set()


def test_a_stop_from_outside_ends_a_group(workers: Workers) -> None:
    stop = threading.Event()
    stop.set()
    done: list[int] = []
    with pytest.raises(StoppedError), workers.group(stop) as group:
        group.go(lambda: done.append(1))
    assert done == []


def test_groups_share_threads_and_no_errors(workers: Workers) -> None:
    with workers.group() as other:
        with pytest.raises(OfOnePieceError), workers.group() as group:
            group.go(lambda: (_ for _ in ()).throw(OfOnePieceError))
        assert other.go(lambda: 7).result() == 7


def ended_within(seconds: float, work: Callable[[], object]) -> BaseException | None:
    """What a piece of work raised, in a thread of its own."""
    raised: list[BaseException | None] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    assert raised, "it waits without end"
    return raised[0]


def test_where_the_system_gives_no_thread_nobody_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a limit of threads (`pids.max` of a container): an error, and no wait for a piece that nobody has."""

    def whole() -> None:
        with Workers(2).group() as group:
            monkeypatch.setattr(threading.Thread, "start", no_thread)
            group.all_of([list, list])

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    assert isinstance(ended_within(10, whole), RuntimeError)


def test_what_comes_after_the_end_is_not_waited_for(workers: Workers) -> None:
    """A thread that was stuck in a disk when the run ended goes on, and hands out pieces that nobody will do."""
    workers.close()

    def whole() -> None:
        with workers.group() as group:
            group.all_of([list, list])

    assert isinstance(ended_within(10, whole), StoppedError)
