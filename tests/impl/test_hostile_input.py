"""Hostile values in the database, the YAML and the Airflow connection, through both tasks (W4, S1, S3, R3, D1).

Each ends in a restore or in one clear line; nothing outside of the project's folder changes, no secret is shown,
nothing hangs. What is pure of it: test_hostile_*.py in tests/model and tests/shared; keys and hashes of `file_info`:
tests/run/test_hostile_files.py.
"""

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kraken import SECRET_KEY, Kraken, assert_one_clear_line
from tests.support.naughty_strings import ENCODABLE

ID = "20250115_hostile.raw"
DATA = b"right bytes"
SOON_S = 20  # a hang would be an hour


def surroundings(kraken: Kraken) -> dict[str, tuple[int, bytes]]:
    """Inode and bytes of everything around the project's folder."""
    found = {}
    for path in kraken.output.parent.rglob("*"):
        if path not in (kraken.output, kraken.destination) and kraken.destination not in path.parents:
            found[str(path)] = (path.lstat().st_ino, path.read_bytes() if path.is_file() else b"")
    return found


def run(kraken: Kraken, raw_file_id: Any = ID) -> str:
    """Validate and download, as the DAG does; the text of the error, empty when all went well."""
    from airflow.providers.common.compat.sdk import AirflowFailException  # noqa: PLC0415 (seconds)

    begun = time.monotonic()
    before = surroundings(kraken)
    said = ""
    try:
        kraken.validate(raw_file_id)
        kraken.download(raw_file_id)
    except AirflowFailException as error:
        assert_one_clear_line(error)
        said = str(error)
    assert SECRET_KEY not in said
    assert surroundings(kraken) == before
    assert time.monotonic() - begun < SOON_S
    return said


@pytest.fixture
def hosts_asked(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """Every host that is connected to; only our own is let through."""
    asked: set[Any] = set()
    resolve = socket.getaddrinfo

    def noting(host: Any, *rest: Any, **more: Any) -> Any:
        asked.add(host)
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "not in a test")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", noting)
    return asked


# --- the database ---------------------------------------------------------------------------------------------------

PROJECTS = [
    "_FALLBACK",
    "...",
    "-rf *",
    "~",
    "a b",
    "x" * 255,
    "{{ 7*7 }}",
    "$(reboot)",
    "\u65e5\u672c\u8a9e",
    "e\u0301",
    "*",
]
NO_PROJECTS = [
    "..",
    ".",
    "/",
    "a/b",
    "../PRID002",
    "/etc",
    "a/",
    "\0",
    "a\nb",
    "\x1b[31mred",
    "x" * 256,
    "\u202eexe",
    "\u2028",
]


@pytest.mark.rule("W4")
def test_w4_project_id_is_one_folder_below_the_output_or_refused(kraken: Kraken) -> None:
    for project_id in PROJECTS:
        kraken.back_up({"a.raw": DATA}, ID, project_id=project_id)
        kraken.destination = kraken.output / project_id
        assert run(kraken) == "", project_id
        assert (kraken.output / project_id / "a.raw").read_bytes() == DATA
        assert f"\nProject ID: {project_id}\n" in kraken.report
    assert {path.name for path in kraken.output.iterdir()} == set(PROJECTS)
    for project_id in NO_PROJECTS:
        kraken.back_up({"a.raw": DATA}, ID, project_id=project_id)
        assert run(kraken).startswith(f"Unsafe project_id {project_id!r} for {ID!r}: it "), project_id
        assert kraken.fail_to_download(ID).startswith(f"Unsafe project_id {project_id!r}")
    assert {path.name for path in kraken.output.iterdir()} == set(PROJECTS), "refused before anything was made"


