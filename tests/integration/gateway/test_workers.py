"""Pools of AI workers: who gets a study, and who is next when nothing comes back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from tests.support.deliveries import REFUSED, row, state

from pacsops.database import Database, Transaction
from pacsops.delivery import claims, desk, outcomes
from pacsops.delivery.desk import DeliveryFilter
from pacsops.delivery.model import Event, Status
from pacsops.delivery.planner import StudyIdentity, plan
from pacsops.gateway import workers
from pacsops.gateway.configuration import Configuration, parse
from pacsops.routes import RetryPolicy, Route, Selection

CONFIGURATION = parse("""
destinations:
  PACS: {host: pacs, port: 104, aet: PACS}
  AI-1: {host: ai, port: 1, aet: AI1}
  AI-2: {host: ai, port: 2, aet: AI2}
  AI-3: {host: ai, port: 3, aet: AI3}
pools:
  AI: {members: [AI-1, AI-2, AI-3], timeout: 60}
results: {series_description: AI_RESULT}
""")
RETRY = RetryPolicy(max_attempts=5, initial_delay=30.0)


def selection(destination: str = "AI", *instances: str, route: str = "to_ai", study: str = "1.2") -> Selection:
    rule = Route(name=route, match=(), destinations=(destination,), retry=RETRY, priority=7)
    return Selection(rule, destination, "study", study, instances or ("1",))


def planned(
    database: Database, *selections: Selection, study: str = "1.2", configuration: Configuration = CONFIGURATION
) -> list[str]:
    """Plan as ingest does; to whom."""
    identity = StudyIdentity(
        source="gateway",
        study_id=study,
        study_uid=study,
        accession_number=f"ACC-{study}",
        patient_name="DOE^JOHN",
        patient_id=f"MRN-{study}",
        study_description=None,
        study_date=None,
    )
    with database.transaction() as tx:
        tx.run(
            "INSERT INTO routing_study (source, study_id, study_uid, accession_number, patient_id)"
            " VALUES ('gateway', %(uid)s, %(uid)s, %(accession)s, %(patient)s) ON CONFLICT DO NOTHING",
            uid=study,
            accession=identity.accession_number,
            patient=identity.patient_id,
        )
        assigned = workers.assign(tx, configuration, study, selections or (selection(study=study),))
        plan(tx, identity, assigned, "v1")
    return [each.destination for each in assigned]


def received(database: Database, study: str = "1.2", *, result_of: str | None = None, sender: str = "CT1") -> str:
    """One instance as ingest writes it down; its id."""
    with database.transaction() as tx:
        found = tx.one(
            """
            INSERT INTO gateway_instance (study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
                                          file, size, sender_aet, received_at, tags, result_of)
            VALUES (%(study)s, '1.2.3', gen_random_uuid()::text, 'c', 't', gen_random_uuid()::text, 1, %(sender)s,
                    now(), '{}', %(result_of)s)
            RETURNING id::text
            """,
            study=study,
            sender=sender,
            result_of=result_of,
        )
    return str(found["id"])


def deliveries(database: Database, study: str = "1.2") -> dict[str, Status]:
    """Destination → how its delivery of the study stands."""
    return {each.destination: each.status for each in desk.deliveries(database, study_id=study)}


def events(database: Database, study: str = "1.2") -> list[tuple[Event, str | None]]:
    """What happened with its workers."""
    told = {Event.WORKER_ASSIGNED, Event.WORKER_TIMED_OUT, Event.WORKERS_EXHAUSTED, Event.RESULT_RECEIVED}
    return [(each.event, each.destination) for each in desk.timeline(database, study) if each.event in told]


def delivered(database: Database, destination: str, study: str = "1.2") -> None:
    """The study's delivery goes out; whatever else is claimed meanwhile is given back."""
    [one] = [each for each in desk.deliveries(database, study_id=study) if each.destination == destination]
    while state(database, one.id) is not Status.SUCCESS:
        for claim in claims.claim(database, "host:1", source="gateway"):
            if claim.delivery_id == one.id:
                assert outcomes.finish(database, claim, duration_ms=1)
            else:
                assert outcomes.release(database, claim, REFUSED, wait=0)


