"""Sends by Orthanc's jobs, to peers that misbehave in one way each."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import evt
from tests.support.network import eventually, free_port
from tests.support.orthanc import OrthancServer
from tests.support.peers import BlackHole, Peer
from tests.support.studies import a_study

from pacsops.errors import NotFoundInOrthanc
from pacsops.orthanc import Job, Modality, ensure, failure_of, job, store_jobs, study_facts, submit_store


def instances_of(orthanc: OrthancServer, study_id: str) -> list[str]:
    _, facts = study_facts(orthanc.client, study_id)
    return [instance.instance_id for instance in facts.instances]


def ended(orthanc: OrthancServer, job_id: str) -> Job:
    def look() -> Job | None:
        seen = job(orthanc.client, job_id)
        return seen if seen is not None and seen.state in {"Success", "Failure"} else None

    found = eventually(look, what=f"job {job_id} ending")
    assert found is not None
    return found


def failure_to(orthanc: OrthancServer, modality: Modality) -> tuple[str, int | None]:
    """Kind and DIMSE status of a send of one CR image there."""
    ensure(orthanc.client, modality, apply=True)
    instances = instances_of(orthanc, a_study().with_series("CR").in_(orthanc))
    sent = ended(orthanc, submit_store(orthanc.client, modality.name, instances, timeout=1))
    assert sent.state == "Failure"
    assert sent.failure is not None
    return sent.failure.kind, sent.failure.dimse_status


def test_a_send_delivers_every_image_over_one_association(orthanc: OrthancServer) -> None:
    study = a_study().with_series("CR", instances=3).with_series("SR")
    instances = instances_of(orthanc, study.in_(orthanc))
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality(), apply=True)
        sent = ended(orthanc, submit_store(orthanc.client, "MODLINK", instances))

    assert (sent.state, sent.failure) == ("Success", None)
    assert sorted(peer.uids) == sorted(study.uids)
    assert {received.calling_aet for received in peer.received} == {orthanc.aet}
    assert sent.remote_aet == "MODLINK"
    assert sorted(sent.parent_resources) == instances
    assert sent.instances_count == 4
    assert timedelta(0) <= datetime.now(UTC) - sent.created_at < timedelta(minutes=1)
    assert sent in store_jobs(orthanc.client)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(0xA700, "out-of-resources"), (0xA900, "peer-status"), (0xC000, "peer-status"), (0x0122, "peer-status")],
)
def test_a_refused_image_fails_with_the_peers_status(orthanc: OrthancServer, status: int, kind: str) -> None:
    with Peer("MODLINK", status=status) as peer:
        assert failure_to(orthanc, peer.modality()) == (kind, status)


def test_a_warning_is_a_delivery(orthanc: OrthancServer) -> None:
    """Coercion of data elements, PS3.4 B.2.3: the peer has the image."""
    instances = instances_of(orthanc, a_study().with_series("CR").in_(orthanc))
    with Peer("MODLINK", status=0xB000) as peer:
        ensure(orthanc.client, peer.modality(), apply=True)
        assert ended(orthanc, submit_store(orthanc.client, "MODLINK", instances)).state == "Success"


def test_a_closed_port_is_refused(orthanc: OrthancServer) -> None:
    closed = Modality(name="CLOSED", aet="CLOSED", host="127.0.0.1", port=free_port())

    assert failure_to(orthanc, closed) == ("refused", None)


def test_an_unknown_host_is_unreachable(orthanc: OrthancServer) -> None:
    nowhere = Modality(name="NOWHERE", aet="NOWHERE", host="nowhere.invalid", port=104)

    assert failure_to(orthanc, nowhere) == ("unreachable", None)


def test_a_wrong_title_is_a_rejected_association(orthanc: OrthancServer) -> None:
    with Peer("MODLINK", rejects=True) as peer:
        assert failure_to(orthanc, peer.modality()) == ("rejected-association", None)


def test_a_peer_that_takes_no_such_object_has_no_presentation_context(orthanc: OrthancServer) -> None:
    with Peer("MODLINK", sop_classes=[CTImageStorage]) as peer:
        assert failure_to(orthanc, peer.modality()) == ("no-presentation-context", None)


def test_a_host_that_accepts_and_says_nothing_is_a_timeout(orthanc: OrthancServer) -> None:
    with BlackHole() as silent:
        assert failure_to(orthanc, silent.modality()) == ("timeout", None)


def test_an_image_never_answered_is_a_timeout(orthanc: OrthancServer) -> None:
    with Peer("MODLINK", hangs=True) as peer:
        assert failure_to(orthanc, peer.modality()) == ("timeout", None)


def test_a_connection_closed_in_the_middle_is_an_abort(orthanc: OrthancServer) -> None:
    with Peer("MODLINK", drops=True) as peer:
        assert failure_to(orthanc, peer.modality()) == ("aborted", None)


def test_an_image_deleted_during_the_send_has_vanished(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("CR", instances=2).in_(orthanc)
    first_arrived, go_on = threading.Event(), threading.Event()

    def wait(_: evt.Event) -> int:
        first_arrived.set()
        go_on.wait(10)
        return 0x0000

    with Peer("MODLINK", status=wait) as peer:
        ensure(orthanc.client, peer.modality(), apply=True)
        job_id = submit_store(orthanc.client, "MODLINK", instances_of(orthanc, study_id))
        assert first_arrived.wait(10)
        orthanc.delete_study(study_id)
        go_on.set()
        sent = ended(orthanc, job_id)

    assert sent.failure is not None
    assert sent.failure.kind == "vanished"


def test_a_send_to_nobody_tells_a_missing_modality_from_a_missing_image(orthanc: OrthancServer) -> None:
    instances = instances_of(orthanc, a_study().with_series("CR").in_(orthanc))
    ensure(orthanc.client, Modality(name="MODLINK", aet="MODLINK", host="127.0.0.1", port=free_port()), apply=True)

    with pytest.raises(NotFoundInOrthanc) as no_modality:
        submit_store(orthanc.client, "NOWHERE", instances)
    with pytest.raises(NotFoundInOrthanc) as no_image:
        submit_store(orthanc.client, "MODLINK", ["00000000-00000000-00000000-00000000-00000000"])

    assert failure_of(no_modality.value).kind == "unknown-destination"
    assert failure_of(no_image.value).kind == "vanished"


def test_a_cancelled_job_says_so(orthanc: OrthancServer) -> None:
    instances = instances_of(orthanc, a_study().with_series("CR", instances=2).in_(orthanc))
    arrived, go_on = threading.Event(), threading.Event()

    def wait(_: evt.Event) -> int:
        arrived.set()
        go_on.wait(10)
        return 0x0000

    with Peer("MODLINK", status=wait) as peer:
        ensure(orthanc.client, peer.modality(), apply=True)
        job_id = submit_store(orthanc.client, "MODLINK", instances)
        assert arrived.wait(10)
        running = job(orthanc.client, job_id)
        assert running is not None
        assert (running.state, running.failure) == ("Running", None)
        orthanc.client.post(f"/jobs/{job_id}/cancel", {})
        go_on.set()
        sent = ended(orthanc, job_id)

    assert sent.failure is not None
    assert sent.failure.message == "the job was cancelled in Orthanc"


def test_a_job_is_unknown_after_a_restart(orthanc: OrthancServer) -> None:
    instances = instances_of(orthanc, a_study().with_series("CR").in_(orthanc))
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality(), apply=True)
        job_id = submit_store(orthanc.client, "MODLINK", instances)
        ended(orthanc, job_id)

    orthanc.restart()

    assert job(orthanc.client, job_id) is None
    assert store_jobs(orthanc.client) == []
