"""Broken statements fail the checks that the real ones pass: the checks can see what they are for."""

from __future__ import annotations

import pytest
from tests.integration.delivery.checks import (
    ANSWERS,
    LATE_WRITES,
    a_paused_worker_writes_nothing,
    an_old_answer_changes_nothing,
    many_claimers_keep_the_limit,
)

from pacsops.database import Database
from pacsops.delivery import sql

_FENCES = ("claim_token = %(token)s", "claim_token = ANY (%(tokens)s::uuid[])")

_ONE_STATEMENT = """
WITH moment AS MATERIALIZED (
    SELECT pg_sleep(0.3)
), served AS MATERIALIZED (
    SELECT h.destination, h.max_concurrency
      FROM destination_health h, moment
     WHERE h.destination = 'PACS'
       FOR UPDATE OF h
), room AS (
    SELECT greatest(0, max_concurrency - (SELECT count(*) FROM routing_state s
                                           WHERE s.destination = served.destination
                                             AND s.status IN ('sending', 'sent'))) AS slots
      FROM served
), chosen AS (
    SELECT id FROM routing_state
     WHERE destination = 'PACS' AND status = 'pending'
     ORDER BY id
     LIMIT (SELECT slots FROM room)
       FOR UPDATE SKIP LOCKED
), touched AS (
    UPDATE destination_health SET last_claimed_at = now() WHERE destination = 'PACS'
)
UPDATE routing_state s
   SET status = 'sending', claim_token = gen_random_uuid(), claimed_by = %(worker)s, next_retry_at = NULL,
       lease_until = now() + interval '1 minute'
  FROM chosen
 WHERE s.id = chosen.id
"""
"""A claim that locks the destination and counts in one statement, so in one snapshot: older than the lock."""


@pytest.mark.parametrize("statement", LATE_WRITES)
def test_a_write_without_its_fence_would_be_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    fenced = getattr(sql, statement)
    (fence,) = [fence for fence in _FENCES if fence in fenced]
    # A paused worker still knows which delivery it held; unfenced, that is all it is asked for.
    monkeypatch.setattr(sql, statement, fenced.replace(fence, "(true OR " + fence + ")"))

    with pytest.raises(AssertionError, match="the paused worker"):
        a_paused_worker_writes_nothing(database, LATE_WRITES[statement])


@pytest.mark.parametrize("statement", sorted(set(ANSWERS) - {"LACK"}))  # that one is fenced twice
def test_an_old_answer_taken_for_a_new_one_would_be_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    fence = "completed_at = %(completed_at)s"
    fenced = getattr(sql, statement)
    assert fence in fenced
    monkeypatch.setattr(sql, statement, fenced.replace(fence, f"(true OR {fence})"))

    with pytest.raises(AssertionError, match="an old answer"):
        an_old_answer_changes_nothing(database, ANSWERS[statement])


def test_claiming_in_one_statement_would_be_seen_to_exceed_the_limit(database: Database) -> None:
    def claim_in_one_statement(database: Database, worker: str) -> None:
        with database.transaction() as tx:
            tx.run(_ONE_STATEMENT, worker=worker)

    with pytest.raises(AssertionError, match="in flight where 2 may be"):
        many_claimers_keep_the_limit(database, claim_in_one_statement)