def passes(database: Database, seconds: float = 61) -> None:
    """Time does, for everything that is written down."""
    with database.transaction() as tx:
        past = {"past": f"{seconds} seconds"}
        tx.run("UPDATE gateway_assignment SET assigned_at = assigned_at - %(past)s::interval", **past)
        tx.run("UPDATE gateway_instance SET recorded_at = recorded_at - %(past)s::interval", **past)
        tx.run(
            "UPDATE routing_state SET open_since = open_since - %(past)s::interval,"
            " updated_at = updated_at - %(past)s::interval, completed_at = completed_at - %(past)s::interval",
            **past,
        )


def opens_breaker(database: Database, *destinations: str) -> None:
    with database.transaction() as tx:
        tx.run(
            "INSERT INTO destination_health (destination, breaker, next_probe_at)"
            " SELECT name, 'open', now() FROM unnest(%(names)s::text[]) AS name"
            " ON CONFLICT (destination) DO UPDATE SET breaker = 'open', next_probe_at = now()",
            names=list(destinations),
        )


# ── who gets a study ─────────────────────────────────────────────────────────────────────────────────────────


def test_studies_go_to_the_workers_in_turn_and_others_pass(database: Database) -> None:
    to = [
        planned(database, selection("PACS", study=uid), selection(study=uid), study=uid)
        for uid in ("1", "2", "3", "4")
    ]
    assert to == [["PACS", "AI-1"], ["PACS", "AI-2"], ["PACS", "AI-3"], ["PACS", "AI-1"]]
    assert events(database, "2") == [(Event.WORKER_ASSIGNED, "AI-2")]


def test_a_study_stays_with_its_worker_whatever_route_and_however_it_grows(database: Database) -> None:
    first, second = received(database), received(database)
    assert planned(database, selection("AI", first)) == ["AI-1"]
    planned(database, study="9")
    assert planned(database, selection("AI", first, second)) == ["AI-1"]
    assert planned(database, selection("AI", second, route="other")) == ["AI-1"]
    [grown, other] = desk.deliveries(database, study_id="1.2")
    assert (grown.instance_count, other.route) == (2, "other")
    assert events(database) == [(Event.WORKER_ASSIGNED, "AI-1")]


def test_a_worker_that_is_down_gets_nothing_while_another_is_there(database: Database) -> None:
    opens_breaker(database, "AI-1", "AI-2")
    assert [planned(database, study=uid) for uid in ("1", "2")] == [["AI-3"], ["AI-3"]]
    opens_breaker(database, "AI-3")
    assert planned(database, study="3") == ["AI-1"]  # its delivery waits: better than none


def test_results_are_given_to_no_worker(database: Database) -> None:
    image, result = received(database), received(database, result_of="1.2", sender="AI1")
    assert planned(database, selection("AI", image, result), selection("PACS", image, result)) == ["AI-1", "PACS"]
    [to_ai, to_pacs] = desk.deliveries(database, study_id="1.2")
    assert (to_ai.instance_count, to_pacs.instance_count) == (1, 2)
    assert planned(database, selection("AI", result)) == []


def test_a_worker_taken_out_of_the_pool_gives_its_studies_up(database: Database) -> None:
    planned(database)
    smaller = parse("""
        destinations: {AI-1: {host: a, port: 1, aet: A}, AI-2: {host: a, port: 2, aet: B}}
        pools: {AI: {members: [AI-2]}}
    """)
    assert planned(database, configuration=smaller) == ["AI-2"]
    assert planned(database, configuration=smaller) == ["AI-2"]