IDS = [
    *("../../evil.raw", "/etc/passwd", "..", " ", "\0", "a\nb", "\x1b[2K", "*", '{"$gt": ""}', "$ne", "a: OK - x"),
    *("x" * 255, "x" * 3000, "\u65e5\u672c\u8a9e" * 60, "\u202eexe", ".s3dl.0123456789ab.0123abcd-1-1-1.part"),
]  # fmt: skip


@pytest.mark.rule("D1", "R3")
def test_r3_d1_raw_file_id_is_looked_up_as_it_is_and_made_safe_for_the_report(kraken: Kraken) -> None:
    """R3, D1: an id that is there restores its file and names one report; one that is not there is not found."""
    for raw_file_id in IDS:
        assert run(kraken, raw_file_id).startswith(f"RawFile not found: {raw_file_id!r}"[:200]), raw_file_id
    assert list(kraken.output.iterdir()) == []
    for raw_file_id in IDS:
        kraken.back_up({"a.raw": DATA}, raw_file_id)
        number = len(kraken.reports)

        assert run(kraken, raw_file_id) == ""

        assert (kraken.destination / "a.raw").read_bytes() == DATA
        assert len(kraken.reports) == number + 1
        assert kraken.others() == ["a.raw"]
        assert len(kraken.report.splitlines()) == 18
        (kraken.destination / "a.raw").unlink()


@pytest.mark.rule("D1", fails_when="an id may be an operator of the query language")
@pytest.mark.parametrize("raw_file_id", [{"$ne": None}, ["a"], 7, None, True, b"x", "", "\ud800", "a\udc80"], ids=ascii)
def test_d1_raw_file_id_that_is_no_text_never_reaches_the_database(
    kraken: Kraken, mongo_commands: list[str], raw_file_id: Any
) -> None:
    """D1: no operator of the query language comes in as an id."""
    assert run(kraken, raw_file_id).startswith("Parameter 'raw_file_id': expected the id of a raw file, got ")
    assert "find" not in mongo_commands


BUCKETS = [
    *(
        "no-such-bucket",
        "..",
        "/etc/passwd",
        "127.0.0.1",
        "a?b=c&d=e#f",
        "%2e%2e%2f",
        "a\nb",
        "\0",
        "\x1b[31mred",
        "UPPER",
    ),
    *("x" * 300, "\u65e5\u672c\u8a9e", "<!--", "$(reboot)", "host@example.org"),
]
NO_BUCKETS = [
    *(
        "/",
        "//",
        " ",
        "s3://",
        "s3:",
        "\t",
        "\u2028",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x",
        "[::1]",
        "user:password@host",
    ),
    *(
        "arn:aws:s3:eu-central-1:123456789012:accesspoint:x",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint:x/y",
    ),
]


@pytest.mark.rule("S1")
def test_s1_s3_upload_path_is_a_bucket_of_this_store_or_one_clear_line(kraken: Kraken, hosts_asked: set[Any]) -> None:
    """S1, S3: never a local path, never another host than that of the connection."""
    for stored in BUCKETS:
        kraken.back_up({"a.raw": DATA}, ID, s3_upload_path=stored)
        said = run(kraken)
        assert said.startswith("1/1 files failed. See: "), (stored, said)
        assert re.fullmatch(r"FAILURE - [^\n]+", kraken.line("a.raw"))
        assert kraken.report.endswith("Total files: 1\nSuccessful: 0\nFailed: 1\nStatus: COMPLETE FAILURE\n")
    for stored in NO_BUCKETS:
        kraken.back_up({"a.raw": DATA}, ID, s3_upload_path=stored)
        assert run(kraken) == f"s3_upload_path: expected 's3://bucket/prefix/' or 'bucket', got {stored!r}"
    assert kraken.others() == []
    assert hosts_asked == {"127.0.0.1"}


# --- the YAML -------------------------------------------------------------------------------------------------------


def put(settings: dict[str, Any], dotted_key: str, value: Any) -> str:
    """The settings with one value replaced, as YAML."""
    changed = yaml.safe_load(yaml.safe_dump(settings))
    *above, last = dotted_key.split(".")
    node = changed
    for name in above:
        node = node[name]
    node[last] = value
    return yaml.safe_dump(changed)


