"""Synthetic studies through every live route, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import pytest
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import desk
from pacsops.delivery.model import Status
from pacsops.dicom.synthetic import CANARY
from pacsops.router.canary import Flight, fly, remove
from pacsops.settings import Settings


@pytest.fixture
def site(settings: Settings, orthanc: OrthancServer) -> Iterator[RoutedSite]:
    """One whose test destination AI takes canaries."""
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    with RoutedSite(Settings(**{**values, "canary_destinations": frozenset({"AI"})}), orthanc) as site:
        yield site


def flown(site: RoutedSite, seconds: float = 40) -> dict[str, Flight]:
    table = site.router.site.table if site.router else None
    assert table
    flights = fly(site.settings, site.orthanc.client, site.database, table, seconds=seconds)
    return {flight.route: flight for flight in flights}


def test_each_route_carries_its_study_and_only_a_destination_that_takes_canaries_gets_one(site: RoutedSite) -> None:
    with Peer("AI") as ai, Peer("PACS") as pacs:
        site.routes(
            a_route("knees", site.destination(ai), match={"study_description": {"contains": "KNEE"}}),
            a_route("everything", [site.destination(pacs), "AI"]),
            a_route("from_the_er", "PACS", match={"source_aet": {"equals": "SCANNER"}}),
            a_route("emergency", "PACS", match={"accession_number": {"starts_with": "ER"}}),
        )
        site.start()
        eventually(lambda: site.router and site.router.site.table, what="the routes in force")

        flights = flown(site)

        assert {name: flight.outcome for name, flight in flights.items()} == {
            "knees": "delivered",
            "everything": "delivered",
            "from_the_er": "decided",
            "emergency": "untried",
        }
        assert {str(each.dataset.AccessionNumber) for each in ai.received} == {CANARY}
        assert pacs.received == []
        assert site.orthanc.client.lookup(CANARY) == [], "nothing is left in Orthanc"
        real = a_study().with_series("CT")
        real.in_(site.orthanc)
        site.wait_for(Status.SUCCESS, 1, destination="PACS")
        assert pacs.uids == real.uids, "a patient's study still goes everywhere"


def test_a_destination_that_does_not_take_its_canary_is_named_and_nothing_stays_behind(site: RoutedSite) -> None:
    with Peer("AI") as ai:
        site.routes(a_route("to_ai", site.destination(ai)))
    site.start()
    eventually(lambda: site.router and site.router.site.table, what="the routes in force")

    flight = flown(site, seconds=15)["to_ai"]

    assert flight.outcome == "failed"
    assert "AI" in flight.reason
    assert desk.deliveries(site.database, statuses={Status.PENDING, Status.FAILED, Status.STUCK}) == []
    assert remove(site.orthanc.client, site.database) == 0
