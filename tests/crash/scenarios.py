"""What is drawn from a seed: files, what is there before, and the runs that are recorded."""

from __future__ import annotations

import errno
import hashlib
import random
from dataclasses import dataclass, field

from s3_restore.model.expected_hash import ExpectedHash, fold_etag
from s3_restore.model.file_specs import FileSpec
from tests.crash.product import KIB
from tests.support.raw_files import raw_bytes

PART_BYTES = 32 * KIB
SYNC_ERRORS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOLINK,
    errno.ETIMEDOUT,
    errno.ESTALE,
    errno.EREMOTEIO,
    errno.ENXIO,
    errno.ENODEV,
)
KINDS = (
    "fresh",
    "heal",
    "failed heal",
    "killed",
    "killed, other host",
    "lost write-back",
    "failed sync",
    "just written",
    "two runs",
    "mixed",
)


@dataclass(frozen=True)
class RestoredFile:
    """One file of the raw file.

    Attributes:
        path: below the project's folder.
        size: bytes.
        form: "md5", "parts" (ETag of known part size, and MD5), "etag" (ETag of known part size alone).
        local: what is there before: "missing", "right", "wrong" (both on the storage), "just written" (right bytes of
            another program, not on the storage), "just broken" (wrong ones).
        foreign_aside: whether somebody else's ``.corrupted`` is beside it.

    """

    path: str
    size: int
    form: str
    local: str = "missing"
    foreign_aside: bool = False


@dataclass(frozen=True)
class Run:
    """One run of the task.

    Attributes:
        host: where.
        killed_at: number of the call at which it is killed; 0: never.
        store_fails_after: pieces after which S3 refuses; None: never.
        failing_sync: number of the sync that fails, and its errno; None: none.
        loses_write_back: whether what it left dirty does not reach the storage, unnoticed.
        verify: setting of that name.

    """

    host: str = "aaaaaaaa"
    killed_at: int = 0
    store_fails_after: int | None = None
    failing_sync: tuple[int, int] | None = None
    loses_write_back: bool = False
    verify: str = "inflight"


