"""All MD5 of a run in one place: right whoever comes when, lanes filled, no buffer filled too early (P1)."""

import errno
import hashlib
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3_restore.disk import hash_batches, hash_lanes, hashing, md5_backend
from s3_restore.disk.hash_service import HashService
from s3_restore.model.exceptions import StoppedError
from tests.support.md5_back_ends import BACK_ENDS, use_back_end

_LIMIT_S = 20
SAME_SERVICE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


@pytest.fixture(params=BACK_ENDS)
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HashService]:
    use_back_end(monkeypatch, request.param)
    yield from opened(HashService(2))


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Iterator[HashService]:
    use_back_end(monkeypatch, "native")
    yield from opened(HashService(1))


def opened(service: HashService) -> Iterator[HashService]:
    yield service
    service.close()


def reader(data: bytes) -> Callable[[memoryview, int], int]:
    def read_at(buffer: memoryview, offset: int) -> int:
        piece = data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    return read_at


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).digest()


def side_by_side(*works: Callable[[], None]) -> None:
    """Run works in threads, and raise what one of them raised."""
    errors: list[BaseException] = []

    def note(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=note, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LIMIT_S)
        assert not thread.is_alive(), "held up"
    if errors:
        raise errors[0]


class Watch:
    """Notes how many were hashed at once; `held` lets none be hashed before it is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        self.held = threading.Event()
        self.held.set()
        self._update_many = md5_backend.update_many
        patch.setattr(md5_backend, "update_many", self._watched)

    def _watched(self, jobs: Sequence[tuple[Any, Any]]) -> None:
        before = [bytes(view) for _, view in jobs]
        assert self.held.wait(_LIMIT_S)
        self.counts.append(len(jobs))
        self._update_many(jobs)
        assert before == [bytes(view) for _, view in jobs], "filled again while it was hashed"


# --- ranges of files ------------------------------------------------------------------------------------------------


@SAME_SERVICE
@given(st.lists(st.tuples(st.integers(0, 700_000), st.integers(0, 300_000)), max_size=40))
def test_ranges_of_any_length(service: HashService, ranges: list[tuple[int, int]]) -> None:
    data = random.Random(5).randbytes(600_000)
    wanted = [(start, start + length) for start, length in ranges]
    told: list[int] = []
    digests = service.digests(reader(data), wanted, told.append)
    assert digests == [md5(data[start:end]) for start, end in wanted]
    assert sum(told) == sum(len(data[start:end]) for start, end in wanted)


def test_feeding_goes_on_where_it_was(service: HashService) -> None:
    data = random.Random(6).randbytes(700_001)
    hasher = md5_backend.new_md5()
    assert service.feed(hasher, reader(data), 0, 300_000, lambda _count: None) == 300_000
    assert hasher.copy().digest() == md5(data[:300_000])
    assert service.feed(hasher, reader(data), 300_000, 10**9, lambda _count: None) == 400_001
    assert hasher.digest() == md5(data)


def test_a_file_that_cannot_be_read_is_told_and_others_go_on(service: HashService) -> None:
    data = random.Random(7).randbytes(900_000)

    def unreadable(buffer: memoryview, offset: int) -> int:
        if offset > 300_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return reader(data)(buffer, offset)

    def bad() -> None:
        with pytest.raises(OSError, match="Input/output error"):
            service.digests(unreadable, [(0, 900_000), (100, 200)], lambda _count: None)

    def good() -> None:
        for _ in range(20):
            assert service.digests(reader(data), [(0, 900_000)], lambda _count: None) == [md5(data)]

    side_by_side(bad, good, bad)


def test_hashing_is_stopped_by_who_counts_its_bytes(service: HashService) -> None:
    def stop(_count: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        service.digests(reader(bytes(10**7)), [(0, 10**7), (5, 10**7)], stop)
    assert service.digests(reader(b"x"), [(0, 1)], lambda _count: None) == [md5(b"x")]


def test_nothing_waits_for_ever_for_a_service_that_is_closed(service: HashService) -> None:
    service.close()
    with pytest.raises(StoppedError):
        service.digests(reader(b"x"), [(0, 1)], lambda _count: None)


def test_files_that_come_later_get_lanes_beside_those_under_way(
    native: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    watch.held.clear()
    data = random.Random(8).randbytes(3_000_000)
    all_there = threading.Barrier(8, timeout=_LIMIT_S)

    def read_at(whose: set[int], buffer: memoryview, offset: int) -> int:
        if not whose and len(seen) < 7:
            whose.add(1)
            seen.append(1)
        return reader(data)(buffer, offset)

    seen: list[int] = []

    def one_file() -> None:
        all_there.wait()
        assert native.digests(partial(read_at, set()), [(0, len(data))], lambda _count: None) == [md5(data)]

    def let_go() -> None:
        all_there.wait()
        watch.held.set()

    side_by_side(*[one_file] * 7, let_go)
    assert max(watch.counts) == 7


# --- buffers in flight ----------------------------------------------------------------------------------------------


def receive(service: HashService, data: bytes, at_most: int, *, then: Callable[[], object] = lambda: None) -> None:
    """As a connection does: fill a buffer, hand it in, go on; the digest is right in the end."""
    stream = service.stream(md5_backend.new_md5())
    try:
        offset = 0
        while offset < len(data):
            buffer = stream.buffer()
            piece = data[offset : offset + min(at_most, len(buffer))]
            buffer[: len(piece)] = piece
            stream.take(len(piece))
            offset += len(piece)
            then()
        assert stream.settle().copy().digest() == md5(data)
        assert stream.settle().digest() == md5(data)
    finally:
        stream.close()


@SAME_SERVICE
@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(1000, 300_000)), min_size=1, max_size=20))
def test_streams_of_any_length_at_once(service: HashService, streams: list[tuple[int, int]]) -> None:
    data = random.Random(9).randbytes(400_000)
    side_by_side(*[partial(receive, service, data[:length], at_most) for length, at_most in streams])


def test_slow_hash_never_sees_a_buffer_that_is_filled_again(
    service: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a batch is held, whoever receives goes on as far as its buffers reach, and no further."""
    monkeypatch.setattr(hashing, "BUFFER_BYTES", 4096)
    watch = Watch(monkeypatch)
    watch.held.clear()
    taken = threading.Semaphore(0)
    data = [random.Random(number).randbytes(200_000) for number in range(5)]

    def let_go() -> None:
        for _ in data:
            assert taken.acquire(timeout=_LIMIT_S)
        watch.held.set()

    side_by_side(*[partial(receive, service, each, 4096, then=taken.release) for each in data], let_go)


