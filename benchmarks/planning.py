"""How many studies a second become promises in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date
from functools import partial

import psycopg2
from tests.support.postgres import PostgresServer

from benchmarks import queue_peer
from benchmarks.measure import Figure, in_turns, rate
from benchmarks.parts import migrated, orthanc_id
from pacsops.database import Database
from pacsops.delivery import studies
from pacsops.delivery.planner import StudyIdentity
from pacsops.delivery.studies import Evaluation
from pacsops.routes import Route, Selection
from pacsops.settings import Settings

ROUNDS = 3
SECONDS = 0.6
BATCH = 10
_BARE = "bare INSERT of a delivery and an event (psycopg2)"
_ROUTE = Route(name="bone_length_to_ai", match=(), destinations=("MERCURE",))
_INSERT_DELIVERY = """
    INSERT INTO routing_state (source, level, resource_id, route_name, destination, study_id, study_uid, patient_name,
        patient_id, study_description, study_date, instances, content_fingerprint, route_version)
    VALUES ('orthanc', 'study', %(study)s, 'bone_length_to_ai', 'MERCURE', %(study)s, '1.2.840.99999.1', 'DOE^JANE',
        'P1', 'XR BONE LENGTH', '2026-01-15', %(instances)s, %(fingerprint)s, %(fingerprint)s)
    RETURNING id
"""
_INSERT_EVENT = """
    INSERT INTO routing_event (event, study_id, delivery_id, route_name, destination, attempt, detail)
    VALUES ('route_matched', %(study)s, %(delivery)s, 'bone_length_to_ai', 'MERCURE', 0,
            '{"send": "study", "instances": 4}')
"""


def measure(postgres: PostgresServer) -> list[Figure]:
    """Studies of four images that one route sends to one destination; never heard of before, so all is written."""
    with (
        migrated(postgres) as (_, ours),
        migrated(postgres) as (settings, _),
        closing(_connected(settings)) as bare,
        queue_peer.queue(postgres) as queue,
    ):

        def defer() -> int:
            queue.defer(orthanc_id())
            return 1

        def defer_batch() -> int:
            queue.defer_batch([orthanc_id() for _ in range(BATCH)])
            return BATCH

        one, bare_one, queued_one = _rates(_planning(ours, 1), _inserting(bare, 1), defer)
        ten, bare_ten, queued_ten = _rates(_planning(ours, BATCH), _inserting(bare, BATCH), defer_batch)
    together = f"planning, {BATCH} studies a transaction"
    unit, alone = "studies/s", "planning, a transaction a study"
    deferring = f"{queue_peer.NAME}, deferring a job each"
    return [
        Figure(name=alone, value=one, unit=unit, peer=_BARE, peer_value=bare_one),
        Figure(name=alone, value=one, unit=unit, peer=deferring, peer_value=queued_one),
        Figure(name=together, value=ten, unit=unit, peer=_BARE, peer_value=bare_ten),
        Figure(name=together, value=ten, unit=unit, peer=deferring, peer_value=queued_ten),
    ]


def _rates(*works: Callable[[], int]) -> list[float]:
    return in_turns(*(partial(rate, work, seconds=SECONDS) for work in works), rounds=ROUNDS)


def _planning(database: Database, batch: int) -> Callable[[], int]:
    def work() -> int:
        with database.transaction() as tx:
            for _ in range(batch):
                studies.evaluated(tx, _evaluation())
        return batch

    return work


def _inserting(connection: psycopg2.extensions.connection, batch: int) -> Callable[[], int]:
    fingerprint = "0" * 64

    def work() -> int:
        with connection, connection.cursor() as cursor:
            for _ in range(batch):
                study, instances = orthanc_id(), [orthanc_id() for _ in range(4)]
                said = {"study": study, "instances": instances, "fingerprint": fingerprint}
                cursor.execute(_INSERT_DELIVERY, said)
                [(delivery,)] = cursor.fetchall()
                cursor.execute(_INSERT_EVENT, {"study": study, "delivery": delivery})
        return batch

    return work


def _connected(settings: Settings) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        dbname=settings.postgres_db,
        user=settings.postgres_user,
    )


def _evaluation() -> Evaluation:
    study_id = orthanc_id()
    selection = Selection(_ROUTE, "MERCURE", "study", study_id, tuple(orthanc_id() for _ in range(4)))
    return Evaluation(
        study=StudyIdentity(
            source="orthanc",
            study_id=study_id,
            study_uid="1.2.840.99999.1",
            accession_number="A1",
            patient_name="DOE^JANE",
            patient_id="P1",
            study_description="XR BONE LENGTH",
            study_date=date(2026, 1, 15),
        ),
        as_of_seq=1,
        last_update="20260115T120000",
        instance_count=4,
        sender_aet="CR_ROOM1",
        matched_routes=(_ROUTE.name,),
        selections=(selection,),
        route_version="0" * 64,
    )
