"""Credentials that a store refuses, and what is said of it; anonymous access where it is allowed."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from tests.stores.capabilities import ask
from tests.stores.lab import ID, Lab
from tests.support import raw_files
from tests.support.raw_files import MIB, raw_bytes

pytestmark = pytest.mark.timeout(300)

FILES = {"small.raw": raw_bytes(10_000, "small"), "parts.raw": raw_bytes(6 * MIB, "parts")}

READER = "arn:aws:iam:::user/reader"


@pytest.fixture
def backed_up(lab: Lab) -> Lab:
    for path, data in FILES.items():
        lab.upload(path, data, part_size=5 * MIB if len(data) > MIB else None)
    lab.note(raw_files.file_info(FILES, "H2", 5))
    return lab


def assert_all_say(lab: Lab, text: str) -> None:
    for path in FILES:
        assert lab.line(path).startswith(f"FAILURE - {text}")
        lab.assert_nothing_there(path)


def test_a_wrong_secret(backed_up: Lab, needs: Callable[[str], None]):
    needs("checks_secrets")
    backed_up.connect_as(secret_key="not-the-secret")
    backed_up.fail_to_download(ID)
    assert_all_say(
        backed_up,
        "S3 refuses the signature: check the secret key in the Airflow connection (SignatureDoesNotMatch): ",
    )


def test_an_unknown_access_key(backed_up: Lab, needs: Callable[[str], None]):
    needs("checks_access_keys")
    backed_up.connect_as(access_key="AKUNKNOWNUNKNOWNUNKN")
    backed_up.fail_to_download(ID)
    assert_all_say(backed_up, "S3 does not know the access key: check the Airflow connection (InvalidAccessKeyId): ")


def anonymous(lab: Lab) -> None:
    lab.connect_as(config_kwargs={"signature_version": "unsigned"})


def test_anonymous_where_it_is_refused(backed_up: Lab, needs: Callable[[str], None]):
    needs("refuses_unsigned")
    refused = {
        path: ask(backed_up.store_server, "GET", f"/{backed_up.bucket}/{path}", signed=False).status >= 400
        for path in FILES  # moto refuses what was uploaded as one, and serves what came in parts
    }
    anonymous(backed_up)
    backed_up.fail_to_download(ID)
    for path in FILES:
        assert backed_up.line(path).startswith("FAILURE - S3 " if refused[path] else "OK - ")
        assert backed_up.path(path).exists() is not refused[path]
    assert backed_up.others(*FILES) == []


def test_anonymous_where_it_is_allowed(backed_up: Lab):
    if backed_up.seen.refuses_unsigned:
        try:
            backed_up.content.allow("*", "s3:GetObject")
        except ClientError as error:
            pytest.skip(f"{backed_up.store_server.name} has no bucket policies: {error}")
    anonymous(backed_up)
    backed_up.download(ID)
    backed_up.assert_restored()


# --- a second user, who may read only ---------------------------------------------------------------------------------


@pytest.fixture
def as_reader(backed_up: Lab) -> Lab:
    """The connection is that of a user who owns nothing; each test says what he may."""
    if not backed_up.store_server.reader:
        pytest.skip(f"{backed_up.store_server.name} has one user only")
    backed_up.connect_as(*backed_up.store_server.reader)
    return backed_up


def test_a_user_without_rights(as_reader: Lab):
    as_reader.fail_to_download(ID)
    assert_all_say(
        as_reader, "S3 denies access: the connection's user needs s3:GetObject on this bucket (AccessDenied): "
    )


@pytest.mark.parametrize("versions", [True, False], ids=["versions", "no versions"])
def test_get_object_alone_is_enough(as_reader: Lab, versions: bool):
    if versions:
        as_reader.content.keep_versions()
        for path, data in FILES.items():
            as_reader.upload(path, data, part_size=5 * MIB if len(data) > MIB else None)
    as_reader.content.allow(READER, "s3:GetObject")
    data = FILES["parts.raw"]
    as_reader.place("parts.raw", data[:-1] + bytes([data[-1] ^ 1]))
    assert as_reader.validate(ID)["troubles"] == []
    as_reader.download(ID)
    as_reader.assert_restored()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "older versions cannot be looked at: that takes s3:ListBucketVersions"),
        (("s3:ListBucketVersions",), "older versions cannot be looked at: that takes s3:GetObjectVersion"),
        (("s3:ListBucketVersions", "s3:GetObjectVersion"), ""),
    ],
    ids=["none", "to list", "to list and to get"],
)
def test_older_versions_take_two_more_rights_which_are_named(as_reader: Lab, more: tuple[str, ...], said: str):
    as_reader.content.keep_versions()
    for path, data in FILES.items():
        as_reader.upload(path, data, part_size=5 * MIB if len(data) > MIB else None)
        as_reader.content.put(path, raw_bytes(len(data), "wrong"))
    as_reader.content.allow(READER, "s3:GetObject", *more)
    if not said:
        as_reader.download(ID)
        as_reader.assert_restored()
        assert as_reader.report.count("(older version of 20") == len(FILES)
        return
    as_reader.fail_to_download(ID)
    as_reader.assert_nothing_there()
    for path in FILES:
        assert as_reader.line(path).startswith("FAILURE - Hash mismatch after download: ")
        assert as_reader.line(path).endswith(said)


def test_deleted_objects_and_no_right_to_list_the_bucket(as_reader: Lab):
    """AWS and Ceph say 403 of a delete marker then; with the rights to look, older versions are found all the same."""
    as_reader.content.keep_versions()
    for path, data in FILES.items():
        as_reader.upload(path, data, part_size=5 * MIB if len(data) > MIB else None)
        as_reader.content.delete(path)
    as_reader.content.allow(READER, "s3:GetObject")
    as_reader.fail_to_download(ID)
    assert_all_say(
        as_reader, "S3 denies access: the connection's user needs s3:GetObject on this bucket (AccessDenied): "
    )
    assert "older versions" not in as_reader.report
    as_reader.content.allow(READER, "s3:GetObject", "s3:ListBucketVersions", "s3:GetObjectVersion")
    as_reader.download(ID)
    as_reader.assert_restored()
    assert as_reader.report.count("(older version of 20") == len(FILES)
