"""What this host backs up, where to, and how its PostgreSQL is reached: config/backup.json beside the site's .env."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pacsops.errors import BackupRefused
from pacsops.settings import Settings

PARTS = ("database", "files", "routes")
"""What a backup is made of: the dumps of both databases, Orthanc's storage, routes.yml."""


STAGING = "pacsops-staging"
"""The folder's name by which a snapshot's manifest is found, wherever the folder was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePart:
    """PostgreSQL on this host, reached as its superuser without a password."""

    host: str
    """The folder of its Unix socket, or an address that trusts the superuser."""
    port: int
    pacsops: str
    """pacsops' own database."""
    orthanc: str
    """The database of Orthanc's index."""
    bin: Path | None
    """The folder of pg_dump and initdb. None: they are in the container."""
    unprivileged: Path | None
    """scripts/unprivileged, for the programs that refuse root."""
    compose_folder: Path | None
    """Where compose.yml is, for a PostgreSQL in a container; its service is `postgres`."""
    image: str
    """The container's image."""
    account: str
    """Number of the account the container runs as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfiguration:
    """One host's share of the site's backup. Secrets stay out of `repr`."""

    repository: str = field(repr=False)
    """As restic writes it: a folder, sftp:…, rest:…, s3:…; may hold a password."""
    password_file: Path
    environment: Mapping[str, str] = field(repr=False)
    """What restic's backend needs besides, such as AWS_ACCESS_KEY_ID."""
    restic: str
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    work: Path
    """Dumps under way, restic's cache, throwaway clusters, what a restore laid aside."""
    config: Path
    """The site's configuration folder, backed up on every host."""
    parts: frozenset[str]
    """Which PARTS this host has."""
    site_parts: frozenset[str]
    """Which the whole site has: a backup with fewer is half a backup."""
    database: DatabasePart | None
    storage: Path | None
    """Orthanc's storage folder."""
    routes: Path | None
    """routes.yml."""
    sample: int
    """Instances that a verification hashes."""
    stop: str
    """The command by which an operator stops Orthanc and the router."""
    start: str

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Read config/backup.json of the site.

        Raises:
            BackupRefused: there is none, it cannot be read, or it is not what it should be.
        """
        home = settings.env_file.parent if settings.env_file else Path("/opt/orthanc")
        path = home / "config" / "backup.json"
        if not _there(path):
            raise BackupRefused(
                f"this host has no backups: there is no {path}",
                hint="set backup_repository in the site's inventory, then"
                " `ansible-playbook -i inventories/<site> site.yml`",
            )
        try:
            said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except PermissionError as error:
            raise BackupRefused(f"only root may make and restore backups: cannot read {path}", hint="sudo") from error
        except (OSError, ValueError) as error:
            raise BackupRefused(f"cannot read {path}: {error}", hint=_DEPLOY) from error
        try:
            found = cls._of(said)
        except (KeyError, TypeError, ValueError) as error:
            raise BackupRefused(f"{path} is not complete: {error!r}", hint=_DEPLOY) from error
        found._check_password_file()
        return found

    @classmethod
    def _of(cls, said: Mapping[str, Any]) -> Self:
        database = said.get("database")
        return cls(
            repository=said["repository"],
            password_file=Path(said["password_file"]),
            environment=said.get("environment", {}),
            restic=said.get("restic", "restic"),
            keep_daily=max(1, int(said["keep"]["daily"])),
            keep_weekly=int(said["keep"]["weekly"]),
            keep_monthly=int(said["keep"]["monthly"]),
            work=Path(said["work"]),
            config=Path(said["config"]),
            parts=frozenset(said["parts"]),
            site_parts=frozenset(said["site_parts"]),
            database=None
            if database is None
            else DatabasePart(
                host=database["host"],
                port=int(database["port"]),
                pacsops=database["pacsops"],
                orthanc=database["orthanc"],
                bin=_path(database.get("bin")),
                unprivileged=_path(database.get("unprivileged")),
                compose_folder=_path(database.get("compose_folder")),
                image=database.get("image", ""),
                account=database.get("account", ""),
            ),
            storage=_path(said.get("storage")),
            routes=_path(said.get("routes")),
            sample=int(said["sample"]),
            stop=said["stop"],
            start=said["start"],
        )

    @property
    def repository_folder(self) -> Path | None:
        """The repository, when it is a folder of this host."""
        if re.match(r"[a-z0-9]+:", self.repository) and not self.repository.startswith("local:"):
            return None
        return Path(self.repository.removeprefix("local:"))

    @property
    def repository_shown(self) -> str:
        """The repository without the password it may hold."""
        return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", self.repository)

    @property
    def staging(self) -> Path:
        """Dumps, inventory and manifest of the backup under way. Always the same path: restic finds the snapshot
        before this one, and with it the files it need not read again, by the paths of both."""
        return self.work / STAGING

    def _check_password_file(self) -> None:
        path = self.password_file
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            raise BackupRefused(
                f"the repository's password cannot be read: {path}: {error.strerror}", hint=_DEPLOY
            ) from error
        if mode & 0o077:
            raise BackupRefused(f"others than its owner may read {path}", hint=f"chmod 600 {path}")


_DEPLOY = "deploy again with `ansible-playbook -i inventories/<site> site.yml`"


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # its folder is root's: reading it will say so
        return True
