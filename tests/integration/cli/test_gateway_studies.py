"""What an operator sees of studies that the gateway received, by themselves and together with Orthanc's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.deliveries import NO_CONTEXT, REFUSED
from tests.support.spool import DESTINATIONS, SpooledGateway, a_gateway_route
from tests.support.studies import StudyBuilder, a_study

from pacsops.delivery import claims, outcomes
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.delivery.studies import arrived
from pacsops.orthanc.identifiers import instance_id
from pacsops.routes import Route, Selection

ORTHANC_ID = "66c8e41e-ac3a9029-0b85e42a-8195ee0a-92c2e62e"


@pytest.fixture
def site(site: Site, tmp_path: Path) -> Site:
    settings = replace(
        site.settings,
        gateway_spool=tmp_path / "incoming",
        gateway_file=tmp_path / "gateway.yml",
        orthanc_url="http://127.0.0.1:9",
    )
    return Site(settings, site.database)


@pytest.fixture
def gateway(site: Site) -> Iterator[SpooledGateway]:
    """A gateway of that site, that sends everything to PACS and AI's share to a pool."""
    gateway = SpooledGateway(site.database, site.settings.gateway_spool)
    site.settings.gateway_file.write_text(
        yaml.safe_dump({"destinations": DESTINATIONS, "pools": {"AI": {"members": ["AI-1", "AI-2"]}}})
    )
    yield gateway
    gateway.ingest.close()


def test_each_image_of_a_study_is_listed_with_its_state_and_each_of_its_deliveries(
    cli: CommandLine, gateway: SpooledGateway
) -> None:
    gateway.routes(
        a_gateway_route("to_pacs", "PACS"),
        a_gateway_route("to_archive", "ARCHIVE", send="instance", match={"modality": "CT"}),
    )
    study = a_study(accession="A-4711", patient_name="DOE^JANE").with_series("CT", instances=2).with_series("SR")
    gateway.take(study.datasets[:2])
    _sent, refused, pacs = _claims(gateway)
    assert outcomes.finish(gateway.database, _sent, duration_ms=1)
    assert outcomes.fail(gateway.database, refused, NO_CONTEXT).held
    gateway.take(study.datasets[2:])

    answer = cli.json("status", "--study", study.study_uid)

    assert set(answer) == {"schema_version", "studies", "counts", "instances", "unreadable", "exit_code"}
    assert answer["exit_code"] == 2
    assert answer["studies"][0]["study_uid"] == study.study_uid
    assert [image["sop_instance_uid"] for image in answer["instances"]] == study.uids
    first, second, third = answer["instances"]
    assert [image["state"] for image in answer["instances"]] == ["sending", "failed", "queued"]
    assert answer["counts"] == {"failed": 1, "sending": 1, "queued": 1}
    assert [
        (promise["destination"], promise["route"], promise["state"], promise["delivered"], promise["status"])
        for promise in first["deliveries"]
    ] == [
        ("PACS", "to_pacs", "sending", False, "sending"),
        ("ARCHIVE", "to_archive", "sent", True, "success"),
    ]
    assert second["error"] == second["deliveries"][1]["error"] == "no presentation context accepted"
    assert second["deliveries"][1]["delivery_id"] == refused.delivery_id
    assert (third["sender_aet"], third["file"].split("/")[0], third["in_spool"]) == (
        "SCANNER",
        study.study_uid,
        True,
    )
    assert third["size"] > 0
    assert third["received_at"]

    # The others arrive, and what was refused is tried again.
    assert outcomes.finish(gateway.database, pacs, duration_ms=1)
    shown = cli("status", "--study", "A-4711")
    assert shown.exit_code == 2
    assert "no presentation context accepted" in shown.stdout
    assert "DOE^JANE" in shown.stdout
    assert "PACS sent" in shown.stdout


def test_a_study_that_is_done_is_all_sent_and_what_no_route_takes_is_unrouted(
    cli: CommandLine, gateway: SpooledGateway
) -> None:
    gateway.routes(a_gateway_route("ct", "PACS", send="instance", match={"modality": "CT"}))
    study = a_study().with_series("CT").with_series("MR")
    gateway.take(study)
    for claim in _claims(gateway):
        assert outcomes.finish(gateway.database, claim, duration_ms=1)

    answer = cli.json("status", "--study", study.study_uid)

    assert [image["state"] for image in answer["instances"]] == ["sent", "unrouted"]
    assert answer["exit_code"] == cli("status", "--study", study.study_uid).exit_code == 0


def test_what_cannot_be_routed_is_listed_too(cli: CommandLine, gateway: SpooledGateway) -> None:
    study = a_study().with_series("CT")
    (name,) = gateway.take(study)
    broken = f"{study.study_uid}/1.2.3.dcm"
    gateway.write_bytes(broken, b"no DICOM")
    gateway.ingest.take([broken])
    (gateway.spool / name).unlink()
    gateway.restart()
    gateway.ingest.scan()

    answer = cli.json("status", "--study", study.study_uid)

    assert [file["file"] for file in answer["unreadable"]] == [broken]
    (image,) = answer["instances"]
    assert (image["in_spool"], image["error"]) == (False, "its file is missing from the spool")
    assert answer["exit_code"] == 2
    status = cli.json("status")
    assert status["routing"]["unevaluated"] == 1
    page = cli("status", "--study", study.study_uid).stdout
    assert broken in page.replace("\n", "").replace(" ", "")


