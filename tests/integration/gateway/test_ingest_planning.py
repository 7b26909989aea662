"""When the gateway's routes are asked about what came, and what they promise."""

from __future__ import annotations

import shutil
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.deliveries import forget_everything
from tests.support.spool import SpooledGateway, a_gateway_route, deliver_all
from tests.support.studies import a_study, results_for

from pacsops.delivery.model import Event, Status
from pacsops.dicom.synthetic import CANARY
from pacsops.gateway.planning import Planner
from pacsops.routes import Source, load_routes

QUIET = 3600.0


def settle(spooled: SpooledGateway) -> None:
    """As long as it takes, nothing came; then the gateway looks."""
    with spooled.database.transaction() as tx:
        tx.run("UPDATE gateway_series SET last_received_at = now() - make_interval(secs => %(age)s)", age=QUIET + 1)
    spooled.ingest.settle()


@pytest.fixture
def complete(spooled: SpooledGateway) -> SpooledGateway:
    """Whose spool was looked through."""
    spooled.ingest.scan()
    return spooled


def test_a_series_is_sent_when_nothing_has_come_into_it_for_a_while(complete: SpooledGateway) -> None:
    complete.routes(a_gateway_route("ai", "ARCHIVE", send="series", when="series_stable", match={"modality": "CT"}))
    study = a_study().with_series("CT", instances=2).with_series("CT", instances=1).with_series("MR")
    names = complete.take(study.datasets[:3])
    complete.ingest.settle()
    assert complete.deliveries() == []

    settle(complete)
    first = complete.promised()
    assert first == {("ai", "ARCHIVE"): set(names)}
    assert len(complete.deliveries()) == 2

    # One more image: its series waits anew, and grows by it alone.
    deliver_all(complete.database)
    study.series[0].add_instance()
    more = complete.take([study.series[0].datasets[-1]])
    complete.ingest.settle()
    assert {delivery.status for delivery in complete.deliveries()} == {Status.SUCCESS}
    settle(complete)
    assert complete.promised() == {("ai", "ARCHIVE"): {*names, *more}}
    assert sorted(delivery.status for delivery in complete.deliveries()) == [Status.PENDING, Status.SUCCESS]


def test_a_series_that_is_still_coming_is_not_sent_with_one_that_is_whole(complete: SpooledGateway) -> None:
    complete.routes(a_gateway_route("ai", "ARCHIVE", send="study", when="series_stable"))
    study = a_study().with_series("CT", instances=2).with_series("MR", instances=2)
    whole = complete.take(study.series[0].datasets)
    with complete.database.transaction() as tx:
        tx.run("UPDATE gateway_series SET last_received_at = now() - interval '2 hours'")
    coming = complete.take(study.series[1].datasets[:1])
    complete.ingest.settle()
    assert complete.promised() == {("ai", "ARCHIVE"): set(whole)}

    settle(complete)
    assert complete.promised() == {("ai", "ARCHIVE"): {*whole, *coming}}


def test_a_study_is_sent_when_all_of_its_series_are_quiet(complete: SpooledGateway) -> None:
    complete.routes(
        a_gateway_route("best", "ARCHIVE", send="highest_resolution", when="study_stable"),
        a_gateway_route("all", "PACS"),
    )
    study = a_study().with_series("CR", sizes=[(16, 16), (64, 64)]).with_series("CR", sizes=[(32, 32)])
    complete.take(study.series[0].datasets)
    with complete.database.transaction() as tx:
        tx.run("UPDATE gateway_series SET last_received_at = now() - interval '2 hours'")
    complete.take(study.series[1].datasets)
    complete.ingest.settle()
    assert {delivery.route for delivery in complete.deliveries()} == {"all"}

    settle(complete)
    largest = f"{study.study_uid}/{study.series[0].datasets[1].SOPInstanceUID}.dcm"
    assert complete.promised()["best", "ARCHIVE"] == {largest}


def test_a_study_that_no_route_takes_is_told_of_when_it_is_whole(complete: SpooledGateway) -> None:
    complete.routes(a_gateway_route("mr", "PACS", match={"modality": "MR"}))
    study = a_study().with_series("CT", instances=2)
    complete.take(study.datasets[:1])
    complete.take(study.datasets[1:])
    assert Event.ROUTE_NO_MATCH not in complete.events(study.study_uid)

    settle(complete)
    complete.ingest.settle()
    assert complete.events(study.study_uid).count(Event.ROUTE_NO_MATCH) == 1
    assert complete.deliveries() == []


