"""Two containers that share a folder: each with process numbers of its own, and what it can see of others.

Nobody can tell a container that stands still from a dead one but by its silence. What was stopped goes on some day.
"""

import contextlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import Deployment
from tests.hosts.host import Host
from tests.hosts.task import Task
from tests.support.raw_files import MIB, raw_bytes

LARGE = raw_bytes(40 * MIB, "large")
SMALL = {f"a.d/{number}": raw_bytes(20_000 * number, str(number)) for number in range(8)}
MINUTES = 60.0


@pytest.fixture
def containers(kraken: Deployment, request: pytest.FixtureRequest) -> tuple[Host, Host]:
    """Two of one name, as pods of one set or copies of one image; `proc` as `/proc` is in them."""
    proc = getattr(request, "param", "own")
    made = [kraken.host(f"pod-{letter}", proc=proc) for letter in "ab"]
    for host in made:
        host.run("mount", "--bind", str(kraken.share), str(kraken.output))
        host.run("hostname", "pod")
    return made[0], made[1]


LONG = pytest.mark.long
EVERY_PROC = ("own", "foreign", "hidden", "none")


def with_proc(*quick: str, of: tuple[str, ...] = EVERY_PROC) -> pytest.MarkDecorator:
    """For each kind of `/proc`, of which some are in `make test`."""
    kinds = [pytest.param(kind, marks=() if kind in quick else LONG) for kind in of]
    return pytest.mark.parametrize("containers", kinds, indirect=True)


def parts(kraken: Deployment) -> dict[str, int]:
    """Names and inodes of what is being fetched."""
    return {file.name: file.stat().st_ino for file in kraken.destination.rglob(".s3dl.*.part")}


def assert_never_two_writers(kraken: Deployment, *tasks: Task) -> None:
    inodes = [inode for task in tasks for inode in task.writes_into(kraken.output)]
    assert len(inodes) == len(set(inodes)), "two processes have one file open for writing"


@with_proc("none")
@pytest.mark.parametrize("damaged", [pytest.param(False, id="missing"), pytest.param(True, id="damaged", marks=LONG)])
def test_stopped_one_goes_on_after_the_other_took_over(kraken: Deployment, containers, hold, *, damaged: bool) -> None:
    """X1, X3: both end right, and they never write into one file."""
    kraken.put({"a.raw": LARGE, **SMALL})
    if damaged:
        kraken.destination.mkdir()
        (kraken.destination / "a.raw").write_bytes(LARGE[: 30 * MIB] + bytes(10 * MIB))
    gate = hold(6)
    slow = kraken.begin(containers[0])
    gate.wait(slow)
    slow.stop()
    assert kraken.age_temporary_files()
    gate.open()
    gate = hold(3)
    fast = kraken.begin(containers[1])
    gate.wait(fast)
    assert fast.writes_into(kraken.output)
    assert_never_two_writers(kraken, slow, fast)
    gate.open()
    end = fast.end()
    end.assert_success(fast.log)
    kraken.assert_right()
    slow.go_on()
    end = slow.end()
    end.assert_success(slow.log)
    assert end.closed_twice == []
    kraken.assert_right()
    kraken.assert_tidy()


@with_proc("foreign", of=("own", "foreign", "hidden"))
@pytest.mark.parametrize("outside_before", [True, pytest.param(False, marks=LONG)])
def test_live_one_is_not_taken_for_dead_by_its_neighbour(
    kraken: Deployment, containers, hold, *, outside_before: bool
) -> None:
    """X3: two attempts in one container whose `/proc` shows other processes, or none, under their numbers."""
    container = containers[0]
    kraken.put({"a.raw": LARGE})
    number = free_number()
    container.next_number(number)
    held = hold(4)
    with process_outside(number) if outside_before else contextlib.nullcontext():
        first = kraken.begin(container)
        held.wait(first)
    assert first.number_inside == number
    with process_outside(number):  # another one, or it was free when the first one looked for itself
        gate = hold(2)
        second = kraken.begin(container)
        gate.wait(second)
        assert_never_two_writers(kraken, first, second)
        gate.open()
        held.open()
        for task in (first, second):
            end = task.end()
            end.assert_success(task.log)
    kraken.assert_right()
    kraken.assert_tidy()


def free_number() -> int:
    """A number that no process of the machine has; the highest ones are given out last."""
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    return next(number for number in range(most - 1, 0, -1) if not Path(f"/proc/{number}").exists())


