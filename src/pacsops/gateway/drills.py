"""What drills need besides faults: numbers for simulated studies, and a gateway as new."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pacsops.database import Database


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a gateway has of studies, their images and deliveries, and files in its spool."""

    studies: int
    images: int
    deliveries: int
    files: int

    def __bool__(self) -> bool:
        return bool(self.studies or self.images or self.deliveries or self.files)


def next_number(database: Database) -> int:
    """The next number of a simulated study; nobody else gets it."""
    with database.transaction() as tx:
        return int(tx.one("SELECT nextval('gateway_study_number') AS number")["number"])


def holdings(database: Database, spool: Path) -> Holdings:
    """What `reset` would remove."""
    with database.transaction() as tx:
        row = tx.one(
            """
            SELECT (SELECT count(*) FROM routing_study WHERE source = 'gateway') AS studies,
                   (SELECT count(*) FROM gateway_instance) AS images,
                   (SELECT count(*) FROM routing_state WHERE source = 'gateway') AS deliveries
            """
        )
    return Holdings(**row, files=sum(1 for _ in spool.glob("[0-9]*/*.dcm")))


def reset(database: Database, spool: Path) -> Holdings:
    """Remove all that the gateway received and promised, and begin numbers anew; what was removed.

    Files go first: what ingest finds later, it takes for received.

    Raises:
        OSError: a file cannot be removed; the database is as it was.
    """
    removed = holdings(database, spool)
    for file in spool.glob("[0-9]*/*.dcm"):
        file.unlink(missing_ok=True)
    for folder in spool.glob("[0-9]*/"):
        with suppress(OSError):  # something came meanwhile
            folder.rmdir()
    with database.transaction() as tx:
        tx.run("DELETE FROM routing_event WHERE source = 'gateway'")
        tx.run("DELETE FROM routing_state WHERE source = 'gateway'")
        tx.run("DELETE FROM routing_study WHERE source = 'gateway'")
        tx.run("TRUNCATE gateway_instance, gateway_series, gateway_assignment")
        tx.run("ALTER SEQUENCE gateway_study_number RESTART")
    return removed
