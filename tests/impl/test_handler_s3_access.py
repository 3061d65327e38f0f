"""How S3 is asked: where, with which rights, and what is said when it refuses. Credentials: test_security.py."""

import socket

import pytest

from tests.support.kraken import SECRET_KEY, Kraken
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_stand_in import S3StandIn

ID = "20250115_sample.raw"
SMALL = raw_bytes(100_000, "small")
PARTS = raw_bytes(17 * MIB + 5, "parts")
READS = {"GetObject", "HeadObject", "GetObjectAttributes"}
WRITES = [
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:RestoreObject",
    "s3:CreateBucket",
    "s3:PutObjectTagging",
    "s3:AbortMultipartUpload",
]


def everything(kraken: Kraken) -> dict[str, bytes]:
    """Files of every kind: to download, to skip, to heal by part, empty."""
    files = {"s.d/small": SMALL, "s.d/parts": PARTS, "s.d/right": SMALL, "s.d/wrong": PARTS, "s.d/empty": b""}
    kraken.back_up(files, "s.d", part_mib=5)
    (kraken.destination / "s.d").mkdir(parents=True)
    (kraken.destination / "s.d/right").write_bytes(SMALL)
    (kraken.destination / "s.d/wrong").write_bytes(PARTS[:-1] + bytes([PARTS[-1] ^ 1]))
    return files


def restored(kraken: Kraken, files: dict[str, bytes]) -> bool:
    return all((kraken.destination / path).read_bytes() == data for path, data in files.items())


@pytest.mark.rule("S2", fails_when="an object is tagged")
def test_s2_nothing_but_reads_is_asked(kraken: Kraken):
    files = everything(kraken)
    kraken.validate("s.d")
    kraken.download("s.d")
    assert restored(kraken, files)
    assert {request.operation for request in kraken.s3.requests} <= READS
    assert kraken.s3.writes == []


@pytest.mark.rule("S2", fails_when="versions must be named")
@pytest.mark.parametrize("form", ["H1", "H2", "H3"])
@pytest.mark.parametrize("versioning", [True, False], ids=["versions", "no versions"])
def test_s2_credentials_that_may_only_get_objects_suffice(kraken: Kraken, form: str, versioning: bool):
    """s3:GetObject covers GetObject and HeadObject, and nothing else in AWS; buckets have versions (data contract)."""
    kraken.s3.versioning = versioning
    for action in (
        "s3:ListBucket",
        "s3:GetBucketLocation",
        "s3:GetObjectVersion",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersionAttributes",
        *WRITES,
    ):
        kraken.s3.deny(action)
    files = {"s.d/small": SMALL, "s.d/parts": PARTS, "s.d/wrong": PARTS}
    kraken.back_up(files, "s.d", part_mib=5, form=form)
    (kraken.destination / "s.d").mkdir(parents=True)
    (kraken.destination / "s.d/wrong").write_bytes(PARTS[:-1] + bytes([PARTS[-1] ^ 1]))
    kraken.validate("s.d")
    assert kraken.download("s.d")["status"] == "SUCCESS"
    assert restored(kraken, files)


@pytest.mark.rule("S2")
def test_s2_without_list_bucket_a_missing_object_is_a_denied_one(kraken: Kraken):
    kraken.back_up({ID: SMALL})
    kraken.s3.versioning = False  # else an older version would be found (S7)
    kraken.s3.delete(kraken.bucket, ID)
    kraken.s3.deny("s3:ListBucket")
    kraken.fail_to_download(ID)
    assert "s3:GetObject" in kraken.line(ID)
    assert "(AccessDenied)" in kraken.line(ID)


@pytest.mark.parametrize("data", [SMALL, PARTS], ids=["small", "large"])
def test_access_denied_names_the_right_that_is_needed(kraken: Kraken, data: bytes):
    kraken.back_up({ID: data}, part_mib=5)
    kraken.s3.deny("s3:GetObject")
    kraken.s3.deny("s3:GetObjectVersion")
    kraken.fail_to_download(ID)
    assert kraken.line(ID) == (
        "FAILURE - S3 denies access: the connection's user needs s3:GetObject on this bucket (AccessDenied): "
        f"s3://{kraken.bucket}/{ID}"
    )


@pytest.mark.rule("A4")
@pytest.mark.parametrize("data", [SMALL, PARTS], ids=["small", "large"])
def test_a4_wrong_credentials(kraken: Kraken, data: bytes):
    """Large files begin with HEAD, whose error has no body: the reason must be told all the same."""
    kraken.back_up({ID: data, "other": SMALL}, part_mib=5)
    kraken.s3.access_keys = {"ANOTHERKEY"}
    said = kraken.fail_to_download(ID)
    for path in (ID, "other"):
        assert kraken.line(path) == (
            "FAILURE - S3 does not know the access key: check the Airflow connection (InvalidAccessKeyId): "
            f"s3://{kraken.bucket}/{path}"
        )
    assert said.startswith("2/2 files failed. See: ")
    assert kraken.others() == []


@pytest.mark.rule("A4")
def test_a4_no_credentials_at_all(kraken: Kraken, monkeypatch, tmp_path):
    kraken.back_up({ID: SMALL})
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    kraken.fail_to_download(ID)
    assert kraken.line(ID).startswith("FAILURE - S3 cannot be asked: Unable to locate credentials")
    assert kraken.line(ID).endswith("(NoCredentialsError)")


