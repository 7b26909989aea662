"""What failed, in groups of a kind."""

from __future__ import annotations

from tests.support.deliveries import (
    NO_CONTEXT,
    REFUSED,
    attempt,
    in_state,
    make_due,
    promise,
    row,
    state,
    take,
)

from pacsops.database import Database
from pacsops.delivery import desk, outcomes
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import ErrorClass, Status
from pacsops.delivery.retry import Failure

CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT = "1.2.840.10008.1.2.1"


def refused(status: int = 0xC000, sop_class: str | None = CT) -> Failure:
    return Failure(ErrorClass.PEER_STATUS, f"status 0x{status:04X}", status, sop_class, EXPLICIT)


def fails(database: Database, failure: Failure, study: str, destination: str = "PACS") -> int:
    number = promise(database, destination, study=study)
    attempt(database, number, failure)
    return number


def test_deliveries_that_failed_alike_are_one_group(database: Database) -> None:
    alike = [fails(database, refused(), study) for study in ("s1", "s2")]
    others = [
        fails(database, refused(0xA900), "s1x"),
        fails(database, refused(sop_class=SR), "s2x"),
        fails(database, refused(), "s3", destination="OTHER"),
        fails(database, NO_CONTEXT, "s4"),
    ]

    first, *rest = desk.failure_groups(database)

    assert first.members(database) == tuple(alike)
    assert (first.deliveries, first.studies, first.stuck, first.waiting) == (2, 2, 2, 0)
    assert (first.dimse_status, first.sop_class, first.transfer_syntax) == (0xC000, CT, EXPLICIT)
    assert first.oldest_at == row(database, alike[0])["last_error_at"]
    assert first.newest_at == row(database, alike[1])["last_error_at"]
    assert first.example == "s2"
    assert sorted(number for group in rest for number in group.members(database)) == sorted(others)
    assert len({group.id for group in [first, *rest]}) == 5


def test_what_waits_for_another_attempt_counts_and_what_arrived_does_not(database: Database) -> None:
    waits = fails(database, REFUSED, "s1")
    in_state(database, Status.SUCCESS, study="s2")
    in_state(database, Status.SKIPPED, study="s3")

    (group,) = desk.failure_groups(database)

    assert (group.deliveries, group.stuck, group.waiting) == (1, 0, 1)
    desk.retry(database, DeliveryFilter(delivery_ids=(waits,)), by="operator")
    assert desk.failure_groups(database) == []


def test_a_group_is_called_the_same_when_more_fails_in_its_way(database: Database) -> None:
    fails(database, refused(), "s1")
    (before,) = desk.failure_groups(database)
    fails(database, refused(), "s2")

    assert [group.id for group in desk.failure_groups(database)] == [before.id]


def test_details_are_of_the_last_failure_only(database: Database) -> None:
    number = fails(database, Failure(ErrorClass.ABORTED, "hung up", None, CT, EXPLICIT), "s1")
    make_due(database)
    claim = take(database)
    assert outcomes.fail(database, claim, REFUSED).held

    (group,) = desk.failure_groups(database)

    assert (group.error_class, group.sop_class) == ("refused", None)
    assert state(database, number) == Status.FAILED


def test_a_failure_written_by_a_router_of_the_version_before_has_no_stale_details(database: Database) -> None:
    number = fails(database, refused(), "s1")
    with database.transaction() as tx:  # as its fail.sql does: it knows nothing of the details
        tx.run(
            "UPDATE routing_state SET last_error = 'timeout', last_error_class = 'timeout', last_error_at = now()"
            " WHERE id = %(id)s",
            id=number,
        )

    (group,) = desk.failure_groups(database)

    assert (group.error_class, group.dimse_status, group.sop_class) == ("timeout", None, None)
