"""Where the newest version is not the file, an older one that proves itself is the restore (S7)."""

import re
from collections.abc import Callable

import pytest

from tests.stores.capabilities import can_hold
from tests.stores.keys import FIXED, SEED, drawn
from tests.stores.lab import ID, Lab
from tests.stores.midway import Before
from tests.support import raw_files
from tests.support.fault_rules import Rule
from tests.support.raw_files import MIB, raw_bytes

pytestmark = pytest.mark.timeout(300)

PART = 5 * MIB
SMALL, PARTS = 50_000, PART + 333
KINDS = {"small": SMALL, "parts": PARTS}


@pytest.fixture
def versions(lab: Lab, needs: Callable[[str], None]) -> Lab:
    """A bucket that keeps versions."""
    needs("has_versions")
    lab.content.keep_versions()
    return lab


def back_up(lab: Lab, *names: str) -> dict[str, bytes]:
    """A small file and one of several parts for each name."""
    files = {f"{name}/{kind}": raw_bytes(size, f"{name} {kind}") for name in names for kind, size in KINDS.items()}
    lab.back_up(files)
    return files


def overwrite(lab: Lab, path: str, data: bytes) -> None:
    lab.content.put(path, data, PART if len(data) > PART else None)


def wrong(data: bytes, seed: str = "wrong") -> bytes:
    return raw_bytes(len(data), seed)


def assert_from_older_versions(lab: Lab) -> None:
    lab.assert_restored()
    unsaid = {path: lab.line(path) for path in lab.files if "(older version of 20" not in lab.line(path)}
    assert unsaid == {}


def test_the_newest_version_is_restored_without_a_word(versions: Lab):
    for kind in KINDS:
        overwrite(versions, f"a/{kind}", b"an older version")
    back_up(versions, "a")
    versions.download(ID)
    versions.assert_restored()
    assert "older version" not in versions.report


def test_overwritten(versions: Lab):
    ways: dict[str, Callable[[bytes], bytes]] = {
        "same size": wrong,
        "shorter": lambda data: wrong(data)[:-1],
        "longer": lambda data: wrong(data) + b"x",
        "empty": lambda data: b"",
    }
    for path, data in back_up(versions, *ways).items():
        overwrite(versions, path, ways[path.partition("/")[0]](data))
    versions.download(ID)
    assert_from_older_versions(versions)


def test_deleted(versions: Lab):
    for path in back_up(versions, "a"):
        versions.content.delete(path)
    versions.download(ID)
    assert_from_older_versions(versions)


def test_odd_names(versions: Lab):
    """A list of versions spells keys in its own way; one that it cannot spell is no reason to give up the others."""
    drawn_names = [*drawn(SEED, 30), "first\x02.raw", "\x1flast.raw"]
    names = [name for name in (*FIXED, *drawn_names) if can_hold(versions.content, name, name.encode())]
    versions.files = {name: name.encode() for name in names}
    versions.note(raw_files.file_info(versions.files, "H1"))
    for number, name in enumerate(names):
        if number % 2:
            versions.content.delete(name)
        else:
            versions.content.put(name, b"wrong")

    versions.fail_to_download(ID)

    unlisted = [name for name in names if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", name)]
    assert len(unlisted) >= 2
    versions.assert_nothing_there(*unlisted)
    versions.assert_restored(*(name for name in names if name not in unlisted))
    assert versions.report.count("(older version of 20") == len(names) - len(unlisted)
    assert versions.report.count("FAILURE - ") == len(unlisted)


def test_deleted_and_uploaded_wrong(versions: Lab):
    for path, data in back_up(versions, "a").items():
        versions.content.delete(path)
        overwrite(versions, path, wrong(data))
        versions.content.delete(path)
        overwrite(versions, path, wrong(data, "wrong too"))
    versions.download(ID)
    assert_from_older_versions(versions)


def test_no_version_proves_itself(versions: Lab):
    for path, data in back_up(versions, "a").items():
        overwrite(versions, path, wrong(data))
        (first, _) = versions.content.versions[path]
        versions.client.delete_object(Bucket=versions.bucket, Key=path, VersionId=first)
    versions.fail_to_download(ID)
    versions.assert_nothing_there()
    assert [path for path in versions.files if not versions.line(path).startswith("FAILURE - Hash mismatch")] == []


def test_local_files_are_healed_from_an_older_version(versions: Lab):
    for path, data in back_up(versions, "a").items():
        overwrite(versions, path, wrong(data))
        versions.place(path, data[:-1] + bytes([data[-1] ^ 1]))
    versions.download(ID)
    versions.assert_restored()
    assert [path for path in versions.files if not versions.line(path).startswith("OK - Self-healed (")] == []


def test_right_local_files_are_skipped_whatever_was_uploaded_since(versions: Lab):
    for path, data in back_up(versions, "a").items():
        overwrite(versions, path, wrong(data))
        versions.place(path, data)
    assert versions.download(ID)["skipped"] == len(KINDS)
    versions.assert_restored()


@pytest.mark.parametrize("by", ["other bytes", "a delete marker"])
def test_replaced_midway_the_version_that_was_begun_with_is_restored(versions: Lab, by: str):
    data = raw_bytes(3 * PART, "midway")
    versions.back_up({"a.raw": data})
    replace = {
        "other bytes": lambda: overwrite(versions, "a.raw", wrong(data)),
        "a delete marker": lambda: versions.content.delete("a.raw"),
    }
    versions.proxy.add(Rule(Before(replace[by]), method="GET", nth=2))
    versions.download(ID)
    versions.assert_restored()