OUTPUT = "locations.output.absolute_path"
REFUSED_SETTINGS: list[tuple[str, Any]] = [
    *((OUTPUT, value) for value in ("", "out", "../out", "~", "s3://x", 7, ["/tmp"], None, "\0")),
    *((OUTPUT, value) for value in ("/no/such/\nfolder", "/etc/passwd", "/dev/null", "/no/such")),
    *(("backup.backup_type", value) for value in ("S3", "s3 ", "local", True, ["s3"], {"s3": 1})),
    *(("backup.s3", value) for value in ("x", [], 7, None)),
    *(("backup.s3.region", value) for value in ("../../x", "eu central", "evil.example.org/#", "a\nb", 7, ["eu"])),
    *(("s3_download", value) for value in ("x", [1], {7: 1, "a": 2}, {"nonsense": 1}, {"max_concurrency": 10**6})),
    *(("s3_download.verify", value) for value in ("never", False, ["inflight"], {"x": 1})),
    *(("s3_download.stall_timeout_s", value) for value in ("5", -1, float("inf"), float("nan"), 1e300)),
]  # fmt: skip


def test_hostile_settings_are_refused_in_one_line_before_anything_is_made(kraken: Kraken) -> None:
    kraken.back_up({"a.raw": DATA}, ID)
    for key, value in REFUSED_SETTINGS:
        kraken.yaml_path.write_text(put(kraken.settings, key, value))
        assert kraken.refuse(ID), (key, value)
        if key == "backup.backup_type":
            continue  # the download comes after the validation, and does not ask again
        with pytest.raises(Exception) as caught:
            kraken.download(ID)
        assert_one_clear_line(caught.value)
        assert type(caught.value).__name__ in ("AirflowFailException", "DestinationGoneError"), (key, value)
        assert not list(kraken.output.rglob("*.raw")), (key, value)


HOSTILE_YAML = {
    "code": "!!python/object/apply:os.mkdir [{trap}]",
    "code in a value": "backup: {{backup_type: !!python/object/apply:os.mkdir [{trap}]}}",
    "deep": "[" * 5000,
    "binary": "\x00\x01",
    "tab": "\tlocations: x",
    "two documents": "a: 1\n---\nb: 2",
    "list": "[1, 2]",
    "a date that is none": "a: 2025-99-99",
    "a number that is none": "a: !!int x",
    "itself": "a: &a [*a]\nbackup: *a",
    "HTML": "<!DOCTYPE html><html></html>",
}


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_hostile_settings_file_is_refused_in_one_line_that_names_it(kraken: Kraken, tmp_path: Path, name: str) -> None:
    trap = tmp_path / "made by the settings file"
    kraken.back_up({"a.raw": DATA}, ID)
    text = HOSTILE_YAML[name]
    kraken.yaml_path.write_text(text.format(trap=trap) if "{trap}" in text else text)

    assert str(kraken.yaml_path) in kraken.refuse(ID)

    assert not trap.exists()
    assert list(kraken.output.iterdir()) == []


# --- the Airflow connection -----------------------------------------------------------------------------------------

