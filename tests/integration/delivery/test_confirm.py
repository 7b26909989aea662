"""A claim that is confirmed piece by piece: what arrived stays delivered, what is new is taken in."""

from __future__ import annotations

from dataclasses import replace

from tests.support.deliveries import (
    REFUSED,
    WORKER,
    events,
    expire,
    fail_over_and_over,
    planned,
    promise,
    row,
    selection,
    take,
)

from pacsops.database import Database
from pacsops.delivery import breaker, claims, desk, outcomes
from pacsops.delivery.model import Event, Status
from pacsops.routes import RetryPolicy

PIECES = ("a", "b", "c")


def test_what_is_confirmed_is_delivered_whatever_becomes_of_the_rest(database: Database) -> None:
    number = promise(database, instances=PIECES)
    claim = outcomes.confirm(database, take(database), ["b"])
    assert claim is not None
    assert outcomes.fail(database, claim, REFUSED).held

    assert row(database, number)["delivered_instances"] == ["b"]
    desk.retry(database, desk.DeliveryFilter(delivery_ids=(number,)), by="operator")
    assert take(database).instances == ("a", "c")


def test_a_rescuer_gets_what_was_not_confirmed(database: Database) -> None:
    promise(database, instances=PIECES)
    claim = take(database)
    assert outcomes.confirm(database, claim, ["a", "c"]) is not None
    expire(database, claim)

    (rescued,) = claims.rescue(database, "host:2")

    assert rescued.instances == ("b",)
    assert outcomes.confirm(database, claim, ["b"]) is None
    assert outcomes.finish(database, rescued, duration_ms=1)
    assert row(database, rescued.delivery_id)["status"] == Status.SUCCESS


def test_what_the_promise_grew_by_is_taken_in_once(database: Database) -> None:
    number = promise(database, instances=PIECES)
    before = take(database)
    planned(database, selection(resource="study", instances=[*PIECES, "d", "e"]))

    claim = outcomes.confirm(database, before, ["a"])
    assert claim is not None
    assert claim.instances == (*PIECES, "d", "e")
    # Its answer was lost with the connection: asked again with what was known before, it says so again.
    again = outcomes.confirm(database, before, ["a"])
    assert again == claim
    assert sorted(row(database, number)["attempt_instances"]) == ["b", "c", "d", "e"]

    assert outcomes.confirm(database, claim, ["b", "c", "d", "e"]) == claim
    assert outcomes.finish(database, claim, duration_ms=1)
    assert row(database, number)["status"] == Status.SUCCESS


def test_an_attempt_that_gets_on_is_the_first_again(database: Database) -> None:
    number = promise(database, instances=PIECES, retry=RetryPolicy(max_attempts=2, initial_delay=0.0))
    assert outcomes.fail(database, take(database), REFUSED).held
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET next_retry_at = now()")
    second = take(database)
    assert second.attempt == 2

    claim = outcomes.confirm(database, second, ["a"])
    assert claim == replace(second, attempt=1)
    assert outcomes.fail(database, claim, REFUSED).held
    assert row(database, number)["status"] == Status.FAILED
    without_progress = outcomes.confirm(database, claim, [])
    assert without_progress is None


def test_a_claim_that_starts_sending_says_so(database: Database) -> None:
    number = promise(database, instances=PIECES)

    claims.claim(database, WORKER, starts=True)

    assert events(database, number) == [Event.ROUTE_MATCHED, Event.SEND_STARTED]


def test_a_breaker_that_nobody_knows_the_way_to_is_probed_by_nobody(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET next_probe_at = now()")

    assert breaker.claim_probes(database, ["OTHER"]) == []
    assert breaker.claim_probes(database, ["OTHER", "PACS"]) == ["PACS"]
