"""The forms in which the database stores a hash (H1 to H4, H7), and what proves a file."""

import dataclasses
import hashlib
import random

import pytest

from s3_restore.model.expected_hash import (
    MIB,
    USUAL_PART_SIZES_MIB,
    ExpectedHash,
    PartLayout,
    fold_etag,
    parse_expected_hash,
)
from shared.db.models import parse_file_info_item
from tests.support.raw_files import multipart_etag, raw_bytes

MD5 = "9b2c0b6e5f7a4d3c8e1f2a3b4c5d6e7f"
ETAG = "5d1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b"
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("stored", "md5", "etag", "part_size"),
    [
        pytest.param([5, MD5], MD5, None, None, id="H1 MD5"),
        pytest.param([5, MD5.upper()], MD5, None, None, id="H1 upper case"),
        pytest.param([5, f'"{MD5}"'], MD5, None, None, id="H1 in quotes, as S3 writes ETags"),
        pytest.param([5, f" {MD5} "], MD5, None, None, id="H1 with spaces"),
        pytest.param((5, MD5), MD5, None, None, id="H1 tuple"),
        pytest.param([5, MD5, f"{MD5}__100"], MD5, MD5, 100 * MIB, id="H2 one part"),
        pytest.param([5, MD5, f"{ETAG}-13__100"], MD5, f"{ETAG}-13", 100 * MIB, id="H2 several parts"),
        pytest.param([5, MD5, f"{ETAG}-13__8"], MD5, f"{ETAG}-13", 8 * MIB, id="H2 another part size"),
        pytest.param([5, None, f"{ETAG}-13__100"], None, f"{ETAG}-13", 100 * MIB, id="H2 without MD5"),
        pytest.param([5, MD5, "nonsense"], MD5, None, None, id="H2 malformed ETag leaves the MD5"),
        pytest.param([5, MD5, f"{ETAG}-0__100"], MD5, None, None, id="H2 zero parts is malformed"),
        pytest.param([5, MD5, f"{ETAG}-13__0"], MD5, None, None, id="H2 part size zero is malformed"),
        pytest.param([5, MD5, None], MD5, None, None, id="H2 null ETag"),
        pytest.param([5, MD5, 7], MD5, None, None, id="H2 ETag is a number"),
        pytest.param([5, MD5, f"{MD5}__100", "more"], MD5, MD5, 100 * MIB, id="H2 with something new behind"),
        pytest.param([5, f"{ETAG}-13"], None, f"{ETAG}-13", None, id="H3"),
        pytest.param([5, f"{ETAG}-1"], None, f"{ETAG}-1", None, id="H3 H7 exactly one part"),
        pytest.param([5, f"{ETAG}-10000"], None, f"{ETAG}-10000", None, id="H3 most parts that S3 has"),
        pytest.param([0, EMPTY, f"{EMPTY}__100"], EMPTY, EMPTY, 100 * MIB, id="H7 empty file"),
    ],
)
def test_usable_hash_forms(stored, md5, etag, part_size):
    expected = parse_expected_hash(stored)
    assert (expected.md5, expected.etag, expected.part_size) == (md5, etag, part_size)
    assert str(expected) == (md5 or etag)
    size, from_item = parse_file_info_item(stored)
    assert size == stored[0]
    assert from_item == expected


@pytest.mark.rule("H4")
@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        [5],
        [5, None],
        [5, ""],
        [5, "   "],
        [5, 123],
        [5, True],
        [5, "unknown"],
        [5, MD5[:-1]],
        [5, MD5 + "0"],
        [5, MD5[:-1] + "g"],
        [5, MD5[:-1] + "٣"],
        [5, f"{MD5}\n{MD5}"],
        [5, f"{ETAG}-"],
        [5, f"{ETAG}-0"],
        [5, f"{ETAG}-x"],
        [5, f"{ETAG}-100000000"],
        [5, f"{ETAG}-13__100"],
        [5, None, ETAG],
        [5, [MD5]],
        {"md5": MD5},
        MD5,
        5,
    ],
    ids=repr,
)
def test_h4_unusable_hash_is_none_and_never_a_guess(stored):
    assert parse_expected_hash(stored) is None
    assert parse_file_info_item(stored)[1] is None


def test_expected_hash_needs_something():
    with pytest.raises(ValueError, match="MD5 or an ETag"):
        ExpectedHash()


def test_it_is_named_by_the_md5_where_there_is_one():
    assert str(ExpectedHash(MD5, f"{ETAG}-2", 8 * MIB)) == MD5
    assert str(ExpectedHash(etag=f"{ETAG}-2")) == f"{ETAG}-2"


