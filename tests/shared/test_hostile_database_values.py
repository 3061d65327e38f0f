"""Whatever the database holds: a size, a hash, a bucket and a key, or a clear refusal (H1 to H4, S1, W4)."""

import hashlib
import math
import os
import re
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from impl.s3_utils import reconstruct_s3_paths
from s3_restore.model.expected_hash import ExpectedHash, fold_etag, parse_expected_hash
from s3_restore.model.file_specs import FileSpec, build_file_specs, parse_size, why_not_one_component, why_unsafe
from shared.db.models import parse_file_info_item
from tests.support.naughty_strings import NAUGHTY, is_encodable
from tests.support.raw_files import MIB

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
texts = st.one_of(st.sampled_from(NAUGHTY), st.text(max_size=40), st.text(alphabet="./\0a\\~", max_size=12))
hash_like = st.from_regex(r"\s?[\"']?[0-9a-fA-F]{31,33}(-\d{0,6})?(__\d{0,6})?[\"']?\s?", fullmatch=True)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=8), hash_like),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
entries = st.one_of(
    anything,
    st.tuples(st.one_of(st.none(), st.integers(), st.floats()), st.one_of(hash_like, anything), hash_like).map(list),
)

# --- hashes and sizes -----------------------------------------------------------------------------------------------


@pytest.mark.rule("H1", "H4")
@settings(max_examples=300)
@given(entries)
@example([1, f"{EMPTY_MD5}-0"])
@example([1, EMPTY_MD5.upper(), f"{EMPTY_MD5}-99999__99999"])
@example([1, f"{EMPTY_MD5}\n"])
@example([1, "\u0663" * 32])
@example([1, None, f"{EMPTY_MD5}__1\u0660\u0660"])
def test_h4_any_file_info_value_gives_a_usable_hash_or_a_refusal(stored: Any) -> None:
    """H1 to H4: never an error, never half a hash, never a hash that is not in the entry."""
    size, expected = parse_file_info_item(stored)

    (spec,) = build_file_specs({"a.raw": (size, expected)}, {"a.raw": ("b", "a.raw")})
    if expected is None:
        assert str(spec.problem) == "No expected hash in file_info; nothing was touched"
        return
    assert spec.problem is None
    assert expected.md5 is None or re.fullmatch(r"[0-9a-f]{32}", expected.md5, re.ASCII)
    assert expected.etag is None or re.fullmatch(r"[0-9a-f]{32}(-[1-9][0-9]{0,4})?", expected.etag, re.ASCII)
    assert expected.md5 or expected.number_of_parts or expected.part_size, "something that can prove"
    assert expected.part_size is None or (expected.part_size > 0 and expected.part_size % MIB == 0)
    shown = repr(stored).lower()
    assert all(text in shown for text in (expected.md5, expected.etag) if text), "nothing is made up"


@pytest.mark.rule("H6")
@settings(max_examples=200)
@given(st.one_of(anything, st.floats(), st.decimals(allow_nan=True), st.integers()))
def test_h6_any_size_is_a_whole_number_of_bytes_or_unknown(stored: Any) -> None:
    """H6: a size that is half a size would refuse right files, or pass wrong ones."""
    size = parse_size(stored)

    if size is None:
        assert isinstance(stored, bool) or not (isinstance(stored, int) and stored >= 0)
        return
    assert type(size) is int
    assert size >= 0
    assert size == stored
    assert not isinstance(stored, float) or math.isfinite(stored)


digests = st.lists(st.binary(min_size=16, max_size=16), max_size=4)


@pytest.mark.rule("H1")
@settings(max_examples=200)
@given(st.binary(max_size=50), digests)
def test_h1_no_digests_but_those_of_the_file_prove_an_md5(data: bytes, others: list[bytes]) -> None:
    expected = parse_expected_hash([len(data), hashlib.md5(data).hexdigest()])

    assert isinstance(expected, ExpectedHash)
    assert expected.is_proved_by([hashlib.md5(data).digest()])
    assert expected.is_proved_by(others) is (others == [hashlib.md5(data).digest()])


