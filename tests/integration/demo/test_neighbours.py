"""The demo's neighbours as processes of their own, around a real Orthanc."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset, dcmread
from pynetdicom import AE, VerificationPresentationContexts, build_context
from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer

from pacsops.dicom.synthetic import Study, part10

NEIGHBOURS = Path(__file__).parents[3] / "demo" / "neighbours.py"


class Hospital:
    """The neighbours' configuration and processes, around one Orthanc."""

    def __init__(self, folder: Path, orthanc: OrthancServer) -> None:
        self.data = folder / "data"
        self.orthanc = orthanc
        self.ports = {name: free_port() for name in ("SCANNER", "MERCURE", "MODLINK")}
        self.control_port = free_port()
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.configuration = folder / "neighbours.json"
        neighbours: dict[str, dict[str, Any]] = {
            name: {"aet": name, "port": port} for name, port in self.ports.items()
        }
        neighbours["SCANNER"] |= {"aet": "CR_ROOM1", "control_port": self.control_port}
        orthanc_address = {"host": "127.0.0.1", "port": orthanc.dicom_port, "aet": orthanc.aet}
        self.configuration.write_text(
            json.dumps(
                {
                    "orthanc": orthanc_address,
                    "listen": "127.0.0.1",
                    "data": str(self.data),
                    "neighbours": neighbours,
                }
            )
        )

    def start(self, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(NEIGHBOURS), name, "--config", str(self.configuration)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.processes[name] = process
        eventually(lambda: accepts(self.ports[name]), what=f"{name} listening")
        return process

    def stop(self, name: str, with_signal: signal.Signals = signal.SIGTERM) -> str:
        """Its log. A neighbour asked to stop exits with 0."""
        process = self.processes.pop(name)
        process.send_signal(with_signal)
        log, _ = process.communicate(timeout=20)
        assert process.returncode == (0 if with_signal == signal.SIGTERM else -with_signal), log
        return log

    def send(self, name: str, dataset: Dataset, *, called_aet: str | None = None) -> int | None:
        """C-STORE one data set to a neighbour: the status it answers, None without an association."""
        ae = AE(ae_title="ORTHANC")
        ae.connection_timeout, ae.acse_timeout, ae.dimse_timeout = 10, 10, 10
        contexts = [build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)]
        association = ae.associate("127.0.0.1", self.ports[name], contexts, ae_title=called_aet or name)
        if not association.is_established:
            return None
        try:
            status = association.send_c_store(dataset).get("Status")
            return None if status is None else int(status)
        finally:
            association.release()

    def in_orthanc(self, study_uid: str) -> list[Dataset]:
        """Every instance of the study Orthanc holds, as it gives them out."""
        auth = (USERNAME, PASSWORD)
        found = requests.post(f"{self.orthanc.url}/tools/lookup", data=study_uid, auth=auth, timeout=10).json()
        instances = [
            instance["ID"]
            for study in found
            for instance in requests.get(
                f"{self.orthanc.url}/studies/{study['ID']}/instances", auth=auth, timeout=10
            ).json()
        ]
        return [
            dcmread(BytesIO(requests.get(f"{self.orthanc.url}/instances/{i}/file", auth=auth, timeout=10).content))
            for i in instances
        ]


@pytest.fixture(scope="module")
def server() -> Iterator[OrthancServer]:
    with OrthancServer() as server:
        yield server


@pytest.fixture
def hospital(server: OrthancServer, tmp_path: Path) -> Iterator[Hospital]:
    hospital = Hospital(tmp_path, server)
    yield hospital
    for process in hospital.processes.values():
        process.kill()
        process.communicate()
    if not server.running:
        server.start()


def leg() -> Dataset:
    """The image of a leg that MERCURE is asked to measure."""
    study = Study(study_description="BONE LENGTH", patient_name="MÜLLER^JÖRG", accession_number="LEG-1")
    return study.add_series("CR", sizes=[(64, 32)]).datasets[0]