@dataclass(frozen=True)
class Scenario:
    """Everything that a seed decides, but for the power cuts.

    Attributes:
        makes_project: whether the project's folder is not there before.
        strangers: whether files of others are in it.
        tells_checksums: whether S3 tells checksums of parts, so that good parts of a wrong file are kept.
        has_links: whether the file system knows hard links.
        has_free_rename: whether it knows a rename that overwrites nothing.
        together: after how many calls one run waits for the other, in turn; empty: one run after the other.
        second_act: whether the next run after one of the power cuts is recorded and cut too.

    """

    seed: int
    kind: str
    files: tuple[RestoredFile, ...]
    runs: tuple[Run, ...]
    makes_project: bool = True
    strangers: bool = True
    tells_checksums: bool = False
    has_links: bool = True
    has_free_rename: bool = True
    together: tuple[int, ...] = ()
    second_act: bool = False
    data: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def right(self, path: str) -> bytes:
        if path not in self.data:
            size = next(file.size for file in self.files if file.path == path)
            self.data[path] = raw_bytes(size, f"crash {self.seed} {path}")
        return self.data[path]

    def wrong(self, path: str) -> bytes:
        data = bytearray(self.right(path))
        data[len(data) // 2] ^= 1
        return bytes(data)

    def specs(self) -> list[FileSpec]:
        return [self._spec(file) for file in self.files]

    def _spec(self, file: RestoredFile) -> FileSpec:
        data = self.right(file.path)
        parts = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
        etag = fold_etag([hashlib.md5(part).digest() for part in parts])
        md5 = hashlib.md5(data).hexdigest()
        expected = {
            "md5": lambda: ExpectedHash(md5=md5),
            "parts": lambda: ExpectedHash(md5=md5, etag=etag, part_size=PART_BYTES),
            "etag": lambda: ExpectedHash(etag=etag, part_size=PART_BYTES),
        }[file.form]()
        return FileSpec(file.path, "bucket", file.path, len(data), expected)


def draw(seed: int) -> Scenario:
    """Draw a scenario: the same for the same seed."""
    rng = random.Random(f"crash {seed}")
    kind = KINDS[seed % len(KINDS)]
    files = _draw_files(rng, kind)
    runs = _draw_runs(rng, kind)
    return Scenario(
        seed=seed,
        kind=kind,
        files=files,
        runs=runs,
        makes_project=all(file.local == "missing" and not file.foreign_aside for file in files) and rng.random() < 0.7,
        strangers=rng.random() < 0.7,
        tells_checksums=rng.random() < 0.5,
        has_links=rng.random() < 0.7,
        has_free_rename=rng.random() < 0.5,
        together=tuple(rng.randrange(1, 25) for _ in range(12)) if kind == "two runs" else (),
        second_act=rng.random() < 0.3,
    )


def _draw_files(rng: random.Random, kind: str) -> tuple[RestoredFile, ...]:
    count = rng.choice([1, 1, 2, 3])
    names = rng.sample(["a.raw", "a.raw.corrupted", "sub/b.bin", "sub/deep/er/c.d", "sub/e", "x.m/f.method"], count)
    return tuple(_draw_file(rng, kind, name) for name in names)


def _draw_file(rng: random.Random, kind: str, path: str) -> RestoredFile:
    local = {
        "heal": ["wrong", "wrong", "wrong", "missing", "just broken"],
        "failed heal": ["wrong"],
        "just written": ["just written", "just written", "right"],
        "mixed": ["missing", "right", "wrong", "just written", "just broken"],
        "killed": ["missing", "missing", "wrong"],
        "two runs": ["missing", "wrong", "just written"],
        "failed sync": ["missing", "missing", "wrong"],
    }.get(kind, ["missing"])
    size = rng.choice([rng.randrange(1, 6000), rng.randrange(24 * KIB, 80 * KIB), rng.randrange(64 * KIB, 140 * KIB)])
    form = rng.choice(["md5", "md5", "parts", "etag"])
    foreign_aside = rng.random() < 0.2 and path != "a.raw"  # what is beside that one is a file of the raw file's own
    return RestoredFile(path, size, form, rng.choice(local), foreign_aside=foreign_aside)


def _draw_runs(rng: random.Random, kind: str) -> tuple[Run, ...]:
    verify = rng.choice(["inflight", "inflight", "inflight", "readback"])
    last = Run(verify=verify)
    killed_at = int(2 + 45 ** rng.random())
    failing = (int(1 + 7 ** rng.random()), rng.choice(SYNC_ERRORS))
    fails_after = rng.choice([0, 1, 2, 3, 5, 8])
    first: dict[str, tuple[Run, ...]] = {
        "failed heal": (Run(store_fails_after=fails_after), last),
        "killed": (Run(killed_at=killed_at), last),
        "killed, other host": (Run(killed_at=killed_at, host="bbbbbbbb"), last),
        "lost write-back": (Run(killed_at=killed_at, loses_write_back=True), last),
        "failed sync": rng.choice(
            [
                (Run(failing_sync=failing), last),
                # Killed between the sync that failed and the removal of what it was about.
                (Run(failing_sync=failing, killed_at=killed_at), last),
                (Run(failing_sync=failing, verify="readback"), last),
            ]
        ),
        "two runs": (Run(killed_at=rng.choice([0, 0, killed_at])), Run(host=rng.choice(["aaaaaaaa", "cccccccc"]))),
        "mixed": (
            Run(
                killed_at=killed_at if rng.random() < 0.5 else 0,
                store_fails_after=fails_after if rng.random() < 0.4 else None,
                failing_sync=failing if rng.random() < 0.4 else None,
                loses_write_back=rng.random() < 0.4,
                host=rng.choice(["aaaaaaaa", "bbbbbbbb"]),
            ),
            last,
        ),
    }
    return first.get(kind, (last,))
