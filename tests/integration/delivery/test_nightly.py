"""One reconciliation a night, whoever does it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from pacsops.database import Database
from pacsops.delivery import desk, nightly

NIGHT = date(2026, 2, 3)


def abandon(database: Database) -> None:
    with database.transaction() as tx:
        tx.run("UPDATE reconciliation SET claimed_at = now() - make_interval(mins => %(m)s)", m=11)


def test_a_night_is_one_routers_even_when_many_want_it(database: Database) -> None:
    def want(number: int) -> bool:
        try:
            return nightly.claim(database, NIGHT, f"host:{number}")
        finally:
            database.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(want, range(8))) == 1
    assert nightly.claim(database, NIGHT + timedelta(days=1), "host:9")


def test_a_finished_night_is_not_done_again_and_tells_its_result(database: Database) -> None:
    assert desk.last_reconciliation(database) is None
    assert nightly.claim(database, NIGHT, "host:1")
    assert nightly.finish(database, NIGHT, "host:1", {"scanned": 3})

    abandon(database)

    assert not nightly.claim(database, NIGHT, "host:1")
    assert not nightly.claim(database, NIGHT, "host:2")
    last = desk.last_reconciliation(database)
    assert last is not None
    assert (last.night, last.result) == (NIGHT, {"scanned": 3})
    with database.transaction() as tx:
        (event,) = tx.all("SELECT event, detail FROM routing_event")
    assert event == {"event": "reconciled", "detail": {"scanned": 3}}


def test_a_router_killed_in_the_night_is_followed_by_another_and_its_successor_at_once(database: Database) -> None:
    assert nightly.claim(database, NIGHT, "host:1")
    assert nightly.claim(database, NIGHT, "host:1")
    assert not nightly.claim(database, NIGHT, "host:2")
    abandon(database)

    assert nightly.claim(database, NIGHT, "host:2")

    assert not nightly.renew(database, NIGHT, "host:1")
    assert not nightly.finish(database, NIGHT, "host:1", {})
    assert nightly.renew(database, NIGHT, "host:2")
    assert nightly.finish(database, NIGHT, "host:2", {})


def test_one_that_goes_on_for_long_keeps_its_night(database: Database) -> None:
    assert nightly.claim(database, NIGHT, "host:1")
    abandon(database)
    assert nightly.renew(database, NIGHT, "host:1")

    assert not nightly.claim(database, NIGHT, "host:2")
