"""A breaker a destination: after several outages in a row its deliveries wait instead of burning their attempts.

closed → (failures) → open → (a C-ECHO is answered) → draining → (enough successes) → closed. While it is open nothing
is claimed for it; while it drains, a few a second. What got stuck only because the destination was down is revived
when it answers.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pacsops.database import Database, Transaction
from pacsops.delivery import sql
from pacsops.delivery.model import OUTAGE, Event
from pacsops.delivery.retry import Failure
from pacsops.delivery.states import REVIVE
from pacsops.delivery.timeline import record_all, record_site

FAILURES_TO_OPEN = 5
SUCCESSES_TO_CLOSE = 20
PROBE_INTERVAL_SECONDS = 5.0
SLOW_ECHO_MS = 1000


def know(tx: Transaction, destination: str) -> None:
    """Have a row for the destination, with the default concurrency."""
    tx.run(
        "INSERT INTO destination_health (destination) VALUES (%(destination)s) ON CONFLICT DO NOTHING",
        destination=destination,
    )


def note_success(tx: Transaction, destination: str) -> None:
    """A delivery arrived."""
    before = tx.one_or_none(sql.LOCK_DESTINATION, destination=destination)
    if before is None:
        return
    tx.run(sql.NOTE_SUCCESS, destination=destination, drained_enough=SUCCESSES_TO_CLOSE)
    if before["breaker"] == "open":
        record_site(tx, Event.DESTINATION_RECOVERED, destination=destination)
    if before["breaker"] != "closed":
        _revive(tx, destination, before["last_success_at"])


def note_failure(
    tx: Transaction, destination: str, failure: Failure, *, exhausted: bool, first_failed_at: datetime
) -> None:
    """A delivery met an outage; `exhausted`: it was its last attempt, the first one failed at `first_failed_at`."""
    before = tx.one_or_none(sql.LOCK_DESTINATION, destination=destination)
    if before is None:
        return
    row = tx.one(
        sql.NOTE_FAILURE,
        destination=destination,
        reason=failure.reason,
        exhausted=exhausted,
        first_failed_at=first_failed_at,
        threshold=FAILURES_TO_OPEN,
        probe_interval=PROBE_INTERVAL_SECONDS,
    )
    if row["breaker"] == "open" and before["breaker"] != "open":
        record_site(tx, Event.DESTINATION_UNREACHABLE, destination=destination, error=failure.reason)


def open_at_once(tx: Transaction, destination: str, reason: str) -> None:
    """Nothing can be sent there until a probe finds it."""
    row = tx.one_or_none(
        sql.OPEN_BREAKER, destination=destination, reason=reason, probe_interval=PROBE_INTERVAL_SECONDS
    )
    if row is not None:
        record_site(tx, Event.DESTINATION_UNREACHABLE, destination=destination, error=reason)


def claim_probes(database: Database, known: Collection[str], most: int = 20) -> list[str]:
    """Destinations to C-ECHO now, of those the asker knows; each is put off, so that nobody else probes it meanwhile.

    The router knows Orthanc's modalities, the gateway the destinations of gateway.yml.
    """
    with database.transaction() as tx:
        rows = tx.all(sql.CLAIM_PROBES, known=sorted(known), most=most, probe_interval=PROBE_INTERVAL_SECONDS)
    return [row["destination"] for row in rows]


def note_probe(database: Database, destination: str, *, milliseconds: int | None, reason: str | None = None) -> bool:
    """What a C-ECHO found: its time, or None and why not. True: the destination has just come back."""
    with database.transaction() as tx:
        know(tx, destination)
        before = tx.one(sql.LOCK_DESTINATION, destination=destination)
        row = tx.one(sql.NOTE_PROBE, destination=destination, milliseconds=milliseconds, reason=reason)
        if milliseconds is not None and milliseconds > SLOW_ECHO_MS:
            record_site(tx, Event.DESTINATION_SLOW, destination=destination, echo_ms=milliseconds)
        came_back: bool = before["breaker"] == "open" and row["breaker"] == "draining"
        if came_back:
            record_site(tx, Event.DESTINATION_RECOVERED, destination=destination, down_since=before["opened_at"])
            _revive(tx, destination, before["last_success_at"])
    return came_back


def probe_soon(tx: Transaction, destinations: list[str]) -> None:
    """An operator says it should work again: ask it now."""
    tx.run(
        "UPDATE destination_health SET next_probe_at = now()"
        " WHERE breaker = 'open' AND destination = ANY (%(names)s)",
        names=destinations,
    )


def _revive(tx: Transaction, destination: str, last_success_at: datetime | None) -> None:
    rows = tx.all(
        sql.REVIVE,
        destination=destination,
        from_states=REVIVE.from_states,
        outage=sorted(OUTAGE),
        last_success_at=last_success_at,
    )
    record_all(tx, Event.DELIVERY_REVIVED, rows)
