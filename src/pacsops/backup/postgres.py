"""PostgreSQL as its superuser: dumped with row counts of the same snapshot, restored beside what is there.

Source: https://www.postgresql.org/docs/current/app-pgdump.html (--snapshot), app-pgrestore.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from pacsops.backup.children import Children
from pacsops.backup.configuration import DatabasePart
from pacsops.backup.manifest import Dump
from pacsops.backup.programs import Programs
from pacsops.backup.progress import Progress
from pacsops.database.provision import SUPERUSER
from pacsops.errors import BackupFailed, BackupRefused

_TABLES = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2
"""
_OCTETS = """
SELECT pg_database_size(current_database()) AS database,
       coalesce(sum(pg_table_size(c.oid)), 0)::bigint AS tables
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_SESSIONS = """
SELECT DISTINCT coalesce(nullif(application_name, ''), 'a client of ' || usename) AS who FROM pg_stat_activity
 WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1
"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL that lets its superuser in.

    Raises, from every method: BackupRefused when it does not, BackupFailed when one of its programs fails.
    """

    host: str
    port: int
    children: Children
    dump_program: Sequence[str] = ()
    restore_program: Sequence[str] = ()

    @contextmanager
    def session(self, database: str = "postgres") -> Iterator[psycopg2.extensions.connection]:
        """A connection without a statement timeout, autocommitting; its errors become BackupFailed."""
        try:
            connection = psycopg2.connect(
                host=self.host, port=self.port, user=SUPERUSER, dbname=database, connect_timeout=5,
                application_name="pacsops backup", options="-c statement_timeout=0",
            )  # fmt: skip
        except psycopg2.OperationalError as error:
            raise BackupRefused(
                f"PostgreSQL does not let its superuser into {database} at {self.host}:"
                f" {str(error).strip().splitlines()[0]}",
                hint="run this on the database's host as root; `orthanc status` shows whether PostgreSQL runs",
            ) from error
        try:
            with closing(connection):
                connection.autocommit = True
                yield connection
        except psycopg2.Error as error:
            raise BackupFailed(
                f"PostgreSQL gave up on {database}: {(str(error).strip().splitlines() or ['?'])[0]}",
                hint="PostgreSQL's log says more",
            ) from error

    @property
    def version(self) -> int:
        """server_version_num."""
        with self.session() as connection:
            return connection.server_version

    def octets(self, database: str) -> tuple[int, int]:
        """The database on disk, and its tables without indexes: more than a dump of it takes."""
        with self.session(database) as connection:
            (row,) = query(connection, _OCTETS)
        return int(row[0]), int(row[1])

    def dump(self, database: str, target: Path, progress: Progress, expected: int) -> Dump:
        """pg_dump -Fc into the new file `target`, and the rows of each table as of the same moment."""
        with self.session(database) as connection:
            whole = self.octets(database)[0]
            connection.autocommit = False
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            ((frozen,),) = query(connection, "SELECT pg_export_snapshot()")
            rows = _counted(connection)
            command = [*self.dump_program, *self._reached(database), "--format=custom", f"--snapshot={frozen}"]
            digest, done = hashlib.sha256(), 0
            with self.children.running(command) as child, target.open("xb") as file:
                while block := child.stdout.read(1 << 20):
                    _write(file.write, block, target)
                    digest.update(block)
                    done += len(block)
                    progress(f"Dumping {database}", done, expected)
                _write(lambda _: file.flush(), b"", target)
                status = child.wait()
                said = child.said
        if status != 0:
            raise BackupFailed(f"pg_dump of {database} failed: {_last_line(said)}", hint="PostgreSQL's log says more")
        return Dump(target.name, digest.hexdigest(), done, whole, rows)

    def restore(self, dump: Path, database: str, role: str) -> None:
        """pg_restore into an empty database, everything owned by `role`; all of it or nothing."""
        command = [*self.restore_program, *self._reached(database), "--exit-on-error", "--single-transaction"]
        command += ["--no-owner", "--no-privileges", f"--role={role}"]
        with dump.open("rb") as file:
            status, _, said = self.children.run(command, stdin=file)
        if status != 0:
            raise BackupFailed(
                f"pg_restore of {dump.name} failed: {_last_line(said)}",
                hint="the database that was there is untouched",
            )

    def counted(self, database: str) -> dict[str, int]:
        """Rows by table."""
        with self.session(database) as connection:
            return _counted(connection)

    def make(self, database: str, owner: str) -> None:
        """A new, empty database that only its owner may enter; one of this name is dropped first."""
        named = sql.Identifier(database)
        with self.session() as connection:
            _do(connection, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))
            _do(
                connection,
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(named, sql.Identifier(owner)),
            )
            _do(connection, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(named))

    def make_role(self, role: str) -> None:
        with self.session() as connection:
            _do(connection, sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))

    def drop(self, database: str) -> None:
        """Also when a program of ours that was killed is still connected."""
        with self.session() as connection:
            _do(connection, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def rename(self, names: Sequence[tuple[str, str]]) -> None:
        """Databases from one name to another, one after the other; all of them or none."""
        with self.session() as connection:
            connection.autocommit = False
            for database, to in names:
                renaming = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                _do(connection, renaming.format(sql.Identifier(database), sql.Identifier(to)))
            connection.commit()

    def owner(self, database: str) -> str | None:
        """Who owns it; None when there is none of this name."""
        with self.session() as connection:
            found = query(
                connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [database]
            )
        return str(found[0][0]) if found else None

    def clients(self, database: str) -> list[str]:
        """Who is connected, by the names they give themselves."""
        with self.session() as connection:
            return [str(row[0]) for row in query(connection, _SESSIONS, [database])]

    def _reached(self, database: str) -> list[str]:
        words = [f"--host={self.host}", f"--port={self.port}", f"--username={SUPERUSER}"]
        return [*words, "--no-password", f"--dbname={database}"]


def live(part: DatabasePart, children: Children) -> tuple[Server, Programs]:
    """The site's server on this host, with programs that fit it."""
    programs = Programs.matching(part, Server(part.host, part.port, children).version)
    server = Server(
        part.host,
        part.port,
        children,
        programs.beside_the_server("pg_dump"),
        programs.beside_the_server("pg_restore"),
    )
    return server, programs


def differences(found: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    """Tables whose rows are not as many as they were."""
    return [
        f"{table} has {found.get(table, 0):,} rows, {expected.get(table, 0):,} were backed up"
        for table in sorted({*found, *expected})
        if found.get(table) != expected.get(table)
    ]


def query(
    connection: psycopg2.extensions.connection, statement: str, values: Sequence[Any] | None = None
) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _counted(connection: psycopg2.extensions.connection) -> dict[str, int]:
    rows = {}
    for schema, name in query(connection, _TABLES):
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name)))
            rows[f"{schema}.{name}"] = int((cursor.fetchone() or (0,))[0])
    return rows


def _do(connection: psycopg2.extensions.connection, statement: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _write(write: Any, block: bytes, target: Path) -> None:
    try:
        write(block)
    except OSError as error:
        raise BackupFailed(
            f"the dump could not be written to {target}: {(error.strerror or str(error)).lower()}",
            hint=f"make room on the disk of {target.parent}; nothing was stored, earlier backups are whole",
        ) from error


def _last_line(said: str) -> str:
    lines: Iterable[str] = (line for line in said.splitlines() if line.strip())
    return next(iter(lines), "no reason given")
