"""Roles and the databases they own, made through PostgreSQL's socket by its superuser."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from pacsops.errors import DatabaseUnreachable

SUPERUSER = "postgres"


@dataclass(frozen=True, slots=True)
class OwnedDatabase:
    """A role that logs in with a password, and the database it owns."""

    database: str
    user: str
    password: str = field(repr=False)


def provision(socket: Path, port: int, wanted: Sequence[OwnedDatabase], *, apply: bool = True) -> list[str]:
    """Make each role and database what `wanted` says; what was (or, without `apply`, would be) done, in sentences.

    A password is compared with the verifier PostgreSQL keeps and sent as a verifier, so none is in a log.

    Raises:
        DatabaseUnreachable: nobody answers at the socket, or not as the superuser.
    """
    try:
        connection = psycopg2.connect(
            host=str(socket),
            port=port,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=5,
            application_name="pacsops",
        )
    except psycopg2.OperationalError as error:
        raise DatabaseUnreachable(
            f"PostgreSQL does not let its superuser in at {socket}: {str(error).strip()}",
            hint="run this on the database's host, as root or as the account PostgreSQL runs as",
        ) from error
    try:
        connection.autocommit = True  # CREATE DATABASE takes no transaction
        with connection.cursor() as cursor:
            return [said for each in wanted for said in _provision(cursor, each, apply=apply)]
    finally:
        connection.close()


def _provision(cursor: psycopg2.extensions.cursor, wanted: OwnedDatabase, *, apply: bool) -> list[str]:
    done: list[tuple[str, sql.Composable]] = []
    role, database = sql.Identifier(wanted.user), sql.Identifier(wanted.database)
    verifier = _one(cursor, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", wanted.user)
    if verifier is None:
        done.append((f"role {wanted.user} is made", sql.SQL("CREATE ROLE {} LOGIN").format(role)))
    if verifier is None or not verifies(verifier[0], wanted.password):
        encrypted = psycopg2.extensions.encrypt_password(
            wanted.password, wanted.user, scope=cursor.connection, algorithm="scram-sha-256"
        )
        change = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(encrypted))
        done.append((f"role {wanted.user} has its password", change))
    owner = _one(
        cursor, "SELECT pg_get_userbyid(datdba), datacl::text FROM pg_database WHERE datname = %s", wanted.database
    )
    if owner is None:
        make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(database, role)
        done.append((f"database {wanted.database} is made", make))
    elif owner[0] != wanted.user:
        give = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role)
        done.append((f"database {wanted.database} belongs to {wanted.user}", give))
    if owner is None or owner[1] is None or "{=" in owner[1] or ",=" in owner[1]:
        close = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
        done.append((f"database {wanted.database} is closed to other roles", close))
    if apply:
        for _, statement in done:
            cursor.execute(statement)
    return [said for said, _ in done]


def _one(cursor: psycopg2.extensions.cursor, statement: str, *values: str) -> tuple[Any, ...] | None:
    cursor.execute(statement, values)
    return cursor.fetchone()


def verifies(verifier: str | None, password: str) -> bool:
    """Whether `password` (ASCII) belongs to a SCRAM verifier as pg_authid keeps it (PostgreSQL 53.8; RFC 5803)."""
    if not verifier or not verifier.startswith("SCRAM-SHA-256$"):
        return False
    _, scheme, keys = verifier.split("$")
    iterations, _, salt = scheme.partition(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored, _, _ = keys.partition(":")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(stored))
