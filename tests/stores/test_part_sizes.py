"""ETags of which nobody knows the part size (H3, H8): those of usual tools, and whole megabytes."""

import pytest

from tests.stores.lab import ID, Lab
from tests.support.raw_files import MIB, multipart_etag, raw_bytes

pytestmark = pytest.mark.timeout(300)

PART_SIZES = {"5 MiB": 5 * MIB, "8 MiB": 8 * MIB, "15 MiB": 15 * MIB, "10 MB": 10_000_000}


@pytest.fixture
def backed_up(lab: Lab) -> Lab:
    """A file of each part size, of which the document has no more than the ETag."""
    info = {}
    for path, part_size in PART_SIZES.items():
        data = raw_bytes(2 * part_size + 4321, path)
        lab.upload(path, data, part_size=part_size)
        info[path] = [len(data), multipart_etag(data, part_size)]
    lab.note(info)
    return lab


def lines(lab: Lab) -> dict[str, str]:
    """What the report says of each, without the figures."""
    return {path: lab.line(path).partition(" (")[0] for path in PART_SIZES}


def all_say(text: str) -> dict[str, str]:
    return dict.fromkeys(PART_SIZES, text)


def test_restored_skipped_and_healed(backed_up: Lab):
    lab = backed_up
    lab.download(ID)
    lab.assert_restored()
    assert lines(lab) == all_say("OK - Downloaded and verified")

    with lab.wire() as wire:
        lab.download(ID)
    assert lines(lab) == all_say("OK - Skipped")
    assert wire.bytes == 0, wire

    for path in PART_SIZES:
        data = lab.files[path]
        lab.place(path, data[:-1] + bytes([data[-1] ^ 1]))
    lab.download(ID)
    lab.assert_restored()
    assert lines(lab) == all_say("OK - Self-healed")


def test_a_right_file_stays_where_the_object_is_another_upload(backed_up: Lab):
    """What a store tells of other bytes says nothing of how the right ones were cut."""
    lab = backed_up
    inodes = {}
    for path in PART_SIZES:
        data = lab.files[path]
        lab.content.put(path, raw_bytes(len(data), "another"), 7 * MIB if lab.seen.uploads_parts else None)
        inodes[path] = lab.place(path, data).stat().st_ino
    lab.download(ID)
    assert lines(lab) == all_say("OK - Skipped")
    assert {path: lab.path(path).stat().st_ino for path in PART_SIZES} == inodes
    lab.assert_restored()
