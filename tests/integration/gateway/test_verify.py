"""The gateway's deliveries are verified at the destination, and what it does not have is sent again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from psycopg2.errors import UndefinedTable
from pydicom import Dataset
from pynetdicom import evt
from tests.support.archive import Archive
from tests.support.deliveries import verify_now
from tests.support.forwarding import ForwardingSite, images, uid_of
from tests.support.network import eventually
from tests.support.peers import Peer

from pacsops.delivery import desk, verification
from pacsops.delivery.model import Delivery, Event, Method, Status
from pacsops.dimse import Timeouts
from pacsops.gateway import presence, verify
from pacsops.gateway.destinations import set_terms

Answers = Iterable[tuple[int, Dataset | None]]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Destinations are asked within a second and again half a second later; who says nothing is given seconds."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", (0.3,))
    monkeypatch.setattr(verify, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(presence, "TIMEOUTS", Timeouts(2, 2, 1, 1))
    monkeypatch.setattr(presence, "LONGEST_SECONDS", 2.0)


@pytest.fixture(scope="module")
def archive_server() -> Iterator[Archive]:
    """A PACS that tells of four images at once."""
    with Archive(LimitFindInstances=4) as server:
        yield server


@pytest.fixture
def archive(archive_server: Archive, forwarding: ForwardingSite) -> Archive:
    archive_server.clear()
    forwarding.address("PACS", archive_server.dicom_port, archive_server.aet, verify="find")
    return archive_server


def verified(forwarding: ForwardingSite, number: int) -> Delivery:
    eventually(lambda: forwarding.delivery(number).verified_at, within=30, what="verified")
    return forwarding.delivery(number)


def events(forwarding: ForwardingSite, study: str = "1.2.3") -> list[Event]:
    return [each.event for each in desk.timeline(forwarding.database, study)]


def asked(forwarding: ForwardingSite, number: int) -> int:
    with forwarding.database.transaction() as tx:
        return int(tx.one("SELECT verify_count AS n FROM routing_state WHERE id = %(id)s", id=number)["n"])


def match(event: evt.Event, sop_uid: str) -> Dataset:
    told = Dataset()
    told.QueryRetrieveLevel = "IMAGE"
    told.StudyInstanceUID = event.identifier.StudyInstanceUID
    told.SeriesInstanceUID = event.identifier.SeriesInstanceUID
    told.SOPInstanceUID = sop_uid
    return told


def test_a_delivery_that_is_there_is_verified(forwarding: ForwardingSite, archive: Archive) -> None:
    number = forwarding.promise("PACS", forwarding.receive(images(3, "CT", "SR")))
    forwarding.start()

    assert verified(forwarding, number).status is Status.SUCCESS
    assert events(forwarding)[-2:] == [Event.SEND_SUCCESS, Event.DELIVERY_VERIFIED]
    assert desk.destination_health(forwarding.database)["PACS"].gateway_verify == "find"


def test_images_a_pacs_took_and_does_not_have_are_sent_again_and_no_others(
    forwarding: ForwardingSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More images than the PACS tells of at once: what it leaves out is asked for by name before it counts."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    study = images(7)
    number = forwarding.promise("PACS", forwarding.receive(study))
    forwarding.start()
    forwarding.wait_for(number, Status.SUCCESS)
    archive.loses([uid_of(study[2]), uid_of(study[6])])
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.3)

    verify_now(forwarding.database)

    verified(forwarding, number)
    assert archive.uids == sorted(map(uid_of, study))
    told = desk.timeline(forwarding.database, "1.2.3")
    assert [each.detail["instances"] for each in told if each.event is Event.DELIVERY_LACKING] == [2]
    assert [each.detail["instances"] for each in told if each.event is Event.SEND_STARTED] == [7, 2]


def test_images_still_being_taken_in_are_not_sent_twice(
    forwarding: ForwardingSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there at the second look."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", (3600.0,))
    study = images(2)
    number = forwarding.promise("PACS", forwarding.receive(study))
    forwarding.start()
    forwarding.wait_for(number, Status.SUCCESS)
    archive.loses([uid_of(study[0])])
    verify_now(forwarding.database)
    eventually(lambda: asked(forwarding, number) == 1, what="the first look")
    archive.upload(study)

    verify_now(forwarding.database)

    verified(forwarding, number)
    assert events(forwarding).count(Event.SEND_STARTED) == 1


def test_a_pacs_that_takes_an_image_time_and_again_and_never_has_it_ends_as_stuck(
    forwarding: ForwardingSite,
) -> None:
    """Though each attempt arrives, and so is the first again."""
    study = images(2)

    def one(event: evt.Event) -> Answers:
        if "SOPInstanceUID" not in event.identifier or not event.identifier.SOPInstanceUID:
            yield 0xFF00, match(event, uid_of(study[0]))

    with Peer("LIAR", find=one) as liar:
        forwarding.destination("LIAR", liar, verify="find")
        number = forwarding.promise("LIAR", forwarding.receive(study))
        forwarding.start()

        stuck = forwarding.wait_for(number, Status.STUCK, within=40)

    assert stuck.last_error == "the destination does not have 1 of 2 images it took"
    assert liar.uids == [uid_of(study[0]), *[uid_of(study[1])] * 3]
    (group,) = desk.failure_groups(forwarding.database)
    assert (group.error_class, group.stuck) == ("not-kept", 1)


def _nothing(_: evt.Event) -> Answers:
    return ()


def _refuses(_: evt.Event) -> Answers:
    yield 0xA900, None


def _hangs(_: evt.Event) -> Answers:
    threading.Event().wait(5)
    yield 0x0000, None


def _aborts(event: evt.Event) -> Answers:
    event.assoc.abort()
    yield 0x0000, None


def _hangs_up(event: evt.Event) -> Answers:
    event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    yield 0x0000, None


def _babbles(event: evt.Event) -> Answers:
    for number in count():
        if event.is_cancelled or not event.assoc.is_established:
            yield 0xFE00, None
            return
        yield 0xFF00, match(event, f"1.2.3.{number}")


MUTE: dict[str, tuple[Callable[[evt.Event], Answers] | None, str]] = {
    "does not offer it": (None, "it does not offer C-FIND"),
    "answers with nothing": (_nothing, "never told of any image"),
    "refuses": (_refuses, "0xA900"),
    "hangs": (_hangs, "no answer to C-FIND within 1 s"),
    "aborts": (_aborts, "aborted"),
    "hangs up": (_hangs_up, "LIAR cannot be asked"),
    "never ends": (_babbles, "no end within 2 s"),
}


@pytest.mark.parametrize("kind", MUTE)
def test_a_destination_that_gives_no_answer_gets_nothing_again_and_the_reason_shows(
    forwarding: ForwardingSite, archive: Archive, kind: str
) -> None:
    find, reason = MUTE[kind]
    study = images(2)
    with Peer("LIAR", find=find) as liar:
        forwarding.destination("LIAR", liar, verify="find")
        numbers = [forwarding.promise("LIAR", forwarding.receive(images(1)), study=f"1.2.{n}") for n in range(2)]
        good = forwarding.promise("PACS", forwarding.receive(study), study="1.2.9")
        forwarding.start()

        verified(forwarding, good)
        eventually(lambda: min(asked(forwarding, number) for number in numbers), what="both asked about")
        (told,) = desk.unverified(forwarding.database)
        forwarding.stop()

    assert (told.destination, told.deliveries) == ("LIAR", 2)
    assert reason in told.reason
    assert {forwarding.delivery(number).status for number in numbers} == {Status.SUCCESS}
    assert len(liar.received) == 2


def test_answers_that_no_dicom_would_give_are_no_reason_to_send_again(forwarding: ForwardingSite) -> None:
    def garbage(event: evt.Event) -> Answers:
        told = match(event, "1" * 64)
        told.add_new(0x00080016, "UI", "9" * 5000)
        yield 0xFF00, told
        yield 0xFF01, Dataset()

    with Peer("LIAR", find=garbage) as liar:
        forwarding.destination("LIAR", liar, verify="find")
        number = forwarding.promise("LIAR", forwarding.receive(images(1)))
        forwarding.start()
        eventually(lambda: asked(forwarding, number) >= 1, what="asked about")

        assert len(liar.received) == 1
        assert liar.questions[0].QueryRetrieveLevel == "IMAGE"


def test_neither_the_router_nor_the_gateway_asks_about_what_the_other_sent(
    forwarding: ForwardingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where both have a destination of the same name, each asked in its way."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.0)
    database = forwarding.database
    with Peer("PACS") as peer:
        forwarding.destination("PACS", peer)
        number = forwarding.promise("PACS", forwarding.receive(images(1)))
        forwarding.start()
        forwarding.wait_for(number, Status.SUCCESS)
        forwarding.stop()
    desk.set_verification(database, "PACS", Method.STORAGE_COMMITMENT)
    assert verification.methods(database, "gateway") == {}
    verification.set_verification(database, "PACS", Method.FIND, "gateway")
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", ())
    since = datetime.now(UTC) - timedelta(days=1)
    assert verification.ask_anew(database, "PACS", since, dry_run=False, source="orthanc") == 0
    assert verification.ask_anew(database, "PACS", since, dry_run=False, source="gateway") == 1

    assert verification.due(database) == {}
    assert verification.claim(database, "PACS", most=10) == []
    assert verification.due(database, "gateway") == {"PACS": Method.FIND}
    assert [each.delivery_id for each in verification.claim(database, "PACS", most=10, source="gateway")] == [number]
    assert verification.methods(database) == {"PACS": Method.STORAGE_COMMITMENT}


def test_what_is_in_the_spool_is_asked_about_when_a_destination_is_to_be_asked_from_now_on(
    forwarding: ForwardingSite, archive: Archive
) -> None:
    """Until it is verified it stays there, however old it is."""
    forwarding.address("PACS", archive.dicom_port, archive.aet)
    number, gone = (
        forwarding.promise("PACS", forwarding.receive(study), study=str(study[0].StudyInstanceUID))
        for study in (images(1), images(1))
    )
    forwarding.start()
    for each in (number, gone):
        forwarding.wait_for(each, Status.SUCCESS)
    forwarding.stop()
    with forwarding.database.transaction() as tx:
        tx.run("UPDATE gateway_instance SET removed_at = now() WHERE id = 2")
        tx.run("UPDATE routing_state SET completed_at = completed_at - interval '30 days'")
    forwarding.address("PACS", archive.dicom_port, archive.aet, verify="find")

    forwarding.start()

    verified(forwarding, number)
    assert asked(forwarding, gone) == 0


def test_who_is_cut_short_asks_about_what_is_in_the_spool_the_next_time(
    forwarding: ForwardingSite, archive: Archive
) -> None:
    forwarding.address("PACS", archive.dicom_port, archive.aet)
    (image,) = images(1)
    number = forwarding.promise("PACS", forwarding.receive([image]), study=str(image.StudyInstanceUID))
    forwarding.start()
    forwarding.wait_for(number, Status.SUCCESS)
    forwarding.stop()
    forwarding.address("PACS", archive.dicom_port, archive.aet, verify="find")
    destinations = list(forwarding.configuration.destinations.values())
    with forwarding.database.transaction() as tx:
        tx.run("ALTER TABLE gateway_instance RENAME TO away")
    with pytest.raises(UndefinedTable):
        set_terms(forwarding.database, destinations)
    with forwarding.database.transaction() as tx:
        tx.run("ALTER TABLE away RENAME TO gateway_instance")

    forwarding.start()

    verified(forwarding, number)


def test_a_destination_that_is_no_more_to_be_asked_is_not(forwarding: ForwardingSite, archive: Archive) -> None:
    number = forwarding.promise("PACS", forwarding.receive(images(1)))
    with Peer("OTHER") as other:
        forwarding.destination("OTHER", other)
        forwarding.start()
        verified(forwarding, number)
        forwarding.stop()
        forwarding.forget("PACS")

        forwarding.start()

        eventually(lambda: verification.methods(forwarding.database, "gateway") == {}, what="nobody to ask")


def test_images_removed_from_the_spool_cannot_be_compared_and_are_not_said_to_be_there(
    forwarding: ForwardingSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    number = forwarding.promise("PACS", forwarding.receive(images(2)))
    forwarding.start()
    forwarding.wait_for(number, Status.SUCCESS)
    with forwarding.database.transaction() as tx:
        tx.run("UPDATE gateway_instance SET removed_at = now()")

    verify_now(forwarding.database)

    reason = eventually(lambda: forwarding.delivery(number).verify_error, what="the reason")
    assert "no longer in the spool" in reason
    assert forwarding.delivery(number).verified_at is None
    assert desk.unverified(forwarding.database) == [], "nobody can mend it"


def test_images_that_come_after_the_others_left_the_spool_are_verified(
    forwarding: ForwardingSite, archive: Archive
) -> None:
    """Else they would stay there for ever: nobody could tell about those before them."""
    study = images(3)
    first = forwarding.receive(study[:2])
    number = forwarding.promise("PACS", first)
    forwarding.start()
    before = verified(forwarding, number).verified_at
    with forwarding.database.transaction() as tx:
        tx.run("UPDATE gateway_instance SET removed_at = now()")

    forwarding.promise("PACS", [*first, *forwarding.receive(study[2:])])

    eventually(lambda: (at := forwarding.delivery(number).verified_at) and at != before, what="verified anew")
    assert forwarding.delivery(number).delivered_count == 3
