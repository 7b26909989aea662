"""A study comes in at the gateway: it goes to the PACS and to an AI worker, whose result comes back."""

from __future__ import annotations

import uuid
from typing import Any

from tests.support.deployed import Site
from tests.support.network import eventually


def test_a_study_sent_to_the_gateway_arrives_at_the_pacs_and_the_workers_result_follows(site: Site) -> None:
    accession = f"EDGE-{uuid.uuid4().hex[:8]}"
    sent = site.scan(accession, through="gateway")

    def images() -> list[dict[str, Any]]:
        return list(site.orthanc("status", "--study", accession).get("instances", []))

    # The PACS sends radiographs on to MODLINK: what is there, was in the PACS, and its image has one delivery more.
    eventually(lambda: sent <= site.arrived(), within=60, what=f"MODLINK receiving {accession}")
    eventually(lambda: len(images()) == len(sent) + 1, within=60, what="the result of the worker")
    eventually(lambda: {image["state"] for image in images()} == {"sent"}, within=30, what="every image being sent")
    reached = {
        image["sop_instance_uid"]: {delivery["destination"] for delivery in image["deliveries"]} for image in images()
    }
    assert {uid: reached.pop(uid) for uid in sent} == {uid: {"PACS", "APP01", "MODLINK"} for uid in sent}
    [result] = reached.values()
    assert result == {"PACS"}


def test_nothing_is_lost_when_the_gateway_is_killed_and_postgresql_is_down(site: Site) -> None:
    """What it has acknowledged is on its disk: a scanner is answered while PostgreSQL is away."""
    host = site.with_service("gateway")
    accession = f"EDGE-{uuid.uuid4().hex[:8]}"
    host.says("docker stop pacsops-postgres-1")
    try:
        sent = site.scan(accession, through="gateway")
        host.says("docker kill --signal KILL pacsops-gateway-1")
        host.says("docker start pacsops-gateway-1")
    finally:
        host.says("docker start pacsops-postgres-1")

    eventually(lambda: sent <= site.arrived(), within=120, what=f"MODLINK receiving {accession}")
