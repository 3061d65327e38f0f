"""Credentials and signatures of the Airflow connection: roles, short-lived tokens, none; and what is never shown."""

import json
import random
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.utils import ContainerMetadataFetcher

from common import secrets_in_logs
from impl import s3_utils
from s3_restore.model.exceptions import PermanentStoreError, StoreUnreachableError
from s3_restore.s3.s3_errors import errors_of_requests, is_passing
from tests.support.kraken import Kraken
from tests.support.raw_files import MIB, raw_bytes
from tests.support.s3_errors import S3Error
from tests.support.s3_stand_in import RecordedRequest
from tests.support.token_service import ContainerCredentials, TokenService

ID = "20250115_sample.d"
FILES = {f"{ID}/{number}": raw_bytes(1000, number) for number in range(30)} | {f"{ID}/parts": raw_bytes(17 * MIB, "p")}
ROLE = "arn:aws:iam::123456789012:role/reader-of-backups"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    monkeypatch.setattr(s3_utils, "_TOKEN_SERVICE_WAIT_S", 0.05)
    with TokenService(lasts_s=3600) as service:
        yield service


def assume_role(kraken: Kraken, service: TokenService) -> None:
    sts = {"sts": {"endpoint_url": service.url}}
    kraken.connect_s3(kraken.s3.url, role_arn=ROLE, service_config=sts, region_name="eu-central-1")


def let_in_only_good_tokens(kraken: Kraken, service: TokenService) -> list[str]:
    """As AWS does; returns the access keys that came, as they come."""
    came: list[str] = []
    lock = threading.Lock()

    def check(head) -> None:
        key = re.search(r"Credential=([^/]+)/", head.get("Authorization") or "")[1]
        with lock:
            came.append(key)
        if not service.is_good(key):
            raise S3Error(400, "ExpiredToken", "The provided token has expired.")
        assert head.get("x-amz-security-token") == f"token-{key}"

    kraken.s3._check_access_key = check
    return came


def test_a_role_is_assumed_once(kraken: Kraken, service: TokenService):
    kraken.back_up(FILES, ID, part_mib=5)
    assume_role(kraken, service)
    came = let_in_only_good_tokens(kraken, service)
    assert kraken.download(ID)["status"] == "SUCCESS"
    assert service.requests == 1
    assert len(set(came)) == 1


def test_tokens_that_expire_midway_are_renewed_on_the_fast_path(kraken: Kraken, service: TokenService):
    """Of 2 s each: botocore renews what has less than minutes left, at any request."""
    service.lasts_s = 2
    kraken.settings["s3_download"]["max_concurrency"] = 2
    kraken.write_yaml()
    kraken.back_up(FILES, ID, part_mib=5)
    assume_role(kraken, service)
    came = let_in_only_good_tokens(kraken, service)
    assert kraken.download(ID)["status"] == "SUCCESS"
    assert len(set(came)) > 5
    agents = {request.headers["user-agent"] for request in kraken.s3.requests if request.operation == "GetObject"}
    assert agents == {"s3-downloader"}


@pytest.mark.parametrize("fault", [-1, 500, 503, 429])
def test_passing_errors_of_the_token_service_are_retried(kraken: Kraken, service: TokenService, fault: int):
    """At the first token, and at the renewal of it midway."""
    service.lasts_s = 2
    service.fault = lambda number: fault if number in (0, 1, 2, 3, 4, 5, 10, 11, 12) else 0
    kraken.settings["s3_download"]["patience_s"] = 20
    kraken.write_yaml()
    kraken.back_up(FILES, ID, part_mib=5)
    assume_role(kraken, service)
    assert kraken.download(ID)["status"] == "SUCCESS"


def test_a_role_that_is_refused_is_said_at_once(kraken: Kraken, service: TokenService):
    service.fault = lambda _number: 403
    kraken.back_up(FILES, ID)
    assume_role(kraken, service)
    said = kraken.fail_to_download(ID)
    assert said.startswith("Airflow connection 'aws_default' cannot be used: ")
    assert "AssumeRole" in said
    assert kraken.s3.requests == []


