"""Whether a destination has what it took, and what follows when it does not."""

from __future__ import annotations

import pytest
from tests.integration.delivery.checks import ANSWERS, an_old_answer_changes_nothing
from tests.support.deliveries import (
    as_delivered,
    events,
    in_state,
    make_due,
    planned,
    promise,
    row,
    selection,
    state,
    take,
    verify_now,
)

from pacsops.database import Database
from pacsops.delivery import breaker, desk, outcomes, verification
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Event, Method, Status
from pacsops.routes import RetryPolicy

THRICE = RetryPolicy(max_attempts=3, initial_delay=3600)


def delivered(database: Database, method: Method = Method.FIND, **said: object) -> int:
    """A delivery of two images to a destination that is asked about them."""
    verification.set_verification(database, "PACS", method)
    number = promise(database, "PACS", **{"instances": ("i1", "i2"), "retry": THRICE, **said})  # type: ignore[arg-type]
    assert outcomes.finish(database, take(database), duration_ms=1)
    return number


def test_what_was_delivered_is_asked_about_once_it_is_due_and_by_one_router_only(database: Database) -> None:
    number = delivered(database)
    assert verification.due(database) == {}
    assert verification.claim(database, "PACS", most=10) == []

    verify_now(database)

    assert verification.due(database) == {"PACS": Method.FIND}
    (asked,) = verification.claim(database, "PACS", most=10)
    assert (asked.delivery_id, asked.instances) == (number, ("i1", "i2"))
    assert verification.claim(database, "PACS", most=10) == []


def test_a_destination_is_taken_at_its_word_unless_told_otherwise(database: Database) -> None:
    in_state(database, Status.SUCCESS)
    verify_now(database)

    assert verification.due(database) == {}
    assert verification.methods(database) == {}
    assert desk.destination_health(database)["PACS"].verify == "none"


def test_a_verified_delivery_says_so_and_is_not_asked_about_again(database: Database) -> None:
    number = delivered(database)

    assert verification.has_all(database, as_delivered(database, number), Method.FIND)

    verify_now(database)
    assert verification.due(database) == {}
    found = desk.delivery(database, number)
    assert found is not None
    assert found.verified_at is not None
    assert events(database, number)[-1] is Event.DELIVERY_VERIFIED


def test_images_a_destination_does_not_have_are_owed_again_and_only_those(database: Database) -> None:
    number = delivered(database)

    assert verification.lacks(database, as_delivered(database, number), ["i2"]) is Status.PENDING

    found = row(database, number)
    assert (found["delivered_instances"], found["last_error_class"]) == (["i1"], "not-kept")
    assert found["last_error"] == "the destination does not have 1 of 2 images it took"
    assert events(database, number)[-1] is Event.DELIVERY_LACKING
    make_due(database)
    assert take(database).instances == ("i2",)


def test_a_destination_that_loses_images_time_and_again_ends_as_stuck(database: Database) -> None:
    number = delivered(database)
    for attempt in (1, 2):
        assert verification.lacks(database, as_delivered(database, number), ["i2"]) is Status.PENDING
        make_due(database)
        claim = take(database)
        assert claim.attempt == attempt + 1
        assert outcomes.finish(database, claim, duration_ms=1)

    assert verification.lacks(database, as_delivered(database, number), ["i2"]) is Status.STUCK

    assert events(database, number)[-2:] == [Event.DELIVERY_LACKING, Event.STUDY_STUCK]
    (group,) = desk.failure_groups(database)
    assert (group.error_class, group.stuck) == ("not-kept", 1)
    desk.retry(database, DeliveryFilter(delivery_ids=(number,)), by="operator")
    assert take(database).instances == ("i2",)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_about_a_delivery_that_grew_meanwhile_changes_nothing(database: Database, answer: str) -> None:
    an_old_answer_changes_nothing(database, ANSWERS[answer])


def test_what_lacks_is_looked_for_again_before_it_counts(database: Database) -> None:
    number = delivered(database)
    for _ in verification.LOOK_AGAIN_SECONDS:
        assert verification.look_again(database, as_delivered(database, number))
        assert state(database, number) is Status.SUCCESS

    assert not verification.look_again(database, as_delivered(database, number))


def test_a_destination_that_gives_no_answer_is_asked_for_hours_and_then_told_of(database: Database) -> None:
    number = delivered(database)
    tries = 0
    while row(database, number)["verify_at"] is not None:
        verification.no_answer(database, as_delivered(database, number), "it does not offer C-FIND")
        tries += 1
        assert tries < 50

    assert state(database, number) is Status.SUCCESS
    assert events(database, number)[-1] is Event.DELIVERY_UNVERIFIED
    (told,) = desk.unverified(database)
    assert (told.destination, told.deliveries, told.reason) == ("PACS", 1, "it does not offer C-FIND")


def test_a_commitment_is_waited_for_and_given_up_after_a_day(database: Database) -> None:
    number = delivered(database, Method.STORAGE_COMMITMENT)
    verification.committing(database, as_delivered(database, number), "2.25.1")
    assert row(database, number)["verify_reference"] == "2.25.1"
    waited = 0.0
    while (found := row(database, number))["verify_at"] is not None:
        with database.transaction() as tx:
            pause = tx.one("SELECT extract(epoch FROM verify_at - now())::float AS s FROM routing_state")["s"]
        waited += pause
        verification.committing(database, as_delivered(database, number), "2.25.1")

    assert found["verify_error"]
    assert 20 * 3600 < waited < 28 * 3600


def test_a_destination_that_is_down_is_not_asked(database: Database) -> None:
    delivered(database)
    verify_now(database)
    with database.transaction() as tx:
        breaker.open_at_once(tx, "PACS", "down")

    assert verification.due(database) == {}


def test_no_longer_asking_forgets_what_was_to_be_asked(database: Database) -> None:
    number = delivered(database)
    assert verification.set_verification(database, "PACS", Method.NONE)
    assert not verification.set_verification(database, "PACS", Method.NONE)

    assert row(database, number)["verify_at"] is None


def test_a_router_of_the_version_before_delivers_without_asking(database: Database) -> None:
    """Its finish.sql knows nothing of verification; what the last delivery left behind does not confuse it."""
    number = delivered(database)
    verification.has_all(database, as_delivered(database, number), Method.FIND)
    planned(database, selection("PACS", instances=("i1", "i2", "i3"), retry=THRICE))
    claim = take(database)
    with database.transaction() as tx:
        tx.run(
            """
            UPDATE routing_state
               SET status = 'success', delivered_instances = instances, attempt_instances = '{}',
                   completed_at = now(), claim_token = NULL, claimed_by = NULL, lease_until = NULL
             WHERE id = %(id)s AND claim_token = %(token)s
            """,
            id=number,
            token=claim.token,
        )

    found = desk.delivery(database, number)
    assert found is not None
    assert (found.status, found.verified_at) == (Status.SUCCESS, None)
    verify_now(database)
    assert verification.due(database) == {}


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUCCESS}))
def test_only_what_was_delivered_can_be_found_lacking(database: Database, status: Status) -> None:
    number, _ = in_state(database, status)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET completed_at = now(), delivered_instances = '{i1}'")
    before = row(database, number)

    assert verification.lacks(database, as_delivered(database, number), ["i1"]) is None
    assert not verification.has_all(database, as_delivered(database, number), Method.FIND)

    assert row(database, number) == before
