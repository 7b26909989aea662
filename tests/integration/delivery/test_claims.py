"""Claims: who gets what, how long it holds, and what a worker that lost it can still do."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.integration.delivery.checks import (
    LATE_WRITES,
    a_paused_worker_writes_nothing,
    made_to_wait,
    many_claimers_keep_the_limit,
)
from tests.support.deliveries import (
    ORTHANC,
    backlog,
    expire,
    fail_over_and_over,
    in_flight,
    in_state,
    limit,
    planned,
    probe,
    promise,
    row,
    selection,
    state,
    take,
)

from pacsops.database import Database
from pacsops.delivery import breaker, claims, outcomes, sql
from pacsops.delivery.model import Event, Status
from pacsops.delivery.states import SKIP
from pacsops.routes import Backoff, RetryPolicy


def test_a_claim_says_all_that_sending_needs(database: Database) -> None:
    policy = RetryPolicy(max_attempts=7, backoff=Backoff.LINEAR, initial_delay=12.5)
    delivery_id = promise(database, "MODLINK", study="s1", instances=("b", "a"), retry=policy)

    claim = take(database, "host:7")

    assert claim.delivery_id == delivery_id
    assert claim.status is Status.SENDING
    assert (claim.level, claim.resource_id, claim.study_id) == ("study", "s1", "s1")
    assert (claim.route, claim.destination) == ("all", "MODLINK")
    assert claim.instances == ("a", "b")
    assert claim.attempt == 1
    assert claim.policy == policy
    assert claim.job_id is None
    assert row(database, delivery_id)["claimed_by"] == "host:7"


def test_claims_stop_at_the_concurrency_limit(database: Database) -> None:
    limit(database, "PACS", 3)
    backlog(database, "PACS", 5)

    first = claims.claim(database, "host:1")

    assert len(first) == 3
    assert claims.claim(database, "host:2") == []
    assert outcomes.finish(database, first[0], duration_ms=1)
    assert len(claims.claim(database, "host:2")) == 1


def test_what_orthanc_works_on_counts_against_the_limit(database: Database) -> None:
    limit(database, "PACS", 1)
    in_state(database, Status.SENT, study="under-way")
    promise(database, study="waiting")

    assert claims.claim(database, "host:1") == []


def test_claimers_at_the_same_moment_keep_the_limit(database: Database) -> None:
    many_claimers_keep_the_limit(database, claims.claim)


def test_a_lowered_limit_lets_what_is_under_way_end_and_claims_nothing_meanwhile(database: Database) -> None:
    limit(database, "PACS", 3)
    backlog(database, "PACS", 5)
    first = claims.claim(database, "host:1")
    limit(database, "PACS", 1)

    assert claims.claim(database, "host:1") == []
    for claim in first[:2]:
        outcomes.finish(database, claim, duration_ms=1)
    assert claims.claim(database, "host:1") == []
    outcomes.finish(database, first[2], duration_ms=1)
    assert len(claims.claim(database, "host:1")) == 1


def test_the_destination_that_waited_longest_is_served_first(database: Database) -> None:
    for destination in ("A", "B", "C"):
        limit(database, destination, 5)
        backlog(database, destination, 2)
    order = [take(database).destination for _ in range(6)]

    assert sorted(order[:3]) == ["A", "B", "C"]
    assert order[3:] == order[:3]


def test_a_full_destination_does_not_keep_others_from_being_served(database: Database) -> None:
    limit(database, "SLOW", 1)
    backlog(database, "SLOW", 3)
    take(database)
    backlog(database, "QUICK", 2)

    assert {claim.destination for claim in claims.claim(database, "host:1")} == {"QUICK"}


def test_the_most_urgent_goes_first_then_the_oldest(database: Database) -> None:
    limit(database, "PACS", 10)
    ids = {
        name: promise(database, study=name, priority=priority)
        for name, priority in {"late": 200, "usual-1": 100, "usual-2": 100, "urgent": 1}.items()
    }

    one_by_one = [take(database).delivery_id for _ in range(2)]
    rest = [claim.delivery_id for claim in claims.claim(database, "host:1")]

    assert one_by_one + rest == [ids["urgent"], ids["usual-1"], ids["usual-2"], ids["late"]]


def test_what_waits_for_its_next_attempt_is_not_claimed_before(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.FAILED)

    assert claims.claim(database, "host:1") == []
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET next_retry_at = now()")
    assert take(database).delivery_id == delivery_id


def test_what_waits_is_not_claimed_along_with_what_is_due(database: Database) -> None:
    limit(database, "PACS", 10)
    in_state(database, Status.FAILED, study="waits")
    due = promise(database, study="due")

    assert [claim.delivery_id for claim in claims.claim(database, "host:1")] == [due]


def test_a_delivery_that_arrives_leaves_its_failures_behind(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.FAILED)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET next_retry_at = now()")

    assert outcomes.finish(database, take(database), duration_ms=1)

    arrived = row(database, delivery_id)
    assert (arrived["first_failed_at"], arrived["last_error"], arrived["last_error_class"]) == (None, None, None)


def test_a_claim_takes_only_its_own_source(database: Database) -> None:
    promise(database)

    assert claims.claim(database, "host:1", source="gateway") == []
    assert len(claims.claim(database, "host:1")) == 1


def test_a_destination_that_came_back_is_served_one_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(database, "PACS", 10)
    fail_over_and_over(database, "PACS", breaker.FAILURES_TO_OPEN)
    backlog(database, "PACS", 5)
    assert probe(database)
    monkeypatch.setattr(claims, "DRAIN_INTERVAL_SECONDS", 3600.0)
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET last_claimed_at = now() - interval '2 hours'")

    assert len(claims.claim(database, "host:1")) == 1
    assert claims.claim(database, "host:1") == []
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET last_claimed_at = now() - interval '2 hours'")
    assert len(claims.claim(database, "host:1")) == 1


def test_an_expired_claim_is_taken_over_with_the_job_orthanc_works_on(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT, instances=("a", "b"))
    assert claim is not None
    expire(database, claim)

    (rescued,) = claims.rescue(database, "host:2")

    assert (rescued.delivery_id, rescued.status) == (delivery_id, Status.SENT)
    assert rescued.job_id == f"job-{delivery_id}"
    assert (rescued.instances, rescued.attempt) == (claim.instances, claim.attempt)
    assert rescued.token != claim.token
    assert row(database, delivery_id)["claimed_by"] == "host:2"


def test_a_live_claim_is_left_alone(database: Database) -> None:
    in_state(database, Status.SENDING)

    assert claims.rescue(database, "host:2") == []


def test_a_dead_workers_claims_are_taken_over_at_once(database: Database) -> None:
    limit(database, "PACS", 10)
    backlog(database, "PACS", 2)
    take(database, "host:dead")
    living = take(database, "host:alive")
    assert claims.workers_in_flight(database) == {"host:dead", "host:alive"}

    rescued = claims.rescue(database, "host:new", dead_workers=["host:dead"])

    assert len(rescued) == 1
    assert claims.workers_in_flight(database) == {"host:new", "host:alive"}
    assert outcomes.finish(database, living, duration_ms=1)


def test_taking_over_needs_no_free_slot(database: Database) -> None:
    limit(database, "PACS", 1)
    _, claim = in_state(database, Status.SENDING)
    assert claim is not None
    expire(database, claim)

    assert len(claims.rescue(database, "host:2")) == 1
    assert in_flight(database, "PACS") == 1


def test_a_heartbeat_extends_the_lease_and_tells_which_claims_are_lost(database: Database) -> None:
    limit(database, "PACS", 10)
    backlog(database, "PACS", 3)
    held, taken_over, finished = claims.claim(database, "host:1")
    outcomes.finish(database, finished, duration_ms=1)
    expire(database, taken_over)
    claims.rescue(database, "host:2")
    with database.transaction() as tx:
        tx.run(
            "UPDATE routing_state SET lease_until = now() + interval '1 second' WHERE id = %(id)s",
            id=held.delivery_id,
        )

    still = claims.heartbeat(database, [held.token, taken_over.token, finished.token])

    assert still == {held.token}
    with database.transaction() as tx:
        left = tx.one(
            "SELECT extract(epoch FROM lease_until - now())::float AS s FROM routing_state WHERE id = %(id)s",
            id=held.delivery_id,
        )
    assert left["s"] > claims.LEASE_SECONDS / 2


def test_a_heartbeat_in_time_saves_a_claim_whose_lease_ran_out(database: Database) -> None:
    _, claim = in_state(database, Status.SENDING)
    assert claim is not None
    expire(database, claim)

    assert claims.heartbeat(database, [claim.token]) == {claim.token}
    assert claims.rescue(database, "host:2") == []


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
def test_a_worker_paused_past_its_lease_writes_nothing(database: Database, write: object) -> None:
    a_paused_worker_writes_nothing(database, write)  # type: ignore[arg-type]


def test_a_claim_taken_back_while_its_finish_waits_is_not_finished(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT)
    assert claim is not None
    finished: list[bool] = []

    with made_to_wait(database, lambda: finished.append(outcomes.finish(database, claim, duration_ms=1))) as tx:
        tx.run(sql.TAKE_BACK, ids=[delivery_id], status=Status.SKIPPED, from_states=SKIP.from_states)

    assert finished == [False]
    assert state(database, delivery_id) is Status.SKIPPED


def test_an_interrupted_attempt_does_not_count(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT)
    assert claim is not None

    assert outcomes.release(database, claim, ORTHANC, wait=0.0)

    assert state(database, delivery_id) is Status.PENDING
    assert row(database, delivery_id)["job_id"] is None
    assert take(database).attempt == 1


def test_a_job_written_down_is_known_again(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT)
    assert claim is not None

    assert claims.is_written_down(database, claim, f"job-{delivery_id}")
    assert not claims.is_written_down(database, claim, "another-job")


def test_instances_that_vanished_leave_the_promise_and_the_others_arrive(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT, instances=("a", "b", "c"))
    assert claim is not None

    assert outcomes.drop_vanished(database, claim, ["b"]) == 2
    assert outcomes.release(database, claim, ORTHANC, wait=0.0)
    again = take(database)

    assert again.instances == ("a", "c")
    assert outcomes.finish(database, again, duration_ms=1)
    assert state(database, delivery_id) is Status.SUCCESS


def test_what_was_delivered_stays_promised_when_it_vanishes_from_orthanc(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.SUCCESS, instances=("a",))
    planned(database, selection(instances=("a", "b", "c")))
    claim = take(database)

    assert outcomes.drop_vanished(database, claim, ["a", "b"]) == 1

    assert row(database, delivery_id)["instances"] == ["a", "c"]
    assert outcomes.finish(database, claim, duration_ms=1)
    assert state(database, delivery_id) is Status.SUCCESS


def _rows_read(node: dict[str, object]) -> float:
    """Rows that the plan's scans of routing_state produced or threw away."""
    read = 0.0
    if node.get("Relation Name") == "routing_state" and "Scan" in str(node["Node Type"]):
        seen = float(str(node["Actual Rows"])) + float(str(node.get("Rows Removed by Filter", 0)))
        read = seen * float(str(node["Actual Loops"]))
    children = node.get("Plans", [])
    assert isinstance(children, list)
    return read + sum(_rows_read(child) for child in children)


