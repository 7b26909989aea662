"""The schema's migrations: numbered SQL files, each applied once, each in a transaction of its own.

A migration that only adds says in its first line which releases run on undisturbed: `-- Runs with 0.1.0 and newer.`
The database remembers that, so that such a release, which does not know the migration, takes the database all the
same: old and new run side by side during an upgrade, and the old one again after it was taken back. A migration
without that line takes something away; releases that do not know it refuse the database.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources

from pacsops.database.pool import Database, Transaction
from pacsops.errors import DatabaseUnreachable, SchemaMismatch

_STRICT_RELEASE = "0.1.0"
"""It refuses a database that has a name in schema_migration it does not know, whatever that migration did."""
# So what it can run with is in schema_expansion, where it does not look.
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name            varchar(128) PRIMARY KEY,
    applied_at      timestamptz  NOT NULL DEFAULT now()
);
ALTER TABLE schema_migration ADD COLUMN IF NOT EXISTS oldest_release varchar(32);
CREATE TABLE IF NOT EXISTS schema_expansion (
    name            varchar(128) PRIMARY KEY,
    applied_at      timestamptz  NOT NULL DEFAULT now(),
    oldest_release  varchar(32)  NOT NULL
);
"""
# Databases that were migrated before the two were told apart.
_MOVE = """
WITH moved AS (DELETE FROM schema_migration WHERE name = %(name)s RETURNING name, applied_at)
INSERT INTO schema_expansion (name, applied_at, oldest_release) SELECT name, applied_at, %(oldest)s FROM moved
"""
_RUNS_WITH = re.compile(r"-- Runs with (\d+(?:\.\d+)*) and newer\.\n")
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

    @property
    def oldest_release(self) -> str | None:
        """The oldest release of pacsops that runs with it; None: only those that know it."""
        said = _RUNS_WITH.match(self.sql)
        return said[1] if said else None

    @property
    def expansion(self) -> bool:
        """Whether every release there ever was runs with it."""
        return self.oldest_release is not None and _numbers(self.oldest_release) <= _numbers(_STRICT_RELEASE)


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
                if migration.expansion:
                    tx.run(_MOVE, name=migration.name, oldest=migration.oldest_release)
                continue
            tx.run(migration.sql)
            tx.run(
                f"INSERT INTO {'schema_expansion' if migration.expansion else 'schema_migration'}"  # noqa: S608 (ours)
                " (name, oldest_release) VALUES (%(name)s, %(oldest)s)",
                name=migration.name,
                oldest=migration.oldest_release,
            )
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


def wait_until_current(
    database: Database, stopping: threading.Event, waiting: Callable[[DatabaseUnreachable], None]
) -> bool:
    """Wait for PostgreSQL, which may start after a service; False when told to stop meanwhile.

    Args:
        waiting: called once, when there is something to wait for.

    Raises:
        SchemaMismatch: it is older or newer.
    """
    said = False
    while not stopping.is_set():
        try:
            require_current(database)
        except DatabaseUnreachable as error:
            if not said:
                waiting(error)
                said = True
            stopping.wait(1.0)
        else:
            database.close()
            return True
    return False


def ledgers(exists: Callable[[str], bool]) -> str | None:
    """The statement that lists what was applied, as (name, oldest_release); None where nothing ever was.

    Args:
        exists: whether the database has a table of this name.
    """
    if not exists("schema_migration"):
        return None
    if not exists("schema_expansion"):
        return "SELECT name, NULL::varchar AS oldest_release FROM schema_migration ORDER BY name"
    return (
        "SELECT name, oldest_release FROM schema_migration"
        " UNION ALL SELECT name, oldest_release FROM schema_expansion ORDER BY name"
    )


def _applied(tx: Transaction) -> dict[str, str | None]:
    """Name → the oldest release that runs with it."""
    statement = ledgers(
        lambda table: bool(tx.one("SELECT to_regclass(%(t)s) IS NOT NULL AS there", t=table)["there"])
    )
    return {row["name"]: row["oldest_release"] for row in tx.all(statement)} if statement else {}


def _refuse_newer(applied: dict[str, str | None]) -> frozenset[str]:
    """The names, when this release runs with each of them."""
    known = {migration.name for migration in migrations()}
    newer = sorted(name for name, oldest in applied.items() if name not in known and not _runs_with(oldest))
    if newer:
        raise SchemaMismatch(
            f"the database has migrations this version does not know: {', '.join(newer)}",
            hint="use the version of pacsops that made them, or restore the backup taken before the upgrade",
        )
    return frozenset(applied)


def _runs_with(oldest_release: str | None) -> bool:
    return oldest_release is not None and _numbers(oldest_release) <= _numbers(release())


def release() -> str:
    """Of this package, such as 0.2.0."""
    return metadata.version("pacsops")


def _numbers(version: str) -> tuple[int, ...]:
    """0.2.0.dev0 → (0, 2, 0): what leads to a release has its schema already."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
