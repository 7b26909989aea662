"""Claiming deliveries, and holding the claim.

A claim is a lease with a token. Whoever holds the token may write the outcome; a worker whose lease ran out finds no
row under its token and drops what it has. Times are the database's.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery import sql
from pacsops.delivery.model import Event, Status
from pacsops.delivery.states import CLAIM
from pacsops.delivery.timeline import record
from pacsops.routes import Backoff, RetryPolicy

LEASE_SECONDS = 60.0
HEARTBEAT_SECONDS = 15.0
DRAIN_INTERVAL_SECONDS = 0.25
"""Between two claims of a destination that has just come back: its backlog drains at four a second."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery in hand."""

    delivery_id: int
    token: str
    status: Status
    """sending, or sent when it was rescued with its job under way."""
    source: str
    level: str
    resource_id: str
    route: str
    destination: str
    study_id: str
    instances: tuple[str, ...]
    """To send in this attempt: Orthanc's ids, or numbers of gateway_instance."""
    attempt: int
    """From 1."""
    policy: RetryPolicy
    job_id: str | None
    first_failed_at: datetime | None
    interruptions: int
    """Jobs of this delivery that Orthanc lost since its last success."""

    @classmethod
    def of(cls, row: Row) -> Claim:
        return cls(
            delivery_id=row["id"],
            token=str(row["claim_token"]),
            status=Status(row["status"]),
            source=row["source"],
            level=row["level"],
            resource_id=row["resource_id"],
            route=row["route_name"],
            destination=row["destination"],
            study_id=row["study_id"],
            instances=tuple(row["attempt_instances"]),
            attempt=row["attempt_count"],
            policy=RetryPolicy(
                max_attempts=row["max_attempts"], backoff=Backoff(row["backoff"]), initial_delay=row["initial_delay"]
            ),
            job_id=row["job_id"],
            first_failed_at=row["first_failed_at"],
            interruptions=row["interruptions"],
        )


def claim(
    database: Database,
    worker: str,
    *,
    source: str = "orthanc",
    transport: str | None = None,
    most: int = 50,
    starts: bool = False,
) -> list[Claim]:
    """Claim up to `most` due deliveries of one destination, within its concurrency. Empty: nothing is due anywhere.

    `transport`: only of destinations that are sent to so (destination_health.transport). `starts`: they are sent from
    now on, by whoever claims; else `outcomes.submitted` tells when.

    Two statements in one transaction, each with its own snapshot (READ COMMITTED): see the files. The transaction
    ends here, before anything is sent.
    """
    with database.transaction() as tx:
        destination = tx.one_or_none(
            sql.CLAIM_DESTINATION, source=source, transport=transport, drain_interval=DRAIN_INTERVAL_SECONDS
        )
        if destination is None:
            return []
        rows = tx.all(
            sql.CLAIM_DELIVERIES,
            source=source,
            destination=destination["destination"],
            max_concurrency=destination["max_concurrency"],
            most=1 if destination["breaker"] == "draining" else most,
            from_states=CLAIM.from_states,
            worker=worker,
            lease=LEASE_SECONDS,
        )
        for row in rows if starts else ():
            record(tx, Event.SEND_STARTED, row, instances=len(row["attempt_instances"]))
    # UPDATE returns its rows in no order: what is most urgent is to be sent first.
    return [Claim.of(row) for row in sorted(rows, key=lambda row: (row["priority"], row["id"]))]


def rescue(
    database: Database,
    worker: str,
    *,
    dead_workers: Collection[str] = (),
    source: str = "orthanc",
    transport: str | None = None,
) -> list[Claim]:
    """Take over claims whose lease ran out, or whose worker is known to be dead."""
    with database.transaction() as tx:
        rows = tx.all(
            sql.RESCUE,
            worker=worker,
            dead_workers=list(dead_workers),
            source=source,
            transport=transport,
            lease=LEASE_SECONDS,
        )
    return [Claim.of(row) for row in rows]


def workers_in_flight(database: Database, *, source: str = "orthanc") -> frozenset[str]:
    """Names of the workers that hold claims."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT DISTINCT claimed_by FROM routing_state"
            " WHERE status IN ('sending', 'sent') AND source = %(source)s",
            source=source,
        )
    return frozenset(row["claimed_by"] for row in rows)


def predecessors(database: Database, worker: str, *, source: str = "orthanc") -> frozenset[str]:
    """Workers of this host whose process is gone: their claims need not wait for the end of the lease.

    Workers are named host:pid:random. In a container a successor has its predecessor's process number; the random
    part tells them apart.
    """
    host, own_pid, _ = worker.rsplit(":", 2)
    gone = set()
    for other in workers_in_flight(database, source=source) - {worker}:
        its_host, pid, _ = other.rsplit(":", 2)
        if its_host == host and (pid == own_pid or not _runs(int(pid))):
            gone.add(other)
    return frozenset(gone)


def heartbeat(database: Database, tokens: Iterable[str]) -> frozenset[str]:
    """Extend the leases; the tokens still held. One that is missing was taken over or taken back."""
    with database.transaction() as tx:
        rows = tx.all(sql.HEARTBEAT, tokens=list(tokens), lease=LEASE_SECONDS)
    return frozenset(str(row["claim_token"]) for row in rows)


def is_written_down(database: Database, claim: Claim, job_id: str) -> bool:
    """Whether this job was an attempt we know of, of the claim's or another delivery of the study."""
    with database.transaction() as tx:
        row = tx.one(
            """
            SELECT EXISTS (SELECT 1 FROM routing_event
                            WHERE study_id = %(study_id)s AND event = 'send_started'
                              AND detail ->> 'job_id' = %(job_id)s) AS found
            """,
            study_id=claim.study_id,
            job_id=job_id,
        )
    return bool(row["found"])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # Killed, and not yet waited for by whoever inherited it: it has its number, and does nothing any more.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
