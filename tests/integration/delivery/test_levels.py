"""Deliveries that a route wants done within a time."""

from __future__ import annotations

import pytest
from tests.support.deliveries import identity, in_state, promise, row, selection

from pacsops.database import Database
from pacsops.delivery import desk
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import OPEN, Status
from pacsops.delivery.planner import plan
from pacsops.routes import Route, Selection


def promised_within(database: Database, seconds: int | None, study: str = "stat", destination: str = "PACS") -> int:
    route = Route(name="stat", match=(), destinations=(destination,), deliver_within=seconds)
    with database.transaction() as tx:
        (number,) = plan(tx, identity(study), [Selection(route, destination, "study", study, ("i1",))], "v1").new
    return number


def opened(database: Database, number: int, *, seconds_ago: int) -> None:
    with database.transaction() as tx:
        tx.run(
            "UPDATE routing_state SET open_since = now() - make_interval(secs => %(ago)s) WHERE id = %(id)s",
            ago=seconds_ago,
            id=number,
        )


def test_a_delivery_is_overdue_when_its_time_is_over_and_not_before(database: Database) -> None:
    late, early = promised_within(database, 60, "s1"), promised_within(database, 600, "s2")
    never = promised_within(database, None, "s3")
    for number in (late, early, never):
        opened(database, number, seconds_ago=300)

    (level,) = desk.overdue(database)

    assert [found.id for found in desk.deliveries(database, overdue=True)] == [late]
    assert (level.route, level.destination, level.deliveries, level.studies) == ("stat", "PACS", 1, 1)
    assert 239 <= level.late_seconds < 300
    assert level.due_at == desk.deliveries(database, overdue=True)[0].due_at


@pytest.mark.parametrize("status", Status)
def test_only_what_is_open_can_be_overdue(database: Database, status: Status) -> None:
    number, _ = in_state(database, status)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET deliver_within = 1, open_since = now() - interval '1 hour'")

    assert [found.id for found in desk.deliveries(database, overdue=True)] == ([number] if status in OPEN else [])
    assert sum(level.stuck for level in desk.overdue(database)) == (status is Status.STUCK)


def test_levels_are_told_by_route_and_destination_the_latest_first(database: Database) -> None:
    for study, destination, ago in (("s1", "A", 100), ("s2", "A", 900), ("s3", "B", 500)):
        opened(database, promised_within(database, 60, study, destination), seconds_ago=ago)

    levels = desk.overdue(database)

    assert [(level.destination, level.deliveries) for level in levels] == [("A", 2), ("B", 1)]
    assert levels[0].late_seconds > levels[1].late_seconds


def test_a_retry_does_not_give_a_late_delivery_new_time(database: Database) -> None:
    number, _ = in_state(database, Status.STUCK)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET deliver_within = 60")
    opened(database, number, seconds_ago=300)

    desk.retry(database, DeliveryFilter(delivery_ids=(number,)), by="operator")

    assert [found.id for found in desk.deliveries(database, overdue=True)] == [number]


def test_a_router_of_the_version_before_promises_without_a_service_level(database: Database) -> None:
    number = promise(database, study="plain")

    assert row(database, number)["deliver_within"] is None
    assert selection().route.deliver_within is None
