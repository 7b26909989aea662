"""Finding what was never routed, or is not where it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.archive import Archive
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.studies import StudyBuilder, a_study

from pacsops.delivery import desk, outcomes, verification
from pacsops.delivery.claims import claim
from pacsops.delivery.model import Event, Method, Status
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.delivery.studies import Evaluation, evaluated
from pacsops.orthanc import Orthanc, ensure
from pacsops.routes import RetryPolicy, Route, Selection

TO_ARCHIVE = "routes: [{name: all, match: {modality: CT}, action: {to: ARCHIVE}}]"


@pytest.fixture(scope="module")
def archive_server() -> Iterator[Archive]:
    with Archive() as server:
        yield server


@pytest.fixture
def archive(archive_server: Archive, orthanc: OrthancServer, site: Site, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(verification, "LOOK_AGAIN_SECONDS", ())
    monkeypatch.setattr(verification, "FIRST_LOOK_SECONDS", 0.0)
    archive_server.clear()
    ensure(orthanc.client, archive_server.modality())
    site.routes_in_force(TO_ARCHIVE)
    return archive_server


def delivered(site: Site, orthanc: OrthancServer, archive: Archive, *, keeps: int = 3) -> StudyBuilder:
    """A study of three images, delivered as the router would; the archive has `keeps` of them."""
    study = a_study().with_series("CT", instances=3)
    study_id = study.in_(orthanc)
    orthanc.stable(study_id)
    header = orthanc.client.study_header(study_id)
    images = [image["ID"] for image in orthanc.client.bulk_content([study_id], "Instance")]
    route = Route(name="all", match=(), destinations=("ARCHIVE",), retry=RetryPolicy(max_attempts=3))
    identity = StudyIdentity(
        source="orthanc",
        study_id=study_id,
        study_uid=study.study_uid,
        accession_number=None,
        patient_name=None,
        patient_id=None,
        study_description=None,
        study_date=None,
    )
    selection = Selection(route, "ARCHIVE", "study", study_id, tuple(sorted(images)))
    evaluation = Evaluation(
        study=identity,
        as_of_seq=0,
        last_update=header.last_update,
        instance_count=3,
        sender_aet=None,
        matched_routes=("all",),
        selections=(selection,),
        route_version="v1",
    )
    with site.database.transaction() as tx:
        evaluated(tx, evaluation)
    (taken,) = claim(site.database, "host:1")
    archive.upload(study.datasets[:keeps])
    assert outcomes.finish(site.database, taken, duration_ms=1)
    return study


def test_what_a_verified_destination_lacks_is_owed_again(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    desk.set_verification(site.database, "ARCHIVE", Method.FIND)
    delivered(site, orthanc, archive)
    short = delivered(site, orthanc, archive, keeps=1)

    result = cli("reconcile")

    assert result.exit_code == 0, result.output
    assert "2 studies in Orthanc compared, 0 deliveries planned." in result.stdout
    assert "ARCHIVE was asked about 2 deliveries and lacks images of 1." in result.stdout
    assert "2 images, sent again" in result.stdout
    by_study = {delivery.study_uid: delivery for delivery in desk.deliveries(site.database)}
    assert by_study[short.study_uid].status is Status.PENDING
    assert by_study[short.study_uid].delivered_count == 1
    (other,) = [delivery for uid, delivery in by_study.items() if uid != short.study_uid]
    assert (other.status, other.verified_at is not None) == (Status.SUCCESS, True)


def test_a_dry_run_says_the_same_and_changes_nothing(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    desk.set_verification(site.database, "ARCHIVE", Method.FIND)
    delivered(site, orthanc, archive, keeps=1)
    never_routed = a_study().with_series("CT").in_(orthanc)
    orthanc.stable(never_routed)
    before = desk.deliveries(site.database)

    answer = cli.json("reconcile", "--dry-run")

    assert (answer["dry_run"], answer["planned"], answer["studies"]) == (True, 1, [never_routed])
    (asked,) = answer["destinations"]
    assert (asked["destination"], asked["asked"], asked["lacking"], asked["images"]) == ("ARCHIVE", 1, 1, 2)
    assert [gap["images"] for gap in asked["deliveries"]] == [2]
    assert desk.deliveries(site.database) == before
    assert desk.timeline(site.database, never_routed) == []
    assert "would be planned" in cli("reconcile", "--dry-run").stdout


def test_any_destination_can_be_asked_by_name(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    delivered(site, orthanc, archive)
    delivered(site, orthanc, archive, keeps=0)
    assert cli.json("reconcile")["destinations"] == []

    answer = cli.json("reconcile", "--destination", "ARCHIVE")

    assert answer["scanned"] == 0
    assert [each["lacking"] for each in answer["destinations"]] == [1]
    unknown = cli("reconcile", "--destination", "ARCHIV")
    assert (unknown.exit_code, "orthanc destinations" in unknown.stderr) == (2, True)


def test_a_destination_that_never_told_of_an_image_is_not_believed_when_it_tells_of_none(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    delivered(site, orthanc, archive, keeps=0)
    first = cli("reconcile", "--destination", "ARCHIVE")
    assert (first.exit_code, "never told of any image" in first.stderr) == (1, True)
    assert {delivery.status for delivery in desk.deliveries(site.database)} == {Status.SUCCESS}

    delivered(site, orthanc, archive)
    cli("reconcile", "--destination", "ARCHIVE")  # now it has told of one

    answer = cli.json("reconcile", "--destination", "ARCHIVE")
    assert [each["unanswered"] for each in answer["destinations"]] == [0]
    assert {delivery.status for delivery in desk.deliveries(site.database)} == {Status.SUCCESS, Status.PENDING}


def test_a_destination_verified_by_commitment_is_asked_by_the_router(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    desk.set_verification(site.database, "ARCHIVE", Method.STORAGE_COMMITMENT)
    delivered(site, orthanc, archive)
    assert [each["requested"] for each in cli.json("reconcile", "--dry-run")["destinations"]] == [1]

    assert "by storage commitment" in cli("reconcile").stdout
    assert verification.due(site.database) == {"ARCHIVE": Method.STORAGE_COMMITMENT}


def delivered_by_gateway(site: Site, destination: str) -> int:
    """The number of a delivery of one image that the gateway sent."""
    identity = StudyIdentity(
        source="gateway",
        study_id="1.2.3",
        study_uid="1.2.3",
        accession_number=None,
        patient_name=None,
        patient_id=None,
        study_description=None,
        study_date=None,
    )
    route = Route(name="all", match=(), destinations=(destination,), retry=RetryPolicy(max_attempts=3))
    with site.database.transaction() as tx:
        (number,) = plan(tx, identity, [Selection(route, destination, "study", "1.2.3", ("1",))], "v1").new
    (taken,) = claim(site.database, "host:1", source="gateway")
    assert outcomes.finish(site.database, taken, duration_ms=1)
    return number


def test_what_the_gateway_sent_is_asked_about_by_the_gateway(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    verification.set_verification(site.database, "EDGE_PACS", Method.FIND, "gateway")
    delivered_by_gateway(site, "EDGE_PACS")
    (each,) = cli.json("reconcile", "--dry-run")["destinations"]
    assert (each["source"], each["destination"], each["requested"]) == ("gateway", "EDGE_PACS", 1)

    result = cli("reconcile")

    assert result.exit_code == 0, result.output
    assert "EDGE_PACS is asked about 1 delivery by C-FIND; the gateway takes its answers." in result.stdout
    assert "The gateway's forwarder has not run yet" in result.stderr
    assert verification.due(site.database) == {}
    assert verification.due(site.database, "gateway") == {"EDGE_PACS": Method.FIND}


def test_a_destination_of_the_gateway_can_be_asked_by_name_though_it_is_not_verified(
    site: Site, archive: Archive, cli: CommandLine
) -> None:
    delivered_by_gateway(site, "APP01")
    assert cli.json("reconcile")["destinations"] == []

    (each,) = cli.json("reconcile", "--destination", "APP01")["destinations"]

    assert (each["source"], each["requested"]) == ("gateway", 1)
    assert verification.due(site.database, "gateway") == {"APP01": Method.FIND}


def test_a_destination_that_gives_no_answer_is_left_after_some_and_said(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        delivered(site, orthanc, archive)
    asked: list[str] = []
    post = Orthanc.post
    monkeypatch.setattr(Orthanc, "post", lambda *said, **more: (asked.append(said[1]), post(*said, **more))[1])
    with Peer("ARCHIVE") as mute:
        ensure(orthanc.client, mute.modality())
        result = cli("reconcile", "--destination", "ARCHIVE")

    assert result.exit_code == 1
    assert "5 deliveries to ARCHIVE could not be asked about" in result.stderr
    assert len(asked) == 3
    assert {delivery.status for delivery in desk.deliveries(site.database)} == {Status.SUCCESS}


def test_images_orthanc_no_longer_holds_cannot_be_compared_and_are_not_called_lacking(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    delivered(site, orthanc, archive, keeps=0)
    orthanc.clear()
    ensure(orthanc.client, archive.modality())

    (each,) = cli.json("reconcile", "--destination", "ARCHIVE")["destinations"]

    assert (each["asked"], each["lacking"], each["gone"]) == (0, 0, 1)


def test_a_verified_delivery_is_told_of_once_however_often_it_is_asked_about(
    site: Site, orthanc: OrthancServer, archive: Archive, cli: CommandLine
) -> None:
    delivered(site, orthanc, archive)
    for _ in range(3):
        assert cli("reconcile", "--destination", "ARCHIVE").exit_code == 0

    (delivery,) = desk.deliveries(site.database)
    told = [event.event for event in desk.timeline(site.database, delivery.study_id)]
    assert told.count(Event.DELIVERY_VERIFIED) == 1
