"""Planning: what is promised, once, and what becomes of a promise when its study grows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.integration.delivery.checks import made_to_wait
from tests.support.deliveries import (
    NO_CONTEXT,
    ORTHANC,
    REFUSED,
    attempt,
    events,
    identity,
    in_state,
    limit,
    make_due,
    planned,
    promise,
    row,
    rows,
    selection,
    state,
    take,
)

from pacsops.database import Database
from pacsops.delivery import claims, desk, outcomes, studies
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Event, Status
from pacsops.delivery.planner import fingerprint, plan
from pacsops.delivery.studies import Evaluation
from pacsops.routes import Backoff, RetryPolicy, Selection, Send


def largest(resource: str, destination: str = "AI") -> Selection:
    return selection(
        destination, resource=resource, instances=(resource,), level="instance", send=Send.HIGHEST_RESOLUTION
    )


def evaluation(*selections: Selection, as_of: int, last_update: str = "20261121T120000") -> Evaluation:
    return Evaluation(
        study=identity(),
        as_of_seq=as_of,
        last_update=last_update,
        instance_count=sum(len(chosen.instances) for chosen in selections),
        sender_aet="SCANNER",
        matched_routes=tuple(sorted({chosen.route.name for chosen in selections})),
        selections=selections,
        route_version="v1",
    )


def evaluate(database: Database, made: Evaluation) -> None:
    with database.transaction() as tx:
        studies.evaluated(tx, made)


def in_threads(database: Database, works: list[Callable[[], None]]) -> None:
    """Everything at the same moment, each in a thread and on a connection of its own."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            start.wait(timeout=30)
            work()
        finally:
            database.close()

    with ThreadPoolExecutor(len(works)) as threads:
        list(threads.map(run, works))


def test_planning_twice_promises_once(database: Database) -> None:
    both = (selection("A", instances=("a", "b")), selection("B", instances=("a", "b")))

    first = planned(database, *both)
    again = planned(database, *both)

    assert len(first.new) == 2
    assert (again.new, again.grown) == ((), ())
    assert [found["id"] for found in rows(database)] == list(first.new)
    assert events(database, first.new[0]) == [Event.ROUTE_MATCHED]


def test_two_routes_to_one_destination_are_two_promises(database: Database) -> None:
    made = planned(database, selection(route="one"), selection(route="two"))

    assert len(made.new) == 2


def test_two_routers_planning_at_once_promise_once(database: Database) -> None:
    for number in range(8):
        study = f"study-{number}"

        def work(study: str = study) -> None:
            planned(database, selection(resource=study, instances=("a", "b")), study=study)

        in_threads(database, [work, work, work])

    assert [found["study_id"] for found in rows(database)] == [f"study-{number}" for number in range(8)]


def test_two_routers_that_saw_different_parts_promise_the_whole(database: Database) -> None:
    for number in range(8):
        study = f"study-{number}"

        def work(instances: tuple[str, ...], study: str = study) -> None:
            planned(database, selection(resource=study, instances=instances), study=study)

        in_threads(database, [lambda: work(("a", "b")), lambda: work(("b", "c")), lambda: work(("a", "b", "c"))])

    assert [found["instances"] for found in rows(database)] == [["a", "b", "c"]] * 8


def test_a_promise_remembers_what_its_route_said(database: Database) -> None:
    policy = RetryPolicy(max_attempts=9, backoff=Backoff.CONSTANT, initial_delay=2.5)
    delivery_id = promise(database, priority=7, retry=policy, instances=("b", "a"))

    planned(database, selection(priority=1, retry=RetryPolicy(max_attempts=1), instances=("a", "b")), version="v2")

    kept = row(database, delivery_id)
    assert (kept["priority"], kept["max_attempts"], kept["backoff"], kept["initial_delay"]) == (7, 9, "constant", 2.5)
    assert (kept["instances"], kept["route_version"]) == (["a", "b"], "v1")
    assert kept["content_fingerprint"] == fingerprint(("a", "b"))


