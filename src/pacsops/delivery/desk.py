"""What an operator asks and orders: reading deliveries, and retry, skip, cancel.

Every function is one transaction. Nothing here talks to Orthanc or to a destination: an order changes the state,
the router does the rest within a second.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pacsops.database import Database, Transaction
from pacsops.database.pool import Row
from pacsops.delivery import breaker, sql
from pacsops.delivery.failures import failure_groups
from pacsops.delivery.levels import LATE, overdue
from pacsops.delivery.model import (
    OPEN,
    Delivery,
    DestinationHealth,
    Event,
    Method,
    RoutingCounts,
    Status,
    StudyRecord,
    TimelineEvent,
    UnevaluatedStudy,
)
from pacsops.delivery.nightly import last_reconciliation
from pacsops.delivery.states import CANCEL, FORCED_RETRY, RETRY, SKIP, Transition
from pacsops.delivery.timeline import record_all
from pacsops.delivery.verification import methods, set_verification, unverified
from pacsops.delivery.versions import newest_routes, previous_routes, routes_in_force
from pacsops.errors import AmbiguousStudy, UnknownStudy

__all__ = [
    "DeliveryFilter",
    "Method",
    "cancel",
    "counts",
    "deliveries",
    "delivery",
    "destination_health",
    "failure_groups",
    "find_studies",
    "find_study",
    "last_reconciliation",
    "methods",
    "newest_routes",
    "open_deliveries",
    "overdue",
    "previous_routes",
    "retry",
    "route_counts",
    "routes_in_force",
    "set_concurrency",
    "set_transport",
    "set_verification",
    "skip",
    "timeline",
    "unevaluated",
    "unverified",
]

_DELIVERY = """
    id, source, study_id, study_uid, patient_name, patient_id, study_description, study_date, level, resource_id,
    route_name AS route, destination, priority, status, cardinality(instances) AS instance_count,
    cardinality(delivered_instances) AS delivered_count, attempt_count, max_attempts, next_retry_at, last_error,
    last_error_class, last_error_at, job_id, created_at, open_since, updated_at, completed_at,
    open_since + make_interval(secs => deliver_within) AS due_at,
    CASE WHEN status = 'success' AND verified_at >= completed_at THEN verified_at END AS verified_at,
    CASE WHEN status = 'success' THEN verify_error END AS verify_error
"""
_STUDY = """
    source, study_id, study_uid, accession_number, patient_name, patient_id, study_description, study_date,
    sender_aet, instance_count, first_seen_at, evaluated_at, matched_routes, deleted_at
"""
# Of a study in the gateway's spool some files may be unreadable while the routes were asked about the others.
_UNEVALUATED = """
    (source = 'gateway' AND trouble IS NOT NULL)
    OR (evaluated_seq < arrival_seq
        AND (trouble IS NOT NULL OR arrived_at < now() - make_interval(secs => %(late)s)))
"""
Transport = Literal["orthanc", "direct"]
_SHORTEST_PREFIX = 6
_NAMES = "name it by Orthanc id, StudyInstanceUID or accession number"
_LATE_SECONDS = 900.0
"""A study that received nothing for so long and was not evaluated is in trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries an order is for; what is None does not restrict. Everything given must hold."""

    study_ids: tuple[str, ...] = ()
    """Of one study: each of its sources has its own."""
    delivery_ids: tuple[int, ...] = ()
    destination: str | None = None
    route: str | None = None
    statuses: frozenset[Status] | None = None


def find_study(database: Database, name: str) -> StudyRecord:
    """The first of `find_studies`: Orthanc's, where Orthanc has it."""
    return find_studies(database, name)[0]


