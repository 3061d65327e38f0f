"""Hashes of local bytes, against values that were computed apart from our code."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_restore.disk import hashing, md5_backend
from s3_restore.model import checksums
from s3_restore.model.exceptions import StoppedError
from tests.support.raw_files import raw_bytes


@pytest.mark.parametrize("size", [0, 1, hashing.BUFFER_BYTES - 1, hashing.BUFFER_BYTES, 3 * hashing.BUFFER_BYTES + 5])
def test_get_file_hash(tmp_path, size):
    data = raw_bytes(size, "hash")
    path = tmp_path / "a.raw"
    path.write_bytes(data)
    assert hashing.get_file_hash(path) == hashlib.md5(data).hexdigest()
    assert hashing.get_file_hash(str(path)) == hashlib.md5(data).hexdigest()


def test_get_file_hash_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        hashing.get_file_hash(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        hashing.get_file_hash(tmp_path)


# The check values of the CRC catalogue for "123456789"; SHA values of FIPS 180.
@pytest.mark.parametrize(
    ("algorithm", "hexdigest"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", hashlib.sha1(b"123456789").hexdigest()),
        ("SHA256", hashlib.sha256(b"123456789").hexdigest()),
    ],
)
def test_checksums_are_those_of_s3(algorithm, hexdigest):
    running = checksums.checksum(algorithm)
    running.update(b"1234")
    forked = running.copy()
    running.update(memoryview(b"56789"))
    assert running.digest().hex() == hexdigest
    assert checksums.base64_digest(running) == base64.b64encode(bytes.fromhex(hexdigest)).decode()
    forked.update(b"x")
    assert forked.digest() != running.digest()
    assert algorithm in checksums.known_algorithms()


def test_unknown_checksum():
    with pytest.raises(KeyError):
        checksums.checksum("MD4")


def reader_of(data: bytes):
    def read_at(buffer: memoryview, offset: int) -> int:
        piece = data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    return read_at


@pytest.mark.parametrize(("start", "end", "fed"), [(0, 0, 0), (0, 700_000, 700_000), (5, 9, 4), (699_990, 800_000, 10)])
def test_update_from_file_feeds_exactly_the_range(start, end, fed):
    data = raw_bytes(700_000, "range")
    running, chunks = md5_backend.new_md5(), []
    assert hashing.update_from_file(running, reader_of(data), start, end, chunks.append) == fed
    assert running.digest() == hashlib.md5(data[start:end]).digest()
    assert sum(chunks) == fed


def test_update_from_file_can_be_stopped():
    def stop(_count: int) -> None:
        raise StoppedError

    running = md5_backend.new_md5()
    with pytest.raises(StoppedError):
        hashing.update_from_file(running, reader_of(bytes(10**6)), 0, 10**6, stop)


@pytest.mark.rule("W7")
def test_w7_one_buffer_for_each_thread():
    with ThreadPoolExecutor(1) as pool:
        here, there = hashing.thread_buffer(), pool.submit(hashing.thread_buffer).result()
    assert here is hashing.thread_buffer()
    assert here is not there
    assert len(here) == hashing.BUFFER_BYTES