def descriptions(datasets: list[Dataset]) -> list[str]:
    return sorted(str(dataset.SeriesDescription) for dataset in datasets)


RESULTS = ["Leg Length Report", "QA Table Visualization", "QA Visualization"]


def test_the_scanner_sends_four_images_one_of_them_the_largest(hospital: Hospital) -> None:
    hospital.start("SCANNER")
    url = f"http://127.0.0.1:{hospital.control_port}/send?accession=ROOM-1"
    sent = requests.post(url, timeout=30).json()
    stored = hospital.in_orthanc(sent["study_uid"])
    assert sent["accession_number"] == "ROOM-1"
    assert {(i["sop_uid"], i["rows"], i["columns"]) for i in sent["instances"]} == {
        (image.SOPInstanceUID, image.Rows, image.Columns) for image in stored
    }
    areas = sorted(image.Rows * image.Columns for image in stored)
    assert len(set(areas)) == 4
    assert {(i.Modality, i.StudyDescription, i.AccessionNumber) for i in stored} == {("CR", "BONE LENGTH", "ROOM-1")}


def test_each_push_of_the_button_is_a_new_study(hospital: Hospital) -> None:
    hospital.start("SCANNER")
    url = f"http://127.0.0.1:{hospital.control_port}/send"
    first, second = (requests.post(url, timeout=30).json() for _ in range(2))
    assert first["study_uid"] != second["study_uid"]
    assert first["accession_number"] != second["accession_number"]


@pytest.mark.parametrize("accession", ["A" * 17, "A%5CB", "A%0AB"])
def test_the_button_refuses_what_is_no_accession_number(hospital: Hospital, accession: str) -> None:
    hospital.start("SCANNER")
    url = f"http://127.0.0.1:{hospital.control_port}/send?accession={accession}"
    assert requests.post(url, timeout=30).status_code == 400


def test_the_button_says_why_orthanc_did_not_take_the_study(hospital: Hospital) -> None:
    hospital.orthanc.stop()
    hospital.start("SCANNER")
    answer = requests.post(f"http://127.0.0.1:{hospital.control_port}/send", timeout=30)
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["error"]


def test_mercure_answers_an_image_with_three_results_of_its_study(hospital: Hospital) -> None:
    hospital.start("MERCURE")
    image = leg()
    assert hospital.send("MERCURE", image) == 0x0000
    eventually(lambda: len(hospital.in_orthanc(image.StudyInstanceUID)) == 3, what="three results")
    results = hospital.in_orthanc(image.StudyInstanceUID)
    assert descriptions(results) == RESULTS
    assert {r.Manufacturer for r in results} == {"STANFORDAIDE"}
    assert {(r.PatientID, str(r.PatientName), r.AccessionNumber) for r in results} == {
        (image.PatientID, "MÜLLER^JÖRG", "LEG-1")
    }
    assert len({r.SeriesInstanceUID for r in results} | {image.SeriesInstanceUID}) == 4
    report = next(r for r in results if r.Modality == "SR")
    assert report.ValueType == "CONTAINER"


def test_mercure_killed_before_its_results_were_taken_sends_them_after_its_restart(hospital: Hospital) -> None:
    hospital.orthanc.stop()
    mercure = hospital.start("MERCURE")
    image = leg()
    assert hospital.send("MERCURE", image) == 0x0000
    assert mercure.stdout is not None
    assert any("keeps its results" in line for line in mercure.stdout)
    hospital.stop("MERCURE", signal.SIGKILL)
    hospital.orthanc.start()
    hospital.start("MERCURE")
    eventually(lambda: len(hospital.in_orthanc(image.StudyInstanceUID)) == 3, what="three results")
    assert descriptions(hospital.in_orthanc(image.StudyInstanceUID)) == RESULTS


