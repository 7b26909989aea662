"""Anything in any order, against the real PostgreSQL: after every step it holds what the model says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.integration.delivery.checks import LATE_WRITES
from tests.integration.delivery.delivery_model import (
    FAILURES_TO_OPEN,
    FAR_AWAY,
    IN_FLIGHT,
    SUCCESSES_TO_CLOSE,
    Model,
    ModelDelivery,
)
from tests.support.deliveries import (
    ORTHANC,
    UNKNOWN,
    as_delivered,
    expire,
    forget_everything,
    health,
    limit,
    make_due,
    planned,
    rows,
    selection,
)

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery import breaker, claims, desk, outcomes, verification
from pacsops.delivery.claims import Claim
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import OPEN, ErrorClass, Method, Status
from pacsops.delivery.retry import Failure
from pacsops.delivery.states import FORCED_RETRY, RETRY, allowed
from pacsops.delivery.verification import Delivered
from pacsops.routes import Backoff, RetryPolicy

CONCURRENCY = {"NARROW": 1, "WIDE": 2}
STUDIES = ("s1", "s2")
WORKERS = ("host:1", "host:2")

destinations = st.sampled_from(sorted(CONCURRENCY))
workers = st.sampled_from(WORKERS)
instances = st.sets(st.sampled_from("abcd"), min_size=1)
picks = st.integers(0, 100)
rarely = st.sampled_from([False, False, False, True])
usual = ["finished", "grown", "submitted", ErrorClass.REFUSED]
endings = st.sampled_from([*usual * 4, *ErrorClass, "interrupted", "not configured"])


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.model = Model(CONCURRENCY)
        self.ids: dict[tuple[str, str], int] = {}
        self.lost: list[Claim] = []
        self.seen_kept: list[Delivered] = []
        self.before: dict[int, Status] = {}
        forget_everything(database)
        for destination, concurrency in CONCURRENCY.items():
            limit(database, destination, concurrency)

    @initialize()
    def studies_wait(self) -> None:
        for study in STUDIES:
            for destination in CONCURRENCY:
                self.plan(study, destination, {"a"}, 100, 3)

    @precondition(lambda self: self.model.now % 3 == 0)
    @rule(
        study=st.sampled_from(STUDIES),
        destination=destinations,
        instances=instances,
        priority=st.sampled_from([50, 100]),
        max_attempts=st.sampled_from([1, 3]),
    )
    def plan(self, study: str, destination: str, instances: set[str], priority: int, max_attempts: int) -> None:
        policy = RetryPolicy(max_attempts=max_attempts, backoff=Backoff.CONSTANT, initial_delay=86_400)
        chosen = selection(destination, resource=study, instances=instances, priority=priority, retry=policy)
        now = self.model.tick()
        made = planned(self.database, chosen, study=study)
        known = self.ids.get((study, destination))
        if known is None:
            (delivery_id,) = made.new
            self.ids[study, destination] = delivery_id
            self.model.deliveries[delivery_id] = ModelDelivery(
                delivery_id, destination, set(instances), priority, max_attempts, due=now
            )
        else:
            grown = self.model.grow(self.model.deliveries[known], instances)
            assert (made.new, made.grown) == ((), (known,) if grown else ())

    @rule(worker=workers, steps=st.lists(st.tuples(picks, endings), min_size=3, max_size=8))
    def a_router_goes_on(self, worker: str, steps: list[tuple[int, str | ErrorClass]]) -> None:
        for pick, ending in steps:
            held = self.model.held()
            if held and pick % 3:
                self._goes_on_or_ends(held[pick % len(held)], ending)
            elif not self._claims(worker, most=1 + pick % 4):
                break
            self.the_database_holds_what_the_model_says()

    def _claims(self, worker: str, most: int) -> bool:
        self.model.tick()
        expected = {name: self.model.claimable(name, most) for name in CONCURRENCY}
        claimed = claims.claim(self.database, worker, most=most)
        served = [name for name in CONCURRENCY if expected[name]]
        if not served:
            assert claimed == []
            return False
        longest = min(self.model.destinations[name].last_claimed for name in served)
        destination = claimed[0].destination
        assert self.model.destinations[destination].last_claimed == longest
        assert sorted(claim.delivery_id for claim in claimed) == sorted(expected[destination])
        for claim in claimed:
            self.model.claimed(claim, worker)
            assert set(claim.instances) == self.model.deliveries[claim.delivery_id].attempting
        return True

    def _goes_on_or_ends(self, delivery: ModelDelivery, ending: str | ErrorClass) -> None:
        claim = delivery.claim
        assert claim is not None
        if ending == "grown":
            study, destination = next(key for key, known in self.ids.items() if known == delivery.id)
            self.plan(study, destination, {f"late-{self.model.now}"}, 100, 3)
            return
        self.model.tick()
        if ending == "submitted":
            fresh = delivery.status is Status.SENDING
            assert outcomes.submitted(self.database, claim, f"job-{claim.token[:8]}") is fresh
            delivery.status = Status.SENT
            return
        self.lost.append(claim)
        if ending == "finished":
            assert outcomes.finish(self.database, claim, duration_ms=1)
            self.model.finish(delivery)
        elif ending == "interrupted":
            assert outcomes.release(self.database, claim, ORTHANC, wait=0.0)
            self.model.release(delivery, ORTHANC.error_class)
        elif ending == "not configured":
            assert outcomes.not_configured(self.database, claim, UNKNOWN)
            self.model.release(delivery, UNKNOWN.error_class)
            self.model.destinations[delivery.destination].breaker = "open"
        else:
            assert outcomes.fail(self.database, claim, Failure(ErrorClass(ending), "why")).held
            self.model.fail(delivery, ErrorClass(ending))

    @precondition(lambda self: any(len(held.attempting) > 1 for held in self.model.held()))
    @rule(pick=picks, size=st.integers(1, 3))
    def instances_vanish(self, pick: int, size: int) -> None:
        candidates = [held for held in self.model.held() if len(held.attempting) > 1]
        delivery = candidates[pick % len(candidates)]
        gone = set(sorted(delivery.attempting)[: min(size, len(delivery.attempting) - 1)])
        self.model.tick()
        delivery.wanted -= gone
        delivery.attempting -= gone
        assert delivery.claim is not None
        left = outcomes.drop_vanished(self.database, delivery.claim, gone)
        assert left == len(delivery.wanted - delivery.delivered)

    @precondition(lambda self: self.model.held())
    @rule(pick=picks, beats=st.booleans())
    def a_lease_is_extended_or_runs_out(self, pick: int, beats: bool) -> None:
        self.model.tick()
        held = self.model.held()
        if beats:
            tokens = {delivery.claim.token for delivery in held if delivery.claim}
            assert claims.heartbeat(self.database, tokens | {claim.token for claim in self.lost}) == tokens
            for delivery in held:
                delivery.expired = False
        else:
            delivery = held[pick % len(held)]
            assert delivery.claim is not None
            expire(self.database, delivery.claim)
            delivery.expired = True

    @precondition(lambda self: self.model.held())
    @rule(worker=workers, dead=st.one_of(st.none(), workers))
    def rescue(self, worker: str, dead: str | None) -> None:
        self.model.tick()
        abandoned = {held.id: held for held in self.model.held() if held.expired or held.worker == dead}
        rescued = claims.rescue(self.database, worker, dead_workers=[dead] if dead else [])
        assert {claim.delivery_id for claim in rescued} == abandoned.keys()
        for claim in rescued:
            delivery = abandoned[claim.delivery_id]
            assert (claim.status, claim.attempt) == (delivery.status, delivery.attempts)
            assert (claim.job_id is not None) is (delivery.status is Status.SENT)
            assert delivery.claim is not None
            self.lost.append(delivery.claim)
            delivery.claim, delivery.worker, delivery.expired = claim, worker, False

    @precondition(lambda self: self.lost)
    @rule(pick=picks, write=st.sampled_from(sorted(LATE_WRITES)))
    def a_worker_writes_late(self, pick: int, write: str) -> None:
        self.model.tick()
        assert not LATE_WRITES[write](self.database, self.lost[pick % len(self.lost)])

    @precondition(lambda self: any(delivery.due == FAR_AWAY for delivery in self.model.deliveries.values()))
    @rule()
    def time_passes(self) -> None:
        now = self.model.tick()
        make_due(self.database)
        for delivery in self.model.deliveries.values():
            if delivery.due == FAR_AWAY:
                delivery.due = now

    @precondition(lambda self: self.model.now % 4 == 0)
    @rule(pick=picks, order=st.sampled_from(["retry", "forced retry", "skip", "cancel"]), dry_run=rarely)
    def an_operator_gives_an_order(self, pick: int, order: str, dry_run: bool) -> None:
        self.model.tick()
        delivery = self.model.deliveries[sorted(self.model.deliveries)[pick % len(self.model.deliveries)]]
        wanted = DeliveryFilter(delivery_ids=(delivery.id,))
        if "retry" in order:
            force = order == "forced retry"
            applies = delivery.status in (FORCED_RETRY if force else RETRY).leaves
            chosen = desk.retry(self.database, wanted, by="operator", force=force, dry_run=dry_run)
        else:
            applies = delivery.status in OPEN
            give = desk.skip if order == "skip" else desk.cancel
            chosen = give(self.database, wanted, reason="why", by="operator", dry_run=dry_run)
        assert [found.id for found in chosen] == ([delivery.id] if applies else [])
        if not applies or dry_run:
            return
        if "retry" in order:
            self.model.retry(delivery, force=order == "forced retry")
            return
        if delivery.claim is not None:
            self.lost.append(delivery.claim)
        delivery.settle(Status.SKIPPED if order == "skip" else Status.CANCELLED)

    @precondition(lambda self: any(found.status is Status.SUCCESS for found in self.model.deliveries.values()))
    @rule(pick=picks, size=st.integers(0, 2))
    def a_destination_is_asked_what_it_has(self, pick: int, size: int) -> None:
        kept = [found for found in self.model.deliveries.values() if found.status is Status.SUCCESS]
        delivery = kept[pick % len(kept)]
        self.model.tick()
        seen = as_delivered(self.database, delivery.id)
        self.seen_kept.append(seen)
        lacking = sorted(delivery.delivered)[:size]
        if not lacking:
            assert verification.has_all(self.database, seen, Method.FIND)
            return
        becomes = verification.lacks(self.database, seen, lacking)
        assert becomes is self.model.lack(delivery, lacking)

    @precondition(lambda self: self.seen_kept)
    @rule(pick=picks)
    def an_answer_about_a_delivery_comes_late(self, pick: int) -> None:
        self.model.tick()
        seen = self.seen_kept[pick % len(self.seen_kept)]
        row = next(row for row in rows(self.database) if row["id"] == seen.delivery_id)
        if row["completed_at"] == seen.completed_at:
            return  # not late: nothing happened to it since
        assert verification.lacks(self.database, seen, seen.instances) is None
        assert not verification.has_all(self.database, seen, Method.FIND)

    @precondition(lambda self: self._troubled())
    @rule(pick=picks, silent=rarely)
    def a_destination_is_probed(self, pick: int, silent: bool) -> None:
        troubled = self._troubled()
        destination = troubled[pick % len(troubled)]
        self.model.tick()
        milliseconds = None if silent else 5
        came_back = breaker.note_probe(self.database, destination, milliseconds=milliseconds, reason="why")
        assert came_back is (not silent and self.model.answered(destination))

    @invariant()
    def the_database_holds_what_the_model_says(self) -> None:
        found = rows(self.database)
        assert [row["id"] for row in found] == sorted(self.model.deliveries)
        for row in found:
            assert _told(row) == _expected(self.model.deliveries[row["id"]])
        self._promises_hold(found)
        self._states_change_only_as_the_table_allows(found)
        for name, expected in self.model.destinations.items():
            there = health(self.database, name)
            assert (there["breaker"], there["consecutive_failures"]) == (expected.breaker, expected.failures)

    def _promises_hold(self, found: list[Row]) -> None:
        tokens = [row["claim_token"] for row in found if row["claim_token"] is not None]
        assert len(tokens) == len(set(tokens))
        for name, concurrency in CONCURRENCY.items():
            under_way = [row for row in found if row["destination"] == name and row["status"] in IN_FLIGHT]
            assert len(under_way) <= concurrency
        for row in found:
            assert set(row["delivered_instances"]) <= set(row["instances"])
            complete = set(row["delivered_instances"]) == set(row["instances"])
            assert complete is (row["status"] == Status.SUCCESS)
            assert row["attempt_count"] >= 0
            assert row["verified_at"] is None or row["completed_at"] is None or complete

    def _states_change_only_as_the_table_allows(self, found: list[Row]) -> None:
        after = {row["id"]: Status(row["status"]) for row in found}
        for delivery_id, status in after.items():
            before = self.before.get(delivery_id, Status.PENDING)
            assert before is status or allowed(before, status), f"{before} → {status}"
        self.before = after

    def _troubled(self) -> list[str]:
        """Destinations that are down or have just failed."""
        return [name for name, there in self.model.destinations.items() if there.failures or there.breaker == "open"]


def _told(row: Row) -> dict[str, object]:
    return {
        "status": row["status"],
        "wanted": set(row["instances"]),
        "delivered": set(row["delivered_instances"]),
        "attempting": set(row["attempt_instances"]),
        "attempts": row["attempt_count"],
        "token": row["claim_token"],
        "worker": row["claimed_by"],
        "error_class": row["last_error_class"],
        "failed before": row["first_failed_at"] is not None,
        "waits": row["next_retry_at"] is not None,
    }


def _expected(delivery: ModelDelivery) -> dict[str, object]:
    return {
        "status": delivery.status,
        "wanted": delivery.wanted,
        "delivered": delivery.delivered,
        "attempting": delivery.attempting,
        "attempts": delivery.attempts,
        "token": delivery.claim.token if delivery.claim else None,
        "worker": delivery.worker,
        "error_class": delivery.error_class,
        "failed before": delivery.first_failed is not None,
        "waits": delivery.due is not None,
    }


def test_whatever_happens_in_whatever_order_the_database_keeps_its_promises(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FAILURES_TO_OPEN", FAILURES_TO_OPEN)
    monkeypatch.setattr(breaker, "SUCCESSES_TO_CLOSE", SUCCESSES_TO_CLOSE)
    monkeypatch.setattr(claims, "DRAIN_INTERVAL_SECONDS", 0.0)

    class Machine(DeliveryMachine):
        def __init__(self) -> None:
            super().__init__(database)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