def find_studies(database: Database, name: str) -> tuple[StudyRecord, ...]:
    """One study as each source of the site knows it, Orthanc first.

    Args:
        name: Orthanc's id (or six and more of its first characters), StudyInstanceUID or accession number.

    Raises:
        UnknownStudy: none has it.
        AmbiguousStudy: several studies have it; the message lists them.
    """
    name = name.strip()
    # Empty is the accession number of every study without one; bytes that are no text come as surrogates.
    if not name or not name.isprintable():
        raise UnknownStudy(f"no study is known by {name!r}", hint=_NAMES)
    prefix = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT {_STUDY} FROM routing_study
             WHERE study_id = %(name)s OR study_uid = %(name)s OR accession_number = %(name)s
                OR (length(%(name)s) >= %(shortest)s AND study_id LIKE %(prefix)s AND source = 'orthanc')
             ORDER BY first_seen_at DESC LIMIT 20
            """,  # noqa: S608
            name=name,
            prefix=prefix,
            shortest=_SHORTEST_PREFIX,
        )
        exact = [row for row in rows if name in (row["study_id"], row["study_uid"])]
        rows = exact or rows
        if len({row["study_uid"] or row["study_id"] for row in rows}) == 1:
            rows += tx.all(
                f"SELECT {_STUDY} FROM routing_study WHERE study_uid = %(uid)s AND source <> ALL (%(sources)s)",  # noqa: S608
                uid=rows[0]["study_uid"],
                sources=[row["source"] for row in rows],
            )
    if not rows:
        raise UnknownStudy(
            f"no study is known by {name!r}",
            hint=f"{_NAMES}; if Orthanc holds it, `orthanc reconcile` makes it known",
        )
    if len({row["study_uid"] or row["study_id"] for row in rows}) > 1 or len({r["source"] for r in rows}) < len(rows):
        listed = "".join(
            f"\n  {row['study_id'][:13]}  received {row['first_seen_at']:%Y-%m-%d %H:%M} UTC"
            f"  {row['study_description'] or 'no description'}"
            for row in rows
        )
        raise AmbiguousStudy(
            f"{len(rows)} studies are known by {name!r}:{listed}",
            hint=f"name one by the beginning of its Orthanc id, e.g. {rows[0]['study_id'][:13]}",
        )
    rows.sort(key=lambda row: row["source"] != "orthanc")
    return tuple(StudyRecord(**{**row, "matched_routes": tuple(row["matched_routes"])}) for row in rows)


def deliveries(
    database: Database,
    *,
    statuses: Collection[Status] | None = None,
    study_id: str | tuple[str, ...] | None = None,
    destination: str | None = None,
    since: datetime | None = None,
    overdue: bool = False,
    limit: int | None = None,
) -> list[Delivery]:
    """Deliveries, the oldest first; `since` is about their last change, `overdue` takes only those that are late."""
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT {_DELIVERY} FROM routing_state
             WHERE (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
               AND (%(studies)s::text[] IS NULL OR study_id = ANY (%(studies)s))
               AND (%(destination)s::text IS NULL OR destination = %(destination)s)
               AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s)
               AND (NOT %(overdue)s OR ({LATE}))
             ORDER BY id LIMIT %(limit)s
            """,  # noqa: S608
            statuses=None if statuses is None else sorted(statuses),
            studies=None if study_id is None else _as_list(study_id),
            destination=destination,
            since=since,
            overdue=overdue,
            limit=limit,
        )
    return [_delivery(row) for row in rows]


def delivery(database: Database, number: int) -> Delivery | None:
    """The delivery of this number, None when there is none."""
    with database.transaction() as tx:
        row = tx.one_or_none(f"SELECT {_DELIVERY} FROM routing_state WHERE id = %(id)s", id=number)  # noqa: S608
    return None if row is None else _delivery(row)


