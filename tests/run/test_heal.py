"""Issue 3, item 4: of a damaged file only the damaged ranges are fetched, and the whole is proved all the same (W2)."""

import errno
import re
import zlib
from base64 import b64encode
from collections import Counter
from pathlib import Path

import pytest

from s3_restore.disk.open_file import OpenFile
from tests.support.engine_fixtures import BUCKET, Gate, Stand
from tests.support.fault_rules import Garbage, Reset, Rule, Stall, Status
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import AttributesMode

pytest_plugins = ["tests.support.engine_plugin"]
WITH_BOTH_BACK_ENDS = "shared"

DATA = raw_bytes(7 * MIB, "heal")  # parts of 1 MiB
LARGE = raw_bytes(23 * MIB, "heal")  # enough for a journal
HEALED = "OK - Self-healed (hash mismatch detected, re-downloaded) ({} in "


def assert_healed(stand: Stand, size: str, fetched: int) -> None:
    run = stand.restore()
    assert re.fullmatch(re.escape(HEALED.format(size)) + r"\d+\.\ds\)", run["a.raw"]), run["a.raw"]
    stand.assert_right()
    assert stand.server.bytes_sent() == fetched
    assert stand.others == [], "W2: healed, so what was set aside is deleted"


def test_one_bad_bit_is_one_part_and_the_report_says_so(stand: Stand) -> None:
    """To the letter as in the issue: `(1.0 of 23.0 MB in 0.4s)`."""
    stand.put("a.raw", LARGE)
    stand.damage("a.raw", 12 * MIB + 345)
    assert_healed(stand, "1.0 of 23.0 MB", MIB)
    assert stand.ranges() == [(12 * MIB, 13 * MIB)]
    assert all("if-match" in request.headers and request.version_id for request in stand.gets())


@pytest.mark.rule("H1")
def test_h1_file_is_healed_by_part_too(stand: Stand) -> None:
    """The hash is one stream, the ranges are S3's parts."""
    stand.put("a.raw", LARGE, "H1", part_mib=5)
    stand.damage("a.raw", 12 * MIB)
    assert_healed(stand, "5.0 of 23.0 MB", 5 * MIB)
    assert stand.ranges() == [(10 * MIB, 15 * MIB)]


@pytest.mark.rule("H3")
def test_h3_file_is_healed_by_part_too(stand: Stand) -> None:
    stand.put("a.raw", DATA, "H3", part_mib=3)
    stand.damage("a.raw", 0, 7 * MIB - 1)
    assert_healed(stand, "4.0 of 7.0 MB", 3 * MIB + MIB)
    assert stand.ranges() == [(0, 3 * MIB), (6 * MIB, 7 * MIB)]


def test_parts_of_the_etag_and_parts_in_s3_may_differ(stand: Stand) -> None:
    """Copied within S3 with another part size: the file is hashed by the one, healed by the other."""
    stand.put("a.raw", DATA)
    irregular = [MIB, 2 * MIB, MIB, 3 * MIB]
    stand.server.put(BUCKET, stand.key("a.raw"), DATA, part_size=irregular, checksum="CRC32")
    stand.damage("a.raw", 3 * MIB + 1)
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


@pytest.mark.parametrize(
    ("offsets", "bad"), [((0,), 1), ((0, 5 * MIB, 5 * MIB + 9, 7 * MIB - 1), 3), ((MIB - 1, MIB), 2)]
)
def test_several_bad_parts(stand: Stand, offsets: tuple[int, ...], bad: int) -> None:
    stand.put("a.raw", DATA)
    stand.damage("a.raw", *offsets)
    assert_healed(stand, f"{bad}.0 of 7.0 MB", bad * MIB)


@pytest.mark.parametrize(
    ("length", "fetched"), [(7 * MIB - 1, 1), (3 * MIB, 4), (3 * MIB + 5, 4), (MIB - 1, 7), (1, 7)]
)
def test_truncated(stand: Stand, length: int, fetched: int) -> None:
    stand.put("a.raw", DATA)
    stand.place("a.raw", DATA[:length])
    size = "7.0 MB" if fetched == 7 else f"{fetched}.0 of 7.0 MB"
    assert_healed(stand, size, fetched * MIB)


@pytest.mark.parametrize("more", [1, MIB, 5 * MIB])
def test_too_long(stand: Stand, more: int) -> None:
    """All parts are good, the tail is cut off: nothing is fetched."""
    stand.put("a.raw", DATA)
    stand.place("a.raw", DATA + bytes(more))
    assert_healed(stand, "0.0 of 7.0 MB", 0)


