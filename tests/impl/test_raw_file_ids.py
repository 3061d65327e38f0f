"""Reading pasted ids, drawn from the kind by a seed: what is around ids goes, an id stays, no fragment becomes one."""

import random
import re

import pytest

from impl.raw_file_ids import nearest, possible_ids, query_of_near_ids, read_ids, spellings

WORDS = ["20250115", "sample", "My", "test1", "a(1)", "Ü", "v1.2", "x", "HeLa-DDA", "日本"]
JOINTS = ["_", "-", " ", ", ", ";", "."]
EXTENSIONS = [".raw", ".d", ".wiff", ".RAW", ""]
AROUND = [
    *(("", ""), (" ", "\r"), ("\ufeff", ""), ('"', '"'), ("'", "'"), ("- ", ""), (" * ", " ")),
    *(("“", "”"), ("\u200b", "\u00a0")),
]
WAYS = ["", "/fs/pool/my data/", "s3://alphakraken-prid001/2025_01/", "C:\\data\\", "../", "https://s3.example.org/b/"]


def draw_id(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 4))]
    return "".join(word + rng.choice(JOINTS) for word in words) + "end" + rng.choice(EXTENSIONS)


def dressed(rng: random.Random, raw_file_id: str) -> str:
    before, after = rng.choice(AROUND)
    return f"{before}{rng.choice(WAYS)}{raw_file_id}{after}"


@pytest.mark.parametrize("seed", range(200))
def test_one_id_is_found_in_what_is_around_it(seed):
    rng = random.Random(seed)
    raw_file_id = draw_id(rng)
    pasted = dressed(rng, raw_file_id)
    found = spellings(pasted)
    assert found[0] == pasted
    assert raw_file_id in found
    assert [read.raw_file_id for read in read_ids([pasted], {raw_file_id})] == [raw_file_id]


@pytest.mark.parametrize("seed", range(200))
def test_many_ids_are_found_in_lines_lists_and_between_commas(seed):
    rng = random.Random(seed)
    ids = list(dict.fromkeys(draw_id(rng) for _ in range(rng.randint(2, 8))))
    pasted = [dressed(rng, raw_file_id) for raw_file_id in ids]
    as_lines = rng.choice(["\n", "\r\n", "\n\n"]).join(pasted)
    for given in (pasted, as_lines):
        assert possible_ids(given) >= set(ids)
        assert [read.raw_file_id for read in read_ids(given, set(ids))] == ids
    plain = [raw_file_id for raw_file_id in ids if not re.search(r"[\s,;]", raw_file_id)]
    for joint in (" ", ", ", ";", "\t"):
        assert [read.raw_file_id for read in read_ids(joint.join(plain), set(ids))] == plain


@pytest.mark.parametrize("seed", range(200))
def test_an_unknown_id_takes_no_known_one_with_it_and_none_is_dropped_in_silence(seed):
    """O3: what is not between commas or on a line of its own is restored whole or not at all."""
    rng = random.Random(seed)
    known = {f"known{number}{rng.choice(EXTENSIONS)}" for number in range(3)}
    words = [*known, "unknown.raw"]
    rng.shuffle(words)
    line = rng.choice([" ", "\t", "  "]).join(f"{rng.choice(['', '/fs/', 's3://b/', '-'])}{word}" for word in words)
    for given in (line, [line]):
        assert [read.raw_file_id for read in read_ids(given, known)] == [line.strip()]


def test_nothing_is_nothing():
    for given in ("", " ", "\n\r\n", ",;", '""', [], ["", " "], "\ufeff"):
        assert read_ids(given, set()) == []


HOSTILE = ["20250115_sample.RAW", "x" * 300, "\ud800", "/", "a", "2025 01 15.raw", "../../etc/passwd", "(" * 50]


@pytest.mark.parametrize("given", HOSTILE)
def test_each_branch_of_the_question_for_near_ids_is_answered_by_the_index(given):
    query = query_of_near_ids(given)
    for branch in query["$or"] if query else ():
        (field,) = branch
        assert field == "_id"
        assert "$in" in branch["_id"] or {"$gte", "$lt"} <= set(branch["_id"]), branch
        assert len(branch["_id"].get("$in", ())) < 5_000
    assert nearest(given, {"one.raw", "two.raw"}, 1)
