"""What should be there: safe paths (W4), sizes, specs."""

import math

import pytest

from s3_restore.model.expected_hash import ExpectedHash
from s3_restore.model.file_specs import (
    FileSpec,
    build_file_specs,
    parse_size,
    total_bytes,
    why_not_one_component,
    why_unsafe,
)

MD5 = "9b2c0b6e5f7a4d3c8e1f2a3b4c5d6e7f"

# name, safe as a path below the destination, safe as the one folder of the project
PATHS = [
    ("sample.raw", True, True),
    ("sample.d/analysis.tdf_bin", True, False),
    ("sample.d/1234.m/deep/er/microTOFQImpacTemAcquisition.method", True, False),
    ("_FALLBACK", True, True),
    ("PRID001", True, True),
    ("...", True, True),
    ("..hidden", True, True),
    ("trailing..", True, True),
    ("a..b/c", True, False),
    (" ", True, True),
    ("-rf", True, True),
    ("~", True, True),
    ("$HOME", True, True),
    ("C:\\Windows\\..\\x", True, True),
    ("..\\..\\etc\\passwd", True, True),
    ("Größe µm 試料.raw", True, True),
    ("e\u0301.raw", True, True),
    ("new\nline", True, False),
    ("tab\tbell\x07", True, False),
    ("right\u202eto left", True, False),
    ("line\u2028separator", True, False),
    ("%2e%2e/x", True, False),
    ("", False, False),
    (".", False, False),
    ("..", False, False),
    ("/", False, False),
    ("//", False, False),
    ("/etc/passwd", False, False),
    ("//server/share", False, False),
    ("../x", False, False),
    ("a/../x", False, False),
    ("a/..", False, False),
    ("a/../../x", False, False),
    ("./x", False, False),
    ("a/./x", False, False),
    ("a//x", False, False),
    ("a/", False, False),
    ("nul\0byte", False, False),
    ("\0", False, False),
    ("lone\ud800surrogate", False, False),
    (None, False, False),
    (5, False, False),
    (b"bytes", False, False),
]


@pytest.mark.rule("W4")
@pytest.mark.parametrize(("path", "safe", "_one"), PATHS, ids=[repr(path) for path, *_ in PATHS])
def test_w4_safe_relative_paths(path, safe, _one):
    reason = why_unsafe(path)
    assert (reason is None) is safe, reason
    if isinstance(path, str):
        problem = FileSpec(path, "bucket", "key", 5, ExpectedHash(MD5)).problem
        assert (problem and problem.text) == (None if safe else f"Unsafe path ({reason}); nothing was touched")


@pytest.mark.rule("W4")
@pytest.mark.parametrize(("name", "_safe", "one"), PATHS, ids=[repr(path) for path, *_ in PATHS])
def test_w4_project_id_is_one_plain_component(name, _safe, one):
    assert (why_not_one_component(name) is None) is one


@pytest.mark.rule("W4")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "not a text but NoneType"),
        ("", "empty"),
        ("a\0b", "has a NUL character"),
        ("/etc/passwd", "absolute"),
        ("a/../b", "has '..'"),
        ("a//b", "has an empty or '.' component"),
        ("./a", "has an empty or '.' component"),
        ("\ud800", "is not valid Unicode"),
    ],
    ids=repr,
)
def test_w4_the_reason_says_what_is_wrong(path, reason):
    assert why_unsafe(path) == reason


@pytest.mark.rule("H4")
def test_h4_no_hash_is_a_problem_and_unsafe_path_the_greater_one():
    assert str(FileSpec("a", "b", "k", 5, None).problem) == "No expected hash in file_info; nothing was touched"
    assert str(FileSpec("../a", "b", "k", 5, None).problem) == "Unsafe path (has '..'); nothing was touched"


@pytest.mark.parametrize(
    ("stored", "size"),
    [
        (0, 0),
        (5, 5),
        (5.0, 5),
        (2**50, 2**50),
        (5.5, None),
        (-1, None),
        (-0.0, 0),
        (True, None),
        (None, None),
        ("5", None),
        ([5], None),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
    ],
    ids=repr,
)
def test_parse_size(stored, size):
    assert parse_size(stored) == size


def test_build_file_specs_joins_database_and_s3():
    expected = ExpectedHash(MD5)
    specs = build_file_specs(
        {"a": (5, expected), "d/b": (7.0, None), "c": (None, None)},
        {"a": ("bucket", "p/a"), "d/b": ("bucket", "p/d/b"), "c": ("bucket", "p/c")},
    )
    assert specs == [
        FileSpec("a", "bucket", "p/a", 5, expected),
        FileSpec("d/b", "bucket", "p/d/b", 7, None),
        FileSpec("c", "bucket", "p/c", None, None),
    ]
    assert total_bytes(specs) == 12


@pytest.mark.parametrize(
    ("text", "md5", "etag", "part_size"),
    [
        (MD5, MD5, None, None),
        (f"{MD5}-3", None, f"{MD5}-3", None),
        (f"{MD5}-3__100", None, f"{MD5}-3", 100 * 1024**2),
    ],
)
def test_bare_text_of_a_hosts_parse_file_info_item_is_an_expected_hash_too(text, md5, etag, part_size):
    (spec,) = build_file_specs({"a": (5, text)}, {"a": ("bucket", "a")})
    assert (spec.expected.md5, spec.expected.etag, spec.expected.part_size) == (md5, etag, part_size)


@pytest.mark.parametrize("text", ["", "d41d8", MD5 + "-", "-3", 5, ["x"]])
def test_what_is_no_hash_is_none(text):
    (spec,) = build_file_specs({"a": (5, text)}, {"a": ("bucket", "a")})
    assert spec.expected is None
