"""Only finds, as a user who may only read, on a server that enforces roles (D1); clear words when it is away (A4)."""

import socket
from collections.abc import Iterator

import bson
import pymongo.errors
import pytest
from bson.datetime_ms import DatetimeMS

from demo.mongo_server import DATABASE
from shared.db import engine
from shared.db.interface import DatabaseUnavailableError, get_raw_file
from tests.support.kraken import Kraken, assert_one_clear_line
from tests.support.raw_files import raw_bytes
from tests.support.tcp_server import TcpServer

ID = "20250115_sample.raw"
READS = {"find", "hello", "ismaster", "isMaster", "saslStart", "saslContinue", "ping", "endSessions"}


@pytest.fixture
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds for a server to come back is right for operators and long for tests."""
    monkeypatch.setattr(engine, "_TIMEOUT_MS", 300)


@pytest.fixture
def silent_server() -> Iterator[TcpServer]:
    """Accepts connections and never says a word."""

    class Silent(TcpServer):
        def serve(self, client) -> None:
            self.closing.wait()

    with Silent() as server:
        yield server


def unavailable() -> str:
    with pytest.raises(DatabaseUnavailableError) as caught:
        get_raw_file(ID)
    assert_one_clear_line(caught.value)
    return str(caught.value)


def test_get_raw_file(kraken: Kraken):
    kraken.back_up({ID: b"data", "a.d/b.c": b"x"})
    raw_file = get_raw_file(ID)
    document = kraken.document(ID)
    assert raw_file.id == ID
    assert raw_file.project_id == "PRID001"
    assert raw_file.backup_status == "upload_done"
    assert raw_file.s3_upload_path == f"s3://{kraken.bucket}"
    assert raw_file.file_info == document["file_info"]


def test_get_raw_file_that_is_not_there(kraken: Kraken):
    assert get_raw_file("no such id") is None


@pytest.mark.rule("D1")
def test_d1_the_server_refuses_writes_of_this_user(kraken: Kraken):
    """Else the tests below would prove nothing."""
    with kraken.mongo.client(kraken.mongo.reader) as client, pytest.raises(pymongo.errors.OperationFailure) as caught:
        client[DATABASE]["raw_file"].insert_one({"_id": "x"})
    assert caught.value.code == 13


@pytest.mark.rule("D1", fails_when="another command is sent (aggregate)")
def test_d1_only_finds_and_nothing_changes(kraken: Kraken, mongo_commands):
    """A whole restore with everything in it: downloaded, skipped, healed, failed."""
    files = {f"{ID}/{name}": raw_bytes(50_000, name) for name in ("new", "right", "wrong", "lost")}
    kraken.back_up(files)
    kraken.s3.versioning = False  # else an older version would be found (S7)
    kraken.s3.delete(kraken.bucket, f"{ID}/lost")
    folder = kraken.destination / ID
    folder.mkdir(parents=True)
    (folder / "right").write_bytes(files[f"{ID}/right"])
    (folder / "wrong").write_bytes(b"wrong")

    def state() -> object:
        with kraken.mongo.client(kraken.mongo.writer) as client:
            database = client[DATABASE]
            names = sorted(database.list_collection_names())
            return {name: (list(database[name].find()), database[name].index_information()) for name in names}

    before = state()
    mongo_commands.clear()
    kraken.validate(ID)
    kraken.fail_to_download(ID)
    sent = list(mongo_commands)
    assert state() == before, "documents, collections and indexes are the same"
    assert "find" in sent
    assert set(sent) <= READS, sent


@pytest.mark.rule("D1")
def test_d1_an_empty_database_stays_empty(kraken: Kraken, mongo_commands):
    assert get_raw_file("nothing") is None
    assert set(mongo_commands) <= READS


@pytest.mark.rule("A4")
@pytest.mark.usefixtures("_short_timeout")
def test_a4_nobody_listens(kraken: Kraken, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MONGO_PORT", str(free.getsockname()[1]))
        said = unavailable()
    assert said == (
        "MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT, and that it runs (ServerSelectionTimeoutError)"
    )


@pytest.mark.rule("A4")
@pytest.mark.usefixtures("_short_timeout")
def test_a4_a_server_that_never_answers(kraken: Kraken, monkeypatch, silent_server):
    monkeypatch.setenv("MONGO_PORT", str(silent_server.port))
    assert unavailable().startswith("MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT")


@pytest.mark.rule("A4", fails_when="only errors of the connection are caught, and not those of reading a document")
def test_a4_a_document_that_cannot_be_read(kraken: Kraken, monkeypatch):
    """Other drivers write dates and texts that Python has not: the year 30000, bytes that are no UTF-8."""
    broken = bson.encode({"uploaded_at": DatetimeMS(2**55)})
    monkeypatch.setattr("shared.db.interface.RawFile", _Unreadable(broken))
    assert unavailable() == "MongoDB cannot be asked (InvalidBSON)"


class _Unreadable:
    """Stands for the documents; the server of the tests refuses to keep such a one."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    def objects(self, **_: object) -> object:
        return bson.decode(self._document)


@pytest.mark.rule("A4")
@pytest.mark.usefixtures("_short_timeout")
def test_a4_a_host_that_does_not_exist(kraken: Kraken, monkeypatch):
    monkeypatch.setenv("MONGO_HOST", "no-such-host.invalid")
    assert unavailable().startswith("MongoDB cannot be reached: check MONGO_HOST and MONGO_PORT")


@pytest.mark.rule("A4")
@pytest.mark.parametrize(("name", "value"), [("MONGO_PASSWORD", "wrong-secret"), ("MONGO_USER", "nobody")])
def test_a4_wrong_user_or_password(kraken: Kraken, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    said = unavailable()
    assert said == "MongoDB refuses user or password: check MONGO_USER and MONGO_PASSWORD (code 18)"


@pytest.mark.rule("A4")
def test_a4_without_user_on_a_server_that_wants_one(kraken: Kraken, monkeypatch):
    monkeypatch.delenv("MONGO_USER")
    assert unavailable() == "MongoDB denies reading: the user needs the role 'read' on krakendb (code 13)"


@pytest.mark.rule("A4")
@pytest.mark.parametrize("port", ["abc", "-1", "0x10", "\u00b2", "99999999", "27017/krakendb"])
def test_a4_a_port_that_is_none(kraken: Kraken, monkeypatch, port):
    monkeypatch.setenv("MONGO_PORT", port)
    assert "MONGO_PORT" in unavailable()


@pytest.mark.rule("A4", fails_when="MongoDB away is made an AirflowFailException")
@pytest.mark.usefixtures("_short_timeout")
def test_a4_validation_and_download_pass_it_on_so_that_airflow_retries(kraken: Kraken, monkeypatch):
    """An ordinary exception, not AirflowFailException: another attempt may find MongoDB back."""
    kraken.back_up({ID: b"data"})
    port = kraken.mongo.port
    monkeypatch.setenv("MONGO_PORT", "1")
    for task in (kraken.validate, kraken.download):
        with pytest.raises(DatabaseUnavailableError) as caught:
            task(ID)
        assert_one_clear_line(caught.value)
    monkeypatch.setenv("MONGO_PORT", str(port))
    kraken.validate(ID)
    assert kraken.download(ID)["status"] == "SUCCESS"
