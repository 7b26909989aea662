"""What monitoring counts: never down, nothing twice, nothing forgotten, whoever counts and writes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.support.deliveries import (
    NO_CONTEXT,
    attempt,
    identity,
    in_state,
    planned,
    promise,
    selection,
    take,
)

from pacsops.database import Database
from pacsops.delivery import desk, outcomes, sql, studies
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Event, Status
from pacsops.delivery.timeline import record_site
from pacsops.delivery.totals import Totals, count_for_good, latencies, measures, totals
from pacsops.settings import Settings


@pytest.fixture
def other(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed is counted for good at the next look, not after an hour."""
    slack = "date_trunc('hour', now() - interval '1 hour')"
    assert slack in sql.NEXT_TO_COUNT
    monkeypatch.setattr(sql, "NEXT_TO_COUNT", sql.NEXT_TO_COUNT.replace(slack, "now()"))


def age(database: Database, days: float, *, destination: str) -> None:
    """What happened at a destination was so long ago."""
    with database.transaction() as tx:
        tx.run(
            "UPDATE routing_event SET at = at - make_interval(secs => %(s)s) WHERE destination = %(destination)s",
            s=days * 86400,
            destination=destination,
        )


def for_good(database: Database) -> Totals:
    """Only what needs not be counted again."""
    found: Totals = Totals()
    with database.transaction() as tx:
        for row in tx.all("SELECT * FROM metric_total"):
            found[row["metric"], row["destination"]] = row["total"]
    return found


def sent(tx_database: Database, destination: str = "PACS") -> None:
    with tx_database.transaction() as tx:
        record_site(tx, Event.SEND_STARTED, destination=destination)


def test_each_thing_that_happens_is_counted_once_under_its_name(database: Database) -> None:
    with database.transaction() as tx:
        for study in ("one", "two"):
            studies.arrived(tx, identity(study), 1)
        studies.arrived(tx, identity("one"), 2)
    in_state(database, Status.SENT, "A", study="one")
    in_state(database, Status.SUCCESS, "A", study="two")
    stuck, _ = in_state(database, Status.STUCK, "B", study="two")
    desk.skip(database, DeliveryFilter(delivery_ids=(stuck,)), reason="not needed", by="operator")

    counted = totals(database)

    assert (counted["received", ""], counted["matched", ""]) == (2, 2)
    assert {key: value for key, value in counted.items() if key[1] == "A" and key[0] != "latency_ms"} == {
        ("sent", "A"): 1,
        ("success", "A"): 1,
        ("latency_count", "A"): 1,
    }
    assert {key: value for key, value in counted.items() if key[1] == "B"} == {
        ("failed", "B"): 1,
        ("stuck", "B"): 1,
        ("skipped", "B"): 1,
    }


def test_counting_for_good_changes_no_total_and_is_done_once(database: Database, other: Database) -> None:
    for days, destination in ((95, "A"), (40, "B"), (1, "C"), (0, "D")):
        in_state(database, Status.SUCCESS, destination, study=f"{destination}-done")
        age(database, days, destination=destination)
    before = totals(database)
    assert not for_good(database)

    count_for_good(database)

    assert totals(database) == before
    kept = for_good(other)
    assert {key for key in kept if kept[key]} == {
        key for key in before if before[key] and key[1] not in ("", "D")
    } | {("matched", "")}
    assert kept["matched", ""] == 3
    count_for_good(other)
    assert for_good(database) == kept
    assert totals(other) == before


def test_a_study_that_matches_again_later_was_matched_before(database: Database) -> None:
    promise(database, "A", study="grows", route="first")
    age(database, 2, destination="A")
    count_for_good(database)
    assert for_good(database)["matched", ""] == 1

    planned(database, selection("B", resource="grows", route="second"), study="grows")
    promise(database, "B", study="another", route="second")

    assert totals(database)["matched", ""] == 2


def test_what_is_committed_late_is_counted_all_the_same(database: Database, other: Database, at_once: None) -> None:
    sent(database)
    with other.transaction() as tx:
        record_site(tx, Event.SEND_STARTED, destination="PACS")
        sent(database)
        count_for_good(database)
        assert totals(database)["sent", "PACS"] == 2

    count_for_good(database)

    assert totals(database)["sent", "PACS"] == 3
    assert for_good(database)["sent", "PACS"] == 3