@pytest.fixture
def both(gateway: SpooledGateway) -> StudyBuilder:
    """A study that the gateway received and passed on to Orthanc, whose router sends it on too."""
    gateway.routes(a_gateway_route("edge", "PACS"))
    study = a_study(accession="A-1").with_series("CT", instances=2)
    gateway.take(study)
    identity = StudyIdentity(
        source="orthanc",
        study_id=ORTHANC_ID,
        study_uid=study.study_uid,
        accession_number="A-1",
        patient_name="SYNTHETIC^PATIENT",
        patient_id=None,
        study_description=None,
        study_date=None,
    )
    rule = Route(name="inside", match=(), destinations=("MODLINK",))
    first = study.datasets[0]
    known = instance_id(first.PatientID, study.study_uid, first.SeriesInstanceUID, first.SOPInstanceUID)
    with gateway.database.transaction() as tx:
        arrived(tx, identity, 1)
        plan(tx, identity, [Selection(rule, "MODLINK", "study", ORTHANC_ID, (known, "y"))], "v1")
    return study


def test_an_image_of_both_is_one_image_with_the_deliveries_of_both(cli: CommandLine, both: StudyBuilder) -> None:
    images = cli.json("status", "--study", both.study_uid)["instances"]

    made = {
        image["sop_instance_uid"]: {(each["source"], each["destination"]) for each in image["deliveries"]}
        for image in images
    }
    first, second = (str(dataset.SOPInstanceUID) for dataset in both.datasets)
    assert made == {
        first: {("gateway", "PACS"), ("orthanc", "MODLINK")},
        second: {("gateway", "PACS")},
        None: {("orthanc", "MODLINK")},
    }


@pytest.mark.parametrize("named_by", ["uid", "accession", "orthanc", "beginning"])
def test_a_study_of_both_has_one_history(cli: CommandLine, both: StudyBuilder, named_by: str) -> None:
    name = {"uid": both.study_uid, "accession": "A-1", "orthanc": ORTHANC_ID, "beginning": ORTHANC_ID[:8]}[named_by]

    answer = cli.json("history", name)

    assert [study["source"] for study in answer["studies"]] == ["orthanc", "gateway"]
    assert answer["study"]["study_id"] == ORTHANC_ID
    assert {delivery["destination"] for delivery in answer["deliveries"]} == {"PACS", "MODLINK"}
    assert {event["source"] for event in answer["timeline"]} == {"orthanc", "gateway"}
    times = [event["at"] for event in answer["timeline"]]
    assert times == sorted(times)
    page = cli("history", name).stdout
    assert "Orthanc and the gateway" in page
    assert "PACS" in page and "MODLINK" in page


def test_an_order_about_a_study_of_both_is_about_all_of_its_deliveries(
    cli: CommandLine, gateway: SpooledGateway, both: StudyBuilder
) -> None:
    for source in ("gateway", "orthanc"):
        (claim,) = claims.claim(gateway.database, "test:1", source=source)
        assert outcomes.fail(gateway.database, claim, REFUSED).held

    answer = cli.json("retry", both.study_uid)

    assert {delivery["destination"] for delivery in answer["deliveries"]} == {"PACS", "MODLINK"}
    assert cli.json("status", "--study", "A-1")["counts"] == {"queued": 3}
    assert cli("skip", "A-1", "--reason", "not needed").exit_code == 0
    assert cli.json("status", "--study", "A-1")["counts"] == {"sent": 3}


def test_destinations_of_the_gateways_routes_are_those_of_gateway_yml(
    cli: CommandLine, site: Site, gateway: SpooledGateway, tmp_path: Path
) -> None:
    def validated(*routes: Any) -> Any:
        file = tmp_path / "new.yml"
        file.write_text(yaml.safe_dump({"routes": list(routes)}))
        return cli("routes", "--validate", "--file", str(file))

    assert validated(a_gateway_route("a", ["PACS", "AI"])).exit_code == 0
    wrong = validated(a_gateway_route("a", ["PASC", "MODLINK"]))
    assert wrong.exit_code == 2
    assert "unknown destination 'PASC' (did you mean 'PACS'?)" in wrong.stdout
    assert "unknown destination 'MODLINK'" in wrong.stdout
    site.settings.gateway_file.unlink()
    unchecked = validated(a_gateway_route("a", "PASC"))
    assert unchecked.exit_code == 0
    assert "no gateway is known" in unchecked.stderr


def test_the_gateways_routes_are_listed_and_explained(cli: CommandLine, site: Site, gateway: SpooledGateway) -> None:
    routes = [
        a_gateway_route("ct", "AI", when="series_stable", match={"modality": "CT", "KVP": "80"}),
        a_gateway_route("inside", "MODLINK") | {"source": "orthanc"},
    ]
    site.routes_in_force(yaml.safe_dump({"routes": routes}))
    study = a_study().with_series("CT", attributes={"KVP": "80"})
    gateway.take(study)

    listed = cli.json("routes")["routes"]
    assert [(route["source"], route["when"]) for route in listed] == [("gateway", "series_stable"), ("orthanc", None)]
    assert "when a series is whole" in cli("routes").stdout

    answer = cli.json("routes", "explain", study.study_uid)
    (explained,) = answer["routes"]
    assert (explained["route"], explained["matched"], explained["source"]) == ("ct", True, "gateway")
    assert explained["selections"][0]["destination"] == "AI"
    assert "of the gateway" in cli("routes", "explain", study.study_uid).stdout


def _claims(gateway: SpooledGateway) -> list[claims.Claim]:
    """Everything due, the instance deliveries by image first and the study's last."""
    found = []
    while taken := claims.claim(gateway.database, "test:1", source="gateway"):
        found += taken
    return sorted(found, key=lambda claim: (claim.level == "study", claim.delivery_id))
