"""How much has come in lately, and what became of it: what a diagnosis asks of the router's tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pacsops.database import Database
from pacsops.delivery.model import OUTAGE, Status


@dataclass(frozen=True, slots=True)
class Received:
    """Images of the studies that were first seen within so many hours."""

    instances: int
    studies: int
    hours: float


@dataclass(frozen=True, slots=True)
class StuckByOutage:
    """Deliveries to one destination that are stuck because it was not there to take them."""

    destination: str
    delivery_ids: tuple[int, ...]
    last_error_at: datetime


def received(database: Database, window: timedelta) -> Received | None:
    """What came in within `window`, or since the first study of all where that is later; None: nothing.

    Hours are one at least: what came in a minute says nothing of an hour.
    """
    with database.transaction() as tx:
        row = tx.one(
            """
            SELECT coalesce(sum(instance_count), 0)::bigint AS instances, count(*) AS studies,
                   extract(epoch FROM now() - greatest(now() - %(window)s,
                       (SELECT min(first_seen_at) FROM routing_study)))::float / 3600 AS hours
              FROM routing_study WHERE first_seen_at >= now() - %(window)s
            """,
            window=window,
        )
    if not row["instances"]:
        return None
    return Received(row["instances"], row["studies"], max(1.0, row["hours"]))


def route_last_matched(database: Database, since: datetime) -> dict[str, datetime]:
    """Each route that matched a study since then, and when it did last."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT route, max(evaluated_at) AS at
              FROM routing_study, unnest(matched_routes) AS route
             WHERE evaluated_at >= %(since)s GROUP BY route
            """,
            since=since,
        )
    return {row["route"]: row["at"] for row in rows}


def routes_text_at(database: Database, at: datetime) -> str | None:
    """The routes.yml that was in force at a moment; None: none was."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT text FROM routes_version WHERE accepted AND loaded_at <= %(at)s ORDER BY id DESC LIMIT 1", at=at
        )
    return None if row is None else str(row["text"])


def stuck_by_outage(database: Database) -> list[StuckByOutage]:
    """What no attempt could deliver because its destination was away, by destination."""
    with database.transaction() as tx:
        rows = tx.all(
            """
            SELECT destination, array_agg(id ORDER BY id) AS ids, max(last_error_at) AS last_error_at
              FROM routing_state
             WHERE status = %(stuck)s AND last_error_class = ANY (%(outage)s)
             GROUP BY destination ORDER BY destination
            """,
            stuck=Status.STUCK.value,
            outage=sorted(OUTAGE),
        )
    return [StuckByOutage(row["destination"], tuple(row["ids"]), row["last_error_at"]) for row in rows]