def test_nothing_is_called_whole_before_the_spool_was_looked_through(spooled: SpooledGateway) -> None:
    spooled.routes(a_gateway_route("all", "PACS", when="study_stable"))
    study = a_study().with_series("CT", instances=2)
    spooled.take(study.datasets[:1])
    rest = spooled.write(study.datasets[1:])
    settle(spooled)
    assert spooled.deliveries() == []

    spooled.ingest.scan()
    settle(spooled)
    (delivery,) = spooled.deliveries()
    assert delivery.instance_count == 2
    assert rest


def test_what_a_destination_sent_does_not_go_back_to_it(complete: SpooledGateway) -> None:
    complete.routes(
        a_gateway_route("all", ["PACS", "ARCHIVE"]),
        a_gateway_route("back", "PACS", send="instance", match={"modality": "SR"}, send_back=True),
    )
    study = a_study().with_series("CT")
    original = complete.take(study, sender="SCANNER")
    report = results_for(study.datasets[0]).with_series("SR")
    result = complete.take(report, sender="PACS")

    assert complete.promised() == {
        ("all", "PACS"): set(original),
        ("all", "ARCHIVE"): {*original, *result},
        ("back", "PACS"): set(result),
    }


def test_a_study_for_a_pool_goes_to_one_member_in_turn_and_stays_with_it(complete: SpooledGateway) -> None:
    complete.routes(a_gateway_route("ai", "AI"), a_gateway_route("all", "PACS"))
    found = [a_study().with_series("CT", instances=2) for _ in range(4)]
    for study in found:
        complete.take(study.datasets[:1])
    for study in found:
        complete.take(study.datasets[1:])
    # What a worker makes of it goes to the PACS, and to no worker.
    for study in found:
        complete.take(results_for(study.datasets[0]).with_series("SR"), sender="AI1")

    chosen = {delivery.study_id: delivery for delivery in complete.deliveries() if delivery.route == "ai"}
    assert [chosen[study.study_uid].destination for study in found] == ["AI-1", "AI-2", "AI-1", "AI-2"]
    assert {delivery.instance_count for delivery in chosen.values()} == {2}
    assert len([delivery for delivery in complete.deliveries() if delivery.route == "ai"]) == 4
    assert {d.instance_count for d in complete.deliveries() if d.destination == "PACS"} == {3}


def test_orthancs_routes_take_nothing_of_the_gateways(complete: SpooledGateway) -> None:
    orthancs = a_gateway_route("inside", "PACS") | {"source": "orthanc"}
    complete.routes(orthancs, a_gateway_route("edge", "ARCHIVE"))
    complete.take(a_study().with_series("CT"))
    assert [(delivery.route, delivery.destination) for delivery in complete.deliveries()] == [("edge", "ARCHIVE")]


def test_a_canary_goes_only_where_canaries_may(complete: SpooledGateway) -> None:
    study = a_study(accession=CANARY).with_series("CT")
    complete.take(study)
    assert complete.deliveries() == []

    planner = Planner(complete.spool, lambda: complete.configuration, canaries=frozenset({"PACS"}))
    planner.table = load_routes(complete.planner.table.text if complete.planner.table else "").of(Source.GATEWAY)
    with complete.database.transaction() as tx:
        evaluation = planner.evaluate(tx, study.study_uid)
    assert evaluation is not None
    assert [chosen.destination for chosen in evaluation.selections] == ["PACS"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(["take", "restart", "scan", "deliver", "settle"]), min_size=3, max_size=10),
    st.randoms(use_true_random=False),
)
def test_however_images_trickle_in_all_of_them_are_promised(
    spooled: SpooledGateway, steps: list[str], random: Random
) -> None:
    """By a route that waits for nothing and by one that waits for whole studies, each image once."""
    forget_everything(spooled.database)
    for folder in spooled.spool.glob("[0-9]*"):
        shutil.rmtree(folder)
    spooled.routes(a_gateway_route("all", "PACS"), a_gateway_route("whole", "ARCHIVE", when="study_stable"))
    spooled.restart()
    study = a_study().with_series("CT", instances=6).with_series("MR", instances=6)
    coming = study.datasets
    random.shuffle(coming)
    for step in [*steps, "scan", "settle"]:
        match step:
            case "take":
                names = spooled.write(coming[:3])
                spooled.ingest.take(names[:2])  # the hint of the third is lost
                coming = coming[3:]
            case "restart":
                spooled.restart()
            case "scan":
                spooled.ingest.scan()
            case "deliver":
                deliver_all(spooled.database)
            case "settle":
                settle(spooled)

    written = spooled.files()
    expected = {("all", "PACS"): written, ("whole", "ARCHIVE"): written} if written else {}
    assert spooled.promised() == expected
    rows = spooled.rows("SELECT cardinality(instances) AS n FROM routing_state")
    assert {row["n"] for row in rows} <= {len(written)}
