"""What becomes of a claimed delivery: one function a transition, each a guarded statement with its events.

Every function returns whether the claim still held. False: another worker or an operator owns the delivery now, and
nothing was written.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace

from pacsops.database import Database
from pacsops.delivery import breaker, sql, verification
from pacsops.delivery.claims import Claim
from pacsops.delivery.model import Event, Status
from pacsops.delivery.retry import Failure, Stuck, Wait, next_attempt
from pacsops.delivery.states import FAIL, FINISH, RELEASE, STICK, SUBMIT
from pacsops.delivery.timeline import record


@dataclass(frozen=True, slots=True)
class Failed:
    """What a failed attempt led to. `held` False: the claim was lost."""

    held: bool
    decision: Wait | Stuck | None = None


def submitted(database: Database, claim: Claim, job_id: str) -> bool:
    """sending → sent: Orthanc works on the job."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            sql.SUBMIT, id=claim.delivery_id, token=claim.token, job_id=job_id, from_states=SUBMIT.from_states
        )
        if row is None:
            return False
        record(tx, Event.SEND_STARTED, row, job_id=job_id, instances=len(claim.instances))
    return True


def confirm(database: Database, claim: Claim, instances: Collection[str]) -> Claim | None:
    """These arrived: whoever takes over after this sends only the others again.

    Returns the claim as it is now, with what the promise grew by behind its other instances; None when it was lost.
    """
    with database.transaction() as tx:
        row = tx.one_or_none(sql.CONFIRM, id=claim.delivery_id, token=claim.token, confirmed=list(instances))
    if row is None:
        return None
    before = set(claim.instances)
    grown = (instance for instance in row["attempt_instances"] if instance not in before)
    return replace(claim, attempt=row["attempt_count"], instances=(*claim.instances, *grown))


def finish(database: Database, claim: Claim, *, duration_ms: int | None) -> bool:
    """sending|sent → success, or pending again for instances that came meanwhile."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            sql.FINISH,
            id=claim.delivery_id,
            token=claim.token,
            from_states=FINISH.from_states,
            verify_after=verification.FIRST_LOOK_SECONDS,
        )
        if row is None:
            return False
        attempt = {**row, "attempt_count": claim.attempt}
        record(
            tx,
            Event.SEND_SUCCESS,
            attempt,
            duration_ms=duration_ms,
            open_ms=row["open_ms"],
            instances=len(claim.instances),
        )
        if row["status"] == Status.PENDING:
            record(tx, Event.DELIVERY_GREW, row, instances=row["remaining"])
        breaker.note_success(tx, claim.destination)
    return True


def fail(database: Database, claim: Claim, failure: Failure) -> Failed:
    """sending|sent → failed with a wait, or stuck."""
    decision = next_attempt(claim.policy, claim.attempt, failure, random.uniform(-0.5, 0.5))  # noqa: S311 (jitter)
    waits = isinstance(decision, Wait)
    with database.transaction() as tx:
        row = tx.one_or_none(
            sql.FAIL,
            id=claim.delivery_id,
            token=claim.token,
            from_states=(FAIL if waits else STICK).from_states,
            status=Status.FAILED if waits else Status.STUCK,
            wait=decision.seconds if isinstance(decision, Wait) else 0.0,
            reason=failure.reason,
            error_class=failure.error_class.value,
            dimse_status=failure.dimse_status,
            sop_class=failure.sop_class,
            transfer_syntax=failure.transfer_syntax,
        )
        if row is None:
            return Failed(held=False)
        record(
            tx,
            Event.SEND_FAILED,
            row,
            error=failure.reason,
            error_class=failure.error_class.value,
            dimse_status=failure.dimse_status,
            sop_class=failure.sop_class,
            transfer_syntax=failure.transfer_syntax,
        )
        if waits:
            record(tx, Event.SEND_RETRY_SCHEDULED, row, next_retry_at=row["next_retry_at"])
        else:
            record(tx, Event.STUDY_STUCK, row, error=failure.reason, error_class=failure.error_class.value)
        if failure.outage:
            exhausted = isinstance(decision, Stuck) and decision.exhausted
            breaker.note_failure(
                tx, claim.destination, failure, exhausted=exhausted, first_failed_at=row["first_failed_at"]
            )
    return Failed(held=True, decision=decision)


def release(database: Database, claim: Claim, failure: Failure, *, wait: float) -> bool:
    """sending|sent → pending after `wait` seconds; the attempt does not count, the destination is not to blame."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            sql.RELEASE,
            id=claim.delivery_id,
            token=claim.token,
            from_states=RELEASE.from_states,
            wait=wait,
            reason=failure.reason,
            error_class=failure.error_class.value,
        )
        if row is None:
            return False
        record(tx, Event.SEND_INTERRUPTED, row, error=failure.reason, error_class=failure.error_class.value)
    return True


def not_configured(database: Database, claim: Claim, failure: Failure) -> bool:
    """The destination is not among those the claimer can reach: the delivery and its like wait until it is."""
    held = release(database, claim, failure, wait=0.0)
    with database.transaction() as tx:
        breaker.open_at_once(tx, claim.destination, failure.reason)
    return held


def drop_vanished(database: Database, claim: Claim, vanished: Collection[str]) -> int | None:
    """Take instances that Orthanc no longer holds out of the promise.

    Returns how many are left to send, None when the claim was lost. The claim goes on: release or fail it next.
    """
    with database.transaction() as tx:
        row = tx.one_or_none(sql.SHRINK, id=claim.delivery_id, token=claim.token, vanished=list(vanished))
    return None if row is None else int(row["remaining"])