@contextlib.contextmanager
def process_outside(number: int) -> Iterator[None]:
    """Somebody else's process on the machine itself, under this number."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    process = subprocess.Popen(["true"])
    process.wait()
    while process.pid != number:  # others start processes too
        process.kill()
        process.wait()
        last.write_text(str(number - 1))
        process = subprocess.Popen(["sleep", "1000"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@with_proc()
def test_two_that_are_alike_to_the_number_do_not_meet_in_one_name(kraken: Deployment, containers, hold) -> None:
    """X3: one host name, one boot, one process number, perhaps no `/proc` to tell them apart."""
    kraken.put({"a.raw": LARGE, **SMALL})
    gate = hold(6)
    tasks = [kraken.begin(host) for host in containers]
    for task in tasks:
        gate.wait(task)
    assert_never_two_writers(kraken, *tasks)
    gate.open()
    for task in tasks:
        end = task.end()
        end.assert_success(task.log)
    kraken.assert_right()
    kraken.assert_tidy()


@with_proc("hidden", of=("own", "hidden"))
def test_number_of_a_dead_one_belongs_to_somebody_else(kraken: Deployment, containers, hold) -> None:
    """X4: with `hidepid=2` nobody may look at that process. What the dead one left is taken over after its silence."""
    container = containers[0]
    kraken.put({"a.raw": LARGE})
    gate = hold(8)
    dead = kraken.begin(container, unprivileged=True)
    gate.wait(dead)
    number = dead.number_inside
    dead.kill()
    gate.open()
    container.start_with_number(number)
    assert kraken.age_temporary_files()
    kraken.s3.forget_requests()
    kraken.restore_well(container, unprivileged=True)
    kraken.assert_right()
    kraken.assert_tidy()
    assert kraken.s3.bytes_sent() < len(LARGE) - 4 * MIB, "W3: nothing of it was used"


@pytest.mark.parametrize("ahead_s", [7 * MINUTES, *(pytest.param(at, marks=LONG) for at in (-7 * MINUTES, 1e6))])
def test_clocks_are_apart(kraken: Deployment, containers, hold, ahead_s: float) -> None:
    """X6: silence is measured by the file system's clock: what a live one writes is not taken from it."""
    kraken.put({"a.raw": LARGE})
    gate = hold(5)
    first = kraken.begin(containers[0])
    gate.wait(first)
    before = parts(kraken)
    assert before
    kraken.s3.on_request = None  # the second one is not held
    second = kraken.begin(containers[1], clock_ahead_s=ahead_s)
    second.end().assert_success(second.log)
    now = parts(kraken)
    assert {name: now.get(name) for name in before} == before, "a live one's file was taken"
    kraken.assert_right()
    gate.open()
    first.end().assert_success(first.log)
    kraken.assert_right()
    kraken.assert_tidy()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_rounds_of_two(kraken: Deployment, hold, seed: int) -> None:
    """Stops, kills, clocks and kinds of `/proc` as they come; in the end one more run makes all right."""
    draw = random.Random(f"rounds of two {seed}")
    hosts = []
    for letter in "ab":
        host = kraken.host(f"pod-{letter}", proc=draw.choice(["own", "foreign", "hidden", "none"]))
        host.run("mount", "--bind", str(kraken.share), str(kraken.output))
        host.run("hostname", draw.choice(["pod", f"pod-{letter}"]))
        hosts.append(host)
    files = {
        f"a.d/{number}": raw_bytes(draw.choice([0, 1000, 3 * MIB, 20 * MIB, 40 * MIB]), number) for number in range(5)
    }
    kraken.put(files)
    kraken.destination.mkdir()
    for path, data in files.items():
        if draw.random() < 0.4:
            (kraken.destination / path).parent.mkdir(exist_ok=True)
            (kraken.destination / path).write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    tasks: list[Task] = []
    for _ in range(draw.randint(2, 4)):
        gate = hold(draw.randint(0, 8))
        task = kraken.begin(draw.choice(hosts), clock_ahead_s=draw.choice([0, 0, 7 * MINUTES, -7 * MINUTES]))
        tasks.append(task)
        fate = draw.choice(["runs", "stops", "dies"])
        if fate != "runs" and gate.reached(task):
            task.stop() if fate == "stops" else task.kill()
        assert_never_two_writers(kraken, *(task for task in tasks if task.is_alive()))
        if draw.random() < 0.6:
            kraken.age_temporary_files()
        gate.open()
    for task in draw.sample(tasks, len(tasks)):
        if task.is_alive():
            task.go_on()
            end = task.end()
            end.assert_success(task.log)
    kraken.age_temporary_files()
    kraken.restore_well(hosts[0])
    kraken.assert_right()
    kraken.assert_tidy()
