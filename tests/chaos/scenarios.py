"""What a scenario is, drawn from a seed. Values only."""

import errno
import random
from dataclasses import dataclass, field, replace

from tests.support.raw_files import MIB

KIB = 1024
_FOLDER = "20250115_chaos.d"
_NAMES = (
    "20250115_chaos.raw",
    f"{_FOLDER}/analysis.tdf",
    f"{_FOLDER}/analysis.tdf_bin",
    f"{_FOLDER}/1234.m/microTOFQImpacTemAcquisition.method",
    f"{_FOLDER}/1234.m/diagnostics/log.txt",
    f"{_FOLDER}/Storage.mcf_idx",
    "name with spaces.raw",
    "-rf.raw",
    "#hash?query&and+plus%20.raw",
    "Grüße 測定 \U0001f9ea.raw",
    "Gru\u0308ße.raw",
    "a.raw: OK - Skipped (already exists)",
    "two\nlines.raw: OK - Downloaded and verified (1.0 MB in 1.0s)\n",
    "tab\tbell\abackslash\\n.raw",
    "bidi \u202ewar.exe",
    "report",
    "x" * 240 + ".raw",
    f"{_FOLDER}/" + "ä" * 120 + ".bin",
    "both.raw",
    "both.raw.corrupted",
    ".s3dl.hidden.raw",
    "*.raw",
    "$(reboot).raw",
    "~",
    "CON",
)
_UNSAFE_NAMES = ("../outside.raw", "/etc/chaos.raw", "a//b.raw", "x/../../y.raw", "", ".", "nul\0.raw", "./z.raw")
_BAD_HASHES = (None, [], [7], [7, None], [7, ""], [7, "no hash"], ["7", 7], "text", [7, "0" * 31], {"a": 1})

# Local states that a run may find. "right" must stay untouched; the wrong ones must be healed and never be lost.
INTRUSIONS = (
    "overwrite",
    "overwrite keeping times",
    "delete",
    "set aside by hand",
    "move away",
    "put wrong",
    "put right",
)
WRONG_STATES = ("bit flipped", "shorter", "longer", "zeros")
BLOCKED_STATES = ("folder", "link")


@dataclass(frozen=True)
class ChaosFile:
    """One entry of ``file_info``: what S3 has and what is on disk before the first run."""

    path: str
    size: int
    form: str
    part_mib: int = 1
    upload_part: int | None = None
    checksum: str | None = None
    local: str = "missing"
    aside: bool = False  # somebody else's ``.corrupted`` is beside it
    leftover: str = ""
    restorable: bool = True
    stored: object = None


@dataclass(frozen=True)
class DiskFault:
    """The nth operation of a kind fails, or all from the nth on for a while."""

    operation: str
    nth: int
    error: int
    times: int = 1


@dataclass(frozen=True)
class Intrusion:
    """Another program does something to the final path of a file, at the nth operation on the disk."""

    how: str
    path: str
    at: int


@dataclass(frozen=True)
class Death:
    """The process gets a signal at its nth operation on the disk, or ``after_s`` from outside.

    "power cut" is no signal: it kills, and what was not synced is lost, kept or zeroed (``tests/crash``).
    """

    how: str
    at: int = 0
    after_s: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """One process that runs the task."""

    number: int
    host: str = ""
    stale_after_s: float = 300.0
    verify: str = "inflight"
    disk: tuple[DiskFault, ...] = ()
    lying_writes: tuple[int, ...] = ()
    short_io: bool = False
    death: Death | None = None
    max_concurrency: int = 4
    clean: bool = False
    intrusions: tuple[Intrusion, ...] = ()

    @property
    def is_undisturbed(self) -> bool:
        """Whether process and disk are left alone, whatever the network does."""
        return not (self.disk or self.death or self.lying_writes or self.intrusions)


@dataclass(frozen=True)
class Round:
    """Attempts that run at the same time, and the weather in the network meanwhile."""

    attempts: tuple[Attempt, ...]
    intensity: float = 0.0
    rules_seed: int = 0
    outage: bool = False