def timeline(database: Database, study_id: str | tuple[str, ...]) -> list[TimelineEvent]:
    """Everything that happened to a study, the oldest first; of several of its ids, one story."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT at, event, source, delivery_id, route_name AS route, destination, attempt, detail"
            " FROM routing_event WHERE study_id = ANY (%(studies)s) ORDER BY id",
            studies=_as_list(study_id),
        )
    return [TimelineEvent(**{**row, "event": Event(row["event"])}) for row in rows]


def destination_health(database: Database) -> dict[str, DestinationHealth]:
    """Every destination a delivery was ever promised to, or that was ever probed, by name."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT h.destination, h.breaker, h.max_concurrency, h.consecutive_failures, h.opened_at, h.open_reason,
                   h.next_probe_at, h.last_success_at, h.last_failure_at, h.last_error, h.last_echo_at,
                   h.last_echo_ms, h.verify, h.gateway_verify, h.transport,
                   coalesce(s.waiting, 0) AS waiting, coalesce(s.stuck, 0) AS stuck
              FROM destination_health h
              LEFT JOIN (SELECT destination, count(*) FILTER (WHERE status <> 'stuck') AS waiting,
                                count(*) FILTER (WHERE status = 'stuck') AS stuck
                           FROM routing_state
                          WHERE status IN ('pending', 'sending', 'sent', 'failed', 'stuck')
                          GROUP BY destination) s USING (destination)
             ORDER BY h.destination
            """
        )
    return {row["destination"]: DestinationHealth(**row) for row in rows}


def counts(database: Database, since: datetime) -> RoutingCounts:
    """Studies received, matched, delivered in full and met by a failed attempt since a moment; what waits now."""
    with database.transaction() as tx:
        row = tx.one(
            f"""
            SELECT (SELECT count(*) FROM routing_study WHERE first_seen_at >= %(since)s) AS received,
                   (SELECT count(*) FROM routing_study
                     WHERE first_seen_at >= %(since)s AND cardinality(matched_routes) > 0) AS matched,
                   (SELECT count(*) FROM routing_study st
                     WHERE first_seen_at >= %(since)s AND cardinality(matched_routes) > 0
                       AND NOT EXISTS (SELECT 1 FROM routing_state s
                                        WHERE s.study_id = st.study_id AND s.source = st.source
                                          AND s.status NOT IN ('success', 'skipped', 'cancelled'))) AS completed,
                   (SELECT count(*) FROM routing_study
                     WHERE deleted_at IS NULL AND ({_UNEVALUATED})) AS unevaluated,
                   (SELECT count(DISTINCT study_id) FROM routing_event
                     WHERE event = 'send_failed' AND at >= %(since)s) AS failed,
                   w.*
              FROM (SELECT count(*) FILTER (WHERE status <> 'stuck') AS pending,
                           count(*) FILTER (WHERE status = 'stuck') AS stuck,
                           count(DISTINCT study_id) FILTER (WHERE status <> 'stuck') AS pending_studies,
                           count(DISTINCT study_id) FILTER (WHERE status = 'stuck') AS stuck_studies,
                           extract(epoch FROM now() - min(open_since) FILTER (WHERE status <> 'stuck'))::float
                               AS oldest_pending_seconds
                      FROM routing_state
                     WHERE status IN ('pending', 'sending', 'sent', 'failed', 'stuck')) w
            """,  # noqa: S608
            since=since,
            late=_LATE_SECONDS,
        )
    return RoutingCounts(**row)


def unevaluated(database: Database, limit: int = 20) -> list[UnevaluatedStudy]:
    """Studies that no route could be asked about: those in trouble, and those waiting for a quarter of an hour."""
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT source, study_id, trouble, arrived_at FROM routing_study
             WHERE deleted_at IS NULL AND ({_UNEVALUATED})
             ORDER BY trouble IS NULL, arrived_at LIMIT %(limit)s
            """,  # noqa: S608
            late=_LATE_SECONDS,
            limit=limit,
        )
    return [UnevaluatedStudy(**row) for row in rows]


def route_counts(database: Database, since: datetime) -> dict[str, dict[str, Any]]:
    """By route: studies matched and deliveries that succeeded since a moment; waiting and stuck now; last match."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT route_name,
                   count(DISTINCT study_id) FILTER (WHERE created_at >= %(since)s) AS matched,
                   count(*) FILTER (WHERE status = 'success' AND completed_at >= %(since)s) AS success,
                   count(*) FILTER (WHERE status IN ('pending', 'sending', 'sent', 'failed')) AS waiting,
                   count(*) FILTER (WHERE status = 'stuck') AS stuck,
                   max(created_at) AS last_matched_at
              FROM routing_state GROUP BY route_name ORDER BY route_name
            """,
            since=since,
        )
    return {row.pop("route_name"): row for row in rows}


def open_deliveries(database: Database, destination: str) -> int:
    """How many deliveries to a destination are neither kept nor taken back."""
    with database.transaction() as tx:
        row = tx.one(
            "SELECT count(*) AS n FROM routing_state WHERE destination = %(destination)s AND status = ANY (%(open)s)",
            destination=destination,
            open=sorted(OPEN),
        )
    return int(row["n"])


