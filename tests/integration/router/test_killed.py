"""The router killed at every transition: nothing is lost, and nothing is sent twice that need not be."""

from __future__ import annotations

import signal

import pytest
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery.model import Status

SENDS_ONCE = [
    ("pacsops.delivery.studies:evaluated", "before"),
    ("pacsops.delivery.studies:evaluated", "after"),
    ("pacsops.delivery.studies:advance", "before"),
    ("pacsops.delivery.claims:claim", "after"),
    ("pacsops.router.dispatcher:submit_store", "before"),
    ("pacsops.router.dispatcher:submit_store", "after"),
    ("pacsops.delivery.outcomes:submitted", "before"),
    ("pacsops.delivery.outcomes:submitted", "after"),
    ("pacsops.delivery.outcomes:finish", "before"),
    ("pacsops.delivery.outcomes:finish", "after"),
]


@pytest.mark.parametrize(("point", "moment"), SENDS_ONCE)
def test_a_router_killed_at_any_point_delivers_once_after_its_restart(
    site: RoutedSite, point: str, moment: str
) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start_process(killed_at=(point, moment))
        study = a_study().with_series("CT", instances=2)
        study.in_(site.orthanc)
        assert site.wait_for_process() == -signal.SIGKILL, site.log

        site.start_process()

        site.wait_for(Status.SUCCESS)
        assert sorted(peer.uids) == sorted(study.uids)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_router_killed_while_it_writes_a_failure_down_tries_again(site: RoutedSite, moment: str) -> None:
    with Peer("PACS", status=0xA700) as peer:
        site.routes(a_route("all", site.destination(peer), retry={"max_attempts": 10}))
        site.start_process(killed_at=("pacsops.delivery.outcomes:fail", moment))
        study = a_study().with_series("CT")
        study.in_(site.orthanc)
        assert site.wait_for_process() == -signal.SIGKILL, site.log
        peer.status = 0x0000

        site.start_process()

        site.wait_for(Status.SUCCESS)
        assert set(peer.uids) == set(study.uids)
