"""Promised deliveries, in the state a test needs, in as few words as it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pacsops.database import Database
from pacsops.database.pool import Row
from pacsops.delivery import breaker, claims, desk, outcomes
from pacsops.delivery.claims import Claim
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import ErrorClass, Event, Status
from pacsops.delivery.planner import Planned, StudyIdentity, plan
from pacsops.delivery.retry import Failure
from pacsops.delivery.verification import Delivered
from pacsops.routes import RetryPolicy, Route, Selection, Send
from pacsops.routes.model import Level

REFUSED = Failure(ErrorClass.REFUSED, "Connection refused")
NO_CONTEXT = Failure(ErrorClass.NO_PRESENTATION_CONTEXT, "no presentation context accepted")
ORTHANC = Failure(ErrorClass.ORTHANC, "Orthanc does not answer")
UNKNOWN = Failure(ErrorClass.UNKNOWN_DESTINATION, "No modality with symbolic name")
PATIENT = RetryPolicy(max_attempts=1000, initial_delay=3600.0)
"""Never exhausted, and not due again within a test."""
ONCE = RetryPolicy(max_attempts=1)
WORKER = "host:1"


def identity(study: str = "study", **identifying: Any) -> StudyIdentity:
    values: dict[str, Any] = dict.fromkeys(
        ("study_uid", "accession_number", "patient_name", "patient_id", "study_description", "study_date")
    )
    return StudyIdentity(source="orthanc", study_id=study, **{**values, **identifying})


def selection(
    destination: str = "PACS",
    *,
    resource: str = "study",
    instances: Iterable[str] = ("i1",),
    level: Level = "study",
    send: Send = Send.STUDY,
    route: str = "all",
    priority: int = 100,
    retry: RetryPolicy = PATIENT,
) -> Selection:
    rule = Route(name=route, match=(), destinations=(destination,), send=send, priority=priority, retry=retry)
    return Selection(rule, destination, level, resource, tuple(sorted(instances)))


def planned(database: Database, *selections: Selection, study: str = "study", version: str = "v1") -> Planned:
    """Plan in a transaction of its own."""
    with database.transaction() as tx:
        return plan(tx, identity(study), selections, version)


def promise(database: Database, destination: str = "PACS", *, study: str = "study", **said: Any) -> int:
    """The id of one new delivery; `said` is passed on to `selection`."""
    (delivery_id,) = planned(database, selection(destination, **{"resource": study, **said}), study=study).new
    return delivery_id


def backlog(database: Database, destination: str, size: int, **said: Any) -> list[int]:
    """The ids of as many new deliveries of as many studies."""
    return [promise(database, destination, study=f"{destination}-{n}", **said) for n in range(size)]


def in_state(database: Database, status: Status, destination: str = "PACS", **said: Any) -> tuple[int, Claim | None]:
    """A new delivery brought into a state by the transitions that lead there, and its claim if one was made.

    Nothing else may be due for the destination.
    """
    delivery_id = promise(database, destination, **said)
    chosen = DeliveryFilter(delivery_ids=(delivery_id,))
    claim = None
    match status:
        case Status.PENDING:
            pass
        case Status.SKIPPED:
            desk.skip(database, chosen, reason="not needed", by="operator")
        case Status.CANCELLED:
            desk.cancel(database, chosen, reason="a mistake", by="operator")
        case _:
            claim = take(database)
            assert claim.delivery_id == delivery_id, "another delivery was due"
            _carry_on(database, claim, status)
    assert state(database, delivery_id) == status
    return delivery_id, claim


def one_in_each_state(database: Database) -> dict[Status, int]:
    """The ids of new deliveries by their states, each of a study and to a destination named after it."""
    # What is pending comes last: it would be due when another is to be claimed.
    order = sorted(Status, key=lambda status: status is Status.PENDING)
    return {status: in_state(database, status, f"PACS-{status}", study=f"study-{status}")[0] for status in order}


def _carry_on(database: Database, claim: Claim, status: Status) -> None:
    match status:
        case Status.SENT:
            assert outcomes.submitted(database, claim, f"job-{claim.delivery_id}")
        case Status.SUCCESS:
            assert outcomes.finish(database, claim, duration_ms=1)
        case Status.FAILED:
            assert outcomes.fail(database, claim, REFUSED).held
        case Status.STUCK:
            assert outcomes.fail(database, claim, NO_CONTEXT).held


def take(database: Database, worker: str = WORKER) -> Claim:
    """The one delivery to be claimed now."""
    (claim,) = claims.claim(database, worker, most=1)
    return claim


def attempt(database: Database, delivery_id: int, failure: Failure) -> None:
    """The delivery's next attempt, which must be what is claimed next, meets a failure."""
    make_due(database)
    claim = take(database)
    assert claim.delivery_id == delivery_id
    assert outcomes.fail(database, claim, failure).held


