"""What a site's monitoring counts, and how long things took: read from the timeline.

Counts never go down, however often they are asked for and by how many: `metric_total` has what was counted for good,
`metric_counted` until when, and what happened since is counted each time. The two are read in one snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pacsops.database import Database
from pacsops.delivery import sql

Totals = Counter[tuple[str, str]]
"""(metric, destination) → how often; the destination is empty for what is of the whole site. Metrics: received,
matched, sent, success, failed, stuck, skipped, latency_count, latency_ms."""

_AT_ONCE: Final = timedelta(days=30)
"""Of events to be counted in one transaction: years of them would take longer than a statement may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Ages in seconds, None of what never was, and a size in bytes."""

    router_seconds: float | None
    gateway_seconds: float | None
    backup_seconds: float | None
    verified_seconds: float | None
    database_bytes: int


def count_for_good(database: Database) -> None:
    """Add the events up that lie far enough back, unless somebody else is at it or the database takes no writes."""
    if _begun(database):
        while _count_next(database):
            pass


def totals(database: Database) -> Totals:
    """What happened since the database was made. Changes nothing."""
    counted: Totals = Counter()
    with database.transaction() as tx:
        tx.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        since = tx.one("SELECT coalesce(max(until), '-infinity')::text AS since FROM metric_counted")["since"]
        rows = tx.all("SELECT metric, destination, total FROM metric_total")
        rows += tx.all(sql.COUNT_EVENTS, since=since, until="infinity")
    for row in rows:
        counted[row["metric"], row["destination"]] += row["total"]
    return counted


def latencies(database: Database, quantiles: Sequence[float]) -> dict[str, list[float]]:
    """Destination → these quantiles of the milliseconds for which what it took in the last five minutes was open."""
    with database.transaction() as tx:
        rows = tx.all(sql.LATENCIES, quantiles=list(quantiles))
    return {row["destination"]: row["quantiles"] for row in rows}


def measures(database: Database) -> Measures:
    """How old signs of life and backups are."""
    with database.transaction() as tx:
        return Measures(**tx.one(sql.MEASURE))


def _begun(database: Database) -> bool:
    """False: the database takes no writes."""
    with database.transaction() as tx:
        if tx.one("SELECT current_setting('transaction_read_only') AS said")["said"] == "on":
            return False
        # The first id is not quite the first time, and what is not committed yet is not seen: by far less than a day.
        tx.run(
            "INSERT INTO metric_counted (until)"
            " SELECT coalesce((SELECT at FROM routing_event ORDER BY id LIMIT 1), now()) - interval '1 day'"
            " WHERE NOT EXISTS (SELECT 1 FROM metric_counted) ON CONFLICT DO NOTHING"
        )
    return True


def _count_next(database: Database) -> bool:
    """True: there is more."""
    with database.transaction() as tx:
        span = tx.one_or_none(sql.NEXT_TO_COUNT, most=_AT_ONCE)
        if span is None or span["until"] <= span["since"]:
            return False
        for row in tx.all(sql.COUNT_EVENTS, **span):
            tx.run(
                "INSERT INTO metric_total AS t (metric, destination, total)"
                " VALUES (%(metric)s, %(destination)s, %(total)s)"
                " ON CONFLICT (metric, destination) DO UPDATE SET total = t.total + excluded.total",
                **row,
            )
        tx.run("UPDATE metric_counted SET until = %(until)s", until=span["until"])
    return bool(span["until"] - span["since"] == _AT_ONCE)