@pytest.mark.parametrize("analysed", [True, False], ids=["analysed", "statistics stale"])
@pytest.mark.parametrize("behind_breaker", [True, False], ids=["behind an open breaker", "not due yet"])
def test_ten_thousand_waiting_elsewhere_neither_block_nor_slow_a_claim(
    database: Database, behind_breaker: bool, analysed: bool
) -> None:
    promise(database, "DOWN", study="first")
    promise(database, "UP", study="wanted")
    with database.transaction() as tx:
        tx.run(
            """
            INSERT INTO routing_state (level, resource_id, route_name, destination, study_id, instances,
                                       content_fingerprint, route_version)
            SELECT 'study', 'waiting-' || n, 'all', 'DOWN', 'waiting-' || n, ARRAY['i'], 'f', 'v'
              FROM generate_series(1, 10000) n
            """
        )
        if behind_breaker:
            breaker.open_at_once(tx, "DOWN", "not configured")
        else:
            tx.run("UPDATE routing_state SET next_retry_at = now() + interval '1 hour' WHERE destination = 'DOWN'")
        tx.run("UPDATE destination_health SET last_claimed_at = now() WHERE destination = 'UP'")
        if analysed:
            tx.run("ANALYZE routing_state")
            tx.run("ANALYZE destination_health")
    with database.transaction() as tx:
        explained = tx.one(
            "EXPLAIN (ANALYZE, FORMAT JSON) " + sql.CLAIM_DESTINATION,
            source="orthanc",
            transport="orthanc",
            drain_interval=0.25,
        )
    reads = _rows_read(explained["QUERY PLAN"][0]["Plan"])

    claimed = claims.claim(database, "host:1")

    assert [claim.study_id for claim in claimed] == ["wanted"]
    assert reads < 100, f"{reads:g} deliveries were looked at to find the one that is due"


def test_a_job_handed_over_is_on_the_timeline(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.SENT)

    with database.transaction() as tx:
        said = tx.one(
            "SELECT detail FROM routing_event WHERE delivery_id = %(id)s AND event = %(event)s",
            id=delivery_id,
            event=Event.SEND_STARTED,
        )
    assert said["detail"] == {"job_id": f"job-{delivery_id}", "instances": 1}


def test_a_process_that_was_killed_and_not_waited_for_is_gone(database: Database) -> None:
    promise(database)
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        worker = f"host:{process.pid}:old"
        assert claims.claim(database, worker)
        assert not claims.predecessors(database, "host:1:new")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert claims.predecessors(database, "host:1:new") == {worker}