@pytest.mark.rule("A4")
@pytest.mark.parametrize("files", [{ID: SMALL}, {ID: PARTS}, {"s.d/a": SMALL, "s.d/b": PARTS}], ids=len)
def test_a4_unreachable_s3(kraken: Kraken, files):
    kraken.settings["s3_download"]["patience_s"] = 0.3
    kraken.write_yaml()
    kraken.back_up(files, ID, part_mib=5)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        kraken.connect_s3(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        kraken.fail_to_download(ID)
    for path in files:
        assert "S3 cannot be reached" in kraken.line(path)
        assert kraken.line(path).startswith("FAILURE - ")
    assert kraken.others() == []


@pytest.mark.rule("A4")
def test_a4_an_endpoint_whose_name_does_not_exist(kraken: Kraken):
    kraken.settings["s3_download"]["patience_s"] = 0.3
    kraken.write_yaml()
    kraken.back_up({ID: SMALL})
    kraken.connect_s3("http://s3.no-such-host.invalid")
    kraken.fail_to_download(ID)
    assert kraken.line(ID).startswith("FAILURE - Network error: S3 cannot be reached (")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"endpoint_url": "127.0.0.1:9000"}, "Invalid endpoint: 127.0.0.1:9000 (ValueError)"),
        ({"endpoint_url": "http://"}, "Invalid endpoint: http:// (ValueError)"),
        ({"endpoint_url": 9000}, "(TypeError)"),
        ({"config_kwargs": {"nonsense": 1}}, "Got unexpected keyword argument 'nonsense' (TypeError)"),
        ({"config_kwargs": "nonsense"}, "Error)"),
        ({"profile_name": "nobody"}, "The config profile (nobody) could not be found (ProfileNotFound)"),
        ({"role_arn": "x"}, "Invalid length for parameter RoleArn, value: 1, valid min length: 20"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_connection_that_cannot_be_used_is_named(kraken: Kraken, extra: dict, said: str):
    kraken.back_up({ID: SMALL})
    kraken.connect_s3(**{"endpoint_url": kraken.s3.url, **extra})
    text = kraken.fail_to_download(ID)
    assert text.startswith("Airflow connection 'aws_default' cannot be used: ")
    assert said in text
    assert SECRET_KEY not in text
    assert kraken.others() == []


@pytest.mark.parametrize("connection", ["{", "not a uri", '{"conn_type": 5}', '{"conn_type": "aws",}'])
def test_a_connection_that_cannot_be_read_gives_no_credentials(kraken: Kraken, monkeypatch, tmp_path, connection: str):
    """Airflow warns and goes on without; what S3 then lacks is said for each file."""
    kraken.back_up({ID: SMALL})
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    kraken.fail_to_download(ID)
    assert "Unable to locate credentials" in kraken.line(ID)


def test_s3_endpoint_comes_from_the_connection(kraken: Kraken):
    """Two stores with the same bucket: the connection's one is asked, the other sees nothing."""
    kraken.back_up({ID: SMALL})
    with S3StandIn() as other:
        other.put(kraken.bucket, ID, SMALL)
        kraken.connect_s3(other.url)
        kraken.download(ID)
        assert other.bytes_sent(ID) == len(SMALL)
    assert kraken.s3.requests == []


def test_s3_botocore_options_of_the_connection_count(kraken: Kraken, monkeypatch: pytest.MonkeyPatch):
    """`config_kwargs` in the extra, as stores with other addressing need it."""
    resolve = socket.getaddrinfo

    def resolve_below_localhost(host, *rest, **more):  # not every system does
        return resolve("localhost" if str(host).endswith(".localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_below_localhost)
    kraken.back_up({ID: SMALL, "large": PARTS}, part_mib=5)
    kraken.connect_s3(
        kraken.s3.url.replace("127.0.0.1", "localhost"), config_kwargs={"s3": {"addressing_style": "virtual"}}
    )
    kraken.download(ID)
    assert kraken.s3.requests
    assert {request.bucket for request in kraken.s3.requests} == {kraken.bucket}
    assert {request.headers["host"].partition(":")[0] for request in kraken.s3.requests} == {
        f"{kraken.bucket}.localhost"
    }


@pytest.mark.rule("S1")
@pytest.mark.parametrize(
    ("s3_upload_path", "prefix"),
    [
        ("s3://{}", ""),
        ("s3://{}/", ""),
        ("{}", ""),
        ("{}/", ""),
        ("{}/test1/2025_01/", "test1/2025_01/"),
        ("s3://{}/test1/2025_01/", "test1/2025_01/"),
        ("s3://{}//test1///2025_01//", "test1/2025_01/"),
    ],
)
def test_s1_paths_on_the_wire(kraken: Kraken, s3_upload_path: str, prefix: str):
    kraken.back_up({"s.d/a b+c%20ü.bin": SMALL}, "s.d", prefix=prefix)
    kraken.store(
        "s.d", file_info=kraken.document("s.d")["file_info"], s3_upload_path=s3_upload_path.format(kraken.bucket)
    )
    kraken.download("s.d")
    (request,) = kraken.s3.requests
    assert (request.bucket, request.key) == (kraken.bucket, f"{prefix}s.d/a b+c%20ü.bin")
    assert f"S3 Bucket: {kraken.bucket}\n" in kraken.report
    assert ("S3 Prefix: test1/2025_01\n" in kraken.report) is bool(prefix)


def test_region_comes_from_the_settings(kraken: Kraken):
    kraken.back_up({ID: SMALL})
    kraken.settings["backup"]["s3"]["region"] = "eu-west-3"
    kraken.write_yaml()
    seen = []
    answer = kraken.s3._check_access_key
    kraken.s3._check_access_key = lambda head: seen.append(head.get("Authorization")) or answer(head)
    kraken.download(ID)
    assert seen
    assert all("/eu-west-3/s3/aws4_request" in signed for signed in seen)
