"""S7: where the newest version of an object is not the backup, the first older one that proves itself is."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo.s3_server import S3Server
from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.engine_fixtures import BUCKET, QUICK, Run, Stand, engine_client
from tests.support.fault_rules import FlipBit, Rule, Status
from tests.support.raw_files import MIB, file_info, raw_bytes

pytest_plugins = ["tests.support.engine_plugin"]

WHEN = datetime(2025, 1, 15, 10, 22, 7, tzinfo=UTC)
SMALL = raw_bytes(300_000, "small")
PARTS = raw_bytes(5 * MIB + 77, "parts")
LARGE = raw_bytes(17 * MIB + 1, "large")
KINDS = {
    "small": (SMALL, "H1", 100),
    "parts": (PARTS, "H2", 1),
    "unknown parts": (PARTS, "H3", 2),
    "large": (LARGE, "H1", 5),
}
OLDER = "(older version of 2025-01-15 10:22:07 UTC)"
kinds = pytest.mark.parametrize("kind", list(KINDS))


def other(data: bytes, seed: str = "other") -> bytes:
    return raw_bytes(len(data), seed)


def back_up(stand: Stand, kind: str, path: str = "a.raw") -> bytes:
    data, form, part_mib = KINDS[kind]
    stand.put(path, data, form, part_mib=part_mib, last_modified=WHEN)
    return data


def spoil(stand: Stand, how: str, data: bytes, part_mib: float, path: str = "a.raw") -> None:
    """What people and tools do to the newest version."""
    part_size = int(part_mib * MIB)
    if how in ("deleted", "deleted and uploaded wrong"):
        stand.server.delete(BUCKET, stand.key(path))
    if how in ("other bytes", "deleted and uploaded wrong"):
        stand.upload(path, other(data), part_size=part_size)
    elif how == "another size":
        stand.upload(path, data + b"more", part_size=part_size)
    elif how == "emptied":
        stand.upload(path, b"", part_size=part_size)
    elif how == "many times":
        for number in range(10):
            stand.upload(path, data[: 1000 * number], part_size=part_size)
            stand.upload(path, other(data, f"{number}"), part_size=part_size)


HOW = ["other bytes", "another size", "emptied", "deleted", "deleted and uploaded wrong", "many times"]


@kinds
@pytest.mark.parametrize("how", HOW)
def test_the_version_that_proves_itself_is_the_restore(stand: Stand, kind: str, how: str) -> None:
    data = back_up(stand, kind)
    spoil(stand, how, data, KINDS[kind][2])
    run = stand.restore()
    said = run["a.raw"]
    assert said.startswith("OK - Downloaded and verified (")
    assert said.endswith(f"s) {OLDER}")
    stand.assert_right()
    assert stand.others == []
    assert run.summary.outcomes[0].older_version_of == WHEN
    assert stand.restore()["a.raw"] == "OK - Skipped (already exists)"


@pytest.mark.parametrize("how", ["other bytes", "deleted"])
@pytest.mark.parametrize("kind", ["parts", "large"])
def test_a_damaged_local_file_is_healed_from_an_older_version(stand: Stand, kind: str, how: str) -> None:
    data = back_up(stand, kind)
    spoil(stand, how, data, KINDS[kind][2])
    stand.damage("a.raw", 9)
    said = stand.restore()["a.raw"]
    assert said.startswith("OK - Self-healed (hash mismatch detected, re-downloaded) (")
    assert said.endswith(OLDER)
    stand.assert_right()
    assert stand.others == []


def test_a_right_newest_version_costs_no_request_more(stand: Stand) -> None:
    for kind in KINDS:
        back_up(stand, kind, kind)
        stand.upload(kind, other(KINDS[kind][0]))
        stand.upload(kind, KINDS[kind][0], part_size=int(KINDS[kind][2] * MIB))
    run = stand.restore()
    assert run.status == "SUCCESS"
    assert "older version" not in run.report
    assert stand.server.count("ListObjectVersions") == 0


def test_equal_etag_is_tried_first(stand: Stand) -> None:
    """Of many that have the right size, one has the ETag that was computed at the instrument: no other is fetched."""
    data = back_up(stand, "parts")
    for number in range(30):
        stand.upload("a.raw", other(data, f"{number}"), part_size=MIB)
    stand.server.delete(BUCKET, stand.key("a.raw"))
    assert OLDER in stand.restore()["a.raw"]
    assert stand.server.bytes_sent() == len(data)


def test_at_most_20_are_tried(stand: Stand) -> None:
    data = back_up(stand, "small")
    for number in range(25):
        stand.upload("a.raw", other(data, f"{number}"), etag=f"{number:032x}")
    stand.file_info["a.raw"] = [len(data), "f" * 32]  # of no version
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected ")
    assert run["a.raw"].endswith("; none of 20 older versions is it")
    assert stand.server.count("GetObject") == 21, "and not once more: each had its own try"


def test_no_version_is_the_backup(stand: Stand) -> None:
    data = back_up(stand, "parts")
    stand.data.clear()
    stand.file_info["a.raw"][1:] = [file_info({"x": other(data, "never uploaded")}, "H1")["x"][1]]
    stand.server.delete(BUCKET, stand.key("a.raw"))
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Object is not in S3 (NoSuchKey)")
    assert run["a.raw"].endswith("; none of 1 older versions is it")
    assert stand.others == []


@pytest.mark.parametrize(
    ("action", "needed"),
    [("s3:ListBucketVersions", "s3:ListBucketVersions"), ("s3:GetObjectVersion", "s3:GetObjectVersion")],
)
@pytest.mark.parametrize("how", HOW)
@kinds
def test_without_the_rights_it_ends_as_ever_and_names_the_right(
    stand: Stand, kind: str, how: str, action: str, needed: str
) -> None:
    data = back_up(stand, kind)
    spoil(stand, how, data, KINDS[kind][2])
    stand.server.deny(action)
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - ")
    assert run["a.raw"].endswith(f"older versions cannot be looked at: that takes {needed}")
    assert not stand.path("a.raw").exists()
    assert stand.others == []
    assert stand.server.count("ListObjectVersions") <= 2


def test_the_refusal_to_list_is_asked_for_once_in_a_run(stand: Stand) -> None:
    for number in range(20):
        stand.put(f"{number}", SMALL, "H1")
        stand.server.delete(BUCKET, stand.key(f"{number}"))
    stand.server.deny("s3:ListBucketVersions")
    run = stand.restore(max_concurrency=1)
    assert run.status == "COMPLETE FAILURE"
    assert stand.server.count("ListObjectVersions") == 1


def test_passing_errors_of_the_listing_and_of_the_version(stand: Stand) -> None:
    back_up(stand, "parts")
    stand.server.delete(BUCKET, stand.key("a.raw"))
    stand.proxy.add(Rule(Status(503), method="GET", probability=0.5, times=None))
    assert OLDER in stand.restore(patience_s=10)["a.raw"]
    stand.assert_right()


def test_an_older_version_that_is_archived_says_so(stand: Stand) -> None:
    back_up(stand, "parts")
    stand.put("a.raw", PARTS, last_modified=WHEN, storage_class="DEEP_ARCHIVE")
    stand.server._buckets[BUCKET][stand.key("a.raw")].pop(0)
    stand.server.delete(BUCKET, stand.key("a.raw"))
    said = stand.restore()["a.raw"]
    assert said.startswith("FAILURE - Object is not in S3 (NoSuchKey)")
    assert "the version of 2025-01-15 10:22:07 UTC: Object is archived in class DEEP_ARCHIVE" in said


@pytest.mark.parametrize("key", ["a", "ü b+c%20&d=e.raw", "a/../b", "x" * 200])
def test_keys_that_need_quoting_and_neighbours_that_begin_alike(stand: Stand, key: str) -> None:
    data = raw_bytes(1000, "quoting")
    stand.server.put(BUCKET, key, data, last_modified=WHEN)
    stand.server.put(BUCKET, key + ".more", data)
    stand.server.delete(BUCKET, key)
    entry = file_info({"f": data}, "H1")["f"]
    spec = FileSpec("f", BUCKET, key, entry[0], parse_expected_hash(entry))
    settings = RestoreSettings.from_mapping(QUICK)
    store = S3ObjectStore(engine_client(stand.server.url, settings))
    run = Run.of(Restorer(store, stand.destination, settings).run([spec]), stand.destination)
    assert OLDER in run["f"]


@pytest.mark.parametrize("how", ["other bytes", "another size", "deleted", "deleted and uploaded wrong"])
@pytest.mark.parametrize("data", [SMALL, PARTS], ids=["small", "parts"])
def test_on_moto(s3_server: S3Server, tmp_path: Path, how: str, data: bytes) -> None:
    client = s3_server.client()
    bucket = f"versions-{len(data)}-{how.replace(' ', '-')}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3_server.region})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=bucket, Key="a b.raw", Body=data)
    if how.startswith("deleted"):
        client.delete_object(Bucket=bucket, Key="a b.raw")
    if how != "deleted":
        client.put_object(Bucket=bucket, Key="a b.raw", Body=other(data) + b"x" * (how == "another size"))
    entry = file_info({"a": data}, "H2")["a"]
    destination = tmp_path / "output"
    destination.mkdir()
    spec = FileSpec("a", bucket, "a b.raw", entry[0], parse_expected_hash(entry))
    settings = RestoreSettings.from_mapping(QUICK)
    store = S3ObjectStore(engine_client(s3_server.endpoint_url, settings))
    run = Run.of(Restorer(store, destination, settings).run([spec]), destination)
    assert "OK - Downloaded and verified (" in run["a"], run.report
    assert " (older version of 20" in run["a"]
    assert (destination / "a").read_bytes() == data
    client.close()


@pytest.mark.parametrize("kind", ["small", "parts"])
def test_a_newest_version_that_is_damaged_in_the_store(stand: Stand, kind: str) -> None:
    """Wrong bytes under the right ETag: an older version of the same ETag may have the right ones."""
    data = back_up(stand, kind)
    etag = stand.server._buckets[BUCKET][stand.key("a.raw")][-1].etag
    stand.upload("a.raw", other(data), part_size=MIB, etag=etag)
    assert OLDER in stand.restore()["a.raw"]
    stand.assert_right()


@pytest.mark.parametrize("kind", ["small", "parts"])
@pytest.mark.parametrize("which", ["the newest", "an older one"])
def test_bytes_that_the_network_spoiled_once_are_fetched_once_more(stand: Stand, kind: str, which: str) -> None:
    """As without versions. A version of other bytes and the same size is no reason to give up."""
    if which == "the newest":
        stand.upload("a.raw", other(KINDS[kind][0]), part_size=MIB)
    back_up(stand, kind)
    if which == "an older one":
        stand.server.delete(BUCKET, stand.key("a.raw"))
    spoiling = stand.proxy.add(Rule(FlipBit(at=1000), method="GET", query=None if which == "the newest" else "Id"))
    run = stand.restore()
    assert spoiling.fired == 1
    assert run["a.raw"].endswith(OLDER) is (which == "an older one"), run.report
    stand.assert_right()


# --- a 403 that may be a delete marker --------------------------------------------------------------------------------


def without_list_bucket(stand: Stand, *more: str) -> None:
    """AWS answers 403 for what is missing or deleted then."""
    for action in ("s3:ListBucket", *more):
        stand.server.deny(action)


@kinds
@pytest.mark.parametrize("healed", [False, True])
def test_a_deleted_object_that_is_said_to_be_denied(stand: Stand, kind: str, healed: bool) -> None:
    back_up(stand, kind)
    stand.server.delete(BUCKET, stand.key("a.raw"))
    if healed:
        stand.damage("a.raw", 9)
    without_list_bucket(stand)
    assert stand.restore()["a.raw"].endswith(OLDER)
    stand.assert_right()
    assert stand.others == []


DENIED = f"FAILURE - S3 denies access: the connection's user needs s3:GetObject on this bucket (AccessDenied): s3://{BUCKET}/"


@pytest.mark.parametrize("kind", ["small", "large"])
@pytest.mark.parametrize("right", ["s3:ListBucketVersions", "s3:GetObjectVersion"])
def test_a_deleted_object_without_the_rights_to_look(stand: Stand, kind: str, right: str) -> None:
    """Whether it was deleted is known only where the versions may be listed; then the other right is named."""
    back_up(stand, kind)
    stand.server.delete(BUCKET, stand.key("a.raw"))
    without_list_bucket(stand, right)
    said = stand.restore(patience_s=100)["a.raw"]
    ending = "; older versions cannot be looked at: that takes s3:GetObjectVersion" if "Get" in right else ""
    assert said == f"{DENIED}{stand.key('a.raw')}{ending}"


@pytest.mark.parametrize("may_list", [True, False])
def test_an_object_that_is_denied_fails_with_that(stand: Stand, may_list: bool) -> None:
    """It is there, and so are older ones of it; who may not read it is not given another."""
    for number in range(10):
        stand.put(f"{number}", SMALL, "H1")
        stand.upload(f"{number}", SMALL)
    stand.server.deny("s3:GetObject")
    if not may_list:
        stand.server.deny("s3:ListBucketVersions")
    run = stand.restore(patience_s=100)
    for number in range(10):
        assert run[f"{number}"] == f"{DENIED}{stand.key(f'{number}')}"
    assert stand.server.count("GetObject") == 10, "each at once, and none twice"
    assert stand.server.count("ListObjectVersions") == (10 if may_list else 1)


# --- ETags that show beforehand which version it is -------------------------------------------------------------------


@pytest.mark.rule("H2", "H3")
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *[(kind, "other bytes") for kind in ("parts", "unknown parts", "large in parts")],
        *[(kind, "many times") for kind in ("parts", "unknown parts", "large in parts")],
        *[(kind, "other bytes as one") for kind in ("parts", "large in parts")],
    ],
)
def test_a_newest_version_that_is_another_upload_is_not_fetched(stand: Stand, kind: str, form: str) -> None:
    """H2, H3: its ETag differs, and an older one has the expected ETag: only that is fetched."""
    data, hashed, part_mib = {**KINDS, "large in parts": (LARGE, "H2", 5)}[kind]
    stand.put("a.raw", data, hashed, part_mib=part_mib, last_modified=WHEN)
    if form == "other bytes as one":
        stand.upload("a.raw", other(data))
    else:
        spoil(stand, form, data, part_mib)
    assert stand.restore()["a.raw"].endswith(OLDER)
    stand.assert_right()
    assert stand.server.bytes_sent() == len(data)


@pytest.mark.rule("H1")
def test_a_large_object_that_was_uploaded_as_one(stand: Stand) -> None:
    """H1: the ETag is the MD5."""
    stand.put("a.raw", LARGE, "H1", part_mib=100, last_modified=WHEN)
    stand.upload("a.raw", other(LARGE))
    assert stand.restore()["a.raw"].endswith(OLDER)
    assert stand.server.bytes_sent() == len(LARGE)


@pytest.mark.parametrize("kind", ["parts", "large"])
def test_an_etag_that_says_nothing_decides_nothing(stand: Stand, kind: str) -> None:
    """Encrypted objects have ETags of their own: the newest is right, and the list is asked for once in a run."""
    data, form, part_mib = KINDS[kind]
    for number in range(9):
        path = f"{number}.raw"
        stand.put(path, data, form, part_mib=part_mib, etag=f"{number:032x}-{-(-len(data) // int(part_mib * MIB))}")
        stand.upload(path, data, part_size=int(part_mib * MIB), etag=f"{number + 50:032x}-6")
    run = stand.restore(max_concurrency=1)
    assert run.status == "SUCCESS"
    assert "older version" not in run.report
    assert stand.server.count("ListObjectVersions") == (1 if kind == "parts" else 0)
    assert stand.server.bytes_sent() == 9 * len(data)


def test_the_same_bytes_in_other_parts_are_no_other_upload(stand: Stand) -> None:
    """An ETag of another number of parts says nothing: nothing older is asked for."""
    stand.put("a.raw", PARTS, "H2", part_mib=1)
    stand.upload("a.raw", PARTS, part_size=2 * MIB)
    assert "older version" not in stand.restore()["a.raw"]
    stand.assert_right()
    assert stand.server.count("ListObjectVersions") == 0


def test_a_hint_that_is_wrong_costs_time_and_no_file(stand: Stand) -> None:
    """The older one of the expected ETag is damaged in the store, the newest is encrypted and right."""
    stand.put("a.raw", PARTS, "H2", part_mib=1)
    etag = stand.server._buckets[BUCKET][stand.key("a.raw")][-1].etag
    stand.server.erase(BUCKET, stand.key("a.raw"))
    stand.upload("a.raw", other(PARTS), part_size=MIB, etag=etag)
    stand.upload("a.raw", PARTS, part_size=MIB, etag=f"{7:032x}-6")
    run = stand.restore()
    assert run["a.raw"].startswith("OK - Downloaded and verified (")
    assert "older version" not in run["a.raw"]
    stand.assert_right()


def test_a_hint_that_is_wrong_where_no_version_is_it(stand: Stand) -> None:
    stand.put("a.raw", PARTS, "H2", part_mib=1)
    etag = stand.server._buckets[BUCKET][stand.key("a.raw")][-1].etag
    stand.server.erase(BUCKET, stand.key("a.raw"))
    stand.upload("a.raw", other(PARTS), part_size=MIB, etag=etag)
    stand.upload("a.raw", other(PARTS, "too"), part_size=MIB)
    run = stand.restore()
    assert run["a.raw"].startswith("FAILURE - Hash mismatch after download: expected ")
    assert run["a.raw"].endswith("; none of 1 older versions is it")
    assert stand.server.bytes_sent() == 4 * len(PARTS), "each was fetched twice: the one of that ETag may be spoilt"


@pytest.mark.parametrize("fault", ["archived", "s3:GetObjectVersion", "s3:ListBucketVersions", "503"])
def test_a_hint_that_cannot_be_followed_is_left(stand: Stand, fault: str) -> None:
    """The newest is right under another ETag: what keeps the older one from being read is no reason to fail."""
    stand.put("a.raw", PARTS, "H2", part_mib=1, storage_class="DEEP_ARCHIVE" if fault == "archived" else "STANDARD")
    stand.upload("a.raw", PARTS, part_size=MIB, etag=f"{7:032x}-6")
    if fault == "503":
        stand.proxy.add(Rule(Status(503), method="GET", query="versions", times=None))
    elif fault != "archived":
        stand.server.deny(fault)
    run = stand.restore(patience_s=100)
    assert run["a.raw"].startswith("OK - Downloaded and verified (")
    assert "older version" not in run["a.raw"]
    stand.assert_right()


@pytest.mark.parametrize("size", [len(PARTS), len(LARGE)])
def test_a_right_file_that_only_an_older_version_proves_is_skipped(stand: Stand, size: int) -> None:
    """H3 with a part size that nobody would guess: the older version tells it, and then the file on disk is right."""
    data = raw_bytes(size, "right")
    stand.put("a.raw", data, "H3", part_mib=1.3333)
    stand.upload("a.raw", other(data), part_size=int(1.3333 * MIB))
    stand.place("a.raw", data)
    run = stand.restore()
    assert run["a.raw"] == "OK - Skipped (already exists)"
    assert stand.server.bytes_sent() == size, "it is fetched once"
    assert stand.others == []


@pytest.mark.rule("S7", fails_when="an unknown part size is final, though the older version tells it")
@pytest.mark.parametrize("state", ["missing", "right"])
def test_newest_upload_of_other_parts_hides_no_part_size(stand: Stand, state: str) -> None:
    """H3 with a part size that nobody would guess, and the newest version is an upload of another number of parts."""
    stand.put("a.raw", LARGE, "H3", part_mib=1.3333, last_modified=WHEN)
    stand.upload("a.raw", other(LARGE), part_size=2 * MIB)
    if state == "right":
        stand.place("a.raw", LARGE)
    run = stand.restore()
    assert run["a.raw"].endswith(OLDER) if state == "missing" else run["a.raw"] == "OK - Skipped (already exists)"
    stand.assert_right()
