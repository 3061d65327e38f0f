"""Objects in an archive class (issue 5): recognised, asked for where the YAML says so, waited for without a slot."""

import logging

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rules import GatewayPage, Reset, Rule, Status
from tests.support.kraken import Kraken
from tests.support.raw_files import raw_bytes

ID = "20250115_sample.raw"
DATA = raw_bytes(300_000, "archived")


@pytest.fixture
def archived(kraken: Kraken) -> Kraken:
    kraken.back_up({ID: DATA})
    kraken.s3.put(kraken.bucket, ID, DATA, storage_class="GLACIER")
    return kraken


def poke(kraken: Kraken):
    """What Airflow does with the task: one look of validate_parameters."""
    from s3_downloader import dag  # noqa: PLC0415 (Airflow takes seconds)

    return dag.get_task("validate_parameters").poke({"params": {"raw_file_id": ID}, "ti": kraken.ti})


def allow(kraken: Kraken) -> None:
    kraken.settings["s3_download"]["restore_archived"] = True
    kraken.write_yaml()


def test_without_the_setting_the_file_fails_with_class_and_what_to_do(archived: Kraken):
    assert poke(archived).is_done
    archived.fail_to_download(ID)
    assert archived.line(ID).startswith(
        "FAILURE - Object is archived in class GLACIER and must be restored in S3 first (InvalidObjectState)"
    )
    assert archived.s3.writes == []


def test_with_the_setting_it_is_asked_for_once_and_waited_for_and_then_restored(archived: Kraken, caplog):
    caplog.set_level(logging.INFO)
    allow(archived)

    assert not poke(archived).is_done
    assert not poke(archived).is_done

    (request,) = archived.s3.writes
    assert (request.operation, request.key, request.status) == ("RestoreObject", ID, 202)
    assert "1 archived objects are coming back, 1 of them were asked for now (class GLACIER" in caplog.text
    assert not archived.destination.exists(), "nothing was touched yet"

    archived.s3.finish_restore(archived.bucket, ID)

    ready = poke(archived)
    assert ready.is_done
    assert ready.xcom_value["files_archived"] == 0
    archived.download(ID)
    assert (archived.destination / ID).read_bytes() == DATA


def test_waiting_task_is_one_that_airflow_reschedules_and_it_holds_no_download_slot(kraken: Kraken):
    from s3_downloader import dag  # noqa: PLC0415

    task = dag.get_task("validate_parameters")
    assert task.reschedule
    assert task.pool != dag.get_task("download_files").pool
    assert task.poke_interval == 900


@pytest.mark.rule("S6")
@pytest.mark.parametrize(("method", "times"), [("HEAD", 1), ("POST", 1), ("HEAD", None), ("POST", None)])
@pytest.mark.parametrize("action", [Status(503), Status(520), Reset()], ids=repr)
def test_s6_passing_errors_are_waited_out(archived: Kraken, method: str, times: int | None, action):
    """At the look and at the request; nobody's rights are blamed, and no download is begun that would fail."""
    allow(archived)
    with FaultProxy(archived.s3.url) as proxy:
        archived.connect_s3(proxy.url)
        proxy.add(Rule(action, method=method, times=times))
        assert not poke(archived).is_done
        assert not archived.destination.exists()
        proxy.clear()
        assert not poke(archived).is_done
    assert [(request.operation, request.status) for request in archived.s3.writes] == [("RestoreObject", 202)]
    archived.s3.finish_restore(archived.bucket, ID)
    archived.connect_s3(archived.s3.url)
    assert poke(archived).is_done


@pytest.mark.rule("S6", fails_when="a gateway without its store is taken for S3's refusal to bring an object back")
def test_s6_a_gateway_that_knows_no_such_address_is_waited_out(archived: Kraken):
    allow(archived)
    with FaultProxy(archived.s3.url) as proxy:
        archived.connect_s3(proxy.url)
        proxy.add(Rule(GatewayPage(404), method="POST", times=1))
        assert not poke(archived).is_done
        assert archived.s3.writes == []
        assert not poke(archived).is_done
    assert [(request.operation, request.status) for request in archived.s3.writes] == [("RestoreObject", 202)]


@pytest.mark.rule("S6")
def test_s6_an_older_version_that_is_archived_is_brought_back(kraken: Kraken):
    kraken.back_up({ID: DATA})
    kraken.s3._buckets[kraken.bucket].pop(ID)
    old = kraken.s3.put(kraken.bucket, ID, DATA, storage_class="GLACIER")
    kraken.s3.put(kraken.bucket, ID, b"overwritten")
    allow(kraken)
    assert not poke(kraken).is_done
    (request,) = kraken.s3.writes
    assert request.version_id == old.version_id


@pytest.mark.rule("S6", "S7", fails_when="the list of versions is not asked whether an archived one is readable again")
def test_s6_an_older_version_that_came_back_is_restored(kraken: Kraken):
    """The list of versions says so only where it is asked, and one level below what else it says of a version."""
    kraken.back_up({ID: DATA})
    kraken.s3._buckets[kraken.bucket].pop(ID)
    old = kraken.s3.put(kraken.bucket, ID, DATA, storage_class="GLACIER")
    kraken.s3.put(kraken.bucket, ID, b"overwritten")
    allow(kraken)
    assert not poke(kraken).is_done
    assert not poke(kraken).is_done
    assert len(kraken.s3.writes) == 1, "it is coming back already"
    kraken.s3.finish_restore(kraken.bucket, ID, old.version_id)
    assert poke(kraken).is_done
    kraken.download(ID)
    assert (kraken.destination / ID).read_bytes() == DATA


def test_without_the_permission_it_is_refused_and_names_it(archived: Kraken):
    allow(archived)
    archived.s3.deny("s3:RestoreObject")
    said = archived.refuse(ID)
    assert "s3:RestoreObject" in said
    assert "AccessDenied" in said


def test_file_that_is_already_there_is_not_asked_for(archived: Kraken):
    allow(archived)
    archived.destination.mkdir()
    (archived.destination / ID).write_bytes(DATA)
    assert poke(archived).is_done
    assert archived.s3.requests == []