def test_two_who_count_while_others_write_never_see_less_and_lose_nothing(
    settings: Settings, database: Database, at_once: None
) -> None:
    each, writers, done = 60, 3, threading.Event()
    seen: dict[int, list[int]] = {0: [], 1: []}

    def write() -> None:
        own = Database(settings)
        for _ in range(each):
            with own.transaction() as tx:
                record_site(tx, Event.SEND_STARTED, destination="PACS")
                tx.run("SELECT pg_sleep(random() / 200)")
        own.close()

    def count(number: int) -> None:
        own = Database(settings)
        while not done.is_set():
            count_for_good(own)
            seen[number].append(totals(own)["sent", "PACS"])
        own.close()

    counting = [threading.Thread(target=count, args=(number,)) for number in seen]
    writing = [threading.Thread(target=write) for _ in range(writers)]
    for thread in [*counting, *writing]:
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    for thread in counting:
        thread.join()

    count_for_good(database)
    assert totals(database)["sent", "PACS"] == for_good(database)["sent", "PACS"] == each * writers
    for numbers in seen.values():
        assert numbers == sorted(numbers)


def test_who_finds_somebody_counting_only_reads(database: Database, other: Database) -> None:
    in_state(database, Status.SENT, "A")
    age(database, 2, destination="A")
    sent(other, "B")
    with other.transaction() as tx:
        tx.run("INSERT INTO metric_counted (until) VALUES (now() - interval '9 days')")
    with other.transaction() as tx:
        tx.run("SELECT * FROM metric_counted FOR UPDATE")
        count_for_good(database)
        assert not for_good(database)
        assert totals(database)["sent", "A"] == 1


def test_a_database_that_takes_no_writes_is_read(database: Database) -> None:
    in_state(database, Status.SENT, "A")
    age(database, 2, destination="A")
    with database.transaction() as tx:
        tx.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")

    count_for_good(database)

    assert totals(database)["sent", "A"] == 1
    assert not for_good(database)


def test_latency_runs_from_the_promise_to_the_last_image_whatever_failed_between(database: Database) -> None:
    number = promise(database, study="slow")
    attempt(database, number, NO_CONTEXT)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET open_since = now() - interval '90 seconds'")
    desk.retry(database, DeliveryFilter(delivery_ids=(number,)), by="operator")
    assert outcomes.finish(database, take(database), duration_ms=1)

    counted = totals(database)

    assert counted["latency_count", "PACS"] == 1
    assert counted["latency_ms", "PACS"] >= 90_000
    assert all(value >= 90_000 for value in latencies(database, (0.5, 0.95, 0.99))["PACS"])


def test_a_delivery_that_grew_while_it_was_sent_is_not_over_yet(database: Database) -> None:
    promise(database, study="grows", instances=("i1",))
    claim = take(database)
    planned(database, selection(resource="grows", instances=("i1", "i2")), study="grows")
    assert outcomes.finish(database, claim, duration_ms=1)

    assert (totals(database)["success", "PACS"], totals(database)["latency_count", "PACS"]) == (1, 0)
    assert outcomes.finish(database, take(database), duration_ms=1)
    assert (totals(database)["success", "PACS"], totals(database)["latency_count", "PACS"]) == (2, 1)


def test_percentiles_are_of_the_last_five_minutes_and_by_destination(database: Database) -> None:
    for number in range(100):
        in_state(database, Status.SUCCESS, "PACS", study=f"study-{number}")
    in_state(database, Status.SUCCESS, "OLD")
    age(database, 1, destination="OLD")
    with database.transaction() as tx:
        # 1 s to 100 s
        tx.run(
            "UPDATE routing_event SET detail = detail || jsonb_build_object('open_ms', 1000 * n.rank)"
            " FROM (SELECT id, rank() OVER (ORDER BY id) FROM routing_event"
            "        WHERE event = 'send_success' AND destination = 'PACS') n"
            " WHERE n.id = routing_event.id"
        )

    found = latencies(database, (0.5, 0.95, 0.99))

    assert found.keys() == {"PACS"}
    assert found["PACS"] == pytest.approx([50_500, 95_050, 99_010])


def test_what_never_was_has_no_age(database: Database) -> None:
    said = measures(database)

    assert (said.router_seconds, said.gateway_seconds, said.backup_seconds, said.verified_seconds) == (None,) * 4
    assert said.database_bytes > 1_000_000