def test_lanes_are_filled_by_streams_that_come_side_by_side(
    native: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_batches, "_WAIT_FOR_COMPANY_S", 10.0)
    monkeypatch.setattr(hashing, "BUFFER_BYTES", 4096)
    watch = Watch(monkeypatch)
    data = random.Random(10).randbytes(400_000)
    begun = threading.Barrier(8, timeout=_LIMIT_S)

    def stream() -> None:
        first = iter([begun.wait])
        receive(native, data, 4096, then=lambda: [wait() for wait in first])

    side_by_side(*[stream] * 8)
    assert sum(watch.counts) == 8 * -(-len(data) // 4096)
    assert max(watch.counts) == 8
    assert sum(watch.counts) / len(watch.counts) > 6, "on average, with all that begin and end alone"


def test_a_stream_that_stalls_holds_up_none(native: HashService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for once, and expected again when it comes."""
    monkeypatch.setattr(hashing, "BUFFER_BYTES", 4096)
    waits: list[float] = []
    wait_for = threading.Condition.wait_for

    def counting(self: threading.Condition, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        if timeout:
            waits.append(timeout)
        return wait_for(self, predicate, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", counting)
    stalled = native.stream(md5_backend.new_md5())
    stalled.buffer()[:3] = b"abc"
    stalled.take(3)
    other = native.stream(md5_backend.new_md5())  # has company, once
    other.buffer()[:3] = b"abc"
    other.take(3)
    receive(native, bytes(400_000), 4096)
    assert 1 <= len(waits) <= 2, "not for each of a hundred buffers"
    assert stalled.settle().digest() == md5(b"abc")
    stalled.close()
    other.close()


def test_what_cannot_be_hashed_is_no_digest(native: HashService, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the back end ends each stream whose bytes it had."""

    def fail(_jobs: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(md5_backend, "update_many", fail)
    with pytest.raises(MemoryError, match="no room"):
        receive(native, bytes(2_000_000), 10**6)
    with pytest.raises(MemoryError, match="no room"):
        native.digests(reader(b"xyz"), [(0, 3)], lambda _count: None)


def test_what_cannot_be_hashed_is_known_before_its_bytes_are_gone(
    native: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread hashed them, and the one whose stream it is asks for the digest in just that moment."""

    def fail(_jobs: object) -> None:
        raise MemoryError("no room")

    class Full(deque[memoryview]):
        def popleft(self) -> memoryview:
            view = super().popleft()
            asked.append(view)
            with pytest.raises(MemoryError, match="no room"):
                stream.settle()
            return view

    asked: list[memoryview] = []
    stream = native.stream(md5_backend.new_md5())
    stream.full = Full()
    monkeypatch.setattr(md5_backend, "update_many", fail)
    stream.buffer()[:3] = b"abc"
    stream.take(3)
    assert len(asked) == 1
    monkeypatch.undo()
    stream.close()


def test_no_memory_for_the_second_buffer_leaves_the_first_to_others(
    native: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.stream(md5_backend.new_md5()).close()
    kept = native.stream(md5_backend.new_md5())  # takes both that are there
    kept.all_buffers, extra = kept.all_buffers[:1], kept.all_buffers[1:]
    kept.close()  # so that one is there

    def none_left(_size: int) -> bytearray:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(hash_batches, "bytearray", none_left, raising=False)
        with pytest.raises(MemoryError):
            native.stream(md5_backend.new_md5())
    made: list[int] = []
    monkeypatch.setattr(hash_batches, "bytearray", lambda size: made.append(size) or bytearray(size), raising=False)
    native.stream(md5_backend.new_md5()).close()
    assert len(made) == len(extra)


def test_no_memory_for_a_part_of_a_buffer_is_an_error_and_no_wait_without_end(
    service: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a thread runs out of memory, the ranges that it has in hand end."""
    ended: list[BaseException] = []

    def caller() -> None:
        try:
            service.digests(reader(b"xyz"), [(0, 3), (0, 3)], lambda _count: None)
        except MemoryError as error:
            ended.append(error)

    def fail(*_: object) -> int:
        raise MemoryError("no room")

    monkeypatch.setattr(hash_lanes.FileRange, "fill", fail)
    thread = threading.Thread(target=caller, daemon=True)
    thread.start()
    thread.join(_LIMIT_S)
    assert ended
    monkeypatch.undo()


def test_a_stream_that_is_given_up_leaves_its_buffers_to_others(
    service: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(hash_batches, "bytearray", lambda size: made.append(size) or bytearray(size), raising=False)
    for _ in range(5):
        given_up = service.stream(md5_backend.new_md5())
        given_up.buffer()[:5] = b"wrong"
        given_up.take(5)
        given_up.close()
        receive(service, b"right", 10)
    assert len(made) == (hash_batches.BUFFERS_OF_STREAM if md5_backend.LANES > 1 else 1)


def test_no_memory_for_a_thread_is_an_error_and_no_wait_without_end(
    service: HashService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_size: int) -> bytearray:
        raise MemoryError("no room")

    ended: list[BaseException] = []

    def caller() -> None:
        try:
            service.digests(reader(b"xyz"), [(0, 3)], lambda _count: None)
        except MemoryError as error:
            ended.append(error)

    monkeypatch.setattr(hash_lanes, "bytearray", none_left, raising=False)
    thread = threading.Thread(target=caller, daemon=True)
    thread.start()
    thread.join(_LIMIT_S)
    assert ended
    monkeypatch.undo()