def test_it_is_a_value_in_all_of_its_parts():
    """Two that share an MD5 are not the same: the ETag or the part size of one may prove what the other cannot."""
    one = ExpectedHash(MD5, f"{ETAG}-2", 8 * MIB)
    assert one == ExpectedHash(MD5, f"{ETAG}-2", 8 * MIB)
    assert len({one, ExpectedHash(MD5), ExpectedHash(MD5, f"{ETAG}-3", 8 * MIB), ExpectedHash(MD5, f"{ETAG}-2")}) == 4
    assert one != MD5
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.md5 = None


@pytest.mark.parametrize(
    ("etag", "count"), [(None, None), (MD5, None), (f"{ETAG}-1", 1), (f"{ETAG}-13", 13), (f"{ETAG}-10000", 10_000)]
)
def test_number_of_parts(etag, count):
    assert ExpectedHash(MD5, etag).number_of_parts == count


@pytest.mark.parametrize(
    ("etag", "part_size", "size", "hint", "sizes_mib"),
    [
        pytest.param(f"{ETAG}-3", 100 * MIB, 250 * MIB, None, [100], id="H2 known part size"),
        pytest.param(f"{ETAG}-3", 100 * MIB, 350 * MIB, None, [], id="H2 wrong count for this size: only an MD5 can"),
        pytest.param(f"{ETAG}-3", None, 23 * MIB, None, [8], id="H3 first usual one that fits"),
        pytest.param(f"{ETAG}-2", None, 12 * MIB, None, [8], id="H3 5 would give three parts"),
        pytest.param(f"{ETAG}-5", None, 25 * MIB, None, [5], id="H3"),
        pytest.param(f"{ETAG}-5", None, 500 * MIB, None, [100], id="H3 500 MiB in 5"),
        pytest.param(f"{ETAG}-2", None, 500 * MIB, None, [250, 256], id="H3 two usual ones fit"),
        pytest.param(f"{ETAG}-3", None, 23 * MIB, 10 * MIB, [10, 8], id="H3 S3's hint comes first"),
        pytest.param(f"{ETAG}-3", None, 23 * MIB, 8 * MIB, [8], id="H3 a usual hint comes once"),
        pytest.param(f"{ETAG}-3", None, 23 * MIB, 4 * MIB, [8], id="H3 a hint that cannot be is left out"),
        pytest.param(f"{ETAG}-7", None, MIB, None, [], id="H3 nothing fits"),
        pytest.param(f"{ETAG}-1", None, 77 * MIB, 8 * MIB, [77], id="H7 one part is the whole, whatever its size was"),
        pytest.param(f"{ETAG}-1", None, 5000 * MIB, None, [5000], id="H7 one part, larger than any usual one"),
        pytest.param(f"{ETAG}-1", 5 * MIB, 6 * MIB, None, [], id="H7 one part cannot be, by a known part size"),
        pytest.param(ETAG, 100 * MIB, 5, None, [], id="no parts"),
        pytest.param(None, None, 5, None, [], id="no ETag"),
    ],
)
def test_part_sizes_that_fit(etag, part_size, size, hint, sizes_mib):
    found = ExpectedHash(MD5, etag, part_size).part_sizes_that_fit(size, hint)
    first = [mib * MIB for mib in sizes_mib]
    assert found[: len(first)] == first
    usual = {mib * MIB for mib in USUAL_PART_SIZES_MIB}
    assert usual.isdisjoint(found[len(first) :]), "the others come behind"
    if not etag or part_size or etag.endswith("-1") or not first:
        assert found == first


def fits(size: int, part_size: int, count: int) -> bool:
    return len(PartLayout(size, part_size)) == count


@pytest.mark.rule("H8")
@pytest.mark.parametrize("seed", range(200))
def test_h8_every_whole_part_size_that_fits_is_there_once(seed):
    """Whatever a tool lets its users choose: whole MiB, whole MB."""
    chance = random.Random(seed)
    size = chance.choice([chance.randrange(2, 60 * MIB), chance.randrange(1, 60) * chance.choice([MIB, 10**6])])
    count = chance.choice([2, 3, 5, 7, 30, 200])
    found = ExpectedHash(etag=f"{ETAG}-{count}").part_sizes_that_fit(size)
    wanted = {n * unit for unit in (MIB, 10**6) for n in range(1, 110) if fits(size, n * unit, count)}
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert all(fits(size, part_size, count) for part_size in found)


@pytest.mark.rule("H8")
@pytest.mark.parametrize(
    ("part_size", "tool"), [(15 * MIB, "s3cmd"), (10 * MIB, "Cyberduck"), (10 * 10**6, "AWS SDKs"), (17 * MIB, "?")]
)
def test_h8_part_sizes_of_tools_that_are_not_usual(part_size, tool):
    size = 10 * part_size + 5
    assert part_size in ExpectedHash(etag=f"{ETAG}-11").part_sizes_that_fit(size), tool