def test_anonymous_access(kraken: Kraken):
    kraken.back_up(FILES, ID, part_mib=5)
    signed: list[str | None] = []
    kraken.s3._check_access_key = lambda head: signed.append(head.get("Authorization"))
    kraken.connect_s3(kraken.s3.url, config_kwargs={"signature_version": "unsigned"})
    assert kraken.download(ID)["status"] == "SUCCESS"
    assert set(signed) == {None}


@pytest.mark.parametrize(("version", "form"), [("s3", r"AWS \S+:\S+"), ("s3v4", r"AWS4-HMAC-SHA256 .*")])
def test_the_signature_that_the_connection_asks_for(kraken: Kraken, version: str, form: str):
    kraken.back_up(FILES, ID, part_mib=5)
    signed: list[str] = []
    kraken.s3._check_access_key = lambda head: signed.append(head.get("Authorization"))
    kraken.connect_s3(kraken.s3.url, config_kwargs={"signature_version": version})
    assert kraken.download(ID)["status"] == "SUCCESS"
    assert all(re.fullmatch(form, authorization) for authorization in signed)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("where", ["extra", "service"])
def test_no_part_of_a_password_in_endpoint_url_is_shown(
    kraken: Kraken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, seed: int
):
    """Whatever characters it has: pieces of it would be taken for host, port, path or fragment."""
    masked: list[str] = []
    monkeypatch.setattr(secrets_in_logs, "mask_secret", masked.append)
    chance = random.Random(seed)
    pieces = ["".join(chance.choices(string.ascii_letters, k=8)) for _ in range(4)]
    password = "".join(piece + chance.choice("/#@:?%&[]\\ ") for piece in pieces)
    url = f"{chance.choice(['http://', 'https://', ''])}user:{password}@127.0.0.1:9000"
    caplog.set_level(0)
    kraken.back_up({"20250115_sample.raw": b"x"})
    extra = {"endpoint_url": url} if where == "extra" else {"service_config": {"s3": {"endpoint_url": url}}}
    kraken.connect_s3(**{"endpoint_url": kraken.s3.url, **extra})
    said = kraken.fail_to_download("20250115_sample.raw")
    assert said.startswith("Airflow connection 'aws_default' cannot be used: endpoint_url has a user or password in it")
    heard = said + "".join(record.getMessage() for record in caplog.records if not record.name.startswith("airflow"))
    assert not any(piece in heard for piece in pieces)
    assert password in masked


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "a configuration file"])
@pytest.mark.parametrize("url", ["https://user:PIECE/rest@127.0.0.1:1", "user:x@PIECE/y@127.0.0.1", "user:PIECE@host"])
def test_no_part_of_a_password_in_an_endpoint_of_boto3s_own_is_shown(
    kraken: Kraken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, url: str
):
    """boto3 takes an endpoint from the environment, too, where the connection has none."""
    kraken.back_up({"20250115_sample.raw": b"x"})
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "login": "a", "password": "b"}))
    if name == "a configuration file":
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(name, url)
    said = kraken.fail_to_download("20250115_sample.raw")
    assert said.startswith("Airflow connection 'aws_default' cannot be used: ")
    assert "PIECE" not in said + kraken.report


@pytest.mark.parametrize("password", ["PIECE/rest", "PIECE#rest", "PIECE"])
def test_no_part_of_a_proxys_password_is_shown_where_the_token_service_is_asked_through_it(
    kraken: Kraken,
    service: TokenService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str,
):
    kraken.settings["s3_download"]["patience_s"] = 0.3
    kraken.write_yaml()
    kraken.back_up({"20250115_sample.raw": b"x"})
    assume_role(kraken, service)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://user:{password}@127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    with pytest.raises(StoreUnreachableError, match="the AWS token service gives no credentials now") as caught:
        kraken.download("20250115_sample.raw")
    assert caught.value.__suppress_context__
    assert "PIECE" not in caplog.text + str(caught.value) + kraken.report


