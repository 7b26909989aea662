from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.deliveries import forget_everything
from tests.support.postgres import PostgresServer

from pacsops.database import Database
from pacsops.settings import Settings


@pytest.fixture(scope="session")
def delivery_settings(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Settings]:
    settings = postgres_server.create_database(template=migrated_template)
    yield settings
    postgres_server.ensure_running()
    postgres_server.drop_database(settings.postgres_db)


@pytest.fixture
def settings(postgres: PostgresServer, delivery_settings: Settings) -> Settings:
    """Settings of an empty migrated database: emptied for each test, which is quicker than a new one."""
    database = Database(delivery_settings)
    forget_everything(database)
    database.close()
    return delivery_settings