def test_empty_file_in_its_place(stand: Stand) -> None:
    stand.put("a.raw", DATA)
    stand.place("a.raw", b"")
    assert_healed(stand, "7.0 MB", 7 * MIB)


def test_one_byte_missing_in_the_middle_shifts_the_rest(stand: Stand) -> None:
    stand.put("a.raw", DATA)
    stand.place("a.raw", DATA[: 3 * MIB + 7] + DATA[3 * MIB + 8 :])
    assert_healed(stand, "4.0 of 7.0 MB", 4 * MIB)


@pytest.mark.parametrize("checksum", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_every_composite_checksum_that_s3_lists(stand: Stand, checksum: str) -> None:
    stand.put("a.raw", DATA, checksum=checksum)
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


@pytest.mark.parametrize("checksum", ["CRC32", "CRC32C", "CRC64NVME"])
def test_full_object_checksums_where_the_store_lists_parts(stand: Stand, checksum: str) -> None:
    """As some stores do; AWS lists no parts for them."""
    stand.server.attributes = AttributesMode.ALL_PARTS
    stand.put("a.raw", DATA, checksum=checksum, checksum_type="FULL_OBJECT")
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


def test_full_object_checksum_on_aws_fetches_all(stand: Stand) -> None:
    stand.put("a.raw", DATA, checksum="CRC64NVME")
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "7.0 MB", 7 * MIB)


@pytest.mark.rule("S2")
@pytest.mark.parametrize(
    "mode",
    [
        AttributesMode.NO_PARTS,
        AttributesMode.NO_PART_CHECKSUMS,
        AttributesMode.FORBIDDEN,
        AttributesMode.NOT_IMPLEMENTED,
    ],
)
def test_store_that_cannot_tell_fetches_all(stand: Stand, mode: AttributesMode) -> None:
    """S2, S3: never depend on it."""
    stand.server.attributes = mode
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "7.0 MB", 7 * MIB)


def test_upload_without_checksums_fetches_all(stand: Stand) -> None:
    stand.put("a.raw", DATA, checksum=None)
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "7.0 MB", 7 * MIB)


def test_upload_in_one_part_fetches_all(stand: Stand) -> None:
    stand.put("a.raw", LARGE, "H1", part_mib=100)
    stand.damage("a.raw", 3 * MIB)
    assert_healed(stand, "23.0 MB", 23 * MIB)


@pytest.mark.parametrize("action", [Status(503), Status(500), Reset(), Garbage()], ids=repr)
def test_attributes_are_asked_again_after_a_passing_fault(stand: Stand, action) -> None:
    """One SlowDown must not cost a whole file."""
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    rule = stand.proxy.add(Rule(action, query="attributes"))
    assert_healed(stand, "1.0 of 7.0 MB", MIB)
    assert rule.fired == 1


@pytest.mark.parametrize("action", [Status(503), Status(404), Garbage(), Stall()], ids=repr)
def test_attributes_that_never_come_fetch_all(stand: Stand, action) -> None:
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    stand.proxy.add(Rule(action, query="attributes", times=None))
    run = stand.restore(stall_timeout_s=0.2)
    assert run["a.raw"].startswith(HEALED.format("7.0 MB"))
    stand.assert_right()


def lying_parts(stand: Stand, change) -> None:
    """Rewrite what GetObjectAttributes answers."""
    tell = stand.server._object_parts
    stand.server._object_parts = lambda request, stored: change(tell(request, stored))


def crc32(data: bytes) -> str:
    return b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.rule("H5")
def test_checksums_that_say_good_where_it_is_bad(stand: Stand) -> None:
    """H5: what S3 says never proves: the whole does not match, so all is fetched."""
    stand.put("a.raw", DATA)
    bad = stand.damage("a.raw", 3 * MIB).read_bytes()[3 * MIB : 4 * MIB]
    lying_parts(stand, lambda xml: xml.replace(crc32(DATA[3 * MIB : 4 * MIB]), crc32(bad)))
    run = stand.restore()
    assert run["a.raw"].startswith(HEALED.format("7.0 MB"))
    stand.assert_right()
    assert stand.others == []


