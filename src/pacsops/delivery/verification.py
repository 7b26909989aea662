"""Whether a destination has what it took: when it is asked, and what its answer leads to.

A success is the destination's word for each image, not a proof that it keeps them. Archives take images in by and by:
one that lacks some is asked again minutes later, before it counts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from pacsops.database import Database, Transaction
from pacsops.database.pool import Row
from pacsops.delivery import breaker, sql
from pacsops.delivery.model import ErrorClass, Event, Method, Status
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
AT_ONCE = 4
"""Destinations asked beside each other."""
BATCH = 20
"""Deliveries to ask a destination about before it is looked what else is due."""
GONE: Mapping[str, str] = MappingProxyType(
    {
        "orthanc": "some of its images are no longer in Orthanc: there is nothing to compare with",
        "gateway": "some of its images are no longer in the spool: there is nothing to compare with",
    }
)
"""By source: why nobody can tell any more."""
_ASKED_BY: Mapping[str, str] = MappingProxyType({"orthanc": "verify", "gateway": "gateway_verify"})
"""By source, the column of destination_health that says how: a system may be a destination of both."""
_MOST_TRIES = 10
_LONGEST_PAUSE_SECONDS = 3600.0
_LEASE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """A kept promise to ask about. `completed_at` fences what is written: another one has been taken up again."""

    delivery_id: int
    source: str
    destination: str
    study_id: str
    route: str
    instances: tuple[str, ...]
    """As the source knows them: Orthanc's ids, or numbers of gateway_instance."""
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
            source=row["source"],
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


def set_verification(database: Database, destination: str, method: Method, source: str = "orthanc") -> bool:
    """How a destination is asked from now on for what it took of a source; False: it was so before.

    What was delivered before is not asked about by itself, `orthanc reconcile` does.
    """
    with database.transaction() as tx:
        return set_within(tx, destination, method, source)


def set_within(tx: Transaction, destination: str, method: Method, source: str) -> bool:
    """As `set_verification`, for who has more to say of it in the same transaction."""
    column = _ASKED_BY[source]
    breaker.know(tx, destination)
    changed = tx.run(
        f"UPDATE destination_health SET {column} = %(method)s WHERE destination = %(destination)s"  # noqa: S608
        f" AND {column} <> %(method)s",
        method=method.value,
        destination=destination,
    )
    if changed:
        tx.run(
            "UPDATE routing_state SET verify_at = NULL, verify_reference = NULL, verify_error = NULL"
            " WHERE destination = %(destination)s AND source = %(source)s"
            " AND (verify_at IS NOT NULL OR verify_error IS NOT NULL)",
            destination=destination,
            source=source,
        )
    return changed > 0


def methods(database: Database, source: str = "orthanc") -> dict[str, Method]:
    """How each destination is asked for what it took of a source, by name; absent: not at all."""
    column = _ASKED_BY[source]
    with database.transaction() as tx:
        rows = tx.all(f"SELECT destination, {column} AS method FROM destination_health WHERE {column} <> 'none'")  # noqa: S608
    return {row["destination"]: Method(row["method"]) for row in rows}


def due(database: Database, source: str = "orthanc") -> dict[str, Method]:
    """Destinations to ask now, with how: by C-FIND where only somebody's order wants it. One that is down is not."""
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT destination, {_ASKED_BY[source]} AS method FROM destination_health h
             WHERE breaker <> 'open'
               AND (SELECT true FROM routing_state s
                     WHERE s.destination = h.destination AND s.source = %(source)s
                       AND s.verify_at <= now() AND s.status = 'success' LIMIT 1)
            """,  # noqa: S608
            source=source,
        )
    found = {row["destination"]: Method(row["method"]) for row in rows}
    return {name: Method.FIND if method is Method.NONE else method for name, method in found.items()}


def sources(database: Database, destination: str, since: datetime) -> list[str]:
    """Of which sources the destination took anything since a moment."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT DISTINCT source FROM routing_state WHERE destination = %(destination)s AND status = 'success'"
            " AND completed_at >= %(since)s ORDER BY source",
            destination=destination,
            since=since,
        )
    return [row["source"] for row in rows]


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
            SELECT id, source, destination, study_id, route_name, delivered_instances, completed_at, verify_count,
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


