"""Transactions on PostgreSQL, one connection a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from pacsops.errors import DatabaseUnreachable
from pacsops.settings import Settings

Row = dict[str, Any]


class Transaction:
    """An open transaction: READ COMMITTED, committed when its `with` block ends well, else rolled back."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection

    def all(self, sql: str, **parameters: Any) -> list[Row]:
        """Every row, as dictionaries by column name."""
        with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]

    def one_or_none(self, sql: str, **parameters: Any) -> Row | None:
        """The first row, None when there is none."""
        rows = self.all(sql, **parameters)
        return rows[0] if rows else None

    def one(self, sql: str, **parameters: Any) -> Row:
        """The first row of a statement that always returns one."""
        return self.all(sql, **parameters)[0]

    def run(self, sql: str, **parameters: Any) -> int:
        """Execute a statement for its effect; the number of rows it touched."""
        with self._connection.cursor() as cursor:
            # None, not {}: without parameters a literal % in a migration stays what it is.
            cursor.execute(sql, parameters or None)
            return cursor.rowcount


class Database:
    """pacsops' database of one site. Threads share the object; each has a connection of its own.

    A broken connection is dropped and the next transaction opens another, so a restart of PostgreSQL costs the
    transactions under way and nothing else.
    """

    def __init__(self, settings: Settings, application: str = "pacsops") -> None:
        self._settings = settings
        self._application = application
        self._local = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction.

        Raises:
            DatabaseUnreachable: PostgreSQL does not answer, or went away meanwhile; nothing was committed, except
                when it went away during the commit itself: then nobody knows, and callers' steps are idempotent.
        """
        connection = self._connection()
        try:
            yield Transaction(connection)
            connection.commit()
        except BaseException as error:
            if isinstance(error, psycopg2.Error) and _breaks(error):
                self.close()
                self._give_up(error)
            with suppress(psycopg2.Error):
                connection.rollback()
            if connection.closed:
                self.close()
            raise

    def close(self) -> None:
        """Close this thread's connection, if it has one."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with suppress(psycopg2.Error):
                connection.close()

    def _give_up(self, error: psycopg2.Error) -> NoReturn:
        if error.pgcode and not error.pgcode.startswith(("08", "57P")):
            # A lock or a statement that took too long, a deadlock, a full disk: tried again like an outage.
            raise DatabaseUnreachable(f"{self._where} gave up: {_first_line(error)}", hint=self._hint) from error
        raise DatabaseUnreachable(
            f"the connection to {self._where} broke: {_first_line(error)}", hint=self._hint
        ) from error

    @property
    def _where(self) -> str:
        settings = self._settings
        return f"PostgreSQL database {settings.postgres_db} at {settings.postgres_host}:{settings.postgres_port}"

    @property
    def _hint(self) -> str:
        return "deliveries wait and go on when it is back; `orthanc status` shows what runs"

    def _connection(self) -> psycopg2.extensions.connection:
        connection: psycopg2.extensions.connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> psycopg2.extensions.connection:
        settings = self._settings
        try:
            connection: psycopg2.extensions.connection = psycopg2.connect(
                host=settings.postgres_host,
                port=settings.postgres_port,
                dbname=settings.postgres_db,
                user=settings.postgres_user,
                password=settings.postgres_password or None,
                **_encryption(settings),
                application_name=self._application,
                connect_timeout=5,
                # A PostgreSQL host that vanished without a word is noticed within half a minute.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,  # milliseconds; keepalives say nothing of data that is not acknowledged
                options="-c timezone=UTC -c lock_timeout=15s -c statement_timeout=120s",
            )
        except psycopg2.OperationalError as error:
            refused = "authentication failed" in str(error)
            raise DatabaseUnreachable(
                f"{'refused by' if refused else 'cannot reach'} {self._where}: {_first_line(error)}",
                hint=f"check POSTGRES_USER and POSTGRES_PASSWORD in {settings.env_file}" if refused else self._hint,
            ) from error
        return connection


def _breaks(error: psycopg2.Error) -> bool:
    """Whether the connection is lost, or the server gave up.

    libpq's own words, when a server vanishes in the middle of an answer, come as a bare DatabaseError without a code.
    """
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or (
        type(error) is psycopg2.DatabaseError and error.pgcode is None
    )


def _encryption(settings: Settings) -> dict[str, Any]:
    """libpq's words for it. Without an authority to believe, TLS would only look safe: then the site has none."""
    if settings.postgres_sslrootcert is None:
        return {}
    return {"sslmode": "verify-full", "sslrootcert": str(settings.postgres_sslrootcert)}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
