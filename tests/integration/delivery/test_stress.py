"""Many routers at once: no destination has more under way than it takes, and nothing is sent twice or never."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.support.deliveries import backlog, health, limit, rows

from pacsops.database import Database
from pacsops.delivery import claims, outcomes
from pacsops.delivery.model import Status
from pacsops.settings import Settings

LIMITS = {"NARROW": 1, "USUAL": 2, "WIDE": 4}
WORKERS = 6
EACH = 80
_PATIENCE = 60.0  # seconds until a worker gives up


@dataclass(frozen=True)
class Hold:
    """One delivery in a worker's hands, by the host's monotonic clock."""

    delivery_id: int
    destination: str
    since: float
    until: float


def work(settings: Settings, number: int) -> list[Hold]:
    """Claim, pretend to send, finish, until all is done. Runs in a process of its own."""
    database = Database(settings)
    dice = random.Random(number)
    held: list[Hold] = []
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        claimed = claims.claim(database, f"host:{os.getpid()}", most=dice.choice([1, 2, 50]))
        since = time.monotonic()
        if not claimed and _all_done(database):
            break
        time.sleep(dice.uniform(0, 0.004))
        for claim in claimed:
            until = time.monotonic()
            assert outcomes.finish(database, claim, duration_ms=1)
            held.append(Hold(claim.delivery_id, claim.destination, since, until))
    database.close()
    return held


def _all_done(database: Database) -> bool:
    with database.transaction() as tx:
        return bool(tx.one("SELECT count(*) = 0 AS done FROM routing_state WHERE status <> 'success'")["done"])


def most_at_once(holds: list[Hold]) -> int:
    moments = sorted([(hold.since, 1) for hold in holds] + [(hold.until, -1) for hold in holds])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def test_many_processes_keep_every_limit_and_deliver_everything_once(database: Database, settings: Settings) -> None:
    for destination, concurrency in LIMITS.items():
        limit(database, destination, concurrency)
        backlog(database, destination, EACH)

    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as workers:
        under_way = [workers.submit(work, settings, number) for number in range(WORKERS)]
        holds = [hold for worker in under_way for hold in worker.result(timeout=_PATIENCE + 30)]

    overlaps = {name: most_at_once([hold for hold in holds if hold.destination == name]) for name in LIMITS}
    assert overlaps.keys() == LIMITS.keys()
    assert all(overlaps[name] <= LIMITS[name] for name in LIMITS), overlaps
    assert Counter(hold.delivery_id for hold in holds) == Counter(found["id"] for found in rows(database))
    assert {found["status"] for found in rows(database)} == {Status.SUCCESS}
    assert {found["attempt_count"] for found in rows(database)} == {1}
    assert {health(database, name)["breaker"] for name in LIMITS} == {"closed"}
