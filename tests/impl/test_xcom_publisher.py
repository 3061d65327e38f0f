"""U2: XComs come from a thread of their own, and whatever happens to them costs the task nothing."""

import threading
import time

import pytest

from impl import xcom_publisher
from impl.xcom_publisher import XComPublisher, push_quietly


class TaskInstance:
    """Takes XComs; `away` makes pushes raise, `hang` lets them wait for it, `refuses` names keys that never pass."""

    def __init__(self) -> None:
        self.pushes: list[tuple[str, object]] = []
        self.threads: set[str] = set()
        self.away = False
        self.hang: threading.Event | None = None
        self.refuses: set[str] = set()
        self.tried = threading.Event()
        self.pushed = threading.Event()

    def xcom_push(self, key: str, value: object) -> None:
        self.threads.add(threading.current_thread().name)
        self.tried.set()
        if self.hang:
            self.hang.wait(30)
        if self.away or key in self.refuses:
            raise ConnectionError("nobody there")
        self.pushes.append((key, value))
        self.pushed.set()

    @property
    def there(self) -> dict[str, object]:
        return dict(self.pushes)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "_LAST_PAUSE_S", "_TICK_S"):
        monkeypatch.setattr(xcom_publisher, name, 0.01)


def test_values_come_at_intervals_from_another_thread_and_the_last_ones_at_the_end():
    ti = TaskInstance()
    count = iter(range(1_000_000))
    three = threading.Event()

    def read() -> dict[str, object]:
        number = next(count)
        if number == 3:
            three.set()
        return {"progress": number}

    with XComPublisher(ti, read, interval_s=0.001) as publisher:
        assert three.wait(10)
        assert publisher.finish(lambda: {"progress": "last", "files": [1]})
    numbers = [value for _, value in ti.pushes if isinstance(value, int)]
    assert numbers[:3] == [0, 1, 2]
    assert ti.there == {"progress": "last", "files": [1]}
    assert ti.threads == {"s3-restore-xcoms"}


def test_nothing_is_pushed_more_often_than_the_interval():
    ti = TaskInstance()
    with XComPublisher(ti, lambda: {"progress": 1}, interval_s=3600) as publisher:
        assert ti.pushed.wait(10)
        publisher.finish(dict)
    assert ti.pushes == [("progress", 1)]


def test_after_finish_no_push_is_under_way_and_none_comes_any_more():
    ti = TaskInstance()
    with XComPublisher(ti, lambda: {"progress": 1}, interval_s=0.001) as publisher:
        assert ti.pushed.wait(10)
        assert publisher.finish(lambda: {"progress": 2})
        before = list(ti.pushes)
    for thread in [thread for thread in threading.enumerate() if thread.name == "s3-restore-xcoms"]:
        thread.join(10)
    assert ti.pushes == before


def test_a_server_that_is_away_at_the_end_is_waited_for_and_then_has_all_values():
    ti = TaskInstance()
    ti.away = True
    with XComPublisher(ti) as publisher:
        finished: list[bool] = []
        waiting = threading.Thread(
            target=lambda: finished.append(publisher.finish(lambda: {"progress": 1, "files": 2}))
        )
        waiting.start()
        assert ti.tried.wait(10)
        assert waiting.is_alive()
        ti.away = False
        waiting.join(10)
    assert finished == [True]
    assert ti.there == {"progress": 1, "files": 2}


def test_a_server_that_stays_away_is_waited_for_only_so_long():
    ti = TaskInstance()
    ti.away = True
    with XComPublisher(ti) as publisher:
        assert not publisher.finish(lambda: {"progress": 1}, within_s=0.05)


def test_a_push_that_hangs_holds_up_a_task_that_is_being_ended_for_no_moment():
    ti = TaskInstance()
    ti.hang = threading.Event()
    with XComPublisher(ti, lambda: {"progress": 1}) as publisher:
        assert ti.tried.wait(10)
        begun = time.monotonic()
        assert not publisher.finish(lambda: {"progress": 2}, is_in_a_hurry=lambda: True)
        assert time.monotonic() - begun < 5
    ti.hang.set()


def test_a_value_that_is_refused_keeps_no_other_back():
    ti = TaskInstance()
    ti.refuses = {"files"}
    with XComPublisher(ti) as publisher:
        assert publisher.finish(lambda: {"progress": 1, "files": 2, "report": "text"})
    assert ti.there == {"progress": 1, "report": "text"}


def test_an_error_of_the_reading_is_not_that_of_the_task():
    ti = TaskInstance()
    asked = threading.Event()

    def read() -> dict[str, object]:
        asked.set()
        raise ZeroDivisionError

    with XComPublisher(ti, read, interval_s=0.001) as publisher:
        assert asked.wait(10)
        assert publisher.finish(lambda: {"progress": 1})
    assert ti.there == {"progress": 1}


def test_an_error_of_the_task_passes_through_and_ends_the_thread():
    ti = TaskInstance()
    with pytest.raises(KeyError), XComPublisher(ti, lambda: {"progress": 1}, interval_s=0.001):
        raise KeyError
    for thread in [thread for thread in threading.enumerate() if thread.name == "s3-restore-xcoms"]:
        thread.join(10)
        assert not thread.is_alive()


def test_without_a_task_instance_nothing_is_pushed_and_nothing_waited_for():
    push_quietly(None, lambda: {"plan": {}})
    with XComPublisher(None) as publisher:
        assert publisher.finish(lambda: {"progress": 1})


def test_while_the_server_is_away_pushes_become_rare_and_then_frequent_again(monkeypatch: pytest.MonkeyPatch):
    """Each of them keeps the supervisor of the task from beating its heart for 8 to 20 seconds."""
    waits: list[float] = []
    monkeypatch.setattr(xcom_publisher, "_FIRST_PAUSE_S", 10.0)
    monkeypatch.setattr(xcom_publisher, "_LONGEST_PAUSE_S", 60.0)
    ti = TaskInstance()
    ti.away = True
    publisher = XComPublisher(ti, lambda: {"progress": 1})

    def wait(seconds: float) -> None:
        waits.append(seconds)
        ti.away = len(waits) < 6
        publisher._is_abandoned = len(waits) == 8

    monkeypatch.setattr(publisher._wake, "wait", wait)
    publisher._run()
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 5.0, 5.0]


def test_no_thread_for_them_costs_the_task_nothing(monkeypatch: pytest.MonkeyPatch):
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ti = TaskInstance()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with XComPublisher(ti) as publisher:
            assert publisher.finish(lambda: {"return_value": 1})
    assert ti.pushes == []