def ask_anew(database: Database, destination: str, since: datetime, *, dry_run: bool, source: str = "orthanc") -> int:
    """Everything completed since a moment and settled is to be asked about again by whoever sent it; how many."""
    which = """
         WHERE destination = %(destination)s AND source = %(source)s AND status = 'success'
           AND completed_at >= %(since)s AND completed_at < now() - make_interval(secs => %(settled)s)
    """
    order = f"UPDATE routing_state SET verify_at = now(), verify_count = 0, verify_reference = NULL {which}"  # noqa: S608
    with database.transaction() as tx:
        wanted = {"destination": destination, "source": source, "since": since, "settled": _settled()}
        if dry_run:
            return int(tx.one(f"SELECT count(*) AS n FROM routing_state {which}", **wanted)["n"])  # noqa: S608
        return tx.run(order, **wanted)


def has_all(database: Database, delivered: Delivered, method: Method) -> bool:
    """The destination has every image. False: the delivery was taken up again meanwhile."""
    with database.transaction() as tx:
        row = tx.one_or_none(sql.NOTE_VERIFIED, id=delivered.delivery_id, completed_at=delivered.completed_at)
        if method is Method.FIND:
            _believe(tx, delivered.destination)
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
            "SELECT attempt_count, lack_count, max_attempts, backoff, initial_delay FROM routing_state"
            " WHERE id = %(id)s AND completed_at = %(completed_at)s FOR UPDATE",
            id=delivered.delivery_id,
            completed_at=delivered.completed_at,
        )
        if policy is None:
            return None
        decision = next_attempt(
            RetryPolicy(policy["max_attempts"], Backoff(policy["backoff"]), policy["initial_delay"]),
            # Who writes down what arrives image by image is at the first attempt whenever one did.
            max(policy["attempt_count"], policy["lack_count"] + 1),
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


def nothing_to_compare(database: Database, delivered: Delivered) -> None:
    """Who sent it no longer holds every image: what is there is there, of the rest nobody can tell."""
    _put_off(database, delivered, None, reason=GONE[delivered.source])


def committing(database: Database, delivered: Delivered, reference: str) -> None:
    """A storage commitment is under way: its answer is looked for at growing intervals, for a day."""
    if delivered.asked >= COMMITMENT_LOOKS:
        _put_off(database, delivered, None, reason="no answer to the storage commitment within a day")
        return
    pause = min(_LONGEST_PAUSE_SECONDS, COMMITMENT_PAUSE_SECONDS * 2**delivered.asked)
    _put_off(database, delivered, pause, reason=None, reference=reference)


def unverified(database: Database) -> list[Unverified]:
    """Destinations that could not be asked about deliveries of the last week, and why, by name.

    Also about older ones that the gateway keeps for that; without those whose images are gone: nobody can mend that.
    """
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT s.destination, count(*) AS deliveries,
                   (array_agg(s.verify_error ORDER BY s.completed_at DESC))[1] AS reason
              FROM destination_health h
              JOIN routing_state s USING (destination)
             WHERE CASE s.source WHEN 'gateway' THEN h.gateway_verify ELSE h.verify END <> 'none'
               AND s.status = 'success' AND s.verify_error IS NOT NULL AND s.verify_error <> ALL (%(gone)s)
               AND (s.completed_at > now() - interval '7 days'
                    OR s.source = 'gateway' AND EXISTS (SELECT 1 FROM gateway_instance i
                                                         WHERE i.study_uid = s.study_id AND i.removed_at IS NULL))
             GROUP BY s.destination ORDER BY s.destination
            """,
            gone=list(GONE.values()),
        )
    return [Unverified(**row) for row in rows]


def believed(database: Database, destination: str, *, told: bool) -> bool:
    """Whether a destination that tells of none of a delivery's images lacks them: it told of some image, now or ever.

    Systems that take C-FIND for images and have no answer to it say success, too, and no match.

    Args:
        told: whether it tells of one now.
    """
    with database.transaction() as tx:
        if told:
            _believe(tx, destination)
            return True
        row = tx.one_or_none("SELECT told_at FROM destination_health WHERE destination = %(name)s", name=destination)
    return row is not None and row["told_at"] is not None


def _believe(tx: Transaction, destination: str) -> None:
    tx.run(
        "UPDATE destination_health SET told_at = now() WHERE destination = %(name)s AND told_at IS NULL",
        name=destination,
    )


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
