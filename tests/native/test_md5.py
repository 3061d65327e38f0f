"""The native MD5 against hashlib."""

import hashlib
import random
import sys
import threading
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SAME_MODULE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
STREAM = st.lists(st.integers(0, 700) | st.sampled_from([55, 56, 63, 64, 65, 127, 128, 8192]), max_size=5)


def md5(data: Any) -> str:
    return hashlib.md5(data).hexdigest()


def test_every_length_up_to_300(native: ModuleType) -> None:
    data = random.Random(1).randbytes(300)
    states = [native.MD5() for _ in range(301)]
    native.update_many([(state, data[:length]) for length, state in enumerate(states)])
    assert [state.hexdigest() for state in states] == [md5(data[:length]) for length in range(301)]
    assert [native.MD5(data[:length]).digest().hex() for length in range(301)] == [md5(data[:n]) for n in range(301)]


@SAME_MODULE
@given(st.lists(STREAM, max_size=40), st.integers(0, 2**32))
def test_ragged_streams_in_pieces(native: ModuleType, streams: list[list[int]], seed: int) -> None:
    numbers = random.Random(seed)
    states, fed = [native.MD5() for _ in streams], [b""] * len(streams)
    copies = []
    for step in range(5):
        jobs = []
        for number, lengths in enumerate(streams):
            if step < len(lengths):
                piece = numbers.randbytes(lengths[step])
                fed[number] += piece
                jobs.append((states[number], memoryview(bytearray(piece))))
        native.update_many(jobs)
        copies += [(state.copy(), data) for state, data in zip(states, fed, strict=True)]
    for state, data in [*zip(states, fed, strict=True), *copies]:
        assert state.hexdigest() == md5(data)


@pytest.mark.long
def test_more_than_2_to_32_bits(native: ModuleType) -> None:
    data = random.Random(3).randbytes(64 << 20)
    states = [native.MD5() for _ in range(9)]
    expected = hashlib.md5()
    for _ in range(9):  # 576 MiB, past 2^32 bits
        native.update_many([(state, data) for state in states[:: 8 if native.lane_count() == 1 else 1]])
        expected.update(data)
    assert states[0].hexdigest() == states[8].hexdigest() == expected.hexdigest()


def test_has_what_hashlib_has(native: ModuleType) -> None:
    ours, theirs = native.MD5(), hashlib.md5()
    assert (ours.name, ours.digest_size, ours.block_size) == (theirs.name, theirs.digest_size, theirs.block_size)


def test_same_state_twice_is_refused_and_nothing_hashed(native: ModuleType) -> None:
    one, two = native.MD5(), native.MD5()
    with pytest.raises(ValueError, match="the MD5 at 2 is also the one at 0; nothing was hashed"):
        native.update_many([(one, b"a"), (two, b"b"), (one, b"c")])
    native.update_many([(one, b"x"), (two, b"y")])
    assert (one.hexdigest(), two.hexdigest()) == (md5(b"x"), md5(b"y"))


@pytest.mark.parametrize(
    "jobs", [None, 1, [1], [()], [(1, b"")], [("state",)], [(hashlib.md5(), b"")]], ids=lambda jobs: repr(jobs)[:12]
)
def test_wrong_arguments(native: ModuleType, jobs: Any) -> None:
    with pytest.raises(TypeError):
        native.update_many(jobs)


def test_no_buffer_leaks_on_an_error(native: ModuleType) -> None:
    state, data = native.MD5(), bytearray(b"abc")
    with pytest.raises(TypeError):
        native.update_many([(state, data), (native.MD5(), "text")])
    data.extend(b"d")  # BufferError, were it still held
    before = sys.getrefcount(state)
    native.update_many([(state, data)])
    assert sys.getrefcount(state) == before
    assert state.hexdigest() == md5(b"abcd")


def test_unknown_instruction_set(native: ModuleType) -> None:
    with pytest.raises(ValueError, match="'mmx'"):
        native.select("mmx")


def test_threads_with_their_own_states(native: ModuleType) -> None:
    data = random.Random(4).randbytes(1 << 20)
    results: list[str] = []

    def work() -> None:
        states = [native.MD5() for _ in range(7)]
        for _ in range(4):
            native.update_many([(state, data) for state in states])
        results.extend(state.hexdigest() for state in states)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [md5(data * 4)] * 28


def test_one_state_in_two_threads_is_an_error_or_in_order(native: ModuleType) -> None:
    data, state = b"\0" * (4 << 20), native.MD5()
    done: list[int] = []
    refused: list[str] = []

    def work() -> None:
        for _ in range(20):
            try:
                native.update_many([(state, data)])
                done.append(1)
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"MD5 is in use by another thread; nothing was hashed"}
    assert state.hexdigest() == md5(data * len(done))
