"""What ten thousand deliveries that wait for a dead destination cost the others."""

from __future__ import annotations

import statistics
import time

from tests.support.deliveries import identity, selection
from tests.support.postgres import PostgresServer

from benchmarks.measure import Figure, percentile
from benchmarks.parts import migrated, orthanc_id
from pacsops.database import Database
from pacsops.delivery import breaker, claims, outcomes
from pacsops.delivery.planner import plan

BACKLOG = 10_000
CLAIMS = 300
WARM_UP = 20
_A_TRANSACTION = 500


def measure(postgres: PostgresServer) -> list[Figure]:
    """The time of a claim while another destination's breaker is open, with and without deliveries behind it.

    Two databases take turns, claim by claim.
    """
    with migrated(postgres) as (_, burdened), migrated(postgres) as (_, free):
        for database in (burdened, free):
            _promise(database, "ALIVE", CLAIMS + WARM_UP)
            _promise(database, "DEAD", 1)
            with database.transaction() as tx:
                breaker.open_at_once(tx, "DEAD", "connection refused")
        _promise(burdened, "DEAD", BACKLOG)
        for _ in range(WARM_UP):
            _claim_milliseconds(burdened)
            _claim_milliseconds(free)
        pairs = [(_claim_milliseconds(burdened), _claim_milliseconds(free)) for _ in range(CLAIMS)]
    with_backlog, without = zip(*pairs, strict=True)
    peer = "ourselves with nothing waiting"
    name = f"a claim while {BACKLOG:,} wait behind an open breaker"
    return [
        Figure(
            name=f"{name}, median",
            value=statistics.median(with_backlog),
            unit="ms",
            peer=peer,
            peer_value=statistics.median(without),
        ),
        Figure(
            name=f"{name}, p95",
            value=percentile(with_backlog, 95),
            unit="ms",
            peer=peer,
            peer_value=percentile(without, 95),
        ),
    ]


def _claim_milliseconds(database: Database) -> float:
    started = time.perf_counter()
    [claim] = claims.claim(database, "bench:1:0", most=1)
    milliseconds = (time.perf_counter() - started) * 1000
    assert claim.destination == "ALIVE"
    assert outcomes.finish(database, claim, duration_ms=1)
    return milliseconds


def _promise(database: Database, destination: str, count: int) -> None:
    for start in range(0, count, _A_TRANSACTION):
        with database.transaction() as tx:
            for _ in range(min(_A_TRANSACTION, count - start)):
                study = orthanc_id()
                wanted = selection(destination, resource=study, instances=[orthanc_id() for _ in range(4)])
                plan(tx, identity(study), [wanted], "v1")
