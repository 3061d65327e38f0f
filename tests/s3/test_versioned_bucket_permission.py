"""In a versioned bucket a key that may only ``s3:GetObject`` is enough: naming a version takes another right."""

from pathlib import Path

import pytest

from s3_restore.model.expected_hash import parse_expected_hash
from s3_restore.model.file_specs import FileSpec
from s3_restore.model.settings import RestoreSettings
from s3_restore.run.restorer import Restorer
from s3_restore.s3.s3_object_store import S3ObjectStore
from tests.support.raw_files import MIB, file_info, md5, raw_bytes
from tests.support.s3_stand_in import S3StandIn

SIZE = 17 * MIB
SETTINGS = RestoreSettings(max_concurrency=2, patience_s=2.0)


@pytest.mark.rule("S2")
@pytest.mark.parametrize("form", ["H1", "H2", "H3"])
def test_get_object_is_permission_enough_in_a_versioned_bucket(tmp_path: Path, form: str) -> None:
    """S2: the demand is GetObject and HeadObject; AWS wants s3:GetObjectVersion for any request with a versionId."""
    data = raw_bytes(SIZE)
    with S3StandIn(versioning=True) as s3:
        s3.put("bucket", "a.raw", data, part_size=5 * MIB)
        for action in ("s3:GetObjectVersion", "s3:ListBucket", "s3:GetObjectAttributes"):
            s3.deny(action)
        entry = file_info({"a.raw": data}, form, part_mib=5)["a.raw"]
        spec = FileSpec("a.raw", "bucket", "a.raw", entry[0], parse_expected_hash(entry))
        summary = Restorer(S3ObjectStore(s3.client()), tmp_path, SETTINGS).run([spec])
    assert [outcome.reason for outcome in summary.outcomes] == [""]
    assert md5(tmp_path / "a.raw") == md5(data)
    assert [path.name for path in tmp_path.iterdir()] == ["a.raw"]


def test_version_is_pinned_where_it_may_be_asked_for(tmp_path: Path) -> None:
    """With the right to, each range names the version that was begun with."""
    data = raw_bytes(SIZE)
    with S3StandIn(versioning=True) as s3:
        version_id = s3.put("bucket", "a.raw", data, part_size=5 * MIB).version_id
        entry = file_info({"a.raw": data}, "H2", part_mib=5)["a.raw"]
        spec = FileSpec("a.raw", "bucket", "a.raw", entry[0], parse_expected_hash(entry))
        assert Restorer(S3ObjectStore(s3.client()), tmp_path, SETTINGS).run([spec]).failed == 0
        ranged = [request for request in s3.requests if request.range]
    assert len(ranged) == 4
    assert {request.version_id for request in ranged} == {version_id}


def test_healing_by_part_needs_no_right_on_versions(tmp_path: Path) -> None:
    """s3:GetObjectAttributes is what it takes; the rights on versions are others."""
    data = raw_bytes(SIZE)
    damaged = bytearray(data)
    damaged[SIZE // 2] ^= 1
    (tmp_path / "a.raw").write_bytes(damaged)
    with S3StandIn(versioning=True) as s3:
        s3.put("bucket", "a.raw", data, part_size=5 * MIB, checksum="CRC32")
        for action in ("s3:GetObjectVersion", "s3:GetObjectVersionAttributes"):
            s3.deny(action)
        entry = file_info({"a.raw": data}, "H2", part_mib=5)["a.raw"]
        spec = FileSpec("a.raw", "bucket", "a.raw", entry[0], parse_expected_hash(entry))
        summary = Restorer(S3ObjectStore(s3.client()), tmp_path, SETTINGS).run([spec])
    assert [(outcome.reason, outcome.bytes_fetched) for outcome in summary.outcomes] == [("", 5 * MIB)]
    assert md5(tmp_path / "a.raw") == md5(data)
    assert [path.name for path in tmp_path.iterdir()] == ["a.raw"]
