"""Migrations: every way to the newest schema ends in the same schema."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import psycopg2
import pytest
from tests.support.network import eventually
from tests.support.postgres import PostgresServer

from pacsops.database import Database, migrate
from pacsops.database.migrate import Migration
from pacsops.errors import SchemaMismatch
from pacsops.settings import Settings

SHIPPED = migrate.migrations()

_SCHEMA = """
SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
       concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                 pg_get_expr(d.adbin, d.adrelid)) AS definition
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'relation', c.relname, concat_ws(' ', c.relkind, c.reloptions)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(o.oid)
  FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'function', p.proname, pg_get_functiondef(p.oid)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid)
  FROM pg_trigger t WHERE NOT tgisinternal
 ORDER BY 1, 2
"""


@pytest.fixture
def empty_settings(postgres: PostgresServer) -> Iterator[Settings]:
    settings = postgres.create_database()
    yield settings
    postgres.drop_database(settings.postgres_db)


@pytest.fixture
def empty(empty_settings: Settings) -> Iterator[Database]:
    """A database without any schema."""
    database = Database(empty_settings)
    yield database
    database.close()


def schema(database: Database) -> list[tuple[str, str, str]]:
    with database.transaction() as tx:
        return [(found["kind"], found["name"], found["definition"]) for found in tx.all(_SCHEMA)]


def ships(monkeypatch: pytest.MonkeyPatch, *migrations: Migration) -> None:
    monkeypatch.setattr(migrate, "migrations", lambda: list(migrations))


def migrate_from(settings: Settings) -> list[str]:
    """In a process of its own."""
    database = Database(settings)
    try:
        return migrate.migrate(database)
    finally:
        database.close()


def test_there_are_migrations_and_their_names_sort_as_they_apply() -> None:
    names = [migration.name for migration in SHIPPED]

    numbers = [int(name[:4]) for name in names]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers)), "two migrations share a number, or sort otherwise"


@pytest.mark.parametrize("there", range(len(SHIPPED)), ids=lambda n: f"with {n} migrations")
def test_a_database_of_any_older_version_becomes_the_same_as_a_fresh_one(
    empty: Database, database: Database, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    with monkeypatch.context() as older:
        ships(older, *SHIPPED[:there])
        migrate.migrate(empty)

    assert migrate.migrate(empty) == [migration.name for migration in SHIPPED[there:]]

    assert schema(empty) == schema(database)
    assert migrate.pending(empty) == []


def test_another_migration_reaches_old_and_fresh_databases_alike(
    empty: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.migrate(empty)
    another = Migration(
        "9999_another", "CREATE TABLE another (share text DEFAULT '100%'); CREATE INDEX ON another (share)"
    )
    ships(monkeypatch, *SHIPPED, another)
    settings = postgres.create_database()
    fresh = Database(settings)
    try:
        assert migrate.pending(empty) == ["9999_another"]
        assert migrate.migrate(empty) == ["9999_another"]
        migrate.migrate(fresh)
        assert schema(empty) == schema(fresh)
        assert ("index", "another_share_idx") in {(kind, name) for kind, name, _ in schema(fresh)}
    finally:
        fresh.close()
        postgres.drop_database(settings.postgres_db)


def test_migrating_again_applies_nothing(database: Database) -> None:
    before = schema(database)

    assert migrate.migrate(database) == []

    assert schema(database) == before
    migrate.require_current(database)


def test_two_hosts_that_migrate_at_once_apply_each_migration_once(empty_settings: Settings) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as hosts:
        under_way = [hosts.submit(migrate_from, empty_settings) for _ in range(3)]
        applied = [name for host in under_way for name in host.result(timeout=60)]

    assert applied == [migration.name for migration in SHIPPED]


def test_a_host_waits_for_the_one_that_migrates(empty: Database, empty_settings: Settings) -> None:
    applied: list[str] = []
    other = threading.Thread(target=lambda: applied.extend(migrate_from(empty_settings)))
    with empty.transaction() as tx:
        tx.run(migrate._ONE_AT_A_TIME)
        other.start()
        eventually(
            lambda: tx.one("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")["n"],
            what="the other host waiting its turn",
        )
        assert applied == []
    other.join(timeout=60)

    assert applied == [migration.name for migration in SHIPPED]


def test_a_migration_may_take_its_time_but_not_wait_long_for_a_table(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting = (
        "CREATE TABLE noted AS SELECT current_setting('statement_timeout') AS s, current_setting('lock_timeout') AS l"
    )
    ships(monkeypatch, Migration("0001_noting", noting))

    migrate.migrate(empty)

    with empty.transaction() as tx:
        assert tx.one("SELECT * FROM noted") == {"s": "0", "l": "15s"}
        assert tx.one("SELECT current_setting('statement_timeout') AS s") == {"s": "2min"}


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        ships(newer, *SHIPPED, Migration("9999_newer", "CREATE TABLE newer ()"))
        migrate.migrate(empty)
    before = schema(empty)

    for refused in (migrate.migrate, migrate.pending, migrate.require_current):
        with pytest.raises(SchemaMismatch, match="9999_newer") as caught:
            refused(empty)
        assert caught.value.hint

    assert schema(empty) == before


def test_a_release_runs_on_with_what_a_newer_one_only_added(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As during an upgrade, and after one was taken back."""
    here = migrate.release().removesuffix(".dev0")
    adding = Migration("9999_adding", f"-- Runs with {here} and newer.\nCREATE TABLE added ()")
    with monkeypatch.context() as newer:
        ships(newer, *SHIPPED, adding)
        migrate.migrate(empty)

    migrate.require_current(empty)

    assert migrate.pending(empty) == []
    assert migrate.migrate(empty) == []
    with monkeypatch.context() as newer:
        ships(newer, *SHIPPED, adding)
        assert migrate.pending(empty) == [], "the newer one finds its own again"


