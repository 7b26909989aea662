"""Gateways for tests: one that forwards what is promised, one that takes up what lies in its spool."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.deliveries import forget_everything
from tests.support.forwarding import ForwardingSite
from tests.support.postgres import PostgresServer
from tests.support.spool import SpooledGateway

from pacsops.database import Database
from pacsops.delivery import breaker
from pacsops.settings import Settings


@pytest.fixture
def forwarding(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardingSite]:
    """A gateway's forwarder, not started yet, that probes what is down every half second."""
    monkeypatch.setattr(breaker, "PROBE_INTERVAL_SECONDS", 0.5)
    with ForwardingSite(settings, tmp_path) as site:
        yield site


@pytest.fixture(scope="session")
def spooled_settings(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Settings]:
    settings = postgres_server.create_database(template=migrated_template)
    yield settings
    postgres_server.ensure_running()
    postgres_server.drop_database(settings.postgres_db)


@pytest.fixture
def spooled(postgres: PostgresServer, spooled_settings: Settings, tmp_path: Path) -> Iterator[SpooledGateway]:
    """A gateway with an empty spool and an empty database, all of whose images go to PACS."""
    database = Database(spooled_settings)
    forget_everything(database)
    gateway = SpooledGateway(database, tmp_path / "incoming")
    yield gateway
    gateway.ingest.close()
    database.close()
