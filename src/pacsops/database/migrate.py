"""The schema's migrations: numbered SQL files, each applied once, each in a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from pacsops.database.pool import Database, Transaction
from pacsops.errors import SchemaMismatch

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name        varchar(128) PRIMARY KEY,
    applied_at  timestamptz  NOT NULL DEFAULT now()
)
"""
# Two hosts that migrate at once take turns, however long the other's turn is; the number is arbitrary and only ours.
_ONE_AT_A_TIME = """
SET LOCAL lock_timeout = 0;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7069637361);
SET LOCAL lock_timeout = '15s';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Every migration this version knows, in order."""
    folder = resources.files("pacsops.database") / "migrations"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    return [Migration(entry.name.removesuffix(".sql"), entry.read_text("utf-8")) for entry in files]


def migrate(database: Database) -> list[str]:
    """Apply what is missing; the names of what was applied, in order.

    Raises:
        SchemaMismatch: the database is newer than this version.
        DatabaseUnreachable: PostgreSQL does not answer. What was applied before stays applied.
    """
    applied = []
    for migration in migrations():
        with database.transaction() as tx:
            tx.run(_ONE_AT_A_TIME)
            tx.run(_LEDGER)
            if migration.name in _refuse_newer(_applied(tx)):
                continue
            tx.run(migration.sql)
            tx.run("INSERT INTO schema_migration (name) VALUES (%(name)s)", name=migration.name)
            applied.append(migration.name)
    return applied


def pending(database: Database) -> list[str]:
    """Names of the migrations the database still lacks.

    Raises:
        SchemaMismatch: the database is newer than this version.
        DatabaseUnreachable: PostgreSQL does not answer.
    """
    with database.transaction() as tx:
        there = _refuse_newer(_applied(tx))
    return [migration.name for migration in migrations() if migration.name not in there]


def require_current(database: Database) -> None:
    """Pass when the schema is the one this version needs.

    Raises:
        SchemaMismatch: it is older or newer.
        DatabaseUnreachable: PostgreSQL does not answer.
    """
    missing = pending(database)
    if missing:
        raise SchemaMismatch(
            f"the database lacks {len(missing)} migration(s): {', '.join(missing)}",
            hint="`orthanc db-migrate`",
        )


def _applied(tx: Transaction) -> frozenset[str]:
    if tx.one("SELECT to_regclass('schema_migration') IS NULL AS absent")["absent"]:
        return frozenset()
    return frozenset(row["name"] for row in tx.all("SELECT name FROM schema_migration"))


def _refuse_newer(applied: frozenset[str]) -> frozenset[str]:
    newer = applied - {migration.name for migration in migrations()}
    if newer:
        raise SchemaMismatch(
            f"the database has migrations this version does not know: {', '.join(sorted(newer))}",
            hint="use the version of pacsops that made them, or restore the backup taken before the upgrade",
        )
    return applied
