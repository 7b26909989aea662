"""Signs of life of the processes that see to deliveries: the router's, and the gateway's forwarder's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pacsops.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A sign of life."""

    instance: str
    started_at: datetime
    beat_at: datetime
    alive: bool
    """Beat within the last 15 seconds, by the database's clock, and not stopped since."""
    detail: Mapping[str, Any]

    @property
    def held_up(self) -> dict[str, list[str]]:
        """What a process that lives cannot do: its duties by the trouble they have."""
        found: dict[str, list[str]] = {}
        for duty, trouble in self.detail.get("trouble", {}).items():
            found.setdefault(trouble, []).append(repr(duty))
        return found


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The signs of life of one service, each of its processes under a name of its own."""

    table: str

    def beat(self, database: Database, instance: str, detail: Mapping[str, Any]) -> None:
        """A process says it is alive; `detail` is what it wants `orthanc status` to know."""
        with database.transaction() as tx:
            tx.run(
                f"""
                INSERT INTO {self.table} (instance, detail) VALUES (%(instance)s, %(detail)s)
                ON CONFLICT (instance) DO UPDATE SET beat_at = now(), detail = excluded.detail
                """,  # noqa: S608
                instance=instance,
                detail=json.dumps(dict(detail), default=str),
            )
            tx.run(f"DELETE FROM {self.table} WHERE beat_at < now() - interval '7 days'")  # noqa: S608

    def withdraw(self, database: Database, instance: str) -> None:
        """A process says it stops."""
        with database.transaction() as tx:
            tx.run(
                f"UPDATE {self.table} SET beat_at = beat_at - interval '1 minute' WHERE instance = %(instance)s",  # noqa: S608
                instance=instance,
            )

    def newest(self, database: Database) -> Beat | None:
        """The newest sign of life, None when no process ever ran."""
        with database.transaction() as tx:
            row = tx.one_or_none(
                f"""
                SELECT instance, started_at, beat_at, detail, beat_at > now() - interval '15 seconds' AS alive
                  FROM {self.table} ORDER BY beat_at DESC LIMIT 1
                """  # noqa: S608
            )
        return None if row is None else Beat(**row)


ROUTER: Final = Heartbeat("router_heartbeat")
GATEWAY: Final = Heartbeat("gateway_heartbeat")
