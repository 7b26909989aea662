"""`orthanc send`: what a person sends by hand is tracked like what a route sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.network import eventually
from tests.support.orthanc import OrthancServer
from tests.support.peers import Peer
from tests.support.postgres import PostgresServer
from tests.support.studies import a_study

from pacsops.delivery import desk
from pacsops.delivery.model import Event, Status
from pacsops.orthanc import ensure
from pacsops.router.service import Router


@pytest.fixture
def modlink(orthanc: OrthancServer) -> Iterator[Peer]:
    with Peer("MODLINK") as peer:
        ensure(orthanc.client, peer.modality())
        yield peer


@pytest.fixture
def router(site: Site) -> Iterator[Router]:
    """One with routes that send nothing anywhere."""
    site.settings.routes_file.write_text("routes: []")
    router = Router(site.settings)
    router.start()
    yield router
    router.stop()


def the_delivery(site: Site, status: Status) -> int:
    """The number of the only delivery, once it is in this state."""

    def found() -> int | None:
        deliveries = desk.deliveries(site.database)
        return deliveries[0].id if [delivery.status for delivery in deliveries] == [status] else None

    return eventually(found, within=20, what=f"one delivery being {status}")


def test_a_study_no_route_wants_is_sent_and_tracked(
    site: Site, orthanc: OrthancServer, modlink: Peer, router: Router, cli: CommandLine
) -> None:
    study = a_study(accession="ACC-1", patient_name="MÜLLER^JÖRG").with_series("CT", instances=3)
    study_id = study.in_(orthanc)
    ordered = cli.json("send", "ACC-1", "MODLINK")

    assert (ordered["study_id"], ordered["destination"], ordered["count"]) == (study_id, "MODLINK", 1)
    [delivery] = ordered["deliveries"]
    assert (delivery["route"], delivery["level"], delivery["was"]) == ("manual", "study", "new")
    assert delivery["instance_count"] == 3
    modlink.wait_for(3)
    number = the_delivery(site, Status.SUCCESS)
    assert number == delivery["id"]
    assert sorted(modlink.uids) == sorted(study.uids)
    events = [event.event for event in desk.timeline(site.database, study_id) if event.delivery_id == number]
    assert events == [Event.DELIVERY_ORDERED, Event.SEND_STARTED, Event.SEND_SUCCESS]
    shown = cli("history", "ACC-1").stdout
    assert "ORDERED BY HAND: MODLINK" in shown
    assert "By: " in shown


def test_what_was_delivered_before_is_sent_once_more_only_when_somebody_says_so(
    site: Site, orthanc: OrthancServer, modlink: Peer, router: Router, cli: CommandLine
) -> None:
    a_study(accession="ACC-2").with_series("CT").in_(orthanc)
    cli("send", "ACC-2", "MODLINK")
    number = the_delivery(site, Status.SUCCESS)

    refused = cli("send", "ACC-2", "MODLINK", "--yes")
    assert refused.exit_code == 2
    assert "--again" in refused.stderr
    declined, shown = cli.on_terminal("send", "ACC-2", "MODLINK", answers="n\n")
    assert declined == 1
    assert "once more?" in shown
    assert len(modlink.received) == 1

    again = cli.json("send", "ACC-2", "MODLINK", "--again")
    assert [delivery["id"] for delivery in again["deliveries"]] == [number]
    modlink.wait_for(2)
    the_delivery(site, Status.SUCCESS)


def test_images_that_came_since_go_out_alone(
    site: Site, orthanc: OrthancServer, modlink: Peer, router: Router, cli: CommandLine
) -> None:
    study = a_study(accession="ACC-3").with_series("CT", instances=2)
    study.in_(orthanc)
    cli("send", "ACC-3", "MODLINK")
    modlink.wait_for(2)
    the_delivery(site, Status.SUCCESS)
    study.with_series("SR").in_(orthanc)

    ordered = cli.json("send", "ACC-3", "MODLINK")

    assert [delivery["was"] for delivery in ordered["deliveries"]] == ["more images"]
    modlink.wait_for(3)
    the_delivery(site, Status.SUCCESS)
    assert sorted(modlink.uids) == sorted(study.uids), "none of the first two was sent again"


def test_one_series_by_its_number_or_identifier(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine
) -> None:
    study = a_study(accession="ACC-4").with_series("CT", instances=2).with_series("SR")
    study.in_(orthanc)
    numbers = [str(series.datasets[0].SeriesNumber) for series in study.series]

    by_number = cli.json("send", "ACC-4", "MODLINK", "--series", numbers[1])
    assert [(d["level"], d["instance_count"]) for d in by_number["deliveries"]] == [("series", 1)]
    by_id = cli("send", "ACC-4", "MODLINK", "--series", by_number["deliveries"][0]["resource_id"])
    assert by_id.exit_code == 1, "that series is on its way"
    unknown = cli("send", "ACC-4", "MODLINK", "--series", "99")
    assert unknown.exit_code == 2
    assert "CT" in unknown.stderr
    assert "SR" in unknown.stderr
    assert len(desk.deliveries(site.database)) == 1


def test_an_order_given_twice_is_one_delivery(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine
) -> None:
    a_study(accession="ACC-5").with_series("CT").in_(orthanc)
    assert cli("send", "ACC-5", "MODLINK").exit_code == 0
    twice = cli("send", "ACC-5", "MODLINK", "--json")

    assert twice.exit_code == 1
    assert "on its way already" in twice.stderr
    assert '"was": "on its way"' in twice.stdout
    assert len(desk.deliveries(site.database)) == 1


def test_what_is_stuck_gets_all_its_attempts_again(
    site: Site, orthanc: OrthancServer, modlink: Peer, router: Router, cli: CommandLine
) -> None:
    modlink.status = 0xC000
    a_study(accession="ACC-6").with_series("CT").in_(orthanc)
    cli("send", "ACC-6", "MODLINK")
    number = the_delivery(site, Status.STUCK)
    modlink.status = 0x0000

    ordered = cli.json("send", "ACC-6", "MODLINK")

    assert [(d["id"], d["was"]) for d in ordered["deliveries"]] == [(number, "stuck")]
    assert the_delivery(site, Status.SUCCESS) == number


def test_a_shared_accession_number_lists_who_is_meant(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine
) -> None:
    first = a_study(accession="ACC-7", patient_name="DOE^JOHN").with_series("CT").in_(orthanc)
    second = a_study(accession="ACC-7", patient_name="ÅS^ANNA").with_series("CT").in_(orthanc)
    refused = cli("send", "ACC-7", "MODLINK")

    assert refused.exit_code == 2
    for words in (first[:13], second[:13], "DOE^JOHN", "ÅS^ANNA"):
        assert words in refused.stderr
    assert cli("send", first, "MODLINK").exit_code == 0
    assert desk.deliveries(site.database)[0].study_id == first


def test_what_nobody_knows_is_named(site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine) -> None:
    study = a_study(accession="ACC-8").with_series("CT").in_(orthanc)
    assert "no study is known by 'NOBODY'" in cli("send", "NOBODY", "MODLINK").stderr
    wrong = cli("send", study, "MODLNIK")
    assert wrong.exit_code == 2
    assert "it has MODLINK" in wrong.stderr
    gone = site.promise("a study Orthanc does not hold")
    assert "no longer holds" in cli("send", gone.study_id[:13], "MODLINK").stderr


def test_an_old_study_sent_by_hand_is_no_business_of_the_routes(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine
) -> None:
    study_id = a_study(accession="ACC-9").with_series("CT").in_(orthanc)
    cli("send", "ACC-9", "MODLINK")

    with site.database.transaction() as tx:
        row = tx.one("SELECT * FROM routing_study WHERE study_id = %(study_id)s", study_id=study_id)
    assert row["evaluated_seq"] >= row["arrival_seq"], "it does not wait to be evaluated"
    assert row["evaluated_at"] is None, "nor does it pass for evaluated"


def test_a_destination_that_is_down_is_told_and_the_order_stands(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine
) -> None:
    site.stuck(to="MODLINK")
    a_study(accession="ACC-10").with_series("CT").in_(orthanc)
    ordered = cli("send", "ACC-10", "MODLINK")

    assert ordered.exit_code == 0
    assert "MODLINK is down since" in ordered.stderr


def test_without_orthanc_or_postgresql_nothing_is_ordered_and_it_says_which(
    site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine, postgres: PostgresServer
) -> None:
    a_study(accession="ACC-11").with_series("CT").in_(orthanc)
    orthanc.stop()
    without_orthanc = cli("send", "ACC-11", "MODLINK")
    assert without_orthanc.exit_code == 2
    assert "cannot reach Orthanc" in without_orthanc.stderr
    assert desk.deliveries(site.database) == []

    site.database.close()
    postgres.stop()
    without_both = cli("send", "ACC-11", "MODLINK")
    assert "cannot reach PostgreSQL" in without_both.stderr
    assert "cannot be tracked" in without_both.stderr


def test_on_a_terminal_it_asks_first(site: Site, orthanc: OrthancServer, modlink: Peer, cli: CommandLine) -> None:
    a_study(accession="ACC-12", patient_name="O'NEILL^ÉLODIE").with_series("CT").in_(orthanc)
    status, shown = cli.on_terminal("send", "ACC-12", "MODLINK", answers="n\n")

    assert status == 1
    assert "O'NEILL^ÉLODIE" in shown
    assert "Send 1 image to MODLINK?" in shown
    assert desk.deliveries(site.database) == []
    assert cli.on_terminal("send", "ACC-12", "MODLINK", answers="y\n")[0] == 0
    assert len(desk.deliveries(site.database)) == 1
