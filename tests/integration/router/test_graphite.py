"""The router tells Graphite how things are; what becomes of that is no delivery's business."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import replace

import pytest
from tests.support.graphite import Graphite
from tests.support.network import eventually
from tests.support.peers import BlackHole, Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study

from pacsops.delivery.model import Status
from pacsops.router import graphite

LINE = re.compile(r"orthanc\.prod(\.[A-Za-z0-9_-]+)+ [0-9.e+-]+ [0-9]{10}\n")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphite, "PUSH_SECONDS", 0.1)


def tells(site: RoutedSite, port: int, host: str = "127.0.0.1") -> None:
    site.settings = replace(site.settings, graphite_host=host, graphite_port=port, graphite_prefix="orthanc.prod")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("graphite_")]


def test_a_study_is_seen_to_come_and_to_arrive(site: RoutedSite) -> None:
    with Peer("PACS") as peer, Graphite() as listening:
        tells(site, listening.port)
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        a_study().with_series("CT", instances=2).in_(site.orthanc)
        site.wait_for(Status.SUCCESS)

        eventually(
            lambda: [number for number, _ in listening.values("orthanc.prod.routing.PACS.success")][-1:] == [1],
            what="Graphite being told of the delivery",
        )

        assert listening.values("orthanc.prod.routing.received")[-1][0] == 1
        assert listening.values("orthanc.prod.routing.PACS.latency_ms.p95")[-1][0] > 0
        assert listening.values("orthanc.prod.up.router")[-1][0] == 1
        assert [line for line in listening.lines if not LINE.fullmatch(line)] == []


def test_a_graphite_that_goes_and_comes_back_costs_two_lines_and_no_delivery(
    site: RoutedSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pacsops")
    with Peer("PACS") as peer, Graphite() as listening:
        tells(site, listening.port)
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        eventually(lambda: listening.lines, what="Graphite being told")

        listening.stop()
        eventually(lambda: said(caplog) == ["graphite_away"], what="its absence being noticed")
        away_at = time.time()
        for _ in range(3):
            a_study().with_series("CT").in_(site.orthanc)
        site.wait_for(Status.SUCCESS, 3)
        back_at = time.time()
        listening.start()

        eventually(lambda: said(caplog) == ["graphite_away", "graphite_back"], what="its return being noticed")
        eventually(
            lambda: [number for number, _ in listening.values("orthanc.prod.routing.received")][-1] == 3,
            what="Graphite being told again",
        )
        times = [at for _, at in listening.values("orthanc.prod.routing.received")]
        assert not [at for at in times if away_at + 1 < at < back_at - 1], "what it missed is not told later"
        assert site.trouble("graphite") is None


def test_one_that_takes_nothing_holds_up_no_delivery_and_no_stop(site: RoutedSite) -> None:
    with Peer("PACS") as peer, BlackHole() as silent:
        tells(site, silent.port)
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        a_study().with_series("CT").in_(site.orthanc)

        site.wait_for(Status.SUCCESS)
        site.stop()


@pytest.mark.parametrize(("host", "port"), [("a..b", 2003), ("127.0.0.1", 99999)])
def test_one_that_cannot_be_is_told_once_like_one_that_is_away(
    site: RoutedSite, caplog: pytest.LogCaptureFixture, host: str, port: int
) -> None:
    caplog.set_level(logging.INFO, "pacsops")
    tells(site, port, host)
    push = graphite.GraphitePush(site.settings, site.database)

    for _ in range(3):
        push.step()
    push.close()

    assert said(caplog) == ["graphite_away"]


def test_while_orthanc_is_away_graphite_is_told_that(site: RoutedSite) -> None:
    with Graphite() as listening:
        tells(site, listening.port)
        site.orthanc.stop()
        push = graphite.GraphitePush(site.settings, site.database)
        push.step()
        push.close()

        eventually(lambda: listening.values("orthanc.prod.up.orthanc"), what="Graphite being told")
        assert listening.values("orthanc.prod.up.orthanc")[0][0] == 0
        assert listening.values("orthanc.prod.up.postgres")[0][0] == 1


def test_without_a_host_nobody_is_told(site: RoutedSite) -> None:
    site.routes()
    site.start()

    assert "graphite" not in {thread.name for thread in threading.enumerate()}
