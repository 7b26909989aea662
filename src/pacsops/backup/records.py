"""What was done when: the table backup_run."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pacsops.database import Database, Transaction
from pacsops.errors import DatabaseUnreachable, PacsopsError

Kind = Literal["backup", "verify", "restore"]


@dataclass(frozen=True, slots=True)
class Run:
    """A row of backup_run. `detail`: backup_id, host, parts, seconds, error, and the figures of the kind."""

    id: int
    kind: Kind
    started_at: datetime
    finished_at: datetime | None
    ok: bool | None
    detail: Mapping[str, Any]


@dataclass(slots=True)
class Note:
    """A run under way: what is added to `detail` is written down when it ends."""

    detail: dict[str, Any] = field(default_factory=dict)
    ok: bool = True
    unwritten: str | None = None
    """Why the run could not be written down, when PostgreSQL did not answer."""


@contextmanager
def noted(database: Database, kind: Kind, **detail: Any) -> Iterator[Note]:
    """Write a run down as begun, and as ended well, or with the error that ends the block.

    A database that does not answer, or has no such table yet, keeps nobody from a backup.
    """
    note = Note({"host": socket.gethostname(), **detail})
    number = None
    try:
        number = begin(database, kind, note.detail)
    except DatabaseUnreachable as error:
        note.unwritten = str(error)
    try:
        yield note
    except BaseException as error:
        note.ok = False
        note.detail["error"] = str(error) if isinstance(error, PacsopsError) else _name(error)
        raise
    finally:
        try:
            if number is None:  # it may be there by now
                number = begin(database, kind, note.detail)
            if number is not None:
                _finish(database, number, ok=note.ok, detail=note.detail)
        except DatabaseUnreachable as error:
            note.unwritten = str(error)


def begin(database: Database, kind: Kind, detail: Mapping[str, Any]) -> int | None:
    """The number of the new run; None when the schema has no such table yet."""
    with database.transaction() as tx:
        if not _has_table(tx):
            return None
        inserted = "INSERT INTO backup_run (kind, detail) VALUES (%(kind)s, %(detail)s) RETURNING id"
        return int(tx.one(inserted, kind=kind, detail=json.dumps(detail))["id"])


def record(database: Database, kind: Kind, started_at: datetime, *, ok: bool, detail: Mapping[str, Any]) -> None:
    """A run that has ended: for a restore, which replaces the very database it is written down in."""
    with database.transaction() as tx:
        if _has_table(tx):
            tx.run(
                "INSERT INTO backup_run (kind, started_at, finished_at, ok, detail)"
                " VALUES (%(kind)s, %(started_at)s, now(), %(ok)s, %(detail)s)",
                kind=kind,
                started_at=started_at,
                ok=ok,
                detail=json.dumps({"host": socket.gethostname(), **detail}),
            )


def recent_runs(database: Database, limit: int = 20) -> list[Run]:
    """Newest first."""
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT id, kind, started_at, finished_at, ok, detail FROM backup_run ORDER BY id DESC LIMIT %(limit)s",
            limit=limit,
        )
    return [Run(**row) for row in rows]


def newest_run(database: Database, kind: Kind, *, ok: bool | None = None) -> Run | None:
    """The newest finished run of a kind; with `ok`, of that outcome."""
    with database.transaction() as tx:
        row = tx.one_or_none(
            "SELECT id, kind, started_at, finished_at, ok, detail FROM backup_run"
            " WHERE kind = %(kind)s AND finished_at IS NOT NULL AND ok = coalesce(%(ok)s, ok)"
            " ORDER BY finished_at DESC LIMIT 1",
            kind=kind,
            ok=ok,
        )
    return Run(**row) if row else None


def settle_restored(database: Database, backup_id: str, created_at: str) -> None:
    """Runs that were under way when the restored backup was made: itself went well, others were cut off."""
    with database.transaction() as tx:
        if _has_table(tx):
            tx.run(
                "UPDATE backup_run SET finished_at = greatest(started_at, %(at)s::timestamptz),"
                " ok = (kind = 'backup' AND coalesce(detail ->> 'backup_id' = %(id)s, false)) WHERE ok IS NULL",
                id=backup_id,
                at=created_at,
            )


def _finish(database: Database, number: int, *, ok: bool, detail: Mapping[str, Any]) -> None:
    with database.transaction() as tx:
        tx.run(
            "UPDATE backup_run SET finished_at = now(), ok = %(ok)s, detail = %(detail)s WHERE id = %(id)s",
            id=number,
            ok=ok,
            detail=json.dumps(detail),
        )


def _has_table(tx: Transaction) -> bool:
    return bool(tx.one("SELECT to_regclass('backup_run') IS NOT NULL AS there")["there"])


def _name(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