@pytest.mark.rule("H3")
@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=3), min_size=2, max_size=5), digests, st.randoms(use_true_random=False))
def test_h3_no_digests_but_those_of_the_parts_in_their_order_prove_an_etag(
    parts: list[bytes], others: list[bytes], random: Any
) -> None:
    right = [hashlib.md5(part).digest() for part in parts]
    expected = parse_expected_hash([sum(map(len, parts)), fold_etag(right)])

    assert isinstance(expected, ExpectedHash)
    assert expected.is_proved_by(right)
    shuffled = random.sample(right, len(right))
    for wrong in (
        others,
        shuffled,
        right[:-1],
        right[1:],
        [*right, right[-1]],
        [hashlib.md5(b"".join(right)).digest()],
    ):
        assert expected.is_proved_by(wrong) is (wrong == right)


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("W4")
@settings(max_examples=300)
@given(st.one_of(texts, st.lists(st.sampled_from(["", ".", "..", "a", "~"]), max_size=5).map("/".join), anything))
def test_w4_a_path_is_refused_or_stays_below_the_destination(path: Any) -> None:
    """W4: by text alone; what links on disk make of it is looked at later."""
    problem = FileSpec(path, "b", "k", 0, ExpectedHash(EMPTY_MD5)).problem
    if problem:
        assert re.fullmatch(r"Unsafe path \([^\n]+\); nothing was touched", problem.text)
        return
    joined = f"/output/PRID001/{path}"
    assert os.path.normpath(joined) == joined, "nothing in it to be resolved"
    assert str(PurePosixPath("/output/PRID001", path)) == joined
    assert "\0" not in path
    assert is_encodable(path)


@pytest.mark.rule("W4")
@settings(max_examples=300)
@given(st.one_of(texts, anything))
def test_w4_a_project_is_refused_or_one_folder_directly_below_the_output(name: Any) -> None:
    reason = why_not_one_component(name)
    if reason:
        assert reason.isprintable()
        return
    assert why_unsafe(name) is None
    assert PurePosixPath("/output", name).parts == ("/", "output", name)
    assert os.path.normpath(f"/output/{name}") == f"/output/{name}"
    assert name.isprintable()
    assert len(name.encode()) <= 255


# --- where the objects are ------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=12)
relative_paths = st.lists(names, min_size=1, max_size=4).map("/".join)
project_ids = st.from_regex(r"[A-Z0-9_]{1,12}", fullmatch=True)
instruments = st.from_regex(r"[a-z]{1,8}[0-9]{0,2}", fullmatch=True)
months = st.tuples(st.integers(2000, 2100), st.integers(1, 12)).map(lambda pair: f"{pair[0]}_{pair[1]:02}")
prefixes = st.one_of(
    st.just([]),  # a project's file
    st.tuples(instruments, months).map(list),  # a file without a project
    names.map(lambda raw_file_id: [raw_file_id]),  # a group of files
    st.lists(names, max_size=4),
)


def uploaded(bucket_prefix: str, project_id: str, components: list[str], relative_path: str) -> tuple[str, str, str]:
    """Bucket, key and `s3_upload_path` as the uploader of the host makes them (S3_BACKUP_DESIGN.md, 3 and 4)."""
    bucket = f"{bucket_prefix}-{project_id}".lower().replace("_", "-")
    prefix = "".join(f"{component}/" for component in components)
    return bucket, prefix + relative_path, f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"


@pytest.mark.rule("S1")
@settings(max_examples=300)
@given(st.sampled_from(["alphakraken", "x"]), project_ids, prefixes, st.lists(relative_paths, min_size=1, max_size=3))
@example("alphakraken", "_FALLBACK", ["test1", "2025_01"], ["20250115_sample.raw"])
@example("alphakraken", "PRID001", [], ["20250115_sample.d/analysis.tdf"])
@example("alphakraken", "PRID001", ["20250115_sample.wiff"], ["20250115_sample.wiff", "20250115_sample.wiff.scan"])
def test_s1_keys_are_those_that_the_uploader_made(
    bucket_prefix: str, project_id: str, components: list[str], files: list[str]
) -> None:
    """S1: round trip; the other ways of writing the same path, as older rows have them, mean the same."""
    made = {path: uploaded(bucket_prefix, project_id, components, path) for path in files}
    stored = made[files[0]][2]
    expected = {path: (bucket, key) for path, (bucket, key, _) in made.items()}

    assert reconstruct_s3_paths(stored, files) == expected
    bare = stored.removeprefix("s3://")
    for other in (bare, f"{bare}/", f"/{bare}", f"S3://{bare}", f"s3:///{bare}//", bare.replace("/", "//") + "/"):
        assert reconstruct_s3_paths(other, files) == expected, other


@pytest.mark.rule("S1")
@settings(max_examples=300)
@given(st.one_of(texts, anything))
def test_s1_any_s3_upload_path_gives_a_bucket_or_one_clear_error(stored: Any) -> None:
    try:
        found = reconstruct_s3_paths(stored, ["a.raw"])
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert said == f"s3_upload_path: expected 's3://bucket/prefix/' or 'bucket', got {stored!r}"
        assert "\n" not in said
        return
    bucket, key = found["a.raw"]
    assert bucket
    assert "/" not in bucket
    assert ":" not in bucket, "neither another scheme nor an ARN, which would be asked of another host"
    assert key.endswith("a.raw")
    assert not key.startswith("/")
    assert "//" not in key
