"""One reconciliation a night, whichever router does it: claimed, renewed while it goes on, finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pacsops.database import Database
from pacsops.delivery.model import Event
from pacsops.delivery.timeline import record_site

ABANDONED_MINUTES = 10
"""A reconciliation nobody renewed for so long is another router's to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A finished one. `result` keys: scanned, planned (studies compared, deliveries never routed before), asked,
    lacking, images (deliveries asked about, those sent again and of how many images), unanswered, requested, seconds,
    destinations (the same for each)."""

    night: date
    started_at: datetime
    finished_at: datetime
    result: Mapping[str, Any]


def claim(database: Database, night: date, worker: str) -> bool:
    """True: this worker does it, unless it is done or somebody else is at it."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            """
            INSERT INTO reconciliation AS r (night, claimed_by) VALUES (%(night)s, %(worker)s)
            ON CONFLICT (night) DO UPDATE SET claimed_by = excluded.claimed_by, claimed_at = now()
             WHERE r.finished_at IS NULL
               AND (r.claimed_by = %(worker)s OR r.claimed_at < now() - make_interval(mins => %(minutes)s))
            RETURNING night
            """,
            night=night,
            worker=worker,
            minutes=ABANDONED_MINUTES,
        )
    return row is not None


def renew(database: Database, night: date, worker: str) -> bool:
    """Still at it. False: somebody else took over."""
    with database.transaction() as tx:
        return bool(
            tx.run(
                "UPDATE reconciliation SET claimed_at = now() WHERE night = %(night)s AND claimed_by = %(worker)s"
                " AND finished_at IS NULL",
                night=night,
                worker=worker,
            )
        )


def finish(database: Database, night: date, worker: str, result: Mapping[str, Any]) -> bool:
    """Done, with its event. False: somebody else took over, and tells of it."""
    with database.transaction() as tx:
        done = tx.run(
            "UPDATE reconciliation SET finished_at = now(), result = %(result)s WHERE night = %(night)s"
            " AND claimed_by = %(worker)s AND finished_at IS NULL",
            night=night,
            worker=worker,
            result=json.dumps(dict(result)),
        )
        if done:
            record_site(tx, Event.RECONCILED, **result)
    return done > 0


def last_reconciliation(database: Database) -> Reconciliation | None:
    """The newest finished one, None before the first."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT night, started_at, finished_at, result FROM reconciliation WHERE finished_at IS NOT NULL"
            " ORDER BY night DESC LIMIT 1"
        )
    return None if row is None else Reconciliation(**row)
