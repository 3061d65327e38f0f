"""A host loses its hold on a temporary file of its own: another one took it over, or the server has forgotten it.

On network file systems this is told by whatever call comes next: ESTALE or ENOENT from write, fsync, stat, rename.
"""

import errno
import random
from typing import Any

import pytest

from tests.hosts.conftest import Deployment
from tests.hosts.host import Host, Mounted
from tests.hosts.mounts import odd
from tests.support.raw_files import MIB, raw_bytes

LARGE = raw_bytes(40 * MIB, "large")
FILES = {"a.raw": raw_bytes(24 * MIB, "a"), "a.d/b.bin": raw_bytes(700_000, "b"), "a.d/c.bin": b"c"}
CALLS = (
    *("write", "fsync", "fgetattr", "getattr", "rename", "open"),
    *("create", "flush", "ftruncate", "utimens", "read", "link"),
)
ERRORS = (
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.EACCES, errno.ENOTCONN, errno.EROFS),
)
LONG = pytest.mark.long
OURS = r"/\.s3dl\."


@pytest.fixture
def hosts(kraken: Deployment) -> tuple[Host, Host]:
    """Two clients of one server that answers ESTALE for what is gone."""
    made = [kraken.host(f"worker-{number}") for number in (1, 2)]
    for host in made:
        host.mount(odd(kraken.share, kraken.output, stale=True))
    return made[0], made[1]


@pytest.mark.rule("W13")
@pytest.mark.parametrize("damaged", [pytest.param(False, id="missing"), pytest.param(True, id="damaged", marks=LONG)])
def test_stopped_one_goes_on_after_the_other_took_over(kraken: Deployment, hosts, hold, *, damaged: bool) -> None:
    """X1, W13: what it writes then is answered ESTALE; it looks again, and the file is right."""
    kraken.put({"a.raw": LARGE})
    if damaged:
        kraken.destination.mkdir()
        (kraken.destination / "a.raw").write_bytes(bytes(30 * MIB) + LARGE[30 * MIB :])
    gate = hold(5)
    slow = kraken.begin(hosts[0])
    gate.wait(slow)
    slow.stop()
    assert kraken.age_temporary_files()
    gate.open()
    kraken.restore_well(hosts[1])
    slow.go_on()
    end = slow.end()
    end.assert_success(slow.log)
    kraken.assert_right()
    kraken.assert_tidy()


@pytest.mark.long
@pytest.mark.parametrize("removed", [".part", ".journal", ""])
def test_temporary_files_are_removed_by_another_client(kraken: Deployment, hosts, hold, removed: str) -> None:
    """X1: it begins anew, in the same run."""
    kraken.put({"a.raw": LARGE})
    gate = hold(5)
    task = kraken.begin(hosts[0])
    gate.wait(task)
    for file in kraken.destination.rglob(f".s3dl.*{removed}"):
        file.unlink()
    gate.open()
    end = task.end()
    end.assert_success(task.log)
    kraken.assert_right()
    kraken.assert_tidy()


def drawn(seed: str, errnos: tuple[int, ...], calls: tuple[str, ...] = CALLS, name: str = OURS) -> list[dict[str, Any]]:
    """One to three faults: at which call, the how manieth, and what it is answered."""
    draw = random.Random(seed)
    faults = []
    for _ in range(draw.randint(1, 3)):
        call = draw.choice(calls)
        nth = draw.randint(1, 150 if call == "write" else 6)
        faults.append({"operation": call, "name": name, "nth": nth, "errno": draw.choice(errnos)})
    return faults


def mounted_with(kraken: Deployment, faults: list[dict[str, Any]]) -> tuple[Host, Mounted]:
    host = kraken.host("worker-1")
    return host, host.mount(odd(kraken.share, kraken.output, stale=True, faults=faults))


def _gone(kraken: Deployment, faults: list[dict[str, Any]], *, damaged: bool = False) -> None:
    host, mounted = mounted_with(kraken, faults)
    kraken.put(FILES)
    if damaged:
        kraken.destination.mkdir()
        (kraken.destination / "a.raw").write_bytes(bytes(MIB) + FILES["a.raw"][MIB:])
    task = kraken.begin(host)
    end = task.end()
    end.assert_success(f"{mounted.said()}\n{task.log}")
    assert end.closed_twice == []
    assert len(kraken.reports) == 1
    kraken.assert_right()
    # What a call said was gone may have been left, and is of a live process until that ends.
    host.unmount(mounted)
    kraken.age_temporary_files()
    host.mount(odd(kraken.share, kraken.output))
    kraken.restore_well(host)
    kraken.assert_tidy()


@pytest.mark.rule("W13")
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("write", errno.ESTALE),
        pytest.param("write", errno.ENOENT, marks=LONG),
        *(pytest.param(call, errno.ESTALE, marks=LONG) for call in ("fsync", "getattr", "rename", "link", "flush")),
        *(pytest.param(call, errno.ENOENT, marks=LONG) for call in ("fsync", "getattr", "rename", "link", "flush")),
    ],
)
def test_own_temporary_file_is_said_to_be_gone(kraken: Deployment, call: str, number: int) -> None:
    """W13: another look, whichever call says it; never a final failure."""
    _gone(kraken, [{"operation": call, "name": OURS, "nth": 3 if call == "write" else 1, "errno": number}])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_own_temporary_file_is_said_to_be_gone_at_any_call(kraken: Deployment, seed: int) -> None:
    faults = drawn(f"gone {seed}", (errno.ESTALE, errno.ENOENT))
    _gone(kraken, faults, damaged=seed % 2 == 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_any_error_at_any_call(kraken: Deployment, seed: int) -> None:
    """No OK that is none, an end by itself, no number closed twice, one report; the next run heals."""
    faults = drawn(f"any {seed}", ERRORS, (*CALLS, "unlink", "fsyncdir", "mkdir"), name=".")
    host, mounted = mounted_with(kraken, faults)
    kraken.put(FILES)
    before = {"a.raw": bytes(MIB) + FILES["a.raw"][MIB:]} if seed % 2 else {}
    for path, content in before.items():
        kraken.destination.mkdir()
        (kraken.destination / path).write_bytes(content)
    task = kraken.begin(host)
    end = task.end()
    assert end.closed_twice == []
    if "Starting download" in task.log:  # else its folder could not be made
        assert len(kraken.reports) == 1 or "\nSummary:\n" in task.log
    if kraken.reports:
        assert ("Status: SUCCESS" in kraken.report) == (end.raised == ""), mounted.said()
    kraken.assert_no_wrong_ok(before)
    host.unmount(mounted)
    kraken.age_temporary_files()
    host.mount(odd(kraken.share, kraken.output))
    kraken.restore_well(host)
    kraken.assert_right()
    assert [name for name in kraken.others(*kraken.files) if ".s3dl." in name] == []