def test_two_who_plan_the_same_study_at_once_give_it_to_one_worker(database: Database) -> None:
    barrier = threading.Barrier(4)
    chosen: list[Sequence[str]] = []

    def planner() -> None:
        barrier.wait()
        chosen.append(planned(database))
        database.close()

    threads = [threading.Thread(target=planner) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chosen == [["AI-1"]] * 4


# ── when nothing comes back ──────────────────────────────────────────────────────────────────────────────────


def test_a_worker_without_a_result_gives_the_study_to_the_next_and_each_has_it_once(database: Database) -> None:
    planned(database, selection("PACS"), selection())
    delivered(database, "AI-1")
    assert workers.reassign(database, CONFIGURATION) == 0

    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 1
    assert workers.reassign(database, CONFIGURATION) == 0
    assert deliveries(database) == {"PACS": "pending", "AI-1": "success", "AI-2": "pending"}
    for following in ("AI-2", "AI-3"):
        delivered(database, following)
        passes(database)
        workers.reassign(database, CONFIGURATION)
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert deliveries(database) == {"PACS": "pending", "AI-1": "success", "AI-2": "success", "AI-3": "success"}
    assert events(database) == [
        (Event.WORKER_ASSIGNED, "AI-1"),
        (Event.WORKER_TIMED_OUT, "AI-1"),
        (Event.WORKER_ASSIGNED, "AI-2"),
        (Event.WORKER_TIMED_OUT, "AI-2"),
        (Event.WORKER_ASSIGNED, "AI-3"),
        (Event.WORKERS_EXHAUSTED, "AI-3"),
    ]


def test_what_the_next_worker_is_promised_is_the_same(database: Database) -> None:
    planned(database, selection("AI", "1", "2", "3"))
    delivered(database, "AI-1")
    passes(database)
    workers.reassign(database, CONFIGURATION)
    before, after = (row(database, each.id) for each in desk.deliveries(database, study_id="1.2"))
    same = {"level", "resource_id", "route_name", "instances", "route_version", "priority", "max_attempts", "backoff"}
    same |= {"initial_delay", "deliver_within", "study_uid"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_worker_that_does_not_take_the_study_loses_it_and_its_claim(database: Database) -> None:
    planned(database)
    claim = take_of_gateway(database)
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 1

    assert deliveries(database) == {"AI-1": "cancelled", "AI-2": "pending"}
    assert not outcomes.finish(database, claim, duration_ms=1), "the claim was not fenced off"
    assert Event.DELIVERY_CANCELLED in [each.event for each in desk.timeline(database, "1.2")]


def test_a_study_that_is_still_being_sent_is_not_late(database: Database) -> None:
    planned(database)
    take_of_gateway(database)
    passes(database)
    with database.transaction() as tx:
        tx.run("UPDATE routing_state SET updated_at = now()")  # an image was confirmed
    assert workers.reassign(database, CONFIGURATION) == 0


def test_a_study_waits_where_it_is_while_all_other_workers_are_down(database: Database) -> None:
    planned(database)
    opens_breaker(database, "AI-2", "AI-3")
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert deliveries(database) == {"AI-1": "pending"}
    with database.transaction() as tx:
        tx.run("UPDATE destination_health SET breaker = 'draining', next_probe_at = NULL WHERE destination = 'AI-3'")
    assert workers.reassign(database, CONFIGURATION) == 1
    assert deliveries(database) == {"AI-1": "cancelled", "AI-3": "pending"}


def test_what_an_operator_took_back_is_given_to_nobody(database: Database) -> None:
    planned(database)
    desk.cancel(database, DeliveryFilter(study_ids=("1.2",)), reason="wrong patient", by="operator")
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert deliveries(database) == {"AI-1": "cancelled"}


def test_images_that_come_later_go_to_the_worker_that_has_the_study_now(database: Database) -> None:
    planned(database)
    passes(database)
    workers.reassign(database, CONFIGURATION)
    assert planned(database, selection("AI", "1", "2")) == ["AI-2"]
    assert deliveries(database) == {"AI-1": "cancelled", "AI-2": "pending"}


def test_two_who_look_at_once_give_a_study_away_once(database: Database) -> None:
    for uid in map(str, range(20)):
        planned(database, study=uid)
    passes(database)
    barrier = threading.Barrier(3)
    given: list[int] = []

    def step() -> None:
        barrier.wait()
        given.append(workers.reassign(database, CONFIGURATION))
        database.close()

    threads = [threading.Thread(target=step) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(given) == 20


# ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_ends_the_waiting_and_is_told_once(database: Database) -> None:
    planned(database)
    delivered(database, "AI-1")
    received(database, result_of="1.2", sender="AI1")
    received(database, result_of="1.2", sender="AI1")
    for _ in range(2):
        workers.reassign(database, CONFIGURATION)
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert events(database) == [(Event.WORKER_ASSIGNED, "AI-1"), (Event.RESULT_RECEIVED, "AI-1")]


def test_a_result_that_comes_too_late_is_told_and_nobody_else_is_asked(database: Database) -> None:
    planned(database)
    delivered(database, "AI-1")
    passes(database)
    workers.reassign(database, CONFIGURATION)
    received(database, result_of="1.2", sender="AI1")
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert events(database)[-1] == (Event.RESULT_RECEIVED, "AI-1")


def test_a_result_by_another_name_is_of_who_has_the_study(database: Database) -> None:
    planned(database)
    delivered(database, "AI-1")
    received(database, result_of="1.2", sender="AI_OUTBOX")
    passes(database)
    assert workers.reassign(database, CONFIGURATION) == 0
    assert events(database)[-1] == (Event.RESULT_RECEIVED, "AI-1")


def test_the_result_of_another_pool_does_not_end_the_waiting(database: Database) -> None:
    two = parse("""
        destinations: {AI-1: {host: a, port: 1, aet: AI1}, BONE: {host: a, port: 2, aet: BONE}}
        pools: {AI: {members: [AI-1], timeout: 60}, BONES: {members: [BONE], timeout: 60}}
    """)
    planned(database, selection("AI"), selection("BONES"), configuration=two)
    for member in ("AI-1", "BONE"):
        delivered(database, member)
    received(database, result_of="1.2", sender="BONE")
    passes(database)
    workers.reassign(database, two)
    assert (Event.WORKERS_EXHAUSTED, "AI-1") in events(database)
    assert (Event.RESULT_RECEIVED, "BONE") in events(database)
    assert (Event.WORKERS_EXHAUSTED, "BONE") not in events(database)


def result_of(tx: Transaction, **tags: str) -> str | None:
    said = {"SeriesDescription": "AI_RESULT", "StudyInstanceUID": "1.2", **tags}
    return workers.original_of(tx, CONFIGURATION, "AI1", said)


def test_a_result_is_known_by_its_mark_and_belongs_to_its_study(database: Database) -> None:
    planned(database)
    with database.transaction() as tx:
        assert result_of(tx) == "1.2"
        assert result_of(tx, SeriesDescription="AI_RESULT ") == "1.2"
        assert result_of(tx, SeriesDescription="THORAX") is None
        assert result_of(tx, StudyInstanceUID="7.7") == "7.7"  # of a study nobody was given
        no_results = replace(CONFIGURATION, results={})
        assert workers.original_of(tx, no_results, "AI1", {"SeriesDescription": "AI_RESULT"}) is None


def test_a_result_in_a_study_of_its_own_is_found_by_patient_and_accession(database: Database) -> None:
    planned(database)
    same = {"StudyInstanceUID": "7.7", "AccessionNumber": "ACC-1.2"}
    with database.transaction() as tx:
        assert result_of(tx, **same, PatientID="MRN-1.2") == "1.2"
        assert result_of(tx, **same, PatientID="MRN-other") == "7.7"
        assert result_of(tx, **same) == "7.7"
        tx.run("UPDATE routing_study SET accession_number = 'ACC-1.2', patient_id = 'MRN-1.2'")
    planned(database, study="1.3")
    with database.transaction() as tx:
        tx.run("UPDATE routing_study SET accession_number = 'ACC-1.2', patient_id = 'MRN-1.2'")
        assert result_of(tx, **same, PatientID="MRN-1.2") == "7.7"  # two could be meant


def take_of_gateway(database: Database) -> claims.Claim:
    (claim,) = claims.claim(database, "host:1", source="gateway", most=1)
    return claim
