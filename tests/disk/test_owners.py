"""Who owns a temporary file, and whether the owner is dead (W3, W6)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3_restore.disk import owners
from s3_restore.disk.owners import Standing

STALE_S = 300.0


def is_dead(token: str, silent_for_s: float = 1e9) -> bool:
    standing = owners.standing(token)
    return standing is Standing.DEAD or (standing is Standing.UNKNOWN and silent_for_s > STALE_S)


@pytest.fixture
def sleeper():
    """A living process of this host."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.communicate()


def token_of(pid: int, start: str, host: str | None = None) -> str:
    mine = owners.new_owner()
    owners.release(mine)
    return f"{host or mine.split('-')[0]}-{pid}-{start}-{0:016x}-1"


def start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_tokens_differ():
    tokens = [owners.new_owner() for _ in range(3)]
    assert len(set(tokens)) == 3
    for token in tokens:
        owners.release(token)


def test_alive_until_released_however_long_it_is_silent():
    token = owners.new_owner()
    assert not is_dead(token)
    owners.release(token)
    assert is_dead(token, silent_for_s=0), "this process knows for sure, time says nothing"


def test_a_living_process_of_this_host_owns_its_files(sleeper):
    assert not is_dead(token_of(sleeper.pid, start_of(sleeper.pid)))


def test_a_dead_process_of_this_host_does_not(sleeper):
    token = token_of(sleeper.pid, start_of(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    assert is_dead(token, silent_for_s=0)


def test_a_process_number_that_was_given_away_again(sleeper):
    assert is_dead(token_of(sleeper.pid, "1"), silent_for_s=0)


def test_a_process_of_another_user_lives():
    assert not is_dead(token_of(1, start_of(1)))


def test_a_process_number_that_cannot_be():
    token = token_of(9_999_999_999, "5")
    assert is_dead(token) in (True, False), "no exception, whatever a file name says"


@pytest.mark.parametrize(("silent_for_s", "dead"), [(0, False), (299, False), (301, True), (-5, False)])
def test_of_another_host_only_time_can_tell(silent_for_s, dead):
    assert is_dead(token_of(os.getpid(), start_of(os.getpid()), host="00000000"), silent_for_s) is dead


@pytest.mark.parametrize("token", ["", "-", "abc", "1-2-3", "zzzzzzzz-1-1-1", "0" * 300, "../x"])
@pytest.mark.parametrize(("silent_for_s", "dead"), [(0, False), (301, True)])
def test_a_token_that_makes_no_sense_is_left_alone_for_a_while(token, silent_for_s, dead):
    assert is_dead(token, silent_for_s) is dead


def test_another_process_of_this_host_sees_ours_alive():
    token = owners.new_owner()
    code = "import sys; from s3_restore.disk import owners; print(owners.standing(sys.argv[1]).value)"
    environment = {**os.environ, "PYTHONPATH": str(Path(owners.__file__).parents[2])}
    said = subprocess.run(
        [sys.executable, "-c", code, token], env=environment, capture_output=True, text=True, check=True
    )
    owners.release(token)
    assert said.stdout.strip() == "alive"


def test_owner_that_nobody_has_waited_for_is_dead():
    """Seen with Airflow: the next attempt begins before the supervisor has collected the one that was killed."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    token = token_of(child.pid, start_of(child.pid))
    assert not is_dead(token)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # waits, and leaves it as it is
    assert owners._status_of(child.pid)[0] == "Z"
    assert is_dead(token, silent_for_s=0)
    child.communicate()


def test_owner_whose_first_thread_has_ended_may_still_write_with_another():
    ends_its_first_thread = (
        "import ctypes, os, threading; threading.Thread(target=input).start(); print(flush=True); "
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", ends_its_first_thread], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        token = token_of(child.pid, start_of(child.pid))
        child.stdout.readline()
        deadline = time.monotonic() + 10
        while owners._status_of(child.pid)[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not is_dead(token)
        child.kill()


def test_threads_that_ask_first_at_once_are_one_process() -> None:
    """Each with a number of its own, what it gives up would look alive for good, and nobody would take it over."""
    program = (
        "import threading; from s3_restore.disk import owners; barrier = threading.Barrier(8); tokens = []\n"
        "def ask():\n barrier.wait()\n tokens.append(owners.new_owner())\n"
        "for _ in range(200):\n"
        " owners._drawn_for.cache_clear(); tokens.clear()\n"
        " threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        " [thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        " [owners.release(token) for token in tokens]\n"
        " assert {owners.standing(token) for token in tokens} == {owners.Standing.DEAD}\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(owners.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
