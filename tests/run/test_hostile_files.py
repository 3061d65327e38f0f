"""Hostile keys, sizes and hashes of `file_info` through the engine, on a real disk: no harm, no lie (W4, S1, H1 to H4).

Property tests (Hypothesis) state what holds for all values; a list of naughty strings makes sure that the usual
suspects are among them. What is pure of it: test_hostile_*.py in tests/model and tests/shared.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from impl.s3_utils import reconstruct_s3_paths
from s3_restore.model.file_specs import build_file_specs
from s3_restore.model.outcomes import FileOutcome, RestoreSummary, Result
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from shared.db.models import parse_file_info_item
from tests.support.engine_fixtures import engine_client
from tests.support.engine_plugin import folder_for_files
from tests.support.naughty_strings import NAUGHTY, is_encodable
from tests.support.raw_files import MIB, md5, multipart_etag, raw_bytes, s3_etag
from tests.support.records import is_record_of_what_is_there
from tests.support.s3_stand_in import S3StandIn

BUCKET = "alphakraken-prid001"
QUICK = RestoreSettings(max_concurrency=2, patience_s=2.0)

components = st.sampled_from(
    ["", ".", "..", "a", "b", "out", "in", "loop", "a.raw", "~", "...", " ", "c\nd", "\u00e9", "e\u0301"]
)
paths = st.one_of(
    st.lists(components, min_size=1, max_size=5).map("/".join),
    st.sampled_from(NAUGHTY),
    st.tuples(components, st.sampled_from(NAUGHTY)).map("/".join),
    st.text(max_size=20),
    st.text(alphabet="./\0a\\~", max_size=12),
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3StandIn]:
    with S3StandIn(versioning=False) as running:
        running.create_bucket(BUCKET)
        yield running


@pytest.fixture(scope="module")
def store(server: S3StandIn) -> Iterator[S3ObjectStore]:
    with contextlib.closing(engine_client(server.url, QUICK)) as client:
        yield S3ObjectStore(client)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = folder_for_files(tmp_path_factory.mktemp("hostile"))
    yield made
    shutil.rmtree(made)


def restore(
    store: S3ObjectStore, destination: Path, file_info: Mapping[str, Any], s3_upload_path: str = BUCKET
) -> dict[str, FileOutcome]:
    """As the handler does it, below the report; exactly one outcome for each entry."""
    parsed = {path: parse_file_info_item(item) for path, item in file_info.items()}
    specs = build_file_specs(parsed, reconstruct_s3_paths(s3_upload_path, parsed))
    summary: RestoreSummary = Restorer(store, destination, QUICK).run(specs)
    assert [outcome.relative_path for outcome in summary.outcomes] == list(file_info)
    return {outcome.relative_path: outcome for outcome in summary.outcomes}


def names_in(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


# --- paths ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def playground(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A destination with traps in it, and what is around it."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        around = Path(made)
        destination = around / "output" / "PRID001"
        destination.mkdir(parents=True)
        (around / "outside").mkdir()
        (around / "outside" / "a").write_bytes(b"precious")
        (around / "output" / "PRID002").mkdir()
        (around / "output" / "PRID002" / "a.raw").write_bytes(b"a neighbour's")
        (destination / "out").symlink_to(around / "outside")
        (destination / "in").symlink_to("b")
        (destination / "loop").symlink_to("loop")
        yield around, destination


def contents(folder: Path, *, without: Path | None = None) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time of change and bytes of everything below a folder but for one; links are not followed."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            status = path.lstat()
            is_file = path.is_file() and not path.is_symlink()
            if path != without:
                found[str(path)] = (status.st_ino, status.st_mtime_ns, path.read_bytes() if is_file else b"")
        folders[:] = [name for name in folders if Path(parent, name) != without]
    return found


def is_refused(key: str) -> bool:
    """Whether this path may not even be looked at."""
    return not is_encodable(key) or "\0" in key or bool({"", ".", ".."} & set(key.split("/")))


def is_plain(key: str) -> bool:
    """Whether an ordinary Linux file system takes this path, below a destination in which nothing is in the way."""
    parts = key.split("/")
    if (
        not is_encodable(key)
        or "\0" in key
        or re.fullmatch(r"\.s3dl\.[0-9a-f]{12}\.[0-9a-f-]+\.(part|journal)", parts[-1])
    ):
        return False
    fits = all(part not in ("", ".", "..") and len(os.fsencode(part)) <= 255 for part in parts)
    return fits and len(os.fsencode(key)) < 1000 and parts[0] not in ("in", "out", "loop")


def excludes_another(key: str, keys: list[str]) -> bool:
    """Whether one of two paths wants a folder where the other one wants a file."""
    return any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in keys)


@pytest.mark.rule("W4", fails_when="empty components are let through; or links are followed out of the destination")
@pytest.mark.rule("S1")
@settings(max_examples=80)
@given(st.lists(paths, min_size=1, max_size=4, unique=True), st.sampled_from(["", "test1/2025_01/"]))
@example(list(NAUGHTY), "")
@example(["a", "a.corrupted", "a/b", "in/a", "in", "out/a", "out", "loop/a", "loop", "b"], "")
def test_w4_nothing_is_ever_written_outside_of_the_destination(
    server: S3StandIn, store: S3ObjectStore, folder: Path, keys: list[str], prefix: str
) -> None:
    """W4, S1: whatever the keys are. What is OK is there with the bytes of exactly that key; what can be good is."""
    data = {key: ascii(key).encode() for key in keys}
    for key in filter(is_encodable, keys):
        server.put(BUCKET, prefix + key, data[key])
    with playground(folder) as (around, destination):
        before = contents(around, without=destination)
        traps = contents(destination)

        outcomes = restore(
            store, destination, {key: [len(data[key]), md5(data[key])] for key in keys}, f"s3://{BUCKET}/{prefix}"
        )

        assert contents(around, without=destination) == before
        expected = set()
        for key, outcome in outcomes.items():
            if is_refused(key):
                assert outcome.reason.startswith("Unsafe path ("), outcome
            elif outcome.ok:
                restored = destination / key
                assert destination.resolve() in restored.resolve().parents
                assert restored.read_bytes() == data[key]
                expected |= {str(path) for path in restored.resolve().relative_to(destination.resolve()).parents}
                expected.add(str(restored.resolve().relative_to(destination.resolve())))
            else:
                assert outcome.reason
                assert not is_plain(key) or excludes_another(key, keys), outcome
        there = {str(path.relative_to(destination)) for path in destination.rglob("*")}
        strangers = {path for path in there - expected if (destination / path).is_file()}
        assert {str(destination / path) for path in strangers} <= set(traps), "nothing is left over"
        assert all((destination / name).is_symlink() for name in ("in", "out", "loop")), "no link was replaced"


NAMES = [name for name in NAUGHTY if is_plain(name)]


@pytest.mark.rule("W1", "W2")
def test_w1_w2_naughty_names_are_restored_healed_and_skipped(
    server: S3StandIn, store: S3ObjectStore, folder: Path
) -> None:
    """W1, W2: strange is not unsafe; an instrument may well write such a name."""
    data = {name: raw_bytes(100, ascii(name)) for name in NAMES}
    for name, content in data.items():
        server.put(BUCKET, name, content)
    file_info = {name: [100, md5(content)] for name, content in data.items()}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        destination = Path(made)
        for expected in (Result.DOWNLOADED, Result.HEALED, Result.SKIPPED):
            if expected is Result.HEALED:
                for name in NAMES:
                    (destination / name).write_bytes(bytes(100))

            outcomes = restore(store, destination, file_info)

            assert {name: outcome.result for name, outcome in outcomes.items()} == dict.fromkeys(NAMES, expected)
            on_disk = {
                str(path.relative_to(destination)): path.read_bytes()
                for path in destination.rglob("*")
                if path.is_file()
            }
            assert on_disk == data


@pytest.mark.rule("W4")
def test_w4_a_name_that_we_would_take_for_a_leftover_is_refused(
    server: S3StandIn, store: S3ObjectStore, folder: Path
) -> None:
    """W4: found by these tests: the restore of `x` tidied away another file of the raw file, which had come well."""
    name = ".s3dl.2d711642b726.0123abcd-1-1-1.part"  # the digest is that of `x`
    for key in (name, "x"):
        server.put(BUCKET, key, b"right")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        outcomes = restore(store, Path(made), {name: [5, md5(b"right")], "x": [5, md5(b"right")]})

        assert outcomes["x"].ok
        assert outcomes[name].reason == "Unsafe path (has the name of a temporary file of ours); nothing was touched"
        assert names_in(made) == ["x"]


# --- hashes and sizes -----------------------------------------------------------------------------------------------

FORMS = ["H1", "H2", "H2 without MD5", "H3", "no size"]
sizes = st.one_of(st.integers(1, 70_000), st.sampled_from([MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1]))


def entry(data: bytes, form: str, part_mib: int) -> list[Any]:
    part_size = part_mib * MIB
    return {
        "H1": [len(data), md5(data)],
        "H2": [len(data), md5(data), f"{s3_etag(data, part_size)}__{part_mib}"],
        "H2 without MD5": [len(data), None, f"{s3_etag(data, part_size)}__{part_mib}"],
        "H3": [len(data), multipart_etag(data, part_size)],
        "no size": [None, md5(data)],
    }[form]


def another_digit(text: str, at: int) -> str:
    """The same hash with one hex digit changed."""
    at %= 32
    return text[:at] + f"{(int(text[at], 16) + 1) % 16:x}" + text[at + 1 :]


@pytest.mark.rule("H1", "H2", "H3", "H6", "H7")
@settings(max_examples=40)
@given(size=sizes, part_mib=st.integers(1, 3), form=st.sampled_from(FORMS), at=st.floats(0, 0.999))
def test_h1_h2_h3_every_form_proves_the_right_bytes_and_no_others(  # noqa: PLR0917 (Hypothesis gives most of them)
    server: S3StandIn, store: S3ObjectStore, folder: Path, size: int, part_mib: int, form: str, at: float
) -> None:
    """H1, H2, H3, H6, H7: right bytes are skipped; one wrong bit is found, and healed."""
    data = raw_bytes(size, f"{form} {size}")
    server.put(BUCKET, "x.raw", data, part_size=part_mib * MIB)
    file_info = {"x.raw": entry(data, form, part_mib)}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        file = Path(made, "x.raw")
        file.write_bytes(data)
        assert restore(store, file.parent, file_info)["x.raw"].result is Result.SKIPPED
        position = int(at * size)
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert restore(store, file.parent, file_info)["x.raw"].result is Result.HEALED
        assert file.read_bytes() == data


@pytest.mark.rule("H4", fails_when="the count of parts proves")
@pytest.mark.rule("H1", "W1", "W2")
@settings(max_examples=40)
@given(
    size=sizes,
    part_mib=st.integers(1, 3),
    form=st.sampled_from(FORMS),
    digits=st.tuples(st.integers(0, 31), st.integers(0, 31)),
    on_disk=st.sampled_from(["nothing", "the bytes of S3", "other bytes"]),
)
def test_h4_a_wrong_hash_never_gives_ok(  # noqa: PLR0917 (Hypothesis gives most of them)
    server: S3StandIn,
    store: S3ObjectStore,
    folder: Path,
    size: int,
    part_mib: int,
    form: str,
    digits: tuple[int, int],
    on_disk: str,
) -> None:
    """H1 to H4, W1, W2: all hashes of the entry are wrong in one digit. No OK, nothing at the path, nothing lost."""
    data = raw_bytes(size, f"wrong {size}")
    server.put(BUCKET, "x.raw", data, part_size=part_mib * MIB)
    stored = entry(data, form, part_mib)
    wrong = [stored[0], *(text and another_digit(text, digit) for text, digit in zip(stored[1:], digits, strict=False))]
    there = {"nothing": None, "the bytes of S3": data, "other bytes": bytes(size)}[on_disk]
    with tempfile.TemporaryDirectory(dir=folder) as made:
        file = Path(made, "x.raw")
        if there is not None:
            file.write_bytes(there)

        outcome = restore(store, file.parent, {"x.raw": wrong})["x.raw"]

        assert outcome.result is Result.FAILED
        assert re.match(r"Hash mismatch after download: expected [0-9a-f]{32}(-\d+)?, got ", outcome.reason)
        if outcome.reason.endswith("was not touched"):  # an ETag of unknown part size that nobody can find (H8)
            assert file.read_bytes() == there
        else:
            assert not file.exists()
        kept = [path.read_bytes() for path in file.parent.iterdir() if not is_record_of_what_is_there(path)]
        assert kept == ([] if there is None else [there]), "what was there may be the only copy"


GARBAGE: list[Any] = [
    *(None, [], [100], [100, None], [100, ""], [100, "unknown"], [100, 7], {"md5": "x"}, "x", 5, True, [[100, "x"]]),
    *(
        [100, "0" * 31],
        [100, "0" * 33],
        [100, "g" * 32],
        [100, "\u0663" * 32],
        [100, "0" * 32 + "-0"],
        [100, None, "0" * 32],
    ),
    *([100, None, "0" * 32 + "-1__0"], [100, None, "0" * 32 + "-1__x"], [100, "0" * 32 + "-1__100"], [100, ["0" * 32]]),
]


@pytest.mark.rule("H4")
@pytest.mark.parametrize("there", [True, False])
def test_h4_garbage_is_refused_clearly_and_touches_nothing(
    server: S3StandIn, store: S3ObjectStore, folder: Path, there: bool
) -> None:
    """H4: no hash, no proof: perhaps the file is right, so it is left as it is, and S3 is not asked."""
    file_info = {f"{number}.raw": item for number, item in enumerate(GARBAGE)}
    file_info |= {f"naughty {number}.raw": [100, text] for number, text in enumerate(NAUGHTY)}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        if there:
            for name in file_info:
                Path(made, name).write_bytes(b"perhaps right")
        before = contents(Path(made))
        server.forget_requests()

        outcomes = restore(store, Path(made), file_info)

        said = {outcome.reason for outcome in outcomes.values()}
        assert said == {"No expected hash in file_info; nothing was touched"}
        assert contents(Path(made)) == before
        assert server.requests == []


@pytest.mark.rule("H6", "W5")
@pytest.mark.parametrize("size", [0, 99, 101, 2**40, 2**62, 10**30, 1e18], ids=str)
def test_h6_a_wrong_size_never_gives_ok(server: S3StandIn, store: S3ObjectStore, folder: Path, size: float) -> None:
    """H6, W5: sizes up to where no disk is large enough; nothing is reserved for them."""
    data = raw_bytes(100, "wrong size")
    server.put(BUCKET, "x.raw", data)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        outcome = restore(store, Path(made), {"x.raw": [size, md5(data)]})["x.raw"]

        assert outcome.reason == f"Object in S3 has 100 bytes, file_info says {int(size)} (wrong size)"
        assert names_in(made) == []


@pytest.mark.rule("H4", "H6")
@pytest.mark.parametrize("size", [-1, 0.5, "100", True, [100], 1e400], ids=repr)
def test_h4_a_size_that_is_none_leaves_the_proof_to_the_hash(
    server: S3StandIn, store: S3ObjectStore, folder: Path, size: Any
) -> None:
    """H4, H6: the hash alone proves."""
    data = raw_bytes(100, "no size")
    server.put(BUCKET, "x.raw", data)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        assert restore(store, Path(made), {"x.raw": [size, md5(data)]})["x.raw"].ok
        assert Path(made, "x.raw").read_bytes() == data
        server.put(BUCKET, "x.raw", data[:-1])
        Path(made, "x.raw").unlink()
        assert not restore(store, Path(made), {"x.raw": [size, md5(data)]})["x.raw"].ok
        assert names_in(made) == []
