"""The real parts that figures are taken on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from pacsops.database import Database
from pacsops.database.migrate import migrate
from pacsops.settings import Settings
from tests.support.postgres import PostgresServer

_numbers = itertools.count()


@contextmanager
def migrated(postgres: PostgresServer) -> Iterator[tuple[Settings, Database]]:
    """A database of its own with pacsops' tables, dropped at the end."""
    settings = postgres.create_database()
    database = Database(settings, application="pacsops benchmarks")
    try:
        migrate(database)
        yield settings, database
    finally:
        database.close()
        postgres.drop_database(settings.postgres_db)


def orthanc_id() -> str:
    """A new identifier that looks like Orthanc's: five groups of eight hexadecimal digits."""
    digits = hashlib.sha1(str(next(_numbers)).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))