def test_mercure_hands_its_results_over_when_orthanc_is_back(hospital: Hospital) -> None:
    hospital.orthanc.stop()
    mercure = hospital.start("MERCURE")
    image = leg()
    assert hospital.send("MERCURE", image) == 0x0000
    assert mercure.stdout is not None
    assert any("keeps its results" in line for line in mercure.stdout)
    hospital.orthanc.start()
    eventually(lambda: len(hospital.in_orthanc(image.StudyInstanceUID)) == 3, what="three results")


def test_mercure_never_measures_its_own_results(hospital: Hospital) -> None:
    hospital.start("MERCURE")
    study = Study(study_description="BONE LENGTH")
    study.add_series("SC", description="QA Visualization", manufacturer="STANFORDAIDE")
    (image,) = study.datasets
    assert hospital.send("MERCURE", image) == 0x0000
    answer = hospital.data / "MERCURE" / image.StudyInstanceUID / f"{image.SOPInstanceUID}.answered"
    eventually(answer.exists, what="MERCURE's decision")
    assert json.loads(answer.read_text()) == []
    assert hospital.in_orthanc(image.StudyInstanceUID) == []


def test_a_receiver_keeps_the_data_set_exactly_as_it_came(hospital: Hospital) -> None:
    hospital.start("MODLINK")
    image = leg()
    assert hospital.send("MODLINK", image) == 0x0000
    stored = hospital.data / "MODLINK" / image.StudyInstanceUID / f"{image.SOPInstanceUID}.dcm"
    data_set = part10(image)
    tail = data_set[data_set.index(b"ISO_IR 192") :]
    assert stored.read_bytes().endswith(tail)
    assert dcmread(stored).file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID


def test_a_receiver_logs_one_line_an_image_and_no_patient(hospital: Hospital) -> None:
    hospital.start("MODLINK")
    image = leg()
    hospital.send("MODLINK", image)
    log = hospital.stop("MODLINK")
    lines = [line for line in log.splitlines() if image.SOPInstanceUID in line]
    assert len(lines) == 1
    assert f"stored CR {image.SOPInstanceUID} of study {image.StudyInstanceUID} from ORTHANC" in lines[0]
    assert "JÖRG" not in log
    assert str(image.PatientID) not in log


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../../../tmp/escaped", "1.2/../../3", ""])
def test_a_receiver_refuses_a_study_uid_that_is_none(hospital: Hospital, uid: str) -> None:
    hospital.start("MODLINK")
    image = leg()
    image.StudyInstanceUID = uid
    assert hospital.send("MODLINK", image) == 0xC000
    assert not list(hospital.data.rglob("*.dcm"))


def test_a_neighbour_takes_only_calls_to_its_own_ae_title(hospital: Hospital) -> None:
    hospital.start("MODLINK")
    assert hospital.send("MODLINK", leg(), called_aet="SOMEBODY") is None


@pytest.mark.parametrize(("name", "aet"), [("SCANNER", "CR_ROOM1"), ("MERCURE", "MERCURE"), ("MODLINK", "MODLINK")])
def test_every_neighbour_answers_c_echo_and_stops_when_asked(hospital: Hospital, name: str, aet: str) -> None:
    hospital.start(name)
    ae = AE(ae_title="ORTHANC")
    ae.connection_timeout = 10
    association = ae.associate("127.0.0.1", hospital.ports[name], VerificationPresentationContexts, ae_title=aet)
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    association.release()
    assert "stopped" in hospital.stop(name)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text: text.replace("MODLINK", "OTHER"), "knows no MODLINK: SCANNER, MERCURE, OTHER"),
        (lambda text: text[:-1], "cannot read"),
        (lambda text: text.replace('"port"', '"prt"'), "'port'"),
    ],
)
def test_a_neighbour_says_what_is_wrong_with_its_configuration(
    hospital: Hospital, edit: Callable[[str], str], complaint: str
) -> None:
    hospital.configuration.write_text(edit(hospital.configuration.read_text()))
    command = [sys.executable, str(NEIGHBOURS), "MODLINK", "--config", str(hospital.configuration)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert complaint in done.stderr
