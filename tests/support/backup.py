"""A site that is backed up: Orthanc with its index in PostgreSQL, a restic repository, the `orthanc` command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from psycopg2 import sql
from tests.support.orthanc import PASSWORD, USERNAME, OrthancServer
from tests.support.postgres import UNPRIVILEGED, PostgresServer, binaries

from pacsops.settings import Settings

_COMMAND = [sys.executable, "-m", "pacsops.cli.main"]


class BackedUpSite:
    """`settings` name its pacsops database; `orthanc` keeps its index in the same PostgreSQL."""

    def __init__(self, settings: Settings, orthanc: OrthancServer, postgres: PostgresServer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-backup-"))
        self.folder.chmod(0o755)  # a throwaway PostgreSQL's account has to pass
        self.orthanc = orthanc
        self.postgres = postgres
        self.env_file = self.folder / ".env"
        self.work = self.folder / "backups"
        self.repository = self.folder / "repository"
        values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
        self.settings = Settings(
            **{
                **values,
                "env_file": self.env_file,
                "routes_file": self.folder / "config" / "routes.yml",
                "dicom_storage_path": orthanc.storage,
            }
        )
        (self.folder / "config").mkdir()
        self.settings.routes_file.write_text("routes: []\n")
        self.password = self.folder / "config" / "backup.password"
        self.password.touch(mode=0o600)
        self.password.write_text("a-repository-password\n")
        names = [field.name for field in fields(Settings) if field.name != "env_file"]
        said = {name.upper(): value for name in names if (value := getattr(self.settings, name)) is not None}
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
        self.configure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def configure(self, **changed: Any) -> None:
        """config/backup.json as the role writes it, with other values for some keys."""
        said = {
            "repository": str(self.repository),
            "password_file": str(self.password),
            "keep": {"daily": 7, "weekly": 5, "monthly": 12},
            "work": str(self.work),
            "config": str(self.folder / "config"),
            "parts": ["database", "files", "routes"],
            "site_parts": ["database", "files", "routes"],
            "database": {
                "host": self.postgres.host,
                "port": self.postgres.port,
                "pacsops": self.settings.postgres_db,
                "orthanc": self.orthanc.index,
                "bin": str(binaries()),
                "unprivileged": str(UNPRIVILEGED),
            },
            "storage": str(self.orthanc.storage),
            "routes": str(self.settings.routes_file),
            "sample": 50,
            "stop": "supervisorctl stop orthanc router",
            "start": "supervisorctl start orthanc router",
        }
        (self.folder / "config" / "backup.json").write_text(json.dumps({**said, **changed}))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ORTHANC_ENV": str(self.env_file)}

    def orthanc_command(self, *words: str, status: int | None = 0) -> Any:
        """What a command answers with --json; AssertionError when it ends with another exit status."""
        done = self.run(*words, "--json")
        assert status is None or done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_COMMAND, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def started(self, *words: str) -> subprocess.Popen[str]:
        """The command, running."""
        return subprocess.Popen(
            [*_COMMAND, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def restic(self, *words: str) -> subprocess.CompletedProcess[str]:
        """restic itself, on the site's repository."""
        where = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD_FILE": str(self.password)}
        return subprocess.run(
            ["restic", *words], env={**os.environ, **where}, capture_output=True, text=True, timeout=60, check=False
        )

    def digests(self) -> dict[str, str]:
        """Orthanc's instance id -> SHA-256 of what Orthanc gives out for it."""
        ids = self._get("/instances").json()
        return {each: sha256(self._get(f"/instances/{each}/file").content).hexdigest() for each in ids}

    def destroy(self) -> None:
        """Everything a fire would take; then a deployment's empty databases and storage. Orthanc must be stopped."""
        shutil.rmtree(self.orthanc.storage)
        self.orthanc.storage.mkdir()
        shutil.rmtree(self.work, ignore_errors=True)
        for name in (self.settings.postgres_db, self.orthanc.index):
            self.postgres.drop_database(name)
            self.postgres.create_database(name)

    def databases(self) -> set[str]:
        with self.postgres.superuser() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            return {row[0] for row in cursor.fetchall()}

    def execute(self, statement: str, *, index: bool = False) -> None:
        """As PostgreSQL's superuser, in pacsops' database or in the index."""
        name = self.orthanc.index if index else self.settings.postgres_db
        with self.postgres.superuser(name) as cursor:
            cursor.execute(sql.SQL(statement))

    def _get(self, path: str) -> requests.Response:
        answer = requests.get(self.orthanc.url + path, auth=(USERNAME, PASSWORD), timeout=30)
        assert answer.ok, answer.text
        return answer
