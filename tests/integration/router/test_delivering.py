"""A study arrives at Orthanc and reaches its destinations."""

from __future__ import annotations

from tests.support.network import eventually
from tests.support.peers import Peer
from tests.support.router import RoutedSite, a_route
from tests.support.studies import a_study, results_for

from pacsops.delivery import desk
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.model import Event, Status


def test_a_study_reaches_every_destination_of_its_route(site: RoutedSite) -> None:
    with Peer("PACS_A") as first, Peer("PACS_B") as second:
        site.routes(a_route("all", [site.destination(first), site.destination(second)]))
        site.start()
        study = a_study().with_series("CT", instances=3)
        study_id = study.in_(site.orthanc)

        site.wait_for(Status.SUCCESS, 2)

        assert sorted(first.uids) == sorted(second.uids) == sorted(study.uids)
        assert site.events(study_id)[:2] == [Event.STUDY_RECEIVED, Event.ROUTE_MATCHED]
        assert site.events(study_id).count(Event.SEND_SUCCESS) == 2


def test_only_the_largest_image_goes_where_the_route_says_so(site: RoutedSite) -> None:
    with Peer("MERCURE") as peer:
        route = a_route(
            "bone_length_to_ai",
            site.destination(peer),
            match={"study_description": {"contains": "bone length"}, "manufacturer": {"not_equals": "STANFORDAIDE"}},
            send="highest_resolution",
        )
        site.routes(route)
        site.start()
        study = a_study(description="BONE LENGTH").with_series("CR", sizes=[(64, 64), (256, 128), (128, 128)])
        study.in_(site.orthanc)

        site.wait_for(Status.SUCCESS)

        assert [(r.dataset.Rows, r.dataset.Columns) for r in peer.received] == [(256, 128)]


def test_what_a_destination_sent_back_is_not_sent_to_it_again(site: RoutedSite) -> None:
    with Peer("MERCURE") as peer:
        name = site.destination(peer)
        site.routes(a_route("everything", name), a_route("echoing", name, send="series", send_back=True))
        site.start()
        study = a_study().with_series("CR")
        study.in_(site.orthanc, calling_aet="SCANNER")
        site.wait_for(Status.SUCCESS, 2)

        result = results_for(study.datasets[0]).with_series("SC", manufacturer="STANFORDAIDE")
        result.in_(site.orthanc, calling_aet="MERCURE")

        site.wait_for(Status.SUCCESS, 3)
        sent_by = {delivery.route for delivery in site.deliveries() if delivery.level == "series"}
        assert sent_by == {"echoing"}
        assert sorted(peer.uids) == sorted(study.uids * 2 + result.uids)


def test_a_study_that_grows_after_its_delivery_sends_only_what_is_new(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        site.routes(a_route("all", site.destination(peer)))
        site.start()
        study = a_study().with_series("CT", instances=2)
        study_id = study.in_(site.orthanc)
        site.wait_for(Status.SUCCESS)

        study.with_series("CT", instances=1).in_(site.orthanc)

        peer.wait_for(3)
        site.wait_for(Status.SUCCESS)
        assert sorted(peer.uids) == sorted(study.uids)
        assert Event.DELIVERY_GREW in site.events(study_id)


def test_a_study_no_route_wants_is_known_all_the_same(site: RoutedSite) -> None:
    site.routes()
    site.start()
    study = a_study(accession="ACC-1").with_series("CT")
    study_id = study.in_(site.orthanc)

    eventually(lambda: Event.ROUTE_NO_MATCH in site.events(study_id), what="the verdict")

    assert desk.find_study(site.database, "ACC-1").study_id == study_id
    assert desk.find_study(site.database, study.study_uid).matched_routes == ()


def test_a_tag_orthanc_does_not_index_decides_too(site: RoutedSite) -> None:
    with Peer("PACS") as peer:
        name = site.destination(peer)
        site.routes(a_route("portable", name, match={"PatientComments": {"equals": "portable"}}, send="instance"))
        site.start()
        wanted = a_study().with_series("CR", attributes={"PatientComments": "PORTABLE"})
        wanted.with_series("CR")
        wanted.in_(site.orthanc)

        site.wait_for(Status.SUCCESS)

        assert peer.uids == wanted.uids[:1]


def test_a_router_that_was_stopped_is_not_said_to_run(site: RoutedSite) -> None:
    site.routes()
    site.start()
    eventually(lambda: (beat := ROUTER.newest(site.database)) and beat.alive, what="a sign of life")

    site.stop()

    beat = ROUTER.newest(site.database)
    assert beat is not None
    assert not beat.alive
