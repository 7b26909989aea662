"""Whatever is in the spool becomes rows and promises: once, and whatever happens in between."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from tests.support.network import eventually
from tests.support.postgres import PostgresServer
from tests.support.spool import SpooledGateway, a_gateway_route, deliver_all
from tests.support.studies import a_study

from pacsops.delivery import desk, planner, studies
from pacsops.delivery.loop import Loop
from pacsops.delivery.model import Event, Status
from pacsops.errors import DatabaseUnreachable
from pacsops.gateway import ingest as ingesting
from pacsops.gateway import records
from pacsops.gateway.spool import HINTS


def test_a_batch_becomes_rows_and_promises(spooled: SpooledGateway) -> None:
    study = a_study(description="CHEST", accession="A1", patient_name="DOE^JANE").with_series("CT", instances=3)
    study.with_series("SR")

    names = spooled.take(study, sender="SCANNER")

    rows = spooled.instances()
    assert [row["file"] for row in rows] == names
    assert {row["sender_aet"] for row in rows} == {"SCANNER"}
    assert [row["sop_instance_uid"] for row in rows] == study.uids
    assert rows[0]["tags"]["StudyDescription"] == "CHEST"
    assert rows[0]["size"] == (spooled.spool / names[0]).stat().st_size
    assert abs((rows[0]["received_at"] - datetime.now(UTC)).total_seconds()) < 600
    (delivery,) = spooled.deliveries()
    assert (delivery.source, delivery.status, delivery.instance_count) == ("gateway", Status.PENDING, 4)
    assert delivery.study_uid == delivery.study_id == delivery.resource_id == study.study_uid
    assert (delivery.patient_name, delivery.study_description) == ("DOE^JANE", "CHEST")
    series = spooled.rows("SELECT * FROM gateway_series ORDER BY instance_count DESC")
    assert [(row["modality"], row["instance_count"]) for row in series] == [("CT", 3), ("SR", 1)]
    assert desk.find_study(spooled.database, "A1").study_uid == study.study_uid
    assert spooled.events(study.study_uid) == [Event.STUDY_RECEIVED, Event.ROUTE_MATCHED]
    assert spooled.wakes == 1


def test_the_same_files_again_are_nothing_new(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=3)
    names = spooled.take(study)
    before = spooled.instances(), spooled.deliveries(), spooled.events(study.study_uid)

    assert spooled.ingest.take([*names, *names]) == 0
    spooled.restart()
    spooled.ingest.scan()

    assert (spooled.instances(), spooled.deliveries(), spooled.events(study.study_uid)) == before


def test_a_promise_grows_with_every_batch_and_a_kept_one_opens_again(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=4)
    one, two, three, four = study.datasets
    spooled.take([one])
    spooled.take([two, three])
    (delivery,) = spooled.deliveries()
    assert delivery.instance_count == 3

    deliver_all(spooled.database)
    spooled.take([four])

    (delivery,) = spooled.deliveries()
    assert (delivery.status, delivery.instance_count, delivery.delivered_count) == (Status.PENDING, 4, 3)
    assert spooled.events(study.study_uid).count(Event.DELIVERY_GREW) == 2


def test_two_processes_that_take_up_the_same_files_promise_each_once(spooled: SpooledGateway) -> None:
    found = [a_study().with_series("CT", instances=10) for _ in range(4)]
    names = [name for study in found for name in spooled.write(study)]
    _, second = spooled.a_process()
    errors: list[BaseException] = []

    def take(taker: ingesting.Ingest, order: list[str]) -> None:
        try:
            for at in range(0, len(order), 7):
                taker.take(order[at : at + 7])
        except BaseException as error:  # noqa: BLE001 (raised in the test's own thread)
            errors.append(error)

    both = [
        threading.Thread(target=take, args=(spooled.ingest, names)),
        threading.Thread(target=take, args=(second, names[::-1])),
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    second.close()
    assert not errors
    assert sorted(row["file"] for row in spooled.instances()) == sorted(names)
    assert {delivery.instance_count for delivery in spooled.deliveries()} == {10}
    assert len(spooled.deliveries()) == 4


def what_stands_in_the_spool_at_the_start_is_taken_up(spooled: SpooledGateway) -> None:
    """The receivers worked on while nothing took up what they received."""
    study = a_study().with_series("CT", instances=3)
    known = spooled.take(study.datasets[:1])
    names = spooled.write(study.datasets[1:])
    other = spooled.write(a_study().with_series("MR"))
    spooled.restart()

    spooled.ingest.scan()

    assert sorted(row["file"] for row in spooled.instances()) == sorted([*known, *names, *other]), "lost"
    assert spooled.promised() == {("all", "PACS"): {*known, *names, *other}}, "lost"


def test_what_stands_in_the_spool_at_the_start_is_taken_up(spooled: SpooledGateway) -> None:
    what_stands_in_the_spool_at_the_start_is_taken_up(spooled)
    assert spooled.ingest.complete


def test_without_the_look_at_the_start_it_would_be_seen_to_be_lost(
    spooled: SpooledGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting.Ingest, "_look_through", lambda *_: 0)
    with pytest.raises(AssertionError, match="lost"):
        what_stands_in_the_spool_at_the_start_is_taken_up(spooled)


def test_a_file_that_is_gone_is_told_of_and_its_return_too(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=3)
    names = spooled.take(study)
    lost = spooled.spool / names[1]
    content = lost.read_bytes()
    lost.unlink()
    spooled.restart()

    spooled.ingest.scan()

    assert spooled.trouble(study.study_uid) == "1 of its files is missing from the spool"
    assert [row["file"] for row in spooled.instances() if row["missing_since"]] == [names[1]]
    assert Event.STUDY_UNREADABLE in spooled.events(study.study_uid)
    (told,) = desk.unevaluated(spooled.database)
    assert told.study_id == study.study_uid
    assert desk.counts(spooled.database, datetime(2000, 1, 1, tzinfo=UTC)).unevaluated == 1

    spooled.write_bytes(names[1], content)
    spooled.restart()
    spooled.ingest.scan()

    assert spooled.trouble(study.study_uid) is None
    assert not any(row["missing_since"] for row in spooled.instances())
    assert len(spooled.instances()) == 3


def test_what_cannot_be_read_is_left_where_it_is_and_told_of(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=2)
    good, bad = study.datasets
    cut = spooled.write_one(bad)
    content = (spooled.spool / cut).read_bytes()
    spooled.write_bytes(cut, content[:100])
    elsewhere = a_study().with_series("CT")
    name = spooled.write_one(elsewhere.datasets[0])
    wrong = f"1.2.3/{elsewhere.uids[0]}.dcm"
    spooled.write_bytes(wrong, (spooled.spool / name).read_bytes())
    (spooled.spool / name).unlink()

    spooled.ingest.take([cut, wrong])
    assert spooled.ingest.take([spooled.write_one(good)]) == 1

    assert [row["file"] for row in spooled.instances()] == [f"{study.study_uid}/{good.SOPInstanceUID}.dcm"]
    assert (spooled.deliveries()[0].instance_count, len(spooled.deliveries())) == (1, 1)
    assert (spooled.trouble(study.study_uid) or "").startswith(
        "1 of its files cannot be routed: the file is no DICOM"
    )
    assert spooled.trouble("1.2.3") == "1 of its files cannot be routed: it lies in the folder of another study"
    assert {found.study_id for found in desk.unevaluated(spooled.database)} == {study.study_uid, "1.2.3"}
    assert {cut, wrong} <= spooled.files()
    # Looked at again, nothing new is told.
    told = spooled.events(study.study_uid)
    spooled.restart()
    spooled.ingest.scan()
    assert spooled.events(study.study_uid) == told

    spooled.write_bytes(cut, content)
    (spooled.spool / wrong).unlink()
    spooled.restart()
    spooled.ingest.scan()

    assert spooled.trouble(study.study_uid) is None
    assert spooled.trouble("1.2.3") is None
    assert {delivery.instance_count for delivery in spooled.deliveries()} == {2}


def test_what_breaks_the_planning_of_one_study_holds_up_no_other(
    spooled: SpooledGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, fine = (a_study().with_series("CT", instances=2) for _ in range(2))
    evaluated = studies.evaluated

    def breaking(tx: object, evaluation: studies.Evaluation) -> planner.Planned:
        if evaluation.study.study_id == poison.study_uid:
            raise ValueError("DOE^JANE")
        return evaluated(tx, evaluation)  # type: ignore[arg-type]

    monkeypatch.setattr(studies, "evaluated", breaking)
    spooled.ingest.take([*spooled.write(poison), *spooled.write(fine)])

    assert len(spooled.instances()) == 4
    assert [delivery.study_id for delivery in spooled.deliveries()] == [fine.study_uid]
    assert spooled.trouble(poison.study_uid) == "ValueError while it was evaluated"

    monkeypatch.setattr(studies, "evaluated", evaluated)
    spooled.rows("UPDATE routing_study SET look_again_at = now() RETURNING 1")
    spooled.ingest.scan()
    spooled.ingest.settle()

    assert {delivery.study_id for delivery in spooled.deliveries()} == {poison.study_uid, fine.study_uid}
    assert spooled.trouble(poison.study_uid) is None


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value")
def test_hostile_values_become_rows(spooled: SpooledGateway) -> None:
    study = a_study(patient_name="\\".join(["X" * 60] * 3), patient_id="9" * 64).with_series("CT")
    dataset: Dataset = study.datasets[0]
    dataset.StudyDescription = "D" * 10_000
    dataset.StudyDate = "99999999"
    dataset.InstitutionName = "a\0b\N{REPLACEMENT CHARACTER}\u0394"

    spooled.take(study)

    (row,) = spooled.instances()
    assert len(row["tags"]["StudyDescription"]) == 4096
    (delivery,) = spooled.deliveries()
    assert delivery.study_date is None
    assert len(delivery.study_description or "") == 256


def test_other_bytes_under_the_same_uid_are_rows_and_promises_of_their_own(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT")
    (first,) = spooled.take(study)
    study.datasets[0].Manufacturer = "ANOTHER"
    (second,) = spooled.take(study, number=2)

    one, other = spooled.instances()
    assert (one["duplicate_of"], other["duplicate_of"]) == (None, one["id"])
    assert spooled.promised() == {("all", "PACS"): {first, second}}


def test_receivers_hints_are_taken_up_at_once_and_nonsense_is_passed_over(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=3)
    names = spooled.write(study)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        for said in [b"", b"\xff\xfe", b"../../etc/passwd", b"1.2/3.dcm", *(name.encode() for name in names)]:
            receiver.sendto(said, str(spooled.spool / HINTS))
    spooled.ingest.step()

    assert len(spooled.instances()) == 3


def test_what_no_hint_told_of_is_found_by_the_next_look_at_the_folders(spooled: SpooledGateway) -> None:
    spooled.ingest.scan()
    names = spooled.write(a_study().with_series("CT", instances=2))

    spooled.ingest.scan()

    assert sorted(row["file"] for row in spooled.instances()) == sorted(names)


def test_while_postgresql_is_away_nothing_is_forgotten(spooled: SpooledGateway, postgres: PostgresServer) -> None:
    study = a_study().with_series("CT", instances=6)
    names = spooled.write(study)
    loop = Loop("ingest", spooled.ingest.step, service="gateway")
    postgres.stop("immediate")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        for name in names:
            receiver.sendto(name.encode(), str(spooled.spool / HINTS))
    loop.start()
    try:
        eventually(lambda: loop.trouble is not None, within=30, what="ingest in trouble")
        with pytest.raises(DatabaseUnreachable):
            spooled.ingest.scan()
        postgres.ensure_running()
        eventually(lambda: _count(spooled) == 6, within=60, what="every file being taken up")
    finally:
        loop.stop()
        loop.join(10)
    assert spooled.promised() == {("all", "PACS"): set(names)}


def _count(spooled: SpooledGateway) -> int:
    try:
        return len(spooled.instances())
    except DatabaseUnreachable:
        return -1


def test_studies_that_came_before_any_route_are_asked_about_once_there_are_some(spooled: SpooledGateway) -> None:
    spooled.planner.table = None
    study = a_study().with_series("CT", instances=2)
    spooled.take(study)
    spooled.ingest.scan()
    spooled.ingest.settle()
    assert spooled.deliveries() == []

    spooled.routes(a_gateway_route("all", "PACS"))
    spooled.ingest.settle()

    assert [delivery.instance_count for delivery in spooled.deliveries()] == [2]


def test_a_rolled_back_batch_leaves_nothing_in_memory(
    spooled: SpooledGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = a_study().with_series("CT", instances=4)
    spooled.take(study.datasets[:1])
    broken = spooled.write(study.datasets[1:3])
    evaluated = studies.evaluated

    def unreachable(*_: object) -> None:
        raise DatabaseUnreachable("it went away before the commit")

    monkeypatch.setattr(studies, "evaluated", unreachable)
    with pytest.raises(DatabaseUnreachable):
        spooled.ingest.take(broken)
    monkeypatch.setattr(studies, "evaluated", evaluated)
    last = spooled.take(study.datasets[3:])
    spooled.ingest.take(broken)

    ids = {str(row["id"]) for row in spooled.instances()}
    (row,) = spooled.rows("SELECT instances FROM routing_state")
    assert set(row["instances"]) == ids
    assert len(ids) == 4
    assert last


def test_tags_that_only_new_routes_look_at_are_read_from_the_files(spooled: SpooledGateway) -> None:
    study = a_study().with_series("CT", instances=2, attributes={"KVP": "80"})
    spooled.take(study.datasets[:1])
    assert "KVP" not in spooled.instances()[0]["tags"]

    spooled.routes(a_gateway_route("soft", "ARCHIVE", send="instance", match={"KVP": "80"}))
    spooled.take(study.datasets[1:])

    assert [row["tags"]["KVP"] for row in spooled.instances()] == ["80", "80"]
    assert len(spooled.promised()["soft", "ARCHIVE"]) == 2


def test_records_of_a_file_that_was_taken_up_are_found_by_its_name(spooled: SpooledGateway) -> None:
    (name,) = spooled.take(a_study().with_series("CT"))
    with spooled.database.transaction() as tx:
        known = records.known(tx, [name, "1.2/3.dcm"])
    assert list(known) == [name]
