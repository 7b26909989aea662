"""The peer as a PostgreSQL queue: procrastinate, on the same server with the same durability.

https://procrastinate.readthedocs.io
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from tests.support.postgres import OWNER, PostgresServer

NAME = f"procrastinate {version('procrastinate')}"
_TASK = "deliver"


class Queue:
    """A procrastinate queue whose one task does nothing."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self._app = App(connector=SyncPsycopgConnector(conninfo=conninfo))

    def open(self) -> None:
        self._app.open()
        self._app.schema_manager.apply_schema()

    def close(self) -> None:
        self._app.close()

    def defer(self, study_id: str) -> None:
        """One job, in a transaction of its own."""
        self._app.configure_task(_TASK).defer(study_id=study_id)

    def defer_batch(self, study_ids: list[str]) -> None:
        """A job each, in one transaction."""
        jobs: list[dict[str, Any]] = [{"study_id": study_id} for study_id in study_ids]
        self._app.configure_task(_TASK).batch_defer(*jobs)


@contextmanager
def queue(postgres: PostgresServer) -> Iterator[Queue]:
    """An empty queue in a database of its own, dropped at the end."""
    settings = postgres.create_database()
    opened = Queue(f"host={postgres.host} port={postgres.port} dbname={settings.postgres_db} user={OWNER}")
    try:
        opened.open()
        yield opened
    finally:
        opened.close()
        postgres.drop_database(settings.postgres_db)


def drain(conninfo: str, start_at: float) -> tuple[int, float]:
    """From the monotonic time `start_at` on, process one job after the other until none is left.

    How many were processed, and when the worker had ended.
    """
    return asyncio.run(_drain(conninfo, start_at))


async def _drain(conninfo: str, start_at: float) -> tuple[int, float]:
    app = App(connector=PsycopgConnector(conninfo=conninfo))
    done = 0

    @app.task(name=_TASK)
    async def deliver(study_id: str) -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        await asyncio.sleep(start_at - time.monotonic())
        await app.run_worker_async(
            wait=False,
            concurrency=1,
            listen_notify=False,
            install_signal_handlers=False,
            update_heartbeat_interval=60,
        )
        return done, time.monotonic()