@dataclass(frozen=True)
class Scenario:
    """Everything that a seed decides."""

    seed: int
    files: tuple[ChaosFile, ...]
    rounds: tuple[Round, ...]
    versioning: bool
    attributes: str
    prefix: str
    umask: int
    scaled: bool
    replaced: str = ""
    replaced_at: int = 0
    absent: tuple[str, ...] = ()
    strangers: tuple[str, ...] = field(default=())


def draw(seed: int) -> Scenario:
    """Draw a scenario: the same for the same seed."""
    rng = random.Random(f"chaos {seed}")
    scaled = rng.random() > 0.04
    files = _draw_files(rng, scaled=scaled)
    good = [file.path for file in files if file.restorable]
    targets = [file.path for file in files if file.restorable]
    rounds = tuple(_draw_round(rng, number, targets) for number in range(rng.choice([1, 1, 2, 3])))
    return Scenario(
        seed=seed,
        files=files,
        rounds=rounds,
        versioning=rng.random() < 0.5,
        attributes=rng.choice(["AWS", "AWS", "ALL_PARTS", "NO_PARTS", "FORBIDDEN", "NOT_IMPLEMENTED"]),
        prefix=rng.choice(["", "", "20250115_chaos/", "test1/2025_01/"]),
        umask=rng.choice([0o022, 0o022, 0o027, 0o002, 0o077]),
        scaled=scaled,
        replaced=rng.choice(good) if good and rng.random() < 0.08 else "",
        replaced_at=rng.choice([1, 2, 3]),
        absent=tuple(path for path in good if rng.random() < 0.02),
        strangers=tuple(name for name in ("notes.txt", "other.corrupted", ".hidden") if rng.random() < 0.3),
    )


def _draw_files(rng: random.Random, *, scaled: bool) -> tuple[ChaosFile, ...]:
    count = 1 if not scaled else rng.choice([1, 1, 1, 2, 2, 3, 4, 6, 10, 24])
    names = rng.sample(_NAMES, min(count, len(_NAMES)))
    files = [_draw_file(rng, name, scaled=scaled) for name in names]
    if rng.random() < 0.06:
        files.append(ChaosFile(rng.choice(_UNSAFE_NAMES), 7, "H1", restorable=False))
    if rng.random() < 0.06:
        bad = rng.choice(_BAD_HASHES)
        local = rng.choice(["missing", "right"])
        files.append(ChaosFile("no_hash.raw", 7, "none", local=local, restorable=False, stored=bad))
    return tuple(files)


def _draw_file(rng: random.Random, path: str, *, scaled: bool) -> ChaosFile:
    size = _draw_size(rng) if scaled else rng.randrange(16 * MIB, 40 * MIB)
    form = rng.choice(["H1", "H2", "H2", "H2", "H3"])
    part_mib = 1 if scaled else rng.choice([5, 8, 16, 100])
    upload_part: int | None = part_mib * MIB
    if form == "H3":
        # The part size is unknown to file_info, and told by S3 alone.
        upload_part = rng.choice([100 * KIB, 256 * KIB, MIB]) if scaled else part_mib * MIB
    elif rng.random() < 0.3:
        upload_part = rng.choice([None, 64 * KIB, 300_000]) if scaled else None
    local = rng.choices(
        ["missing", "right", *WRONG_STATES, *BLOCKED_STATES], [46, 16, 14, 7, 5, 5, 1, 1] if size else [6, 2, *[0] * 6]
    )[0]
    return ChaosFile(
        path=path,
        size=size,
        form=form,
        part_mib=part_mib,
        upload_part=upload_part,
        checksum=rng.choice(["CRC32", "CRC32", "CRC64NVME", "SHA256", None]),
        local=local,
        # "both.raw.corrupted" is a file of its own; nothing else may be planted there.
        aside=rng.random() < 0.12 and path != "both.raw",
        leftover=rng.choices(["", "dead", "foreign", "lying journal"], [88, 4, 4, 4])[0],
        restorable=local not in BLOCKED_STATES,
    )


