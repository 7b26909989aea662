"""The real parts that figures are taken on."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.orthanc import BINARY
from tests.support.postgres import PostgresServer

from pacsops.database import Database
from pacsops.database.migrate import migrate
from pacsops.settings import Settings

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


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far, proc(5)."""
    user, kernel = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")


def peak_mebibytes(process: int) -> float:
    """Resident memory of a process at its peak, proc(5) VmHWM."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def orthanc_id() -> str:
    """A new identifier that looks like Orthanc's: five groups of eight hexadecimal digits."""
    digits = hashlib.sha1(str(next(_numbers)).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def server_versions(postgres: PostgresServer) -> tuple[str, str]:
    """`PostgreSQL 18.1` and `Orthanc 1.10.1`, as they say themselves."""
    with migrated(postgres) as (_, database), database.transaction() as tx:
        server = tx.one("SHOW server_version")["server_version"]
    said = subprocess.run([str(BINARY), "--version"], capture_output=True, text=True, check=True).stdout
    return f"PostgreSQL {server.split()[0]}", f"Orthanc {said.split()[1]}"