def test_checksums_that_say_bad_where_it_is_good(stand: Stand) -> None:
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    lying_parts(stand, lambda xml: re.sub("<ChecksumCRC32>[^<]*<", "<ChecksumCRC32>AAAAAA==<", xml))
    assert_healed(stand, "7.0 MB", 7 * MIB)


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: xml.replace("<Size>1048576</Size>", "<Size>1048577</Size>"),
        lambda xml: xml.replace("<Size>1048576</Size>", "<Size>0</Size>"),
        lambda xml: xml.replace("<Size>1048576</Size>", "<Size>-1</Size>"),
        lambda xml: xml.replace("<Size>1048576</Size>", "<Size>999999999999999999</Size>", 1),
        lambda xml: xml.replace("<Size>1048576</Size>", "", 1),
        lambda xml: xml.replace("<Size>1048576</Size>", "<Size>x</Size>", 1),
        lambda xml: re.sub("<Part>.*</Part>", "", xml),
        lambda xml: re.sub("<Part>.*?</Part>", "", xml, count=1),
        lambda xml: xml.replace("<IsTruncated>false", "<IsTruncated>true"),
        lambda xml: re.sub("<ChecksumCRC32>[^<]*<", "<ChecksumCRC32>%%%<", xml),
        lambda xml: "",
        lambda xml: "<ObjectParts>",
    ],
    ids=range(12),
)
def test_part_lists_that_make_no_sense(stand: Stand, change) -> None:
    """Right in the end, and soon."""
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    lying_parts(stand, change)
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Self-healed"), run["a.raw"]
    stand.assert_right()
    assert stand.others == []
    assert stand.server.count("GetObjectAttributes") < 20


def test_more_than_a_thousand_parts_come_in_pages(stand: Stand) -> None:
    data = raw_bytes(17 * MIB, "pages")
    stand.put("a.raw", data, "H1", part_size=16_384)
    stand.data["a.raw"] = data
    stand.damage("a.raw", 5, 17 * MIB - 1)
    run = stand.restore()
    assert run["a.raw"].startswith(HEALED.format("0.0 of 17.0 MB"))
    stand.assert_right()
    assert stand.server.bytes_sent() == 2 * 16_384
    assert stand.server.count("GetObjectAttributes") == 2


def test_composite_checksums_with_the_count_of_parts_behind_them(stand: Stand) -> None:
    """Some stores write `value-N` for a part too."""
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    lying_parts(stand, lambda xml: xml.replace("</ChecksumCRC32>", "-7</ChecksumCRC32>"))
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


# --- over several runs ------------------------------------------------------------------------------------------------


@pytest.mark.rule("W2")
def test_not_healed_is_kept_aside_said_so_and_used_by_the_next_run(stand: Stand) -> None:
    """W2: its path is empty, the corrupted one is kept; later only the bad part is fetched."""
    stand.put("a.raw", DATA)
    bad = stand.damage("a.raw", 3 * MIB).read_bytes()
    stand.proxy.add(Rule(Status(403), times=None))
    for _ in range(2):
        run = stand.restore()
        assert run["a.raw"].endswith("; the corrupted file is kept as a.raw.corrupted"), run["a.raw"]
        assert run["a.raw"].startswith("FAILURE - S3 denies access")
        assert not stand.path("a.raw").exists()
        assert stand.others == ["a.raw.corrupted"]
        assert stand.path("a.raw.corrupted").read_bytes() == bad
    stand.proxy.clear()
    stand.server.forget_requests()
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


def test_not_healed_in_the_first_pass_healed_in_the_second(stand: Stand) -> None:
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)
    stand.proxy.add(Rule(Status(503), method="GET", query="^(?!.*attributes)", times=5))
    assert_healed(stand, "1.0 of 7.0 MB", MIB)


