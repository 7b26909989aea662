"""The whole edge: a scanner's study goes to the PACS and to a worker, and the worker's result comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.edge import AET, Edge
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer, Received

from pacsops.delivery.model import Event, Status
from pacsops.settings import Settings


@pytest.fixture
def pacs() -> Iterator[Peer]:
    with Peer("PACS") as peer:
        yield peer


def results(pacs: Peer) -> list[Received]:
    return [each for each in pacs.received if each.dataset.get("SeriesDescription") == "AI_RESULT"]


def originals(pacs: Peer) -> list[Received]:
    return [each for each in pacs.received if each.dataset.get("SeriesDescription") != "AI_RESULT"]


def test_a_study_goes_to_pacs_and_worker_and_its_result_to_the_pacs(
    settings: Settings, orthanc: OrthancServer
) -> None:
    with Edge(settings, orthanc) as edge:
        uid = edge.a_study()

        def series() -> dict[str, int]:
            return {
                each["MainDicomTags"]["SeriesDescription"]: len(each["Instances"])
                for each in orthanc.client.get("/series?expand")
            }

        eventually(lambda: series() == {"SIMULATED": 3, "AI_RESULT": 1}, within=40, what="original and result")
        [study] = orthanc.client.get("/studies?expand")
        assert study["MainDicomTags"]["StudyInstanceUID"] == uid
        edge.wait_for(Event.RESULT_RECEIVED, uid)
        told = edge.events(uid)
        assert (Event.WORKER_ASSIGNED, "APP01") in told
        assert (Event.RESULT_RECEIVED, "APP01") in told
        shown = edge.orthanc("history", uid)
        assert "GIVEN TO WORKER APP01" in shown.stdout
        assert "RESULT RECEIVED FROM APP01" in shown.stdout


def test_a_result_refers_to_the_images_it_is_about_and_to_the_same_patient(settings: Settings, pacs: Peer) -> None:
    with Edge(settings, pacs) as edge:
        uid = edge.a_study()
        pacs.wait_for(4, within=40)
        [result] = [each.dataset for each in results(pacs)]
        sources = [each.dataset for each in originals(pacs)]
        assert {each.ReferencedSOPInstanceUID for each in result.SourceImageSequence} == {
            each.SOPInstanceUID for each in sources
        }
        assert result.StudyInstanceUID == uid
        assert result.SeriesInstanceUID not in {each.SeriesInstanceUID for each in sources}
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyID"):
            assert result[keyword].value == sources[0][keyword].value
        edge.wait_for(Event.RESULT_RECEIVED, uid)
        # A result is no original: nobody works on it once more.
        assert {(each.route, each.destination): each.instance_count for each in edge.deliveries(uid)} == {
            ("originals", "PACS"): 3,
            ("originals", "APP01"): 3,
            ("results", "PACS"): 1,
        }
        assert "result_sent" in edge.workers[0].log


def test_who_is_not_on_the_list_is_rejected_and_nothing_is_kept(settings: Settings, pacs: Peer) -> None:
    with Edge(settings, pacs) as edge:
        refused = edge.orthanc("simulate", "scanner", "--generate", "1", "--calling-aet", "NOPE_AET")
        assert refused.returncode == 2
        assert f"NOPE_AET is rejected by {AET}" in refused.stderr
        assert not list(edge.spool.glob("*/*.dcm"))
        eventually(lambda: "NOPE_AET" in edge.log, what="the rejection in the log")


def test_a_worker_that_is_off_keeps_nothing_from_the_pacs_and_another_takes_its_study(
    settings: Settings, pacs: Peer
) -> None:
    with Edge(settings, pacs, delays=(0.0, 0.0), timeout=3) as edge:
        edge.workers[0].stop()
        uid = edge.a_study()
        pacs.wait_for(3, within=20)
        edge.wait_for(Event.RESULT_RECEIVED, uid)
        pacs.wait_for(4, within=30)
        assert [each for each in edge.events(uid) if each[0] in (Event.WORKER_TIMED_OUT, Event.WORKER_ASSIGNED)] == [
            (Event.WORKER_ASSIGNED, "APP01"),
            (Event.WORKER_TIMED_OUT, "APP01"),
            (Event.WORKER_ASSIGNED, "APP02"),
        ]
        assert {each.destination: each.status for each in edge.deliveries(uid) if each.route == "originals"} == {
            "PACS": Status.SUCCESS,
            "APP01": Status.CANCELLED,
            "APP02": Status.SUCCESS,
        }


def test_a_slow_workers_result_comes_later_and_the_pacs_had_the_study_before(settings: Settings, pacs: Peer) -> None:
    with Edge(settings, pacs, delays=(6.0,)) as edge:
        uid = edge.a_study()
        pacs.wait_for(3, within=20)
        assert not results(pacs)
        pacs.wait_for(4, within=40)
        assert len(results(pacs)) == 1
        assert pacs.received[-1].dataset.SeriesDescription == "AI_RESULT"
        [original] = [
            each for each in edge.deliveries(uid) if (each.route, each.destination) == ("originals", "PACS")
        ]
        eventually(lambda: edge.deliveries(uid)[-1].completed_at, within=10, what="the result being delivered")
        result = edge.deliveries(uid)[-1]
        assert original.completed_at is not None
        assert result.completed_at is not None
        assert (result.completed_at - original.completed_at).total_seconds() > 6, "the PACS waited for the worker"


def test_faults_are_felt_by_senders_and_end(settings: Settings, pacs: Peer) -> None:
    with Edge(settings, pacs) as edge:
        assert edge.orthanc("inject-fault", "reject_all").returncode == 0

        def rejected() -> bool:
            return edge.orthanc("simulate", "scanner", "--generate", "1").returncode == 2

        eventually(rejected, within=20, what="a rejection")
        edge.orthanc("clear-faults")
        edge.orthanc("inject-fault", "disk_full")
        eventually(lambda: edge.scan("--generate", "1").get("refused") == 3, within=20, what="A700")
        assert {each["status"] for each in edge.scan("--generate", "1")["images"]} == {0xA700}
        edge.orthanc("clear-faults")
        eventually(lambda: edge.scan("--generate", "1").get("sent") == 3, within=20, what="images being taken again")
        edge.orthanc("inject-fault", "io_delay_ms", "300")
        eventually(
            lambda: edge.scan("--generate", "1")["milliseconds"]["median"] >= 300, within=20, what="a slow disk"
        )
        told = edge.orthanc("doctor", "--only", "gateway-faults")
        assert "io_delay_ms 300" in told.stdout


def test_a_reset_gateway_is_as_new_and_goes_on(settings: Settings, pacs: Peer) -> None:
    with Edge(settings, pacs) as edge:
        uid = edge.a_study()
        pacs.wait_for(4, within=40)
        edge.wait_for(Event.RESULT_RECEIVED, uid)
        told = edge.orthanc("reset-db", "--yes")
        assert told.returncode == 0, told.stderr
        assert "1 study" in told.stdout
        assert edge.orthanc("history", uid).returncode == 2
        assert not list(edge.spool.glob("*/*.dcm"))
        again = edge.a_study()
        edge.wait_for(Event.RESULT_RECEIVED, again)
        assert edge.orthanc("status").returncode in (0, 1, 2)
