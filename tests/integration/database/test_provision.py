"""Roles and databases as a site wants them, on a PostgreSQL that checks nobody's password but keeps them all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from tests.support.postgres import PostgresServer

from pacsops.database.provision import OwnedDatabase, provision, verifies
from pacsops.errors import DatabaseUnreachable


@pytest.fixture
def wanted(postgres: PostgresServer) -> Iterator[OwnedDatabase]:
    name = f"site_{uuid.uuid4().hex[:8]}"
    yield OwnedDatabase(database=name, user=name, password="first.Password")
    run(postgres, f"DROP DATABASE IF EXISTS {name}")
    run(postgres, f"DROP ROLE IF EXISTS {name}")


def run(server: PostgresServer, statement: str) -> list[tuple[object, ...]]:
    """As the superuser."""
    connection = psycopg2.connect(host=server.host, port=server.port, user="postgres", dbname="postgres")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def place(server: PostgresServer) -> tuple[Path, int]:
    return Path(server.host), server.port


def test_what_is_missing_is_made_once(postgres: PostgresServer, wanted: OwnedDatabase) -> None:
    assert provision(*place(postgres), [wanted]) == [
        f"role {wanted.user} is made",
        f"role {wanted.user} has its password",
        f"database {wanted.database} is made",
        f"database {wanted.database} is closed to other roles",
    ]
    assert provision(*place(postgres), [wanted]) == []


def test_what_would_be_done_is_said_and_not_done(postgres: PostgresServer, wanted: OwnedDatabase) -> None:
    assert len(provision(*place(postgres), [wanted], apply=False)) == 4
    assert run(postgres, f"SELECT 1 FROM pg_roles WHERE rolname = '{wanted.user}'") == []


def test_another_password_is_taken_up(postgres: PostgresServer, wanted: OwnedDatabase) -> None:
    provision(*place(postgres), [wanted])
    changed = replace(wanted, password="second.Password")

    assert provision(*place(postgres), [changed]) == [f"role {wanted.user} has its password"]

    [(verifier,)] = run(postgres, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{wanted.user}'")
    assert verifies(str(verifier), "second.Password")
    assert not verifies(str(verifier), "first.Password")


def test_no_password_is_logged(postgres: PostgresServer, wanted: OwnedDatabase) -> None:
    run(postgres, "ALTER SYSTEM SET log_statement = 'all'")
    run(postgres, "SELECT pg_reload_conf()")
    try:
        provision(*place(postgres), [wanted])
    finally:
        run(postgres, "ALTER SYSTEM RESET log_statement")
        run(postgres, "SELECT pg_reload_conf()")

    assert f'ALTER ROLE "{wanted.user}"' in postgres.log
    assert wanted.password not in postgres.log


def test_a_database_that_another_role_owns_is_given_back(postgres: PostgresServer, wanted: OwnedDatabase) -> None:
    provision(*place(postgres), [wanted])
    run(postgres, f"ALTER DATABASE {wanted.database} OWNER TO postgres")

    assert provision(*place(postgres), [wanted]) == [f"database {wanted.database} belongs to {wanted.user}"]


def test_a_database_that_was_opened_to_everybody_is_closed_again(
    postgres: PostgresServer, wanted: OwnedDatabase
) -> None:
    provision(*place(postgres), [wanted])
    run(postgres, f"GRANT CONNECT ON DATABASE {wanted.database} TO PUBLIC")

    assert provision(*place(postgres), [wanted]) == [f"database {wanted.database} is closed to other roles"]


def test_a_password_as_old_versions_kept_it_is_another_one() -> None:
    assert not verifies("md5d41d8cd98f00b204e9800998ecf8427e", "first.Password")
    assert not verifies(None, "first.Password")


def test_nobody_at_the_socket_is_said_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable) as refusal:
        provision(tmp_path, 5432, [])

    assert str(tmp_path) in str(refusal.value)
    assert "database's host" in str(refusal.value.hint)
