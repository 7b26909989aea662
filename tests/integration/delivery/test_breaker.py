"""The breaker: when a destination counts as down, and what waits for it, or got stuck on it, comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from threading import Thread

import pytest
from tests.support.deliveries import (
    NO_CONTEXT,
    ONCE,
    ORTHANC,
    REFUSED,
    UNKNOWN,
    attempt,
    backlog,
    events,
    fail_over_and_over,
    health,
    in_state,
    limit,
    make_due,
    probe,
    promise,
    row,
    site_events,
    state,
    take,
)
from tests.support.network import eventually

from pacsops.database import Database
from pacsops.delivery import breaker, claims, desk, outcomes
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import OUTAGE, ErrorClass, Event, Status
from pacsops.delivery.retry import Failure


@pytest.fixture(autouse=True)
def _no_wait_between_claims(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "DRAIN_INTERVAL_SECONDS", 0.0)
    limit(database, "PACS", 50)


def probe_wait(database: Database) -> float:
    """Seconds from now to the next probe."""
    with database.transaction() as tx:
        return float(tx.one("SELECT extract(epoch FROM next_probe_at - now()) AS s FROM destination_health")["s"])


def succeed(database: Database) -> None:
    promise(database, study=f"well-{health(database)['last_success_at']}", priority=0)
    assert outcomes.finish(database, take(database), duration_ms=1)


@pytest.mark.parametrize("error_class", sorted(OUTAGE))
def test_it_opens_after_five_failures_in_a_row(database: Database, error_class: ErrorClass) -> None:
    failure = Failure(error_class, "it is down")
    fail_over_and_over(database, "PACS", 4, failure)
    assert health(database)["breaker"] == "closed"
    promise(database)

    outcomes.fail(database, take(database), failure)

    opened = health(database)
    assert (opened["breaker"], opened["open_reason"], opened["consecutive_failures"]) == ("open", "it is down", 5)
    assert site_events(database) == [Event.DESTINATION_UNREACHABLE]


def test_a_success_between_failures_starts_the_count_anew(database: Database) -> None:
    fail_over_and_over(database, "PACS", 4)
    succeed(database)
    promise(database)
    outcomes.fail(database, take(database), REFUSED)

    assert (health(database)["breaker"], health(database)["consecutive_failures"]) == ("closed", 1)


@pytest.mark.parametrize("failure", [NO_CONTEXT, ORTHANC, Failure(ErrorClass.PEER_STATUS, "0xA900")], ids=str)
def test_what_is_wrong_with_a_study_is_not_held_against_the_destination(database: Database, failure: Failure) -> None:
    fail_over_and_over(database, "PACS", 8, failure)

    assert (health(database)["breaker"], health(database)["consecutive_failures"]) == ("closed", 0)


def test_while_it_is_open_nothing_is_claimed_and_no_attempts_are_burnt(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    waiting = promise(database, study="waiting")
    make_due(database)

    assert claims.claim(database, "host:1") == []
    assert (state(database, waiting), row(database, waiting)["attempt_count"]) == (Status.PENDING, 0)


def test_one_destination_down_is_another_one_served(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    promise(database, "OTHER")

    assert take(database).destination == "OTHER"


def test_it_opens_when_a_delivery_runs_out_of_attempts_and_nothing_arrived_meanwhile(database: Database) -> None:
    succeed(database)
    delivery_id = promise(database, retry=ONCE)

    outcomes.fail(database, take(database), REFUSED)

    assert state(database, delivery_id) is Status.STUCK
    assert health(database)["breaker"] == "open"
    assert events(database, delivery_id)[-1] is Event.STUDY_STUCK


def test_it_stays_closed_when_one_delivery_runs_out_of_attempts_while_others_arrive(database: Database) -> None:
    policy = type(ONCE)(max_attempts=2, initial_delay=3600.0)
    unlucky = promise(database, study="unlucky", retry=policy)
    attempt(database, unlucky, REFUSED)
    succeed(database)
    attempt(database, unlucky, REFUSED)

    assert state(database, unlucky) is Status.STUCK
    assert health(database)["breaker"] == "closed"


def test_an_answered_probe_drains_and_revives_only_what_the_outage_stuck(database: Database) -> None:
    refused_contents, _ = in_state(database, Status.STUCK, study="refused-contents")
    unlucky = promise(database, study="unlucky", retry=type(ONCE)(max_attempts=2, initial_delay=3600.0))
    attempt(database, unlucky, REFUSED)
    succeed(database)
    attempt(database, unlucky, REFUSED)
    succeed(database)
    elsewhere = promise(database, "ELSEWHERE", retry=ONCE)
    outcomes.fail(database, take(database), REFUSED)
    down = promise(database, study="down", retry=ONCE)
    outcomes.fail(database, take(database), REFUSED)
    assert {state(database, n) for n in (refused_contents, unlucky, elsewhere, down)} == {Status.STUCK}

    assert probe(database)

    assert state(database, down) is Status.PENDING
    assert row(database, down)["attempt_count"] == 0
    assert events(database, down)[-1] is Event.DELIVERY_REVIVED
    assert {state(database, n) for n in (refused_contents, unlucky, elsewhere)} == {Status.STUCK}
    assert (health(database)["breaker"], health(database)["opened_at"]) == ("draining", None)
    assert site_events(database)[-1] is Event.DESTINATION_RECOVERED


def test_what_the_destination_will_never_take_is_not_revived_by_its_return(database: Database) -> None:
    unwanted, _ = in_state(database, Status.STUCK, study="unwanted")
    fail_over_and_over(database, "PACS", 5)

    assert probe(database)

    assert state(database, unwanted) is Status.STUCK


def test_a_probe_without_an_answer_leaves_it_open_and_says_why(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5, Failure(ErrorClass.TIMEOUT, "no answer"))

    assert not probe(database, answers=False)

    found = health(database)
    assert (found["breaker"], found["open_reason"], found["last_echo_ms"]) == ("open", "Connection refused", None)


def test_a_probe_of_a_healthy_destination_only_notes_the_time(database: Database) -> None:
    assert not probe(database)
    assert (health(database)["breaker"], health(database)["last_echo_ms"]) == ("closed", 12)
    assert not probe(database, answers=False)
    assert health(database)["breaker"] == "closed"


def test_an_answered_probe_is_no_delivery_and_does_not_make_failures_forgotten(database: Database) -> None:
    fail_over_and_over(database, "PACS", 4)

    probe(database)
    promise(database)
    outcomes.fail(database, take(database), REFUSED)

    assert health(database)["breaker"] == "open"


def test_a_last_attempt_that_began_in_the_outage_is_revived_though_another_got_through_before(
    database: Database,
) -> None:
    late = promise(database, study="late", retry=type(ONCE)(max_attempts=2, initial_delay=3600.0))
    attempt(database, late, REFUSED)
    succeed(database)
    attempt(database, late, REFUSED)
    fail_over_and_over(database, "PACS", 4)
    assert state(database, late) is Status.STUCK

    assert probe(database)

    assert state(database, late) is Status.PENDING


def test_a_relapse_starts_the_count_of_deliveries_anew(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    backlog(database, "PACS", breaker.SUCCESSES_TO_CLOSE + 1)
    probe(database)
    for _ in range(breaker.SUCCESSES_TO_CLOSE - 1):
        outcomes.finish(database, take(database), duration_ms=1)
    outcomes.fail(database, take(database), REFUSED)
    probe(database)

    outcomes.finish(database, take(database), duration_ms=1)

    assert health(database)["breaker"] == "draining"


def test_a_slow_answer_is_on_the_timeline(database: Database) -> None:
    breaker.note_probe(database, "PACS", milliseconds=breaker.SLOW_ECHO_MS + 1)

    assert site_events(database) == [Event.DESTINATION_SLOW]


def test_a_failure_while_draining_opens_it_again_and_the_next_probe_waits_longer(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    waits = [probe_wait(database)]
    for round_ in range(3):
        assert probe(database)
        promise(database, study=f"round-{round_}", priority=1)
        outcomes.fail(database, take(database), REFUSED)
        assert health(database)["breaker"] == "open"
        waits.append(probe_wait(database))

    assert all(later > 1.5 * sooner for sooner, later in pairwise(waits))


def test_a_delivery_lets_the_next_outage_be_probed_quickly_again(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    first = probe_wait(database)
    for round_ in range(3):
        probe(database)
        promise(database, study=f"round-{round_}", priority=1)
        outcomes.fail(database, take(database), REFUSED)
    probe(database)
    succeed(database)
    promise(database, study="again", priority=1)

    outcomes.fail(database, take(database), REFUSED)

    assert probe_wait(database) == pytest.approx(first, abs=1.0)


def test_twenty_deliveries_close_it_again(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    backlog(database, "PACS", breaker.SUCCESSES_TO_CLOSE)
    probe(database)
    for _ in range(breaker.SUCCESSES_TO_CLOSE - 1):
        outcomes.finish(database, take(database), duration_ms=1)
    assert health(database)["breaker"] == "draining"

    outcomes.finish(database, take(database), duration_ms=1)

    assert health(database)["breaker"] == "closed"


def test_a_delivery_that_was_under_way_when_it_opened_brings_it_back(database: Database) -> None:
    promise(database, study="under-way")
    under_way = take(database)
    down = promise(database, study="down", retry=ONCE)
    outcomes.fail(database, take(database), REFUSED)
    assert health(database)["breaker"] == "open"

    assert outcomes.finish(database, under_way, duration_ms=1)

    assert health(database)["breaker"] == "draining"
    assert state(database, down) is Status.PENDING
    assert site_events(database) == [Event.DESTINATION_UNREACHABLE, Event.DESTINATION_RECOVERED]


def test_a_failure_under_way_when_it_opened_does_not_open_it_twice(database: Database) -> None:
    promise(database, study="under-way")
    under_way = take(database)
    fail_over_and_over(database, "PACS", 5)
    opened = health(database)

    outcomes.fail(database, under_way, REFUSED)

    after = health(database)
    assert (after["opened_at"], after["open_count"]) == (opened["opened_at"], opened["open_count"])
    assert after["next_probe_at"] == opened["next_probe_at"]
    assert site_events(database) == [Event.DESTINATION_UNREACHABLE]


def test_an_unknown_destination_opens_at_once_without_burning_an_attempt(database: Database) -> None:
    delivery_id = promise(database, retry=ONCE)

    assert outcomes.not_configured(database, take(database), UNKNOWN)

    found = row(database, delivery_id)
    assert (found["status"], found["attempt_count"]) == (Status.PENDING, 0)
    assert found["last_error_class"] == ErrorClass.UNKNOWN_DESTINATION
    assert health(database)["breaker"] == "open"
    assert claims.claim(database, "host:1") == []
    assert probe(database)
    assert take(database).delivery_id == delivery_id


def test_all_that_is_under_way_to_an_unknown_destination_opens_it_once(database: Database) -> None:
    backlog(database, "PACS", 2)
    for claim in claims.claim(database, "host:1"):
        assert outcomes.not_configured(database, claim, UNKNOWN)

    assert site_events(database) == [Event.DESTINATION_UNREACHABLE]


def test_two_routers_do_not_probe_the_same_destination(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    assert breaker.claim_probes(database, ["PACS"]) == []
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET next_probe_at = now()")

    assert breaker.claim_probes(database, ["PACS"]) == ["PACS"]
    assert breaker.claim_probes(database, ["PACS"]) == []


def test_a_long_outage_is_probed_less_often_but_every_minute(database: Database) -> None:
    fail_over_and_over(database, "PACS", 5)
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET next_probe_at = now(), opened_at = now() - interval '1 day'")

    breaker.claim_probes(database, ["PACS"])

    assert 50 < probe_wait(database) <= 60


def test_an_operators_retry_asks_the_destination_at_once(database: Database) -> None:
    delivery_id = promise(database, retry=ONCE)
    outcomes.fail(database, take(database), REFUSED)
    assert breaker.claim_probes(database, ["PACS"]) == []

    desk.retry(database, DeliveryFilter(delivery_ids=(delivery_id,)), by="operator")

    assert state(database, delivery_id) is Status.PENDING
    assert breaker.claim_probes(database, ["PACS"]) == ["PACS"]


@pytest.mark.parametrize("failures_before", [3, 4], ids=["it opens", "it is open by then"])
def test_a_failure_that_waits_for_another_counts_from_where_that_one_leaves_it(
    database: Database, failures_before: int
) -> None:
    fail_over_and_over(database, "PACS", failures_before)
    promise(database)
    claim = take(database)
    failing = Thread(target=outcomes.fail, args=(database, claim, REFUSED))
    with database.transaction() as tx:
        breaker.note_failure(tx, "PACS", REFUSED, exhausted=False, first_failed_at=datetime.now(UTC))
        failing.start()
        eventually(lambda: tx.one("SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted")["waiting"])
    failing.join()

    assert state(database, claim.delivery_id) is Status.FAILED
    assert health(database)["consecutive_failures"] == failures_before + 2
    assert health(database)["breaker"] == "open"
    assert site_events(database) == [Event.DESTINATION_UNREACHABLE]