@pytest.mark.parametrize("form", ["H1", "H2"])
def test_a_sector_that_goes_bad_after_it_was_compared_is_fetched(
    stand: Stand, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.put("a.raw", LARGE, form, part_mib=1)
    stand.damage("a.raw", 9)
    read_at, reads = OpenFile.read_at, Counter[int]()

    def read_at_worse(file: OpenFile, buffer: memoryview, offset: int) -> int:
        if file.path.name == "a.raw.corrupted":
            reads[offset] += 1
            if offset == 3 * MIB and reads[offset] > 1:
                raise OSError(errno.EIO, "Input/output error")
        return read_at(file, buffer, offset)

    monkeypatch.setattr(OpenFile, "read_at", read_at_worse)
    assert stand.restore()["a.raw"].startswith("OK - Self-healed")
    assert reads[3 * MIB] == 2
    stand.assert_right()
    assert MIB < stand.server.bytes_sent() < len(LARGE)


def test_wrong_in_s3_too_keeps_the_local_one(stand: Stand) -> None:
    stand.put("a.raw", DATA, in_s3=raw_bytes(7 * MIB, "wrong"))
    bad = stand.damage("a.raw", 3 * MIB).read_bytes()
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected ")
    assert run["a.raw"].endswith("; the corrupted file is kept as a.raw.corrupted")
    assert stand.path("a.raw.corrupted").read_bytes() == bad
    assert stand.others == ["a.raw.corrupted"]


@pytest.mark.rule("W2", "W3")
def test_killed_while_it_heals_then_resumed_and_healed(stand: Stand) -> None:
    """W2, W3: SIGKILL in between: the path is empty; the next run uses both the leftover and the corrupted file."""
    stand.put("a.raw", LARGE)
    stand.damage("a.raw", 3 * MIB, 9 * MIB)
    gate = Gate(stand.server, 9 * MIB)
    with stand.child(max_concurrency=1) as child:
        child.start()
        gate.wait()
        assert not stand.path("a.raw").exists()
        child.kill()
    gate.open()
    assert len(stand.others) == 3
    stand.server.forget_requests()
    assert_healed(stand, "1.0 of 23.0 MB", MIB)
    assert stand.ranges() == [(9 * MIB, 10 * MIB)]


def test_the_name_of_what_is_set_aside_may_belong_to_the_raw_file(stand: Stand) -> None:
    """`a.raw.corrupted` is in file_info: another name is taken, found again by the second pass, and deleted."""
    stand.put("a.raw", DATA)
    stand.put("a.raw.corrupted", b"a file of its own")
    stand.place("a.raw.corrupted", b"a file of its own")
    stand.damage("a.raw", 3 * MIB)
    stand.proxy.add(Rule(Status(503), method="GET", query="^(?!.*attributes)", times=5))
    run = stand.restore()
    assert run["a.raw"].startswith(HEALED.format("1.0 of 7.0 MB"))
    assert run["a.raw.corrupted"] == "OK - Skipped (already exists)"
    stand.assert_right()
    assert stand.others == []


def test_an_older_one_aside_is_never_overwritten(stand: Stand) -> None:
    """Two corrupted versions: both may hold the only good bytes until one is healed."""
    stand.put("a.raw", DATA)
    stand.place("a.raw.corrupted", b"older")
    bad = stand.damage("a.raw", 3 * MIB).read_bytes()
    stand.proxy.add(Rule(Status(403), times=None))
    run = stand.restore()
    assert run["a.raw"].endswith("; the corrupted file is kept as a.raw.corrupted_2")
    assert stand.path("a.raw.corrupted").read_bytes() == b"older"
    assert stand.path("a.raw.corrupted_2").read_bytes() == bad


@pytest.mark.rule("W2", "W9")
def test_the_second_pass_goes_on_with_what_the_first_set_aside(stand: Stand) -> None:
    """Somebody else's file of that name lies there; ours is the base. Healed, only ours goes (W2, W9)."""
    stand.put("a.raw", DATA)
    stand.place("a.raw.corrupted", b"older")
    stand.damage("a.raw", 3 * MIB)
    stand.proxy.add(Rule(Status(503), method="GET", query="^(?!.*attributes)", times=5))
    run = stand.restore()
    assert run["a.raw"].startswith(HEALED.format("1.0 of 7.0 MB")), run["a.raw"]
    assert stand.others == ["a.raw.corrupted"]
    assert stand.path("a.raw.corrupted").read_bytes() == b"older"


@pytest.mark.rule("W4")
def test_a_file_set_aside_that_is_a_link_or_folder_is_no_base(stand: Stand, tmp_path: Path) -> None:
    """W4: nothing outside is read into the file or deleted."""
    stand.put("a.raw", DATA)
    stand.put("b.raw", DATA)
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    stand.path("a.raw.corrupted").symlink_to(outside)
    stand.path("b.raw.corrupted").mkdir()
    run = stand.restore()
    for name in ("a.raw", "b.raw"):
        assert run[name].startswith("OK - Downloaded and verified (7.0 MB")
    assert outside.read_bytes() == DATA
    assert stand.path("b.raw.corrupted").is_dir()


def test_object_replaced_while_it_heals(unversioned: Stand) -> None:
    """412 in the middle: starts over without the old parts, and is right."""
    stand = unversioned
    stand.put("a.raw", DATA)
    stand.damage("a.raw", 3 * MIB)

    def replace(request) -> None:
        if request.operation == "GetObject" and request.range and stand.server.on_request:
            stand.server.on_request = None
            stand.server.upload(BUCKET, stand.key("a.raw"), DATA, part_size=2 * MIB)

    stand.server.on_request = replace
    run = stand.restore(max_concurrency=1)
    assert run["a.raw"].startswith(HEALED.format("7.0 MB"))
    stand.assert_right()
    assert stand.others == []
