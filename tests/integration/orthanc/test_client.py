"""Orthanc's index through the client, and what an operator reads when it does not answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.support.network import free_port
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer
from tests.support.peers import BlackHole
from tests.support.studies import a_study

from pacsops.errors import NotFoundInOrthanc, OrthancRefused, OrthancUnreachable
from pacsops.orthanc import Orthanc

NOBODY = "00000000-00000000-00000000-00000000-00000000"


def test_a_study_is_described_by_its_header(orthanc: OrthancServer) -> None:
    study = a_study(description="BONE LENGTH", accession="A1", patient_name="DOE^JÄNE", patient_id="P1")
    study.with_series("CR").with_series("SR")

    study_id = study.in_(orthanc)

    header = orthanc.client.study_header(study_id)
    assert (header.study_id, header.study_uid) == (study_id, study.study_uid)
    assert (header.accession_number, header.study_description) == ("A1", "BONE LENGTH")
    assert (header.patient_name, header.patient_id) == ("DOE^JÄNE", "P1")
    assert f"{header.study_date:%Y%m%d}" == study.datasets[0].StudyDate
    assert not header.is_stable
    orthanc.stable(study_id)
    assert orthanc.client.study_header(study_id).is_stable


def test_a_garbled_study_date_is_no_date(orthanc: OrthancServer) -> None:
    study_id = a_study(StudyDate="").with_series("CR").in_(orthanc)

    assert orthanc.client.study_header(study_id).study_date is None


def test_pages_go_through_every_study_once(orthanc: OrthancServer) -> None:
    stored = {a_study().with_series("CR").in_(orthanc) for _ in range(5)}

    pages = [orthanc.client.studies_page(since, 2) for since in (0, 2, 4, 6)]

    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert {header.study_id for page in pages for header in page} == stored


def test_statistics_count_what_is_stored(orthanc: OrthancServer) -> None:
    a_study().with_series("CR", instances=2).in_(orthanc)
    a_study().with_series("SR").in_(orthanc)

    statistics = orthanc.client.statistics()

    assert (statistics.studies, statistics.instances) == (2, 3)
    assert statistics.disk_bytes > 2000


def test_the_study_of_an_instance_is_found_and_unknown_ids_are_left_out(orthanc: OrthancServer) -> None:
    study = a_study().with_series("CR", instances=2)
    study_id = study.in_(orthanc)
    instances = [entry["ID"] for entry in orthanc.client.bulk_content([study_id], "Instance")]

    headers = orthanc.client.studies_of([*instances, NOBODY])

    assert [header.study_id for header in headers] == [study_id]
    assert orthanc.client.studies_of([]) == []


def test_a_study_is_found_by_any_of_its_names(orthanc: OrthancServer) -> None:
    study = a_study(accession="A-17/b").with_series("CR")
    study_id = study.in_(orthanc)

    for name in (study_id, study.study_uid, "A-17/b"):
        assert orthanc.client.lookup(name) == [study_id]


@pytest.mark.parametrize(
    "name", ["", "A-18", "*", "A-1?", "A-17\\A-18", "00000000-00000000-00000000-00000000-00000000"]
)
def test_what_names_no_study_finds_none(orthanc: OrthancServer, name: str) -> None:
    a_study(accession="A-17").with_series("CR").in_(orthanc)

    assert orthanc.client.lookup(name) == []


def test_every_study_of_a_shared_accession_number_is_found(orthanc: OrthancServer) -> None:
    studies = {a_study(accession="SHARED").with_series("CR").in_(orthanc) for _ in range(2)}

    assert set(orthanc.client.lookup("SHARED")) == studies


def test_a_patients_or_images_name_is_not_taken_for_a_study(orthanc: OrthancServer) -> None:
    study = a_study(patient_id="P-9").with_series("CR")
    study.in_(orthanc)

    assert orthanc.client.lookup("P-9") == []
    assert orthanc.client.lookup(study.uids[0]) == []


def test_a_deleted_study_is_not_found(orthanc: OrthancServer) -> None:
    study_id = a_study().with_series("CR").in_(orthanc)
    orthanc.delete_study(study_id)

    with pytest.raises(NotFoundInOrthanc):
        orthanc.client.study_header(study_id)


def test_a_wrong_password_names_the_keys_to_check(orthanc: OrthancServer) -> None:
    with Orthanc(orthanc.url, USERNAME, "wrong-password") as client, pytest.raises(OrthancRefused) as caught:
        client.system()

    assert caught.value.status == 401
    assert "ORTHANC_USERNAME and ORTHANC_PASSWORD" in str(caught.value.hint)
    assert "wrong-password" not in str(caught.value)


def test_nobody_listening_is_said_in_plain_words() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with Orthanc(url, "", "") as client, pytest.raises(OrthancUnreachable) as caught:
        client.system()

    assert str(caught.value) == f"cannot reach Orthanc at {url}: connection refused"


def test_an_unknown_host_is_unreachable() -> None:
    with Orthanc("http://orthanc.invalid:8042", "", "") as client, pytest.raises(OrthancUnreachable):
        client.system()


def test_silence_ends_with_the_timeout() -> None:
    with (
        BlackHole() as silent,
        Orthanc(f"http://127.0.0.1:{silent.port}", "", "", timeout=0.3) as client,
        pytest.raises(OrthancUnreachable, match=r"did not answer GET /system within 0\.3 s"),
    ):
        client.system()


def test_another_web_server_is_not_taken_for_orthanc() -> None:
    class SomethingElse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), SomethingElse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                Orthanc(f"http://127.0.0.1:{server.server_port}", "", "") as client,
                pytest.raises(OrthancRefused, match="is not Orthanc"),
            ):
                client.system()
        finally:
            server.shutdown()
            thread.join()


def test_the_client_survives_a_restart_of_orthanc(orthanc: OrthancServer) -> None:
    assert orthanc.client.system()["DicomAet"] == orthanc.aet

    orthanc.kill()
    with pytest.raises(OrthancUnreachable):
        orthanc.client.system()
    orthanc.start()

    assert orthanc.client.system()["DicomAet"] == orthanc.aet


def test_threads_share_one_client(orthanc: OrthancServer) -> None:
    answers: list[object] = []
    with Orthanc(orthanc.url, USERNAME, PASSWORD) as client:
        threads = [
            threading.Thread(target=lambda: answers.extend(client.statistics() for _ in range(10))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(answers) == 80
