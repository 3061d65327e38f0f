"""Healing on each server: right bytes, and neither memory nor wire for what a store answers beside the point (S4)."""

import pytest

from tests.stores.lab import ID, Lab
from tests.support import raw_files
from tests.support.raw_files import MIB, raw_bytes

pytestmark = pytest.mark.timeout(300)

PART = 8 * MIB
SIZE = 64 * MIB + 17
MOST_FOR_QUESTIONS = MIB + 10 * MIB
"""What optional requests may cost: 1 MiB is read at most, and the proxy counts what both kernels had buffered."""
MOST_MEMORY = 40 * MIB
"""Peak over idle of a whole task: buffers, threads, connections; far below the object."""


def one_wrong_bit(data: bytes, at: int = -1) -> bytes:
    broken = bytearray(data)
    broken[at] ^= 0x10
    return bytes(broken)


def test_one_bad_part_is_healed_with_little_memory_and_its_bytes_once(lab: Lab):
    data = raw_bytes(SIZE, "healed")
    lab.back_up({"a.raw": data}, part_mib=PART // MIB)
    lab.place("a.raw", one_wrong_bit(data, 3 * PART + 5))

    with lab.wire() as wire, lab.child() as child:
        result = child.end()

    assert result.get("status") == "SUCCESS", child.log_file.read_text()[-4000:]
    assert lab.line("a.raw").startswith("OK - Self-healed (hash mismatch detected, re-downloaded) (")
    lab.assert_restored()
    needed = PART if lab.seen.tells_part_checksums else SIZE
    cost = {"wire": wire.bytes - needed, "memory": result["memory_growth"], "asked": wire.count("attributes")}
    most = {"wire": MOST_FOR_QUESTIONS, "memory": MOST_MEMORY, "asked": 1}
    assert {name: value for name, value in cost.items() if value > most[name]} == {}, str(wire)


def test_damaged_files_of_every_kind_are_healed(lab: Lab):
    sizes = {"H1": MIB + 7, "H2": 5 * MIB + 77, "H3": 5 * MIB + 77}
    info = {}
    for form, size in sizes.items():
        data = raw_bytes(size, form)
        damages = {"bit": one_wrong_bit(data, 9), "short": data[:-1], "long": data + b"x", "empty": b""}
        files = {f"{form}/{damage}": data for damage in damages}
        lab.back_up(files, form=form)
        info |= raw_files.file_info(files, form, 5)
        for damage, broken in damages.items():
            lab.place(f"{form}/{damage}", broken)
    lab.note(info)

    lab.download(ID)

    assert [path for path in info if not lab.line(path).startswith("OK - Self-healed (")] == []
    lab.assert_restored()


def test_a_damaged_file_is_kept_where_the_object_is_missing(lab: Lab):
    data = raw_bytes(5 * MIB + 77, "kept")
    lab.back_up({"a.raw": data})
    lab.content.delete("a.raw")
    broken = one_wrong_bit(data)
    lab.place("a.raw", broken)
    lab.fail_to_download(ID)
    (aside,) = lab.others()
    assert (lab.destination / aside).read_bytes() == broken
    assert lab.line("a.raw").endswith(f"; the corrupted file is kept as {aside}")
