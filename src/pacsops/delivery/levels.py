"""Service levels: deliveries that a route wants done within a time and that are not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pacsops.database import Database

LATE = """
    deliver_within IS NOT NULL AND status IN ('pending', 'sending', 'sent', 'failed', 'stuck')
    AND open_since + make_interval(secs => deliver_within) < now()
"""
"""The condition of an overdue delivery: open for longer than its route allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Overdue deliveries of one route to one destination, now."""

    route: str
    destination: str
    deliveries: int
    studies: int
    stuck: int
    """How many of them need somebody."""
    due_at: datetime
    """When the longest overdue should have been there."""
    late_seconds: float
    """By how much that one is late."""
    deliver_within: int
    """Seconds its route allowed it."""


def overdue(database: Database) -> list[Overdue]:
    """What is late now, by route and destination, the latest first."""
    with database.transaction() as tx:
        rows = tx.all(
            f"""
            SELECT route_name AS route, destination, count(*) AS deliveries, count(DISTINCT study_id) AS studies,
                   count(*) FILTER (WHERE status = 'stuck') AS stuck,
                   min(open_since + make_interval(secs => deliver_within)) AS due_at,
                   extract(epoch FROM now() - min(open_since + make_interval(secs => deliver_within)))::float
                       AS late_seconds,
                   (array_agg(deliver_within ORDER BY open_since + make_interval(secs => deliver_within)))[1]
                       AS deliver_within
              FROM routing_state
             WHERE {LATE}
             GROUP BY route_name, destination
             ORDER BY due_at
            """  # noqa: S608
        )
    return [Overdue(**row) for row in rows]
