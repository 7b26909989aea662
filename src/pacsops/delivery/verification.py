"""Whether a destination has what it took: when it is asked, and what its answer leads to.

A success is the destination's word for each image, not a proof that it keeps them. Archives take images in by and by:
one that lacks some is asked again minutes later, before it counts.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery import breaker, sql
from pacsops.delivery.model import ErrorClass, Event, Status
from pacsops.delivery.retry import Failure, Wait, next_attempt
from pacsops.delivery.states import LACK, LOSE
from pacsops.delivery.timeline import record
from pacsops.routes import Backoff, RetryPolicy

FIRST_LOOK_SECONDS = 30.0
"""After the last image was answered; also what a deployment's first answers may take."""
LOOK_AGAIN_SECONDS: tuple[float, ...] = (120.0, 600.0)
"""What lacks at one look is looked for again after these; at the last it counts as lacking."""
COMMITMENT_LOOKS = 33
"""Looks for the answer to a storage commitment, from seconds to an hour apart: about a day. An archive may answer
once its night is over (PS3.4 annex J)."""
COMMITMENT_PAUSE_SECONDS = 5.0
_MOST_TRIES = 10
_LONGEST_PAUSE_SECONDS = 3600.0
_LEASE_SECONDS = 900.0


class Method(StrEnum):
    """How a destination is asked for what it took."""

    NONE = "none"
    FIND = "find"
    """C-FIND for the images of each series (PS3.4 C.4.1)."""
    STORAGE_COMMITMENT = "storage_commitment"
    """It is asked to take the images into its keeping (PS3.4 annex J)."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A kept promise to ask about. `completed_at` fences what is written: another one has been taken up again."""

    delivery_id: int
    destination: str
    study_id: str
    route: str
    instances: tuple[str, ...]
    """Orthanc ids."""
    completed_at: datetime
    asked: int
    """How often it was asked about before."""
    reference: str | None
    """The storage commitment under way."""
    verified: bool
    """It was asked about since it was completed, and was all there."""

    @classmethod
    def of(cls, row: Row) -> Delivered:
        return cls(
            delivery_id=row["id"],
            destination=row["destination"],
            study_id=row["study_id"],
            route=row["route_name"],
            instances=tuple(row["delivered_instances"]),
            completed_at=row["completed_at"],
            asked=row["verify_count"],
            reference=row["verify_reference"],
            verified=row["verified_at"] is not None and row["verified_at"] >= row["completed_at"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """Deliveries a destination could not be asked about, newest reason first."""

    destination: str
    deliveries: int
    reason: str


def set_verification(database: Database, destination: str, method: Method) -> bool:
    """How a destination is asked from now on; False: it was so before. What was delivered before is not asked about
    by itself, `orthanc reconcile` does."""
    with database.transaction() as tx:
        breaker.know(tx, destination)
        changed = tx.run(
            "UPDATE destination_health SET verify = %(method)s WHERE destination = %(destination)s"
            " AND verify <> %(method)s",
            method=method.value,
            destination=destination,
        )
        if changed:
            tx.run(
                "UPDATE routing_state SET verify_at = NULL, verify_reference = NULL, verify_error = NULL"
                " WHERE destination = %(destination)s AND (verify_at IS NOT NULL OR verify_error IS NOT NULL)",
                destination=destination,
            )
    return changed > 0


def methods(database: Database) -> dict[str, Method]:
    """How each destination is asked, by name; absent: not at all."""
    with database.transaction() as tx:
        rows = tx.all("SELECT destination, verify FROM destination_health WHERE verify <> 'none'")
    return {row["destination"]: Method(row["verify"]) for row in rows}


def due(database: Database, source: str = "orthanc") -> dict[str, Method]:
    """Destinations to ask now, with how; one that is down is not asked."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT destination, verify FROM destination_health h
             WHERE verify <> 'none' AND breaker <> 'open'
               AND (SELECT true FROM routing_state s
                     WHERE s.destination = h.destination AND s.source = %(source)s
                       AND s.verify_at <= now() AND s.status = 'success' LIMIT 1)
            """,
            source=source,
        )
    return {row["destination"]: Method(row["verify"]) for row in rows}


def claim(database: Database, destination: str, *, most: int, source: str = "orthanc") -> list[Delivered]:
    """Deliveries to ask the destination about now, those of a study together; nobody else asks meanwhile."""
    with database.transaction() as tx:
        rows = tx.all(
            sql.CLAIM_VERIFICATIONS, destination=destination, most=most, source=source, lease=_LEASE_SECONDS
        )
    return [Delivered.of(row) for row in sorted(rows, key=lambda row: (row["study_id"], row["id"]))]


def delivered_since(
    database: Database, destination: str, since: datetime, *, after: int, most: int, source: str = "orthanc"
) -> list[Delivered]:
    """Deliveries completed since a moment and settled since, with a number greater than `after`, in order.

    Those of the last minutes are left to the router's own first looks.
    """
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT id, destination, study_id, route_name, delivered_instances, completed_at, verify_count,
                   verify_reference, verified_at
              FROM routing_state
             WHERE destination = %(destination)s AND source = %(source)s AND status = 'success'
               AND completed_at >= %(since)s AND completed_at < now() - make_interval(secs => %(settled)s)
               AND id > %(after)s
             ORDER BY id LIMIT %(most)s
            """,
            destination=destination,
            source=source,
            since=since,
            settled=_settled(),
            after=after,
            most=most,
        )
    return [Delivered.of(row) for row in rows]


def ask_anew(database: Database, destination: str, since: datetime, *, dry_run: bool) -> int:
    """Everything completed since a moment and settled is to be asked about again by the router; how many."""
    which = """
         WHERE destination = %(destination)s AND status = 'success'
           AND completed_at >= %(since)s AND completed_at < now() - make_interval(secs => %(settled)s)
    """
    order = f"UPDATE routing_state SET verify_at = now(), verify_count = 0, verify_reference = NULL {which}"  # noqa: S608
    with database.transaction() as tx:
        wanted = {"destination": destination, "since": since, "settled": _settled()}
        if dry_run:
            return int(tx.one(f"SELECT count(*) AS n FROM routing_state {which}", **wanted)["n"])  # noqa: S608
        return tx.run(order, **wanted)


def has_all(database: Database, delivered: Delivered, method: Method) -> bool:
    """The destination has every image. False: the delivery was taken up again meanwhile."""
    with database.transaction() as tx:
        row = tx.one_or_none(sql.NOTE_VERIFIED, id=delivered.delivery_id, completed_at=delivered.completed_at)
        if row is not None and not delivered.verified:
            record(tx, Event.DELIVERY_VERIFIED, row, instances=len(delivered.instances), method=method.value)
    return row is not None


def lacks(database: Database, delivered: Delivered, lacking: Collection[str]) -> Status | None:
    """success → pending for the images the destination does not have, or stuck when the route's attempts are used up.

    Returns what it became; None: it was taken up again meanwhile.
    """
    missing, total = len(lacking), len(delivered.instances)
    failure = Failure(ErrorClass.NOT_KEPT, f"the destination does not have {missing} of {total} images it took")
    with database.transaction() as tx:
        policy = tx.one_or_none(
            "SELECT attempt_count, max_attempts, backoff, initial_delay FROM routing_state"
            " WHERE id = %(id)s AND completed_at = %(completed_at)s FOR UPDATE",
            id=delivered.delivery_id,
            completed_at=delivered.completed_at,
        )
        if policy is None:
            return None
        decision = next_attempt(
            RetryPolicy(policy["max_attempts"], Backoff(policy["backoff"]), policy["initial_delay"]),
            max(1, policy["attempt_count"]),
            failure,
            random.uniform(-0.5, 0.5),  # noqa: S311 (jitter)
        )
        waits = isinstance(decision, Wait)
        becomes = Status.PENDING if waits else Status.STUCK
        row = tx.one_or_none(
            sql.LACK,
            id=delivered.delivery_id,
            completed_at=delivered.completed_at,
            from_states=(LACK if waits else LOSE).from_states,
            status=becomes,
            wait=decision.seconds if isinstance(decision, Wait) else 0.0,
            lacking=list(lacking),
            reason=failure.reason,
        )
        if row is None:
            return None
        record(tx, Event.DELIVERY_LACKING, row, instances=missing, error=failure.reason)
        if not waits:
            record(tx, Event.STUDY_STUCK, row, error=failure.reason, error_class=failure.error_class.value)
    return becomes


def look_again(database: Database, delivered: Delivered) -> bool:
    """Something lacks. True: it may still be on its way in, and is looked for again later; False: it counts."""
    if delivered.asked >= len(LOOK_AGAIN_SECONDS):
        return False
    _put_off(database, delivered, LOOK_AGAIN_SECONDS[delivered.asked], reason=None)
    return True


def no_answer(database: Database, delivered: Delivered, reason: str) -> None:
    """The destination could not be asked: it is again, at growing intervals, and given up after some hours."""
    gives_up = delivered.asked + 1 >= _MOST_TRIES
    pause = min(_LONGEST_PAUSE_SECONDS, 60.0 * 2**delivered.asked)
    _put_off(database, delivered, None if gives_up else pause, reason=reason)


def committing(database: Database, delivered: Delivered, reference: str) -> None:
    """A storage commitment is under way: its answer is looked for at growing intervals, for a day."""
    if delivered.asked >= COMMITMENT_LOOKS:
        _put_off(database, delivered, None, reason="no answer to the storage commitment within a day")
        return
    pause = min(_LONGEST_PAUSE_SECONDS, COMMITMENT_PAUSE_SECONDS * 2**delivered.asked)
    _put_off(database, delivered, pause, reason=None, reference=reference)


def unverified(database: Database) -> list[Unverified]:
    """Destinations that could not be asked about deliveries of the last week, and why, by name."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT s.destination, count(*) AS deliveries,
                   (array_agg(s.verify_error ORDER BY s.completed_at DESC))[1] AS reason
              FROM destination_health h
              JOIN routing_state s USING (destination)
             WHERE h.verify <> 'none' AND s.status = 'success' AND s.verify_error IS NOT NULL
               AND s.completed_at > now() - interval '7 days'
             GROUP BY s.destination ORDER BY s.destination
            """
        )
    return [Unverified(**row) for row in rows]


def _settled() -> float:
    """Seconds after which a delivery is no longer the router's own first looks' to judge."""
    return FIRST_LOOK_SECONDS + sum(LOOK_AGAIN_SECONDS)


def _put_off(
    database: Database,
    delivered: Delivered,
    wait: float | None,
    *,
    reason: str | None,
    reference: str | None = None,
) -> None:
    with database.transaction() as tx:
        row = tx.one_or_none(
            sql.NOTE_UNANSWERED,
            id=delivered.delivery_id,
            completed_at=delivered.completed_at,
            wait=wait,
            reference=reference,
            reason=reason,
        )
        if row is not None and wait is None:
            record(tx, Event.DELIVERY_UNVERIFIED, row, reason=reason)
