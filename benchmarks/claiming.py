"""How many deliveries a second pass from claim to success, by one worker and by four beside each other."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any

from tests.support.deliveries import identity, selection
from tests.support.postgres import PostgresServer

from benchmarks import queue_peer
from benchmarks.measure import Figure, in_turns
from benchmarks.parts import migrated, orthanc_id
from pacsops.database import Database
from pacsops.delivery import claims, outcomes
from pacsops.delivery.planner import plan
from pacsops.router.dispatcher import MOST_IN_FLIGHT
from pacsops.settings import Settings

ROUNDS = 3
DELIVERIES = 240
"""A round."""
DESTINATIONS = 10
_CONNECTING_SECONDS = 0.3
_IDLE_TURNS = 10


def measure(postgres: PostgresServer) -> list[Figure]:
    """Deliveries promised before the clock starts, to destinations with the default concurrency."""
    figures = []
    with migrated(postgres) as (settings, database), queue_peer.queue(postgres) as queue:
        for workers in (1, 4):
            with multiprocessing.get_context("spawn").Pool(workers) as pool:

                def ours(pool: Pool = pool, workers: int = workers) -> float:
                    _promise(database)
                    return _drained(pool, workers, drain, settings)

                def peers(pool: Pool = pool, workers: int = workers) -> float:
                    queue.defer_batch([orthanc_id() for _ in range(DELIVERIES)])
                    return _drained(pool, workers, queue_peer.drain, queue.conninfo)

                value, peer_value = in_turns(ours, peers, rounds=ROUNDS)
            figures.append(
                Figure(
                    name=f"claim, submit, finish: {workers} worker{'s' if workers > 1 else ''}",
                    value=value,
                    unit="deliveries/s",
                    peer=f"{queue_peer.NAME}, processing no-op jobs",
                    peer_value=peer_value,
                )
            )
    return figures


def drain(settings: Settings, start_at: float) -> tuple[int, float]:
    """From the monotonic time `start_at` on, claim and finish as the dispatcher does until nothing is due.

    How many deliveries succeeded, and when the last one had.
    """
    database = Database(settings)
    with database.transaction():  # connects
        time.sleep(max(0.0, start_at - time.monotonic()))
    done, last, idle_turns = 0, start_at, 0
    while idle_turns < _IDLE_TURNS:
        claimed = claims.claim(database, f"bench:{os.getpid()}:0", most=MOST_IN_FLIGHT)
        if not claimed:
            # Every destination with something due is locked by another worker just now, or nothing is due.
            idle_turns += 1
            time.sleep(0.002)
            continue
        idle_turns = 0
        for claim in claimed:
            assert outcomes.submitted(database, claim, f"job-{claim.delivery_id}")
        for claim in claimed:
            assert outcomes.finish(database, claim, duration_ms=1)
        done, last = done + len(claimed), time.monotonic()
    database.close()
    return done, last


def _drained(pool: Pool, workers: int, worker: Callable[[Any, float], tuple[int, float]], where: Any) -> float:
    """Deliveries a second that as many workers reach, starting at the same moment."""
    start_at = time.monotonic() + _CONNECTING_SECONDS
    results = pool.starmap(worker, [(where, start_at)] * workers, chunksize=1)
    done = sum(count for count, _ in results)
    assert done == DELIVERIES, f"{done} of {DELIVERIES} were processed"
    return done / (max(ended for _, ended in results) - start_at)


def _promise(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(DELIVERIES):
            study = orthanc_id()
            wanted = selection(
                f"PACS{number % DESTINATIONS}", resource=study, instances=[orthanc_id() for _ in range(4)]
            )
            plan(tx, identity(study), [wanted], "v1")