@pytest.mark.parametrize("how", ["the connection", "the environment", "a program that is not there"])
def test_a_token_that_is_not_there_is_one_clear_line(
    kraken: Kraken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
):
    kraken.back_up({"20250115_sample.raw": b"x"})
    extra: dict[str, object] = {"endpoint_url": kraken.s3.url}
    if how == "the connection":
        extra |= {
            "role_arn": ROLE,
            "assume_role_method": "assume_role_with_web_identity",
            "assume_role_with_web_identity_federation": "file",
            "assume_role_with_web_identity_token_file": "/no/such/token",
        }
    elif how == "the environment":
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token")
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    else:
        (tmp_path / "config").write_text("[default]\ncredential_process = /no/such/program\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))
    said = kraken.refuse("20250115_sample.raw")
    assert said.startswith("Airflow connection 'aws_default' cannot be used: [Errno 2] No such file or directory: ")


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[ContainerCredentials]:
    """What gives a task of ECS, or a pod of EKS, its credentials."""
    monkeypatch.setattr(s3_utils, "_TOKEN_SERVICE_WAIT_S", 0.05)
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    with ContainerCredentials() as service:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.url + "/v1/credentials")
        yield service


def connect_without_keys(kraken: Kraken, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"endpoint_url": kraken.s3.url, "config_kwargs": {"s3": {"addressing_style": "path"}}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))


@pytest.mark.rule("S5", fails_when="a container's credentials that are away for seconds fail a restore for good")
@pytest.mark.parametrize("fault", [500, 503, 429, -1])
def test_passing_errors_of_a_containers_credentials_are_retried(
    kraken: Kraken, container: ContainerCredentials, monkeypatch: pytest.MonkeyPatch, fault: int
):
    kraken.back_up({"20250115_sample.raw": b"x"})
    connect_without_keys(kraken, monkeypatch)
    container.fault = lambda number: fault if number < 7 else 0  # botocore asks three times
    assert kraken.download("20250115_sample.raw")["status"] == "SUCCESS"


def test_a_container_that_is_refused_credentials_is_said_at_once(
    kraken: Kraken, container: ContainerCredentials, monkeypatch: pytest.MonkeyPatch
):
    kraken.back_up({"20250115_sample.raw": b"x"})
    connect_without_keys(kraken, monkeypatch)
    container.fault = lambda _number: 403
    assert "Received non 200 response 403 from container metadata" in kraken.refuse("20250115_sample.raw")
    assert container.requests == 3


def test_a_containers_credentials_that_cannot_be_renewed_now_are_passing():
    error = CredentialRetrievalError(provider="container-role", error_msg="Error retrieving metadata: time-out")
    with pytest.raises(StoreUnreachableError), errors_of_requests():
        raise error
    of_a_program = CredentialRetrievalError(provider="custom-process", error_msg="no")
    with pytest.raises(PermanentStoreError), errors_of_requests():
        raise of_a_program


def test_an_identity_provider_that_is_away_is_passing():
    assert is_passing(ClientError({"Error": {"Code": "IDPCommunicationError"}}, "AssumeRoleWithWebIdentity"))


def test_requests_to_s3_are_told_from_those_to_the_token_service(kraken: Kraken, service: TokenService):
    """A renewal that is refused midway is not blamed on rights in S3."""
    service.lasts_s = 2
    service.fault = lambda number: 403 if number > 6 else 0
    kraken.back_up(FILES, ID, part_mib=5)
    assume_role(kraken, service)
    kraken.fail_to_download(ID)
    lines = [kraken.line(path) for path in FILES]
    failed = [line for line in lines if line.startswith("FAILURE")]
    assert failed
    assert all("the AWS token service gives no credentials: " in line for line in failed), failed
    assert all(isinstance(request, RecordedRequest) for request in kraken.s3.requests)
