"""Deliveries are verified at the destination, and what it does not have is sent again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.archive import Archive
from tests.support.deliveries import verify_now
from tests.support.network import eventually, free_port
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk, verification
from pacsops.delivery.model import Delivery, Event, Method, Status
from pacsops.orthanc import ensure
from pacsops.router import verify


@pytest.fixture(scope="module")
def archive_server() -> Iterator[Archive]:
    with Archive() as server:
        yield server


@pytest.fixture
def archive(archive_server: Archive, site: RoutedSite, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A destination of the site that is asked within a second, and again half a second later."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", (0.5,))
    monkeypatch.setattr(verification, "COMMITMENT_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(verify, "STEP_SECONDS", 0.2)
    archive_server.ensure_running()
    archive_server.clear()
    archive_server.reports_to(site.orthanc)
    ensure(site.orthanc.client, archive_server.modality())
    return archive_server


def verified(site: RoutedSite, count: int = 1) -> list[Delivery]:
    def found() -> list[Delivery] | None:
        deliveries = site.deliveries()
        return deliveries if len([d for d in deliveries if d.verified_at]) == count else None

    return eventually(found, within=30, what=f"{count} verified") or []


both_methods = pytest.mark.parametrize("method", [Method.FIND, Method.STORAGE_COMMITMENT])


@both_methods
def test_a_delivery_that_is_there_is_verified(site: RoutedSite, archive: Archive, method: Method) -> None:
    desk.set_verification(site.database, "ARCHIVE", method)
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    study_id = a_study().with_series("CT", instances=2).with_series("SR").in_(site.orthanc)

    (delivery,) = verified(site)

    assert delivery.status is Status.SUCCESS
    assert site.events(study_id)[-2:] == [Event.SEND_SUCCESS, Event.DELIVERY_VERIFIED]


@both_methods
def test_images_a_destination_says_it_took_and_does_not_have_are_sent_again(
    site: RoutedSite, archive: Archive, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    desk.set_verification(site.database, "ARCHIVE", method)
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    study = a_study().with_series("CT", instances=3)
    study_id = study.in_(site.orthanc)
    site.wait_for(Status.SUCCESS)
    archive.loses(study.uids[:2])
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.5)

    verify_now(site.database)

    verified(site)
    assert archive.uids == sorted(study.uids)
    told = desk.timeline(site.database, study_id)
    lacking = next(event for event in told if event.event is Event.DELIVERY_LACKING)
    assert lacking.detail["instances"] == 2
    sent = [event.detail["instances"] for event in told if event.event is Event.SEND_STARTED]
    assert sent == [3, 2]


def test_images_still_being_taken_in_are_not_sent_twice(
    site: RoutedSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there at the second look."""
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", (3600.0,))
    desk.set_verification(site.database, "ARCHIVE", Method.FIND)
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    study = a_study().with_series("CT", instances=2)
    study_id = study.in_(site.orthanc)
    site.wait_for(Status.SUCCESS)
    archive.loses(study.uids)
    verify_now(site.database)
    eventually(lambda: site.deliveries() and _looks(site) == 1, what="the first look")
    archive.upload(study.datasets)

    verify_now(site.database)

    verified(site)
    assert site.events(study_id).count(Event.SEND_STARTED) == 1


def _looks(site: RoutedSite) -> int:
    with site.database.transaction() as tx:
        return int(tx.one("SELECT verify_count AS n FROM routing_state")["n"])


def test_a_destination_that_cannot_be_asked_keeps_its_success_and_the_reason_shows(
    site: RoutedSite, archive: Archive
) -> None:
    with Peer("MUTE") as peer:
        desk.set_verification(site.database, site.destination(peer), Method.FIND)
        desk.set_verification(site.database, "ARCHIVE", Method.FIND)
        site.routes(a_route("all", ["MUTE", "ARCHIVE"]))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        verified(site)
        told = eventually(lambda: desk.unverified(site.database), what="the reason")

    assert [(one.destination, one.deliveries) for one in told] == [("MUTE", 1)]
    assert "it does not offer C-FIND" in told[0].reason
    assert {d.destination: d.status for d in site.deliveries()} == {
        "MUTE": Status.SUCCESS,
        "ARCHIVE": Status.SUCCESS,
    }


def test_images_deleted_from_orthanc_cannot_be_compared_and_are_not_said_to_be_there(
    site: RoutedSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 3600.0)
    desk.set_verification(site.database, "ARCHIVE", Method.FIND)
    site.routes(a_route("all", "ARCHIVE"))
    site.start()
    study_id = a_study().with_series("CT").in_(site.orthanc)
    site.wait_for(Status.SUCCESS)
    site.orthanc.delete_study(study_id)

    verify_now(site.database)

    reason = eventually(lambda: site.deliveries()[0].verify_error, what="the reason")
    assert "no longer in Orthanc" in reason
    assert site.deliveries()[0].verified_at is None
    assert desk.unverified(site.database) == [], "nobody can mend it"


def test_a_commitment_that_orthanc_forgot_is_asked_for_anew(
    site: RoutedSite, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.set_verification(site.database, "ARCHIVE", Method.STORAGE_COMMITMENT)
    site.routes(a_route("all", "ARCHIVE"))
    archive.reports_to(site.orthanc, port=free_port())  # its answer does not arrive
    site.start()
    a_study().with_series("CT").in_(site.orthanc)
    eventually(lambda: _reference(site), what="a commitment under way")
    site.stop()

    site.orthanc.restart()
    archive.reports_to(site.orthanc)
    verify_now(site.database)
    site.start()

    verified(site)


def _reference(site: RoutedSite) -> str | None:
    with site.database.transaction() as tx:
        row = tx.one_or_none("SELECT verify_reference AS reference FROM routing_state")
    return row["reference"] if row else None
