"""A study comes in by C-STORE and goes out by C-STORE, through the whole site."""

from __future__ import annotations

import uuid

from tests.support.deployed import Site
from tests.support.network import eventually


def test_a_study_that_a_scanner_sends_reaches_modlink_whole(site: Site) -> None:
    accession = f"TEST-{uuid.uuid4().hex[:8]}"
    sent = site.scan(accession)
    eventually(lambda: sent <= site.arrived(), within=60, what=f"MODLINK receiving {accession}")
    eventually(lambda: site.delivery_of(accession)["status"] == "success", within=10, what="its success being told")
    delivery = site.delivery_of(accession)
    assert (delivery["route"], delivery["destination"]) == ("radiographs_to_modlink", "MODLINK")
    assert delivery["delivered_count"] == len(sent)


def test_an_operator_sees_that_all_is_well(site: Site) -> None:
    status = site.orthanc("status")
    # A warning may be left from the bad day: how slowly MODLINK answered when it came back.
    assert [issue for issue in status["issues"] if issue["severity"] == "error"] == []
    assert {service["state"] for service in status["services"].values()} == {"running"}