@pytest.mark.parametrize("status", Status)
def test_a_study_that_grows_grows_what_is_promised(database: Database, status: Status) -> None:
    delivery_id, _ = in_state(database, status, instances=("a",))

    made = planned(database, selection(instances=("a", "b")), version="v2")

    after = row(database, delivery_id)
    taken_back = status in (Status.SKIPPED, Status.CANCELLED)
    assert made.new == ()
    assert made.grown == (() if taken_back else (delivery_id,))
    assert after["status"] == (Status.PENDING if status is Status.SUCCESS else status)
    assert after["instances"] == (["a"] if taken_back else ["a", "b"])
    assert after["route_version"] == ("v1" if taken_back else "v2")
    assert (Event.DELIVERY_GREW in events(database, delivery_id)) is not taken_back


@pytest.mark.parametrize("status", [Status.SENDING, Status.SENT])
def test_a_study_that_grows_during_a_send_is_delivered_whole(database: Database, status: Status) -> None:
    delivery_id, claim = in_state(database, status, instances=("a", "b"))
    assert claim is not None
    planned(database, selection(instances=("a", "b", "c")))

    assert outcomes.finish(database, claim, duration_ms=1)

    assert state(database, delivery_id) is Status.PENDING
    rest = take(database)
    assert (rest.instances, rest.attempt) == (("c",), 1)
    assert outcomes.finish(database, rest, duration_ms=1)
    assert state(database, delivery_id) is Status.SUCCESS
    assert row(database, delivery_id)["delivered_instances"] == ["a", "b", "c"]


def test_a_study_that_grows_while_its_send_is_being_finished_is_delivered_whole(database: Database) -> None:
    delivery_id, claim = in_state(database, Status.SENT, instances=("a",))
    assert claim is not None
    finished: list[bool] = []

    with made_to_wait(database, lambda: finished.append(outcomes.finish(database, claim, duration_ms=1))) as tx:
        plan(tx, identity(), [selection(instances=("a", "b"))], "v2")

    assert finished == [True]
    assert state(database, delivery_id) is Status.PENDING
    assert row(database, delivery_id)["delivered_instances"] == ["a"]


def test_two_routers_that_grow_a_promise_at_once_lose_nothing(database: Database) -> None:
    delivery_id = promise(database, instances=("a",))

    with made_to_wait(database, lambda: planned(database, selection(instances=("a", "c")))) as tx:
        plan(tx, identity(), [selection(instances=("a", "b"))], "v2")

    assert row(database, delivery_id)["instances"] == ["a", "b", "c"]


def test_what_grows_after_its_delivery_sends_only_what_is_new(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.SUCCESS, instances=("a", "b"))

    planned(database, selection(instances=("a", "b", "c")))

    assert row(database, delivery_id)["completed_at"] is None
    claim = take(database)
    assert (claim.instances, claim.attempt) == (("c",), 1)


def test_an_older_view_of_a_study_takes_nothing_away(database: Database) -> None:
    delivery_id = promise(database, instances=("a", "b", "c"))

    made = planned(database, selection(instances=("a",)), version="older")

    assert (made.new, made.grown) == ((), ())
    assert row(database, delivery_id)["instances"] == ["a", "b", "c"]
    assert row(database, delivery_id)["route_version"] == "v1"


def test_an_older_view_does_not_undo_a_delivery(database: Database) -> None:
    delivery_id, _ = in_state(database, Status.SUCCESS, instances=("a", "b"))

    planned(database, selection(instances=("a",)))

    assert state(database, delivery_id) is Status.SUCCESS


def test_a_larger_image_takes_the_place_of_a_smaller_one_not_tried_yet(database: Database) -> None:
    (small,) = planned(database, largest("small")).new

    (large,) = planned(database, largest("large")).new

    assert (state(database, small), state(database, large)) == (Status.CANCELLED, Status.PENDING)
    assert events(database, small)[-1] is Event.DELIVERY_SUPERSEDED


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING}))
def test_a_larger_image_leaves_a_smaller_one_alone_that_was_tried(database: Database, status: Status) -> None:
    small, _ = in_state(
        database, status, "AI", resource="small", instances=("small",), level="instance", send=Send.HIGHEST_RESOLUTION
    )

    planned(database, largest("large"))

    assert state(database, small) is status


def test_a_larger_image_leaves_a_smaller_one_alone_that_failed_and_waits_again(database: Database) -> None:
    (small,) = planned(database, largest("small")).new
    attempt(database, small, REFUSED)
    make_due(database)
    assert outcomes.release(database, take(database), ORTHANC, wait=0.0)

    planned(database, largest("large"))

    assert state(database, small) is Status.PENDING


