"""What callers of a transaction hear when PostgreSQL is lost in the middle of it."""

from __future__ import annotations

import psycopg2
import pytest

from pacsops.database import Database
from pacsops.errors import DatabaseUnreachable


@pytest.mark.parametrize(
    "lost",
    [
        psycopg2.OperationalError("terminating connection due to administrator command"),
        psycopg2.InterfaceError("connection already closed"),
        psycopg2.DatabaseError("server closed the connection unexpectedly"),  # as libpq says it amid an answer
    ],
    ids=lambda lost: type(lost).__name__,
)
def test_a_connection_that_breaks_is_an_outage_and_the_next_transaction_has_another(
    database: Database, lost: psycopg2.Error
) -> None:
    with pytest.raises(DatabaseUnreachable, match="broke"), database.transaction():
        raise lost

    with database.transaction() as tx:
        assert tx.one("SELECT 1 AS one") == {"one": 1}


def test_a_statement_that_is_wrong_is_no_outage_and_leaves_the_connection_as_it_was(database: Database) -> None:
    def connection() -> int:
        with database.transaction() as tx:
            return int(tx.one("SELECT pg_backend_pid() AS pid")["pid"])

    before = connection()
    with pytest.raises(psycopg2.errors.UndefinedTable), database.transaction() as tx:
        tx.run("SELECT * FROM nowhere")

    assert connection() == before
