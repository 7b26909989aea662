"""The edge demo deployed for real: what a gateway between scanners, a PACS and AI workers is to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from tests.support.demo_site import CHECKOUT, VENV, DemoSite, undeployed_edge
from tests.support.network import eventually

from pacsops.orthanc import Orthanc
from pacsops.settings import Settings

pytestmark = pytest.mark.timeout(1500)  # a deployment starts ten services

WORKERS = ("app01", "app02", "app03", "app04", "app05")


class Edge:
    """A deployed edge, and who sends to it."""

    def __init__(self, site: DemoSite) -> None:
        self.site = site
        self.settings = Settings.load(site.home / ".env")

    def scan(self, *words: str) -> tuple[str, set[str]]:
        """A simulated scanner sends; the study and its images."""
        sent = self.site.orthanc("simulate", "scanner", *(words or ("--generate", "1")), "--json")
        assert sent.returncode == 0, sent.stdout + sent.stderr
        images = json.loads(sent.stdout)["images"]
        [study_uid] = {image["study_uid"] for image in images}
        return study_uid, {image["sop_instance_uid"] for image in images}

    def in_pacs(self, study_uid: str) -> dict[str, str]:
        """SeriesDescription by SOP instance UID, of what Orthanc has of a study."""
        with Orthanc.of(self.settings) as orthanc:
            query = {"Level": "Series", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
            return {
                image["MainDicomTags"]["SOPInstanceUID"]: series["MainDicomTags"].get("SeriesDescription", "")
                for series in orthanc.ask("/tools/find", query)
                for image in orthanc.get(f"/series/{series['ID']}/instances")
            }

    def results(self, study_uid: str) -> set[str]:
        return {uid for uid, description in self.in_pacs(study_uid).items() if description == "AI_RESULT"}

    def wait_for_originals(self, study_uid: str, images: set[str]) -> None:
        eventually(lambda: images <= set(self.in_pacs(study_uid)), within=60, what="the PACS having the originals")

    def wait_for_result(self, study_uid: str) -> None:
        eventually(lambda: self.results(study_uid), within=120, what="the PACS having an AI's result")

    def deliveries(self, study_uid: str) -> dict[str, dict[str, Any]]:
        """By route."""
        told = json.loads(self.site.orthanc("history", study_uid, "--json").stdout)
        return {delivery["route"]: delivery for delivery in told["deliveries"]}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Deployed once for all tests here."""
    site = undeployed_edge(tmp_path_factory.mktemp("edge") / "site", gateway_stable_seconds=1)
    try:
        site.deploy("--diff")
        yield Edge(site)
    finally:
        site.shut_down()


def test_every_service_runs_and_a_second_deployment_changes_nothing(edge: Edge) -> None:
    before = edge.site.processes()
    assert set(before) == {"postgres", "orthanc", "router", "gateway", "viewer", *WORKERS}

    assert edge.site.deploy("--diff") == 0
    assert edge.site.processes() == before


def test_the_operators_settings_name_the_gateway(edge: Edge) -> None:
    lines = (edge.site.home / ".env").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if line.startswith("GATEWAY_"))

    assert (said["GATEWAY_HOST"], said["GATEWAY_AET"]) == ("127.0.0.1", "MINI_EDGE")
    assert said["GATEWAY_PORT"] == str(edge.site.ports["gateway_port"])
    assert Path(said["GATEWAY_SPOOL"]).is_dir()


def test_what_is_sent_over_tls_arrives_and_nobody_sends_without_a_certificate(edge: Edge) -> None:
    certificates = edge.site.home / "config" / "certificates"
    sample = Path(str(get_testdata_file("CT_small.dcm")))
    to = ["-aet", "ORTHANC", "-aec", "MINI_EDGE", "127.0.0.1", str(edge.site.ports["gateway_tls_port"]), str(sample)]
    believing = ["/usr/bin/storescu", "-to", "10", "+cf", str(certificates / "ca.crt")]
    shown = ["+tls", str(certificates / "gateway.key"), str(certificates / "gateway.crt")]

    subprocess.run([*believing, *shown, *to], check=True, timeout=60)
    assert subprocess.run([*believing, "+tla", *to], check=False, timeout=60).returncode != 0
    kept = edge.settings.gateway_spool / str(dcmread(sample).StudyInstanceUID)
    assert list(kept.glob("*.dcm"))