def retry(
    database: Database, wanted: DeliveryFilter, *, by: str, force: bool = False, dry_run: bool = False
) -> list[Delivery]:
    """failed, stuck → pending, with all attempts again and the destination probed at once.

    `force` also takes what waits, was skipped, cancelled or delivered (then everything is sent again). Returns the
    deliveries as they were before; `dry_run` changes nothing.
    """
    transition = FORCED_RETRY if force else RETRY
    with database.transaction() as tx:
        chosen = _choose(tx, wanted, transition)
        if chosen and not dry_run:
            rows = tx.all(
                sql.RESUME,
                ids=[delivery.id for delivery in chosen],
                from_states=transition.from_states,
                anew=force,
            )
            record_all(tx, Event.DELIVERY_RETRIED, rows, by=by)
            breaker.probe_soon(tx, sorted({delivery.destination for delivery in chosen}))
    return chosen


def skip(
    database: Database, wanted: DeliveryFilter, *, reason: str, by: str, dry_run: bool = False
) -> list[Delivery]:
    """Any open delivery → skipped: the operator decided it is not needed. Returns them as they were before.

    What is being sent at this moment may still arrive.
    """
    return _take_back(database, wanted, SKIP, Event.DELIVERY_SKIPPED, reason, by, dry_run)


def cancel(
    database: Database, wanted: DeliveryFilter, *, reason: str, by: str, dry_run: bool = False
) -> list[Delivery]:
    """Any open delivery → cancelled: it should never have been planned. Returns them as they were before."""
    return _take_back(database, wanted, CANCEL, Event.DELIVERY_CANCELLED, reason, by, dry_run)


def set_concurrency(database: Database, destination: str, concurrency: int) -> None:
    """How many deliveries may be on their way to a destination at once (1 and more)."""
    with database.transaction() as tx:
        breaker.know(tx, destination)
        tx.run(
            "UPDATE destination_health SET max_concurrency = %(n)s WHERE destination = %(destination)s",
            n=concurrency,
            destination=destination,
        )


def set_transport(database: Database, destination: str, transport: Transport) -> bool:
    """Who sends to a destination what Orthanc received, from the next attempt on; False: it was so before."""
    with database.transaction() as tx:
        breaker.know(tx, destination)
        changed = tx.run(
            "UPDATE destination_health SET transport = %(transport)s"
            " WHERE destination = %(destination)s AND transport <> %(transport)s",
            transport=transport,
            destination=destination,
        )
    return changed > 0


def _take_back(
    database: Database,
    wanted: DeliveryFilter,
    transition: Transition,
    event: Event,
    reason: str,
    by: str,
    dry_run: bool,
) -> list[Delivery]:
    (status,) = transition.enters
    with database.transaction() as tx:
        chosen = _choose(tx, wanted, transition)
        if chosen and not dry_run:
            rows = tx.all(
                sql.TAKE_BACK,
                ids=[delivery.id for delivery in chosen],
                status=status,
                from_states=transition.from_states,
            )
            record_all(tx, event, rows, reason=reason, by=by)
    return chosen


def _choose(tx: Transaction, wanted: DeliveryFilter, transition: Transition) -> list[Delivery]:
    """The deliveries a filter names among those a transition applies to, locked in the order of their ids."""
    statuses = transition.leaves if wanted.statuses is None else transition.leaves & wanted.statuses
    rows = tx.all(
        f"""
        SELECT {_DELIVERY} FROM routing_state
         WHERE status = ANY (%(statuses)s)
           AND (%(studies)s::text[] IS NULL OR study_id = ANY (%(studies)s))
           AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
           AND (%(destination)s::text IS NULL OR destination = %(destination)s)
           AND (%(route)s::text IS NULL OR route_name = %(route)s)
         ORDER BY id FOR UPDATE
        """,  # noqa: S608
        statuses=sorted(statuses),
        studies=list(wanted.study_ids) or None,
        ids=list(wanted.delivery_ids) or None,
        destination=wanted.destination,
        route=wanted.route,
    )
    return [_delivery(row) for row in rows]


def _as_list(study_id: str | tuple[str, ...]) -> list[str]:
    return [study_id] if isinstance(study_id, str) else list(study_id)


def _delivery(row: Row) -> Delivery:
    return Delivery(**{**row, "status": Status(row["status"])})
