"""Deterministic bytes and independent hashes."""

import hashlib
import urllib.request

import pytest

from tests.support.raw_files import MIB, file_info, md5, multipart_etag, raw_bytes, s3_etag, write_raw
from tests.support.webhook_receiver import WebhookReceiver


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, 1), (65535, 2), (65536, 65536), (100, 200_000), (3 * MIB + 7, 70)]
)
def test_bytes_are_addressable(offset, size) -> None:
    whole = raw_bytes(4 * MIB, "seed")
    assert raw_bytes(size, "seed", offset) == whole[offset : offset + size]


def test_bytes_differ_by_seed_and_never_repeat(tmp_path) -> None:
    assert raw_bytes(1000, 1) == raw_bytes(1000, 1)
    assert raw_bytes(1000, 1) != raw_bytes(1000, 2)
    whole = write_raw(tmp_path / "a" / "b", 5 * MIB + 3, 9).read_bytes()
    assert whole == raw_bytes(5 * MIB + 3, 9)
    assert len({whole[at : at + 65536] for at in range(0, len(whole), 65536)}) == 81


def test_known_hashes(tmp_path) -> None:
    data = raw_bytes(2 * MIB + 1, 3)
    path = write_raw(tmp_path / "x", len(data), 3)
    assert md5(b"") == "d41d8cd98f00b204e9800998ecf8427e"
    assert md5(path) == md5(data) == hashlib.md5(data).hexdigest()
    parts = b"".join(hashlib.md5(part).digest() for part in (data[:MIB], data[MIB : 2 * MIB], data[2 * MIB :]))
    assert multipart_etag(path, MIB) == s3_etag(data, MIB) == f"{hashlib.md5(parts).hexdigest()}-3"
    assert s3_etag(data[:MIB], MIB) == md5(data[:MIB])
    assert multipart_etag(data[:MIB], MIB) == f"{hashlib.md5(hashlib.md5(data[:MIB]).digest()).hexdigest()}-1"


def test_file_info_forms() -> None:
    files = {"a.d/small": b"abc", "a.d/big": raw_bytes(2 * MIB + 1)}
    big = multipart_etag(files["a.d/big"], MIB)
    assert file_info(files, "H1") == {name: [len(data), md5(data)] for name, data in files.items()}
    assert file_info(files, "H2", part_mib=1)["a.d/big"] == [2 * MIB + 1, md5(files["a.d/big"]), f"{big}__1"]
    assert file_info(files)["a.d/small"] == [3, md5(b"abc"), f"{md5(b'abc')}__100"]
    assert file_info(files, "H3", part_mib=1)["a.d/big"] == [2 * MIB + 1, big]


def test_webhook_receiver_keeps_posts() -> None:
    with WebhookReceiver(status=202) as hook:
        request = urllib.request.Request(f"{hook.url}/alerts", data=b'{"text": "h\\u00f6"}', method="POST")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 202
        (post,) = hook.wait_for(1)
        assert (post.path, post.json()) == ("/alerts", {"text": "hö"})
        with pytest.raises(TimeoutError):
            hook.wait_for(2, timeout_s=0.05)
        assert hook.posts == [post]
