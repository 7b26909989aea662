"""The sign of life of the gateway's processes that know PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pacsops.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayBeat:
    """The newest sign of life of a gateway."""

    instance: str
    started_at: datetime
    beat_at: datetime
    alive: bool
    """Beat within the last 15 seconds, by the database's clock, and not stopped since."""
    detail: Mapping[str, Any]


def beat(database: Database, instance: str, detail: Mapping[str, Any]) -> None:
    """A process says it is alive; `detail` is what it wants `orthanc status` to know."""
    with database.transaction() as tx:
        tx.run(
            """
            INSERT INTO gateway_heartbeat (instance, detail) VALUES (%(instance)s, %(detail)s)
            ON CONFLICT (instance) DO UPDATE SET beat_at = now(), detail = excluded.detail
            """,
            instance=instance,
            detail=json.dumps(dict(detail), default=str),
        )
        tx.run("DELETE FROM gateway_heartbeat WHERE beat_at < now() - interval '7 days'")


def withdraw(database: Database, instance: str) -> None:
    """A process says it stops."""
    with database.transaction() as tx:
        tx.run(
            "UPDATE gateway_heartbeat SET beat_at = beat_at - interval '1 minute' WHERE instance = %(instance)s",
            instance=instance,
        )


def gateway_beat(database: Database) -> GatewayBeat | None:
    """The newest sign of life, None when no gateway ever ran."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT instance, started_at, beat_at, detail, beat_at > now() - interval '15 seconds' AS alive"
            " FROM gateway_heartbeat ORDER BY beat_at DESC LIMIT 1"
        )
    return None if row is None else GatewayBeat(**row)
