"""What failed, in groups of a kind: one cause, one fix and one retry for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pacsops.database import Database
from pacsops.delivery.remedies import Remedy, remedy

# A failure's details belong to it only when they were told with it: a router of an older version tells none.
_FAILED = """
SELECT id, study_id, destination, status, last_error_class AS error_class, last_error, last_error_at,
       CASE WHEN failure_told_at = last_error_at THEN failure_status END AS dimse_status,
       CASE WHEN failure_told_at = last_error_at THEN failure_sop_class END AS sop_class,
       CASE WHEN failure_told_at = last_error_at THEN failure_syntax END AS transfer_syntax
  FROM routing_state
 WHERE status IN ('failed', 'stuck')
    OR (status = 'pending' AND last_error_class IN ('not-kept', 'unknown-destination'))
"""
_GROUPS = f"""
SELECT destination, error_class, dimse_status, sop_class, transfer_syntax,
       count(*) AS deliveries,
       count(*) FILTER (WHERE status = 'stuck') AS stuck,
       count(DISTINCT study_id) AS studies,
       min(last_error_at) AS oldest_at,
       max(last_error_at) AS newest_at,
       (array_agg(last_error ORDER BY last_error_at DESC))[1] AS last_error,
       (array_agg(study_id ORDER BY last_error_at DESC))[1] AS example
  FROM ({_FAILED}) failed
 GROUP BY destination, error_class, dimse_status, sop_class, transfer_syntax
 ORDER BY stuck DESC, deliveries DESC, destination
"""  # noqa: S608
_MEMBERS = f"""
SELECT id FROM ({_FAILED}) failed
 WHERE destination = %(destination)s
   AND error_class IS NOT DISTINCT FROM %(error_class)s
   AND dimse_status IS NOT DISTINCT FROM %(dimse_status)s
   AND sop_class IS NOT DISTINCT FROM %(sop_class)s
   AND transfer_syntax IS NOT DISTINCT FROM %(transfer_syntax)s
 ORDER BY id
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Deliveries that failed alike and have not arrived since. `stuck` of them need somebody, the rest is retried."""

    destination: str
    error_class: str | None
    dimse_status: int | None
    sop_class: str | None
    transfer_syntax: str | None
    deliveries: int
    stuck: int
    studies: int
    oldest_at: datetime | None
    newest_at: datetime | None
    """When the first and the last of them failed."""
    last_error: str | None
    """What the newest of them met."""
    example: str
    """The newest one's study."""

    @property
    def id(self) -> str:
        """Names the group in commands; the same for as long as something fails in this way."""
        said = "\n".join(str(value) for value in self._key().values())
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    @property
    def remedy(self) -> Remedy:
        return remedy(self.error_class, self.dimse_status, self.destination)

    @property
    def waiting(self) -> int:
        """How many are tried again by themselves."""
        return self.deliveries - self.stuck

    def _key(self) -> Mapping[str, Any]:
        names = ("destination", "error_class", "dimse_status", "sop_class", "transfer_syntax")
        return {name: getattr(self, name) for name in names}

    def members(self, database: Database) -> tuple[int, ...]:
        """Numbers of its deliveries now."""
        with database.transaction() as tx:
            return tuple(row["id"] for row in tx.all(_MEMBERS, **self._key()))


def failure_groups(database: Database) -> list[FailureGroup]:
    """Every group, those with most stuck first."""
    with database.transaction() as tx:
        return [FailureGroup(**row) for row in tx.all(_GROUPS)]