def test_superseding_stays_within_the_study_the_route_and_the_destination(database: Database) -> None:
    kept = [
        *planned(database, largest("other-destination", "AI2")).new,
        *planned(database, largest("other-study"), study="other").new,
        *planned(database, replace(largest("x"), route=replace(largest("x").route, name="other"))).new,
        *planned(database, selection("AI")).new,
    ]

    planned(database, largest("large"))

    assert {state(database, delivery_id) for delivery_id in kept} == {Status.PENDING}


def test_an_image_that_is_the_largest_again_is_promised_again(database: Database) -> None:
    (small,) = planned(database, largest("small")).new
    (large,) = planned(database, largest("large")).new

    made = planned(database, largest("small"))

    assert made.grown == (small,)
    assert (state(database, small), state(database, large)) == (Status.PENDING, Status.CANCELLED)
    assert take(database).instances == ("small",)


def test_an_image_an_operator_cancelled_is_not_promised_again_for_being_the_largest(database: Database) -> None:
    (small,) = planned(database, largest("small")).new
    (large,) = planned(database, largest("large")).new
    planned(database, largest("small"))
    desk.cancel(database, DeliveryFilter(delivery_ids=(small,)), reason="a phantom", by="operator")

    made = planned(database, largest("small"))

    assert (made.new, made.grown) == ((), ())
    assert (state(database, small), state(database, large)) == (Status.CANCELLED, Status.CANCELLED)


def test_a_router_that_saw_less_of_a_study_does_not_choose_the_largest_image(database: Database) -> None:
    evaluate(database, evaluation(largest("large"), as_of=20, last_update="20261121T120020"))

    evaluate(database, evaluation(largest("small"), selection("PACS"), as_of=10, last_update="20261121T120010"))

    promised = {found["resource_id"]: found["status"] for found in rows(database)}
    assert promised == {"large": Status.PENDING, "study": Status.PENDING}
    assert studies.last_updates(database, ["study"]) == {"study": "20261121T120020"}
    assert studies.unsettled(database, older_than=-1.0, most=10) == []


def test_two_routers_evaluating_at_once_agree_on_the_largest_image(database: Database) -> None:
    def work(resource: str, as_of: int) -> Callable[[], None]:
        return lambda: evaluate(database, evaluation(largest(resource), as_of=as_of))

    in_threads(database, [work("small", 10), work("large", 20), work("small", 10)])

    waiting = [found["resource_id"] for found in rows(database) if found["status"] == Status.PENDING]
    assert waiting == ["large"]


def test_a_study_stays_unsettled_until_an_evaluation_covers_its_newest_image(database: Database) -> None:
    with database.transaction() as tx:
        studies.arrived(tx, identity(), 5)
        studies.arrived(tx, identity(), 9)
    evaluate(database, evaluation(as_of=5))
    assert studies.unsettled(database, older_than=-1.0, most=10) == ["study"]

    evaluate(database, evaluation(as_of=9))

    assert studies.unsettled(database, older_than=-1.0, most=10) == []


def test_an_overlong_header_is_cut_and_does_not_stop_routing(database: Database) -> None:
    equipment = dict.fromkeys(("study_uid", "accession_number", "patient_name", "patient_id"), "9" * 5000)
    study = identity(study_description="a\0b" + "x" * 5000, **equipment)

    evaluate(database, replace(evaluation(selection(), as_of=1), study=study))

    (promised,) = rows(database)
    assert promised["study_description"].startswith("abx")
    assert desk.find_study(database, "study").patient_id == "9" * 128


def test_a_promise_that_failed_for_good_grows_without_being_tried_again(database: Database) -> None:
    delivery_id = promise(database, instances=("a",))
    outcomes.fail(database, take(database), NO_CONTEXT)

    planned(database, selection(instances=("a", "b")))

    assert state(database, delivery_id) is Status.STUCK
    assert claims.claim(database, "host:1") == []


def test_what_is_planned_and_rolled_back_was_never_promised(database: Database) -> None:
    limit(database, "PACS", 1)
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        plan(tx, identity(), [selection()], "v1")
        raise ZeroDivisionError

    assert rows(database) == []
