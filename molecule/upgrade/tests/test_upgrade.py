"""What the release before knew, this one knows; what waited then is in tests/test_bad_day.py."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml
from tests.support.deployed import Site
from tests.support.network import eventually

CHECKOUT = Path(__file__).parents[3]
RELEASED = yaml.safe_load((CHECKOUT / "releases.yml").read_text())[-1]


def test_the_host_runs_this_release(site: Site) -> None:
    present = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]

    assert present != RELEASED["version"]
    assert site.orthanc("version")["pacsops"] == present


def test_what_was_delivered_before_is_remembered_and_not_sent_again(site: Site) -> None:
    told = site.orthanc("history", "BEFORE")

    assert [delivery["status"] for delivery in told["deliveries"]] == ["success"]
    assert [event["event"] for event in told["timeline"]].count("send_success") == 1
    # Orthanc has the study still: sent again, its images are known, and nothing is delivered a second time.
    assert site.scan("BEFORE") <= site.arrived()


def test_nothing_that_was_accepted_during_the_upgrade_is_lost(site: Site) -> None:
    ledger = CHECKOUT / "build" / "acceptance" / "upgrade" / "traffic" / "accepted"
    accepted = ledger.read_text().split()
    assert accepted
    for accession in accepted:
        eventually(
            lambda told=accession: site.delivery_of(told).get("status") == "success",
            within=60,
            what=f"{accession} delivered",
        )
