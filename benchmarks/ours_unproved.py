"""The restore with the hash left out: what proving costs is the difference. Only the benchmark can do that."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import ours
from benchmarks.jobs import Job
from s3_restore.disk import md5_backend
from s3_restore.model.expected_hash import ExpectedHash


class _NoHash:
    name, digest_size, block_size = "none", 16, 64

    def update(self, data: object) -> None:
        """Take nothing."""

    def digest(self) -> bytes:
        return bytes(16)

    def hexdigest(self) -> str:
        return self.digest().hex()

    def copy(self) -> _NoHash:
        return self


def prepare(job: Job) -> Callable[[], None]:
    """Make and warm a client; the result restores, and believes every byte."""
    md5_backend.new_md5 = _NoHash  # type: ignore[assignment]
    md5_backend.update_many = lambda _jobs: None
    ExpectedHash.is_proved_by = lambda *_: True  # type: ignore[method-assign]
    return ours.prepare(job)
