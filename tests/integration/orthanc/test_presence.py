"""Asking a real destination what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.archive import Archive
from tests.support.network import eventually, free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.studies import StudyBuilder, a_study

from pacsops.dimse.presence import Identified
from pacsops.errors import DestinationMute, OrthancUnreachable
from pacsops.orthanc import Modality, ensure
from pacsops.orthanc.presence import commitment, finder, identified, request_commitment


@pytest.fixture(scope="module")
def archive_server() -> Iterator[Archive]:
    with Archive(LimitFindInstances=4) as server:
        yield server


@pytest.fixture
def archive(archive_server: Archive, orthanc: OrthancServer) -> Archive:
    archive_server.clear()
    archive_server.reports_to(orthanc)
    ensure(orthanc.client, archive_server.modality())
    return archive_server


@pytest.fixture
def study(orthanc: OrthancServer, archive: Archive) -> StudyBuilder:
    """A study that both have."""
    study = a_study().with_series("CT", instances=3).with_series("SR")
    study.in_(orthanc)
    archive.upload(study.datasets)
    return study


def instances(orthanc: OrthancServer) -> list[str]:
    return [str(instance) for instance in orthanc.client.get("/instances")]


def lacking(orthanc: OrthancServer, images: list[Identified], destination: str = "ARCHIVE") -> list[Identified]:
    return asyncio.run(finder(orthanc.client, destination).lacking(images))


def test_images_are_known_by_all_their_identifiers(orthanc: OrthancServer, study: StudyBuilder) -> None:
    found = identified(orthanc.client, [*instances(orthanc), "never-heard-of"])

    assert {(image.study_uid, image.series_uid, image.sop_uid) for image in found} == {
        (d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID) for d in study.datasets
    }


def test_what_a_destination_lost_is_named_and_nothing_else(
    orthanc: OrthancServer, archive: Archive, study: StudyBuilder
) -> None:
    images = identified(orthanc.client, instances(orthanc))
    assert lacking(orthanc, images) == []

    archive.loses(study.uids[:1])

    assert [image.sop_uid for image in lacking(orthanc, images)] == study.uids[:1]


def test_an_archive_that_cuts_its_answers_short_is_asked_by_name_before_images_count_as_lost(
    orthanc: OrthancServer, archive: Archive
) -> None:
    study = a_study().with_series("CT", instances=7)
    study.in_(orthanc)
    archive.upload(study.datasets[:-1])
    images = identified(orthanc.client, instances(orthanc))

    assert [image.sop_uid for image in lacking(orthanc, images)] == study.uids[-1:]


def test_queries_leave_nothing_behind_in_orthanc(orthanc: OrthancServer, study: StudyBuilder) -> None:
    before = orthanc.client.get("/queries")

    lacking(orthanc, identified(orthanc.client, instances(orthanc)))

    assert orthanc.client.get("/queries") == before


@pytest.mark.parametrize("service", ["C-FIND", "storage commitment"])
def test_a_destination_that_does_not_offer_it_is_said_so(orthanc: OrthancServer, service: str) -> None:
    a_study().with_series("CT").in_(orthanc)
    with Peer("MUTE") as peer:
        ensure(orthanc.client, peer.modality())
        with pytest.raises(DestinationMute, match=f"MUTE cannot be asked what it has: it does not offer {service}"):
            if service == "C-FIND":
                lacking(orthanc, identified(orthanc.client, instances(orthanc)), "MUTE")
            else:
                request_commitment(orthanc.client, "MUTE", instances(orthanc))


def test_a_destination_that_is_down_cannot_be_asked(orthanc: OrthancServer) -> None:
    a_study().with_series("CT").in_(orthanc)
    ensure(orthanc.client, Modality(name="DOWN", aet="DOWN", host="127.0.0.1", port=free_port()))

    with pytest.raises(DestinationMute, match="connection refused"):
        lacking(orthanc, identified(orthanc.client, instances(orthanc)), "DOWN")


def test_a_commitment_is_kept_or_names_what_is_absent(
    orthanc: OrthancServer, archive: Archive, study: StudyBuilder
) -> None:
    def answer() -> object:
        reference = request_commitment(orthanc.client, "ARCHIVE", instances(orthanc))
        return eventually(
            lambda: (said := commitment(orthanc.client, reference)) and said.state != "pending" and said,
            what="the commitment's answer",
        )

    kept = answer()
    archive.loses(study.uids[:1])
    lost = answer()

    assert (kept.state, kept.absent) == ("kept", frozenset())  # type: ignore[attr-defined]
    assert (lost.state, lost.absent) == ("not kept", frozenset(study.uids[:1]))  # type: ignore[attr-defined]


def test_a_commitment_orthanc_forgot_is_unknown_and_not_an_answer(orthanc: OrthancServer) -> None:
    assert commitment(orthanc.client, "2.25.1") is None


def test_orthanc_itself_away_is_nobody_elses_silence(orthanc: OrthancServer) -> None:
    orthanc.stop()

    with pytest.raises(OrthancUnreachable):
        identified(orthanc.client, ["x"])