def test_what_an_allowed_sender_sends_is_in_the_pacs_and_at_a_worker_and_its_result_comes_back(edge: Edge) -> None:
    """Sent by DCMTK, as the PACS itself might."""
    sample = Path(str(get_testdata_file("CT_small.dcm")))
    header = dcmread(sample)
    port = str(edge.site.ports["gateway_port"])
    storescu = ["/usr/bin/storescu", "-aet", "ORTHANC", "-aec", "MINI_EDGE", "127.0.0.1", port, str(sample)]
    subprocess.run(storescu, check=True, timeout=60)

    kept = edge.settings.gateway_spool / header.StudyInstanceUID / f"{header.SOPInstanceUID}.dcm"
    assert dcmread(kept).PixelData == header.PixelData, "on the disk before it was acknowledged"
    edge.wait_for_originals(header.StudyInstanceUID, {header.SOPInstanceUID})
    edge.wait_for_result(header.StudyInstanceUID)
    deliveries = edge.deliveries(header.StudyInstanceUID)
    assert deliveries["originals_to_pacs"]["destination"] == "PACS"
    assert deliveries["originals_to_ai"]["destination"].lower() in WORKERS
    assert deliveries["results_to_pacs"]["destination"] == "PACS"


def test_a_sender_who_is_not_allowed_is_rejected_and_the_log_says_who_it_was(edge: Edge) -> None:
    refused = edge.site.orthanc("simulate", "scanner", "--generate", "1", "--calling-aet", "NOPE_AET")

    assert refused.returncode == 2
    assert "NOPE_AET is rejected by MINI_EDGE" in refused.stderr
    logged = edge.site.orthanc("logs", "--service", "gateway", "--no-follow", "--grep", "NOPE_AET")
    assert "Calling AE title not recognised" in logged.stdout


def test_the_pacs_goes_on_receiving_while_every_worker_is_off_and_results_follow(edge: Edge) -> None:
    edge.site.control("stop", *WORKERS)
    try:
        study_uid, images = edge.scan()
        edge.wait_for_originals(study_uid, images)
        assert edge.results(study_uid) == set()
    finally:
        edge.site.control("start", *WORKERS)

    edge.wait_for_result(study_uid)


def test_what_a_worker_that_is_off_would_do_another_does_and_the_story_tells_it(edge: Edge) -> None:
    story = [str(VENV / "python"), "demo/edge_story.py", "--demo", str(edge.site.home)]
    told = subprocess.run(story, cwd=CHECKOUT, capture_output=True, text=True, timeout=500, check=False)

    assert told.returncode == 0, told.stdout + told.stderr


def test_a_result_that_takes_its_time_comes_after_the_pacs_has_the_study(edge: Edge) -> None:
    edge.site.deploy(demo_thinking=dict.fromkeys(WORKERS, 8))
    study_uid, images = edge.scan()

    edge.wait_for_originals(study_uid, images)
    assert edge.results(study_uid) == set()
    edge.wait_for_result(study_uid)
    assert set(edge.in_pacs(study_uid)) == images | edge.results(study_uid)


def test_every_image_can_be_traced(edge: Edge) -> None:
    """Each with its state, and each of its deliveries; by logs, the study as a whole."""
    study_uid, images = edge.scan()
    edge.wait_for_originals(study_uid, images)
    edge.wait_for_result(study_uid)

    def traced() -> dict[str, Any]:
        told = json.loads(edge.site.orthanc("status", "--study", study_uid, "--json").stdout)
        return {image["sop_instance_uid"]: image for image in told["instances"]}

    def all_sent() -> bool:
        return [image["state"] for image in traced().values()] == ["sent"] * (len(images) + 1)

    eventually(all_sent, within=30, what="every image being sent")
    for uid in images:
        reached = {delivery["destination"]: delivery for delivery in traced()[uid]["deliveries"]}
        assert set(reached) >= {"PACS"}
        assert len(reached) == 2, "the PACS and one worker"
        assert all(delivery["delivered"] for delivery in reached.values())
    logged = edge.site.orthanc("logs", "--study", study_uid, "--no-follow").stdout
    assert "PACS: Delivered" in logged
    assert "→ APP0" in logged


def test_the_doctor_finds_nothing_wrong(edge: Edge) -> None:
    found = json.loads(edge.site.orthanc("doctor", "--json").stdout)["checks"]

    assert [check for check in found if check["severity"] == "error"] == []
    assert {"gateway"} <= {check["id"] for check in found}