def fail_over_and_over(database: Database, destination: str, times: int, failure: Failure = REFUSED) -> None:
    """As many deliveries of the destination, each failing once."""
    for number in range(times):
        delivery_id = promise(database, destination, study=f"{destination}-failing-{number}", priority=1)
        claim = take(database)
        assert claim.delivery_id == delivery_id
        assert outcomes.fail(database, claim, failure).held


def row(database: Database, delivery_id: int) -> Row:
    with database.transaction() as tx:
        return tx.one("SELECT * FROM routing_state WHERE id = %(id)s", id=delivery_id)


def rows(database: Database) -> list[Row]:
    """Every delivery, the oldest first."""
    with database.transaction() as tx:
        return tx.all("SELECT * FROM routing_state ORDER BY id")


def state(database: Database, delivery_id: int) -> Status:
    return Status(row(database, delivery_id)["status"])


def in_flight(database: Database, destination: str) -> int:
    with database.transaction() as tx:
        found = tx.one(
            "SELECT count(*) AS n FROM routing_state"
            " WHERE destination = %(destination)s AND status IN ('sending', 'sent')",
            destination=destination,
        )
    return int(found["n"])


def events(database: Database, delivery_id: int) -> list[Event]:
    with database.transaction() as tx:
        found = tx.all("SELECT event FROM routing_event WHERE delivery_id = %(id)s ORDER BY id", id=delivery_id)
    return [Event(line["event"]) for line in found]


def health(database: Database, destination: str = "PACS") -> Row:
    with database.transaction() as tx:
        return tx.one("SELECT * FROM destination_health WHERE destination = %(name)s", name=destination)


def site_events(database: Database, destination: str = "PACS") -> list[Event]:
    with database.transaction() as tx:
        found = tx.all(
            "SELECT event FROM routing_event WHERE destination = %(name)s AND delivery_id IS NULL ORDER BY id",
            name=destination,
        )
    return [Event(line["event"]) for line in found]


def as_delivered(database: Database, delivery_id: int) -> Delivered:
    """A kept promise as whoever asks its destination about it sees it."""
    found = row(database, delivery_id)
    assert found["completed_at"] is not None
    return Delivered.of(found)


def verify_now(database: Database) -> None:
    """Every delivery that waits to be asked about is due."""
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET verify_at = now() WHERE verify_at IS NOT NULL")


def limit(database: Database, destination: str, concurrency: int) -> None:
    desk.set_concurrency(database, destination, concurrency)


def probe(database: Database, destination: str = "PACS", *, answers: bool = True) -> bool:
    """A C-ECHO is answered within 12 ms, or refused; whether the destination has just come back."""
    if answers:
        return breaker.note_probe(database, destination, milliseconds=12)
    return breaker.note_probe(database, destination, milliseconds=None, reason="Connection refused")


def make_due(database: Database) -> None:
    """Every wait is over."""
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET next_retry_at = now() WHERE next_retry_at > now()")


def expire(database: Database, claim: Claim) -> None:
    """The claim's lease ran out a second ago."""
    with database.transaction() as tx:
        touched = tx.run(
            "UPDATE routing_state SET lease_until = now() - interval '1 second' WHERE claim_token = %(token)s",
            token=claim.token,
        )
    assert touched == 1, "the claim is not held any more"


def forget_everything(database: Database) -> None:
    """Empty every table but the ledgers of migrations."""
    with database.transaction() as tx:
        tables = tx.all(
            "SELECT quote_ident(tablename) AS name FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename NOT IN ('schema_migration', 'schema_expansion')"
        )
        tx.run(f"TRUNCATE {', '.join(table['name'] for table in tables)} RESTART IDENTITY")
