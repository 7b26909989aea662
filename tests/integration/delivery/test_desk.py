"""What an operator asks and orders: every order in every state, and finding a study by what is at hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.deliveries import (
    NO_CONTEXT,
    REFUSED,
    events,
    health,
    identity,
    in_flight,
    in_state,
    limit,
    one_in_each_state,
    planned,
    promise,
    row,
    rows,
    selection,
    state,
    take,
)

from pacsops.database import Database
from pacsops.delivery import claims, desk, outcomes, studies
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import OPEN, Delivery, Event, Status
from pacsops.delivery.studies import Evaluation
from pacsops.errors import AmbiguousStudy, UnknownStudy

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
RETRIED = {Status.FAILED, Status.STUCK}
FORCED = RETRIED | {Status.PENDING, Status.SKIPPED, Status.CANCELLED, Status.SUCCESS}
EVERYTHING = DeliveryFilter()


def skip(database: Database, wanted: DeliveryFilter, *, dry_run: bool = False) -> list[Delivery]:
    return desk.skip(database, wanted, reason="not needed", by="operator", dry_run=dry_run)


def cancel(database: Database, wanted: DeliveryFilter, *, dry_run: bool = False) -> list[Delivery]:
    return desk.cancel(database, wanted, reason="a mistake", by="operator", dry_run=dry_run)


def retry(database: Database, wanted: DeliveryFilter, *, dry_run: bool = False) -> list[Delivery]:
    return desk.retry(database, wanted, by="operator", dry_run=dry_run)


def forced_retry(database: Database, wanted: DeliveryFilter, *, dry_run: bool = False) -> list[Delivery]:
    return desk.retry(database, wanted, by="operator", force=True, dry_run=dry_run)


Order = Callable[..., list[Delivery]]
ORDERS = [skip, cancel, retry, forced_retry]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(
    ("order", "applies_to"), [(retry, RETRIED), (forced_retry, FORCED)], ids=["retry", "forced retry"]
)
def test_a_retry_starts_over_what_it_applies_to(
    database: Database, order: Order, applies_to: set[Status], status: Status
) -> None:
    delivery_id, _ = in_state(database, status)
    before = row(database, delivery_id)

    chosen = order(database, EVERYTHING)

    after = row(database, delivery_id)
    if status not in applies_to:
        assert (chosen, after) == ([], before)
        return
    assert [(delivery.id, delivery.status) for delivery in chosen] == [(delivery_id, status)]
    assert (after["status"], after["attempt_count"], after["completed_at"]) == (Status.PENDING, 0, None)
    assert events(database, delivery_id)[-1] is Event.DELIVERY_RETRIED
    assert take(database).attempt == 1


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(
    ("order", "leads_to", "event"),
    [
        (skip, Status.SKIPPED, Event.DELIVERY_SKIPPED),
        (cancel, Status.CANCELLED, Event.DELIVERY_CANCELLED),
    ],
    ids=["skip", "cancel"],
)
def test_any_open_delivery_can_be_taken_back_and_nothing_else(
    database: Database, order: Order, leads_to: Status, event: Event, status: Status
) -> None:
    delivery_id, _ = in_state(database, status)
    before = row(database, delivery_id)

    chosen = order(database, EVERYTHING)

    if status not in OPEN:
        assert (chosen, row(database, delivery_id)) == ([], before)
        return
    assert [delivery.status for delivery in chosen] == [status]
    assert state(database, delivery_id) is leads_to
    assert row(database, delivery_id)["attempt_instances"] == []
    assert events(database, delivery_id)[-1] is event
    assert claims.claim(database, "host:1") == []


@pytest.mark.parametrize("status", [Status.SENDING, Status.SENT])
@pytest.mark.parametrize("order", [skip, cancel])
def test_what_is_taken_back_while_it_is_sent_ignores_how_that_ends(
    database: Database, order: Order, status: Status
) -> None:
    delivery_id, claim = in_state(database, status)
    assert claim is not None
    order(database, EVERYTHING)
    before = row(database, delivery_id)

    assert claims.heartbeat(database, [claim.token]) == frozenset()
    assert not outcomes.finish(database, claim, duration_ms=1)
    assert not outcomes.fail(database, claim, REFUSED).held

    assert row(database, delivery_id) == before
    assert in_flight(database, "PACS") == 0
    assert health(database)["consecutive_failures"] == 0


@pytest.mark.parametrize("order", ORDERS)
def test_a_dry_run_tells_what_would_change_and_changes_nothing(database: Database, order: Order) -> None:
    one_in_each_state(database)
    before = rows(database)
    said = [events(database, found["id"]) for found in before]

    would = order(database, EVERYTHING, dry_run=True)

    assert rows(database) == before
    assert [events(database, found["id"]) for found in before] == said
    assert would == order(database, EVERYTHING) != []


def test_a_forced_retry_sends_a_delivered_study_again_whole(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.SUCCESS, instances=("a", "b"))

    forced_retry(database, EVERYTHING)

    again = take(database)
    assert again.instances == ("a", "b")
    outcomes.finish(database, again, duration_ms=1)
    assert state(database, delivery_id) is Status.SUCCESS


def test_a_retry_sends_only_what_has_not_arrived(database: Database) -> None:
    in_state(database, Status.SUCCESS, instances=("a",))
    planned(database, selection(instances=("a", "b")))
    outcomes.fail(database, take(database), NO_CONTEXT)

    forced_retry(database, EVERYTHING)

    assert take(database).instances == ("b",)


def test_an_order_names_who_gave_it_and_why(database: Database) -> None:
    delivery_id = promise(database)
    cancel(database, EVERYTHING)

    (event,) = [event for event in desk.timeline(database, "study") if event.event is Event.DELIVERY_CANCELLED]

    assert event.detail == {"reason": "a mistake", "by": "operator"}
    assert (event.delivery_id, event.route, event.destination) == (delivery_id, "all", "PACS")


@pytest.fixture
def four(database: Database) -> dict[str, int]:
    """Ids of deliveries that differ in one thing from the first."""
    return {
        "first": promise(database, "A", study="s1", route="r1"),
        "study": promise(database, "A", study="s2", route="r1"),
        "destination": promise(database, "B", study="s1", route="r1"),
        "route": promise(database, "A", study="s1", route="r2"),
    }


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        (DeliveryFilter(study_ids=("s1",)), {"study"}),
        (DeliveryFilter(destination="A"), {"destination"}),
        (DeliveryFilter(route="r1"), {"route"}),
        (DeliveryFilter(study_ids=("s1",), destination="A", route="r1"), {"study", "destination", "route"}),
        (DeliveryFilter(statuses=frozenset({Status.FAILED})), {"first", "study", "destination", "route"}),
        (DeliveryFilter(statuses=frozenset({Status.PENDING, Status.SUCCESS})), set()),
        (DeliveryFilter(delivery_ids=(10_000,)), {"first", "study", "destination", "route"}),
    ],
    ids=["study", "destination", "route", "all", "status", "statuses", "number"],
)
def test_an_order_reaches_only_what_everything_given_names(
    database: Database, four: dict[str, int], wanted: DeliveryFilter, others: set[str]
) -> None:
    chosen = skip(database, wanted)

    assert {delivery.id for delivery in chosen} == {four[name] for name in four.keys() - others}
    assert {name for name, delivery_id in four.items() if state(database, delivery_id) is Status.PENDING} == others


def test_deliveries_are_read_by_status_study_destination_and_change(database: Database) -> None:
    done, _ = in_state(database, Status.SUCCESS, "A", study="s1")
    waiting = promise(database, "B", study="s2")

    def ids(found: list[Delivery]) -> list[int]:
        return [delivery.id for delivery in found]

    assert ids(desk.deliveries(database)) == [done, waiting]
    assert ids(desk.deliveries(database, statuses=[Status.SUCCESS])) == [done]
    assert ids(desk.deliveries(database, statuses=[])) == []
    assert ids(desk.deliveries(database, study_id="s2")) == [waiting]
    assert ids(desk.deliveries(database, destination="A")) == [done]
    assert ids(desk.deliveries(database, limit=1)) == [done]
    assert ids(desk.deliveries(database, since=datetime.now(UTC) + timedelta(days=1))) == []


def test_a_delivery_tells_how_much_of_it_has_arrived(database: Database) -> None:
    in_state(database, Status.SUCCESS, instances=("a", "b"))
    planned(database, selection(instances=("a", "b", "c")))

    (delivery,) = desk.deliveries(database)

    assert (delivery.delivered_count, delivery.instance_count) == (2, 3)


def know(database: Database, study: str, *matched: str, **identifying: object) -> None:
    made = Evaluation(
        study=identity(study, **identifying),
        as_of_seq=1,
        last_update="20261121T120000",
        instance_count=1,
        sender_aet="SCANNER",
        matched_routes=matched,
        selections=(),
        route_version="v1",
    )
    with database.transaction() as tx:
        studies.evaluated(tx, made)


ORTHANC_ID = "66c8e41e-ac3a9029-0b85e42a-8195ee0a-92c2e62e"


@pytest.mark.parametrize("name", [ORTHANC_ID, ORTHANC_ID[:6], f"  {ORTHANC_ID}\n", "1.2.840.1", "ACC-1"])
def test_a_study_is_found_by_what_is_at_hand(database: Database, name: str) -> None:
    know(database, ORTHANC_ID, study_uid="1.2.840.1", accession_number="ACC-1")
    know(database, "another", study_uid="1.2.840.10", accession_number="ACC-10")

    assert desk.find_study(database, name).study_id == ORTHANC_ID


@pytest.mark.parametrize(
    "name", ["", ORTHANC_ID[:5], "%%%%%%", "______", "66c8e%", "66c8e_", "\\%\\%\\%", "ACC", "1.2.84"]
)
def test_an_unknown_name_finds_nothing_whatever_it_is_made_of(database: Database, name: str) -> None:
    know(database, ORTHANC_ID, study_uid="1.2.840.1", accession_number="ACC-1")

    with pytest.raises(UnknownStudy) as caught:
        desk.find_study(database, name)
    assert caught.value.hint


def test_an_accession_number_of_several_studies_names_them_all(database: Database) -> None:
    know(database, "study-a", accession_number="ACC-1", study_description="CHEST")
    know(database, "study-b", accession_number="ACC-1")

    with pytest.raises(
        AmbiguousStudy, match=r"2 studies [^\n]*\n  study-b .*no description\n  study-a .*CHEST"
    ) as told:
        desk.find_study(database, "ACC-1")
    assert "study-b" in (told.value.hint or "")


def test_a_whole_identifier_wins_over_the_beginning_of_another(database: Database) -> None:
    know(database, "abcdef")
    know(database, "abcdef-1")
    know(database, "abcdef-2")

    assert desk.find_study(database, "abcdef").study_id == "abcdef"
    with pytest.raises(AmbiguousStudy):
        desk.find_study(database, "abcdef-")


def test_the_counts_tell_what_waits_and_what_is_stuck(database: Database) -> None:
    for status in one_in_each_state(database):
        know(database, f"study-{status}", "all")
    know(database, "unmatched")

    found = desk.counts(database, LONG_AGO)

    assert (found.received, found.matched, found.completed) == (9, 8, 3)
    assert (found.pending, found.pending_studies) == (4, 4)
    assert (found.stuck, found.stuck_studies) == (1, 1)
    assert found.failed == 2
    assert found.oldest_pending_seconds is not None


def test_the_counts_of_an_idle_site_are_nought(database: Database) -> None:
    found = desk.counts(database, LONG_AGO)

    assert (found.received, found.pending, found.stuck, found.failed) == (0, 0, 0, 0)
    assert found.oldest_pending_seconds is None


def test_each_route_tells_what_it_matched_and_what_became_of_it(database: Database) -> None:
    in_state(database, Status.SUCCESS, "A", study="s1", route="one")
    in_state(database, Status.STUCK, "B", study="s1", route="one")
    promise(database, "C", study="s2", route="one")
    promise(database, "C", study="s2", route="two")

    found = desk.route_counts(database, LONG_AGO)

    def of(route: str) -> tuple[int, ...]:
        return tuple(found[route][key] for key in ("matched", "success", "waiting", "stuck"))

    assert (of("one"), of("two")) == ((2, 1, 1, 1), (1, 0, 1, 0))


def test_each_destination_tells_what_waits_for_it(database: Database) -> None:
    limit(database, "A", 4)
    in_state(database, Status.STUCK, "A", study="s1")
    in_state(database, Status.SENT, "A", study="s2")
    promise(database, "A", study="s3")
    in_state(database, Status.SUCCESS, "B", study="s4")

    found = desk.destination_health(database)

    assert (found["A"].max_concurrency, found["A"].waiting, found["A"].stuck) == (4, 2, 1)
    assert (found["B"].waiting, found["B"].stuck) == (0, 0)
    assert (desk.open_deliveries(database, "A"), desk.open_deliveries(database, "B")) == (3, 0)