NOBODY = "http://127.0.0.1:1"
ROLE = "arn:aws:iam::123456789012:role/x"
EXTRAS: dict[str, dict[str, Any]] = {
    "a local file": {"endpoint_url": "file:///etc/passwd"},
    "a script": {"endpoint_url": "javascript:alert(1)"},
    "no scheme": {"endpoint_url": "127.0.0.1"},
    "a broken address": {"endpoint_url": "http://[::1"},
    "a port out of range": {"endpoint_url": "http://127.0.0.1:99999"},
    "a new line": {"endpoint_url": "http://127.0.0.1:1\r\nHost: evil"},
    "a secret in the address": {"endpoint_url": f"http://user:{SECRET_KEY}@127.0.0.1:1"},
    "a secret in a broken address": {"endpoint_url": f"http://user:{SECRET_KEY}@127.0.0.1:x"},
    "a secret without scheme": {"endpoint_url": f"user:{SECRET_KEY}@127.0.0.1"},
    "a list": {"endpoint_url": [NOBODY]},
    "a number": {"endpoint_url": 7},
    "nobody": {"endpoint_url": NOBODY},
    "config of another type": {"config_kwargs": "x"},
    "config is a list": {"config_kwargs": [1]},
    "unknown options": {"config_kwargs": {"nonsense": 1}},
    "options of another type": {"config_kwargs": {"s3": "x"}},
    "a proxy with a secret": {"config_kwargs": {"proxies": {"http": f"http://user:{SECRET_KEY}@127.0.0.1:1"}}},
    "another way of signing": {"config_kwargs": {"signature_version": "nonsense"}},
    "a role that is none": {"role_arn": "not a role"},
    "a role that is a number": {"role_arn": 7},
    "an unknown way to a role": {"role_arn": ROLE, "assume_role_method": "nonsense"},
    "a way to a role without its settings": {"role_arn": ROLE, "assume_role_method": "assume_role_with_saml"},
    "a bundle that is missing": {"endpoint_url": "TLS", "verify": "/no/such/bundle.pem"},
    "a bundle that is none": {"endpoint_url": "TLS", "verify": "/etc/passwd"},
    "a session of another type": {"session_kwargs": [1]},
    "an unknown session option": {"session_kwargs": {"nonsense": 1}},
    "a profile that is none": {"profile_name": "nobody"},
    "a region that is none": {"region_name": ["eu"]},
    "service config of another type": {"service_config": "x"},
}
HARMLESS = {"a region that is none", "an unknown session option"}  # ours count instead


def test_s3_hostile_connection_extras_end_soon_in_one_line_without_a_secret(
    kraken: Kraken, caplog: pytest.LogCaptureFixture, hosts_asked: set[Any]
) -> None:
    """S3: a failure that names the connection, or a line for the file; what is odd but harmless restores."""
    kraken.back_up({"a.raw": DATA}, ID)
    kraken.settings["s3_download"] |= {"patience_s": 0.3}
    kraken.write_yaml()
    caplog.set_level("INFO")
    for name, given in EXTRAS.items():
        extra = {"endpoint_url": kraken.s3.url} | given
        if extra["endpoint_url"] == "TLS":
            extra["endpoint_url"] = kraken.s3.url.replace("http://", "https://")
        kraken.connect_s3(**extra)
        for report in kraken.reports:
            report.unlink()

        said = run(kraken)

        if name in HARMLESS:
            assert said == "", name
            (kraken.destination / "a.raw").unlink()
        elif kraken.reports:
            assert said.startswith("1/1 files failed"), name
            assert kraken.line("a.raw").startswith(("FAILURE - Network error", "FAILURE - S3 ")), (
                name,
                kraken.line("a.raw"),
            )
        else:
            assert said.startswith("Airflow connection 'aws_default' cannot be used: "), (name, said)
        assert kraken.others() == [], name
        assert SECRET_KEY not in "".join(report.read_text() for report in kraken.reports), name
    assert SECRET_KEY not in caplog.text
    assert hosts_asked <= {"127.0.0.1", "localhost"}, "nobody else was asked"


def test_naughty_strings_in_the_connection(kraken: Kraken) -> None:
    """As endpoint: refused, or nobody answers. It is never a file, and never a hang."""
    kraken.back_up({"a.raw": DATA}, ID)
    for text in ENCODABLE[::12]:
        if not text:
            continue
        kraken.connect_s3(text)
        assert "cannot be used: " in run(kraken), text
    assert not kraken.destination.exists() or not list(kraken.destination.iterdir())