def test_a_release_older_than_a_migration_asks_for_refuses_it(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        ships(newer, *SHIPPED, Migration("9999_next", "-- Runs with 99.0 and newer.\nCREATE TABLE next ()"))
        migrate.migrate(empty)

    with pytest.raises(SchemaMismatch, match="9999_next"):
        migrate.require_current(empty)


def test_the_first_release_sees_nothing_it_would_refuse(empty: Database) -> None:
    """0.1.0 refuses every name it does not know; all that came since, it can run with."""
    with empty.transaction() as tx:
        tx.run("CREATE TABLE schema_migration (name varchar(128) PRIMARY KEY, applied_at timestamptz DEFAULT now())")
        tx.run(SHIPPED[0].sql)
        # As a checkout between the releases left it.
        tx.run("INSERT INTO schema_migration (name) VALUES ('0001_routing'), ('0004_failures_and_service_levels')")
        tx.run(SHIPPED[1].sql)

    migrate.migrate(empty)

    with empty.transaction() as tx:
        assert [row["name"] for row in tx.all("SELECT name FROM schema_migration")] == ["0001_routing"]
    assert migrate.pending(empty) == []


def test_a_database_that_lacks_a_migration_says_how_to_get_it(empty: Database) -> None:
    with pytest.raises(SchemaMismatch, match=SHIPPED[0].name) as caught:
        migrate.require_current(empty)

    assert caught.value.hint == "`orthanc db-migrate`"


def test_a_migration_that_fails_leaves_nothing_and_keeps_those_before_it(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.migrate(empty)
    before = schema(empty)
    broken = Migration("9998_broken", "CREATE TABLE half (); SELECT 1 / 0")
    ships(monkeypatch, *SHIPPED, broken, Migration("9999_after", "CREATE TABLE after ()"))

    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate.migrate(empty)

    assert schema(empty) == before
    assert migrate.pending(empty) == ["9998_broken", "9999_after"]