def _draw_size(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.08:
        return rng.choice([0, 1])
    if kind < 0.4:
        return rng.randrange(1, 64 * KIB)
    if kind < 0.6:
        return rng.choice([MIB, 2 * MIB, MIB + 1, MIB - 1, 256 * KIB])
    return rng.randrange(64 * KIB, 3 * MIB)


def _draw_round(rng: random.Random, number: int, targets: list[str]) -> Round:
    attempts = [_draw_attempt(rng, 10 * number)]
    if rng.random() < 0.25:
        attempts.append(_draw_attempt(rng, 10 * number + 1))
    else:
        fate = rng.random()
        if fate < 0.15:  # it ends every process of the machine
            attempts[0] = replace(attempts[0], death=Death("power cut", at=_draw_point(rng)), disk=(), lying_writes=())
        elif fate < 0.5 and targets:
            intrusions = tuple(_draw_intrusion(rng, targets) for _ in range(rng.choice([1, 2, 3])))
            attempts[0] = replace(attempts[0], intrusions=intrusions)
    calm = rng.random() < 0.3
    return Round(
        attempts=tuple(attempts),
        intensity=0.0 if calm else rng.uniform(0.05, 0.9),
        rules_seed=rng.randrange(10**6),
        outage=rng.random() < 0.02,
    )


def _draw_attempt(rng: random.Random, number: int) -> Attempt:
    verify = "readback" if rng.random() < 0.2 else "inflight"
    fate = rng.random()
    death: Death | None = None
    if fate < 0.22:
        death = Death("SIGKILL", at=_draw_point(rng))
    elif fate < 0.32:
        death = Death("SIGKILL", after_s=rng.uniform(0, 0.4))
    elif fate < 0.42:
        death = Death("SIGTERM", at=_draw_point(rng))
    elif fate < 0.48:
        death = Death("AirflowTaskTimeout", at=_draw_point(rng))
    disk = tuple(_draw_disk_fault(rng) for _ in range(rng.choice([1, 1, 2]))) if rng.random() < 0.3 else ()
    lying = verify == "readback" and rng.random() < 0.5
    return Attempt(
        number=number,
        host=rng.choice(["", "", "", "0badc0de"]),
        stale_after_s=rng.choice([300.0, 300.0, 0.1]),
        verify=verify,
        disk=disk,
        lying_writes=tuple(sorted(rng.randrange(1, 30) for _ in range(2))) if lying else (),
        short_io=rng.random() < 0.15,
        death=death,
        max_concurrency=rng.choice([1, 2, 4, 4, 8]),
    )


def _draw_point(rng: random.Random) -> int:
    # Not the first operation: that one makes the destination, before which there is no place for a report.
    return 1 + int(60 ** rng.random())


def _draw_intrusion(rng: random.Random, targets: list[str]) -> Intrusion:
    return Intrusion(rng.choice(INTRUSIONS), rng.choice(targets), _draw_point(rng))


def _draw_disk_fault(rng: random.Random) -> DiskFault:
    full = (errno.ENOSPC, errno.EDQUOT)
    operation, errors = rng.choice(
        [
            ("write", (*full, errno.EIO, errno.EIO)),
            ("write", (*full, errno.EIO)),
            ("read", (errno.EIO, errno.ESTALE)),
            ("fsync", (errno.EIO, errno.ENOSPC, errno.EDQUOT)),
            ("preallocate", (*full, errno.EIO)),
            ("open", (errno.EACCES, errno.EMFILE, errno.EIO, errno.EROFS, *full)),
            ("rename", (errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE)),
            ("unlink", (errno.EIO, errno.EACCES, errno.EROFS)),
            ("link", (errno.EPERM, errno.EOPNOTSUPP, errno.EIO)),
            ("mkdir", (errno.ENOSPC, errno.EACCES)),
        ]
    )
    return DiskFault(operation, int(12 ** rng.random()), rng.choice(errors), rng.choice([1, 1, 1, 2, 1000]))
