"""Destinations that refuse, hang, reject, fill up, vanish or were never configured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydicom.uid import MRImageStorage
from tests.support.network import eventually
from tests.support.peers import BlackHole, Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery import breaker, desk
from pacsops.delivery.model import Event, Status
from pacsops.orthanc import ensure
from pacsops.router import dispatcher


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orthanc waits two seconds for a destination instead of thirty."""
    monkeypatch.setattr(dispatcher, "submit_store", partial(dispatcher.submit_store, timeout=2))


def test_a_destination_that_is_down_makes_its_delivery_stuck_and_its_return_revives_it(site: RoutedSite) -> None:
    with Peer("MODLINK") as peer:
        peer.stop()
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("SR")
        study_id = study.in_(site.orthanc)
        (delivery,) = site.wait_for(Status.STUCK)
        assert (delivery.attempt_count, delivery.last_error_class) == (3, "refused")
        assert desk.destination_health(site.database)["MODLINK"].breaker == "open"

        peer.start()

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids
        assert Event.DELIVERY_REVIVED in site.events(study_id)


@pytest.mark.parametrize(
    ("make", "error_class"),
    [
        (lambda: Peer("PEER", hangs=True), "timeout"),
        (lambda: Peer("PEER", rejects=True), "rejected-association"),
        (lambda: Peer("PEER", status=0xA700), "out-of-resources"),
        (lambda: Peer("PEER", drops=True), "aborted"),
    ],
    ids=["hanging", "rejecting", "full", "disappearing"],
)
def test_a_destination_that_recovers_gets_what_it_missed(
    site: RoutedSite, make: Callable[[], Peer], error_class: str
) -> None:
    with make() as peer:
        site.routes(a_route("all", site.destination(peer), retry={"max_attempts": 2}))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        eventually(
            lambda: any(delivery.last_error_class == error_class for delivery in site.deliveries()),
            within=40,
            what=f"an attempt failing as {error_class}",
        )

        peer.hangs = peer.drops = False
        peer.status = 0x0000
        if peer.rejects:
            peer.stop()
            peer.rejects = False
            peer.start()

        site.wait_for(Status.SUCCESS, within=40)
        assert set(peer.uids) == set(study.uids)


def test_a_destination_that_takes_the_connection_and_says_nothing_times_out(site: RoutedSite) -> None:
    with BlackHole() as silent:
        site.routes(a_route("all", site.destination(silent), retry={"max_attempts": 1}))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        (delivery,) = site.wait_for(Status.STUCK, within=40)
        assert delivery.last_error_class == "timeout"


@pytest.mark.parametrize(
    ("peer_options", "error_class"),
    [({"sop_classes": [MRImageStorage]}, "no-presentation-context"), ({"status": 0xC000}, "peer-status")],
    ids=["another SOP class", "cannot understand"],
)
def test_what_another_attempt_cannot_mend_is_stuck_at_once(
    site: RoutedSite, peer_options: dict[str, Any], error_class: str
) -> None:
    with Peer("PACS", **peer_options) as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        (delivery,) = site.wait_for(Status.STUCK)

        assert (delivery.attempt_count, delivery.last_error_class) == (1, error_class)
        assert desk.destination_health(site.database)["PACS"].breaker == "closed"


def test_a_destination_that_is_not_configured_is_waited_for(site: RoutedSite) -> None:
    with Peer("MODLNK") as peer:
        site.routes(a_route("typo", "MODLNK"))
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        eventually(
            lambda: site.deliveries() and site.deliveries()[0].last_error_class == "unknown-destination",
            what="the delivery waiting",
        )
        (delivery,) = site.wait_for(Status.PENDING)
        assert delivery.attempt_count == 0
        in_force = desk.routes_in_force(site.database)
        assert in_force is not None and "MODLNK" in str(in_force.problems)

        ensure(site.orthanc.client, peer.modality())

        site.wait_for(Status.SUCCESS)
        assert peer.uids == study.uids
        eventually(lambda: not desk.routes_in_force(site.database).problems, what="the warning going away")  # type: ignore[union-attr]


def test_ten_thousand_deliveries_to_a_dead_destination_delay_no_other(site: RoutedSite) -> None:
    """Not a timing: the other destination's delivery is claimed in the first rounds, not after the ten thousand."""
    with Peer("ALIVE") as alive, Peer("DEAD") as dead:
        dead.stop()
        site.routes(a_route("both", [site.destination(dead), site.destination(alive)]))
        with site.database.transaction() as tx:
            breaker.know(tx, "DEAD")
            tx.run(
                """
                INSERT INTO routing_state (level, resource_id, route_name, destination, study_id, instances,
                                           content_fingerprint, route_version, max_attempts, priority)
                SELECT 'study', 'r' || n, 'both', 'DEAD', 'r' || n, ARRAY['i' || n], '', '', 100, 1
                  FROM generate_series(1, 10000) AS n
                """
            )
        site.start()
        study = a_study().with_series("CT")
        study.in_(site.orthanc)

        alive.wait_for(1)

        waiting = desk.destination_health(site.database)["DEAD"]
        assert waiting.waiting + waiting.stuck == 10_001
        assert alive.uids == study.uids
