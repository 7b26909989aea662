"""Checks that both the real statements and broken ones are put through.

A test runs a check on the code as it is; a guard runs the same check on a mutant and expects it to fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.support.deliveries import (
    ORTHANC,
    REFUSED,
    as_delivered,
    backlog,
    expire,
    in_flight,
    limit,
    planned,
    promise,
    row,
    selection,
    take,
)
from tests.support.network import eventually

from pacsops.database import Database, Transaction
from pacsops.delivery import claims, outcomes, verification
from pacsops.delivery.claims import Claim
from pacsops.delivery.verification import Delivered

Write = Callable[[Database, Claim], object]
Claimer = Callable[[Database, str], object]

ANSWERS: dict[str, Callable[[Database, Delivered], object]] = {
    "NOTE_VERIFIED": lambda database, asked: verification.has_all(database, asked, verification.Method.FIND),
    "NOTE_UNANSWERED": lambda database, asked: verification.no_answer(database, asked, "why"),
    "LACK": lambda database, asked: verification.lacks(database, asked, ["i1"]),
}
"""By the name of its statement: everything a destination's answer leads to."""

LATE_WRITES: dict[str, Write] = {
    "SUBMIT": lambda database, claim: outcomes.submitted(database, claim, "late-job"),
    "FINISH": lambda database, claim: outcomes.finish(database, claim, duration_ms=1),
    "FAIL": lambda database, claim: outcomes.fail(database, claim, REFUSED).held,
    "RELEASE": lambda database, claim: outcomes.release(database, claim, ORTHANC, wait=0.0),
    "SHRINK": lambda database, claim: outcomes.drop_vanished(database, claim, ["i1"]),
    "HEARTBEAT": lambda database, claim: claims.heartbeat(database, [claim.token]),
}
"""By the name of its statement: everything a worker may still try when it wakes up."""


@contextmanager
def made_to_wait(database: Database, work: Callable[[], object]) -> Iterator[Transaction]:
    """A transaction during which `work` starts in another thread and runs into its locks, and goes on after it.

    So the work's snapshot is older than what the transaction commits.
    """

    def run() -> None:
        try:
            work()
        finally:
            database.close()

    thread = threading.Thread(target=run)
    with database.transaction() as tx:
        yield tx
        thread.start()
        eventually(lambda: tx.one("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")["n"], what="the wait")
    thread.join(timeout=30)
    assert not thread.is_alive(), "the work did not end"


def a_paused_worker_writes_nothing(database: Database, write: Write) -> None:
    """A worker slept past its lease and another took over: what the first writes then must touch no row."""
    delivery_id = promise(database, instances=("i1", "i2"))
    paused = take(database, "host:1")
    expire(database, paused)
    (successor,) = claims.rescue(database, "host:2")
    before = row(database, delivery_id)

    told = write(database, paused)

    assert not told, "the paused worker was told that its claim holds"
    assert row(database, delivery_id) == before, "the paused worker wrote over its successor"
    assert outcomes.finish(database, successor, duration_ms=1), "the successor lost its claim"


def an_old_answer_changes_nothing(database: Database, write: Callable[[Database, Delivered], object]) -> None:
    """A delivery grew and was completed again while its destination was asked: the answer is about the one before."""
    verification.set_verification(database, "PACS", verification.Method.FIND)
    delivery_id = promise(database, instances=("i1", "i2"))
    assert outcomes.finish(database, take(database), duration_ms=1)
    asked = as_delivered(database, delivery_id)
    planned(database, selection(resource="study", instances=("i1", "i2", "i3")))
    assert outcomes.finish(database, take(database), duration_ms=1)
    before = row(database, delivery_id)

    write(database, asked)

    assert row(database, delivery_id) == before, "an old answer was taken for a new one"


def many_claimers_keep_the_limit(database: Database, claim: Claimer) -> None:
    """Claimers that start at the same moment take no more than the limit between them, and no less."""
    limit(database, "PACS", 2)
    backlog(database, "PACS", 40)
    claimers = 6
    start = threading.Barrier(claimers)

    def compete(number: int) -> None:
        try:
            in_flight(database, "PACS")  # connected before the start, so that all start together
            start.wait(timeout=30)
            for _ in range(4):
                claim(database, f"host:{number}")
        finally:
            database.close()

    with ThreadPoolExecutor(claimers) as threads:
        list(threads.map(compete, range(claimers)))

    taken = in_flight(database, "PACS")
    assert taken == 2, f"{taken} in flight where 2 may be"
