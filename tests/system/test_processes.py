"""No process may outlive the demo or the tests, however they end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from demo.airflow_stack import REPOSITORY
from demo.processes import ChildProcess, StartError, environment, pick_port, wait_until

# Ignores SIGTERM, and starts a child of its own that does too; prints both process ids.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    {in_grandchild}
print(os.getpid(), flush=True)
time.sleep(60)
"""


def start_python(code, tmp_path) -> ChildProcess:
    child = ChildProcess("Child", [sys.executable, "-c", code], tmp_path / "child.log")
    child.start()
    return child


def printed_ids(child: ChildProcess, count: int) -> list[int]:
    def ids() -> list[int]:
        return [int(line) for line in child.log_file.read_text().split()]

    wait_until(lambda: len(ids()) == count, [child], "Child", timeout_seconds=10)
    return ids()


@pytest.mark.parametrize("in_grandchild", ["pass", "os.setpgid(0, 0)", "os.setsid()"])
def test_stop_ends_a_stubborn_child_and_its_children(tmp_path, in_grandchild):
    child = start_python(STUBBORN.format(in_grandchild=in_grandchild), tmp_path)
    ids = printed_ids(child, 2)

    child.stop(grace_seconds=0.5)

    assert not any(psutil.pid_exists(number) and psutil.Process(number).status() != "zombie" for number in ids)
    child.stop()


def test_stop_ends_orphans_of_a_child_that_died_first(tmp_path):
    code = (
        "import os, time\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    time.sleep(60)\ntime.sleep(0.3)"
    )
    child = start_python(code, tmp_path)
    (orphan,) = printed_ids(child, 1)
    while child.is_running:
        time.sleep(0.05)

    child.stop(grace_seconds=2)

    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_child_ends_when_its_parent_is_killed(tmp_path):
    parent_code = (
        "import sys, time; from pathlib import Path; from demo.processes import ChildProcess\n"
        f"ChildProcess('Child', ['sleep', '60'], Path({str(tmp_path / 'sleep.log')!r})).start()\n"
        "print('started', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_code], stdout=subprocess.PIPE, env=environment({"PYTHONPATH": str(REPOSITORY)})
    ) as parent:
        assert parent.stdout.readline() == b"started\n"
        (child,) = psutil.Process(parent.pid).children()
        parent.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(timeout=5)
    assert not child.is_running()


def test_early_end_is_an_error_with_the_end_of_the_log(tmp_path):
    child = start_python("print('line of the log'); raise SystemExit(3)", tmp_path)

    with pytest.raises(StartError, match=r"Child ended by itself, exit code 3\.(.|\n)*line of the log"):
        wait_until(lambda: False, [child], "Child", timeout_seconds=10)
    child.stop()


def test_waiting_too_long_is_an_error_with_the_end_of_the_log(tmp_path):
    child = start_python("import time; print('still busy', flush=True); time.sleep(60)", tmp_path)

    with pytest.raises(StartError, match=r"The thing did not get ready in 1 s\.(.|\n)*still busy"):
        wait_until(lambda: False, [child], "The thing", timeout_seconds=1)
    child.stop()


def test_ctrl_c_while_stopping_waits_until_all_have_ended(tmp_path):
    child = start_python(STUBBORN.format(in_grandchild="pass"), tmp_path)
    printed_ids(child, 2)
    running_at_signal = []
    before = signal.signal(signal.SIGINT, lambda *_: running_at_signal.append(child.is_running))
    try:
        with subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -INT {os.getpid()}"]):
            child.stop(grace_seconds=1)
    finally:
        signal.signal(signal.SIGINT, before)

    assert running_at_signal == [False]


def test_taken_port_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert pick_port(port) not in {port, 0}
    assert pick_port(port) == port