@pytest.mark.rule("H8")
@pytest.mark.parametrize("seed", range(100))
def test_h8_the_search_is_bounded_by_what_it_would_hash(seed):
    """Relative to the file, since what is saved is fetching it: at most 16 times beside the usual sizes."""
    chance = random.Random(seed)
    size = int(2 ** chance.uniform(20, 43))
    count = chance.choice([2, 3, 7, 30, 200, chance.randrange(2, 10_000)])
    found = ExpectedHash(etag=f"{ETAG}-{count}").part_sizes_that_fit(size)
    usual = {mib * MIB for mib in USUAL_PART_SIZES_MIB}
    others = [part_size for part_size in found if part_size not in usual]
    assert len(found) - len(others) <= 3, "usual sizes are far apart"
    assert len(others) * size <= max(4 * 1024**3, min(16 * size, 16 * 1024**3), 2 * size)
    assert max(found, default=0) <= 5 * 1024**3, "S3 takes no larger part"
    wanted = {n * unit for unit in (MIB, 10**6) for n in range(1, 5370) if fits(size, n * unit, count)} - usual
    assert len(others) >= min(2, len({part_size for part_size in wanted if part_size <= 5 * 1024**3}))


@pytest.mark.rule("H8")
def test_h8_the_search_of_a_large_file():
    size = 1024**4
    assert 200 * MIB in ExpectedHash(etag=f"{ETAG}-5243").part_sizes_that_fit(size)
    assert 300 * MIB in ExpectedHash(etag=f"{ETAG}-3496").part_sizes_that_fit(size), "one that is not usual, too"


@pytest.mark.rule("H8")
def test_h8_round_part_sizes_come_first():
    found = ExpectedHash(etag=f"{ETAG}-2").part_sizes_that_fit(100 * MIB)
    assert found[:5] == [50 * MIB, 64 * MIB, 80 * MIB, 64 * 10**6, 80 * 10**6]
    assert 75 * MIB in found


@pytest.mark.rule("H8")
@pytest.mark.parametrize("part_size_mib", USUAL_PART_SIZES_MIB)
def test_h8_a_usual_part_size_is_found_in_three_tries(part_size_mib):
    """A right file is skipped for at most three times the hashing that it takes to read it."""
    for count in (2, 3, 4, 9, 17, 100, 10_000):
        for size in (((count - 1) * part_size_mib * MIB) + 1, count * part_size_mib * MIB):
            found = ExpectedHash(etag=f"{ETAG}-{count}").part_sizes_that_fit(size)
            assert found.index(part_size_mib * MIB) < 3


@pytest.mark.rule("H3")
def test_h3_usual_part_sizes_are_those_of_the_decision():
    assert USUAL_PART_SIZES_MIB == (8, 5, 16, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024)


def digests_of(data: bytes, part_size: int) -> list[bytes]:
    return [hashlib.md5(data[at : at + part_size]).digest() for at in range(0, len(data), part_size)]


@pytest.mark.rule("H2")
def test_h2_either_the_md5_or_the_etag_proves():
    data = raw_bytes(2_500, "either")
    md5, etag = hashlib.md5(data).hexdigest(), multipart_etag(data, 1000)
    whole, parts = digests_of(data, 2_500), digests_of(data, 1000)
    both = ExpectedHash(md5, etag, 1000)
    assert both.is_proved_by(whole)
    assert both.is_proved_by(parts)
    assert not ExpectedHash(md5).is_proved_by(parts)
    assert not ExpectedHash(etag=etag).is_proved_by(whole)
    assert not both.is_proved_by(parts[:2])
    assert not both.is_proved_by([*parts[:2], whole[0]])
    assert not both.is_proved_by(digests_of(data, 900))
    assert not both.is_proved_by([])


@pytest.mark.rule("H7")
def test_h7_one_full_part_may_carry_a_multipart_etag():
    data = raw_bytes(1000, "one part")
    etag = multipart_etag(data, 1000)
    assert etag.endswith("-1")
    assert ExpectedHash(etag=etag).is_proved_by(digests_of(data, 1000))
    assert not ExpectedHash(etag=etag).is_proved_by(digests_of(data[:-1], 1000))


def test_fold_etag_as_s3_computes_it():
    # The example of a two-part upload, computed apart from our code: md5(md5(a) + md5(b)).
    digests = [hashlib.md5(b"a" * 10).digest(), hashlib.md5(b"b").digest()]
    assert fold_etag(digests) == f"{hashlib.md5(digests[0] + digests[1]).hexdigest()}-2"


@pytest.mark.parametrize(
    ("size", "part_size", "ranges"),
    [
        (0, 100, [(0, 0)]),
        (1, 100, [(0, 1)]),
        (99, 100, [(0, 99)]),
        (100, 100, [(0, 100)]),
        (101, 100, [(0, 100), (100, 101)]),
        (300, 100, [(0, 100), (100, 200), (200, 300)]),
    ],
)
def test_part_layout_covers_every_byte_once(size, part_size, ranges):
    layout = PartLayout(size, part_size)
    assert [layout.range(index) for index in range(len(layout))] == ranges
