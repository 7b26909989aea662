"""What a backup says of itself: enough to tell, without its site, whether it is whole and fits this version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pacsops.database.migrate import migrations
from pacsops.errors import BackupRefused

SCHEMA_VERSION = 1
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Dump:
    """One database, as pg_dump -Fc wrote it."""

    file: str
    sha256: str
    octets: int
    database_octets: int
    """Of the database on disk: what restoring it takes."""
    rows: Mapping[str, int]
    """By table, counted in the very snapshot that was dumped."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Orthanc's storage, and the inventory that has its files one by one."""

    path: str
    files: int
    octets: int
    inventory: str
    inventory_sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One host's part of a backup."""

    id: str
    created_at: str
    """ISO 8601, UTC."""
    host: str
    version: str
    """Of pacsops."""
    parts: tuple[str, ...]
    site_parts: tuple[str, ...]
    staging: str
    """The folder of dumps, inventory and this file, in the snapshot."""
    config: str
    migrations: tuple[str, ...] = ()
    postgres_version: int = 0
    """server_version_num."""
    pacsops: Dump | None = None
    orthanc: Dump | None = None
    storage: Storage | None = None
    routes: str | None = None
    modalities: Mapping[str, Any] = field(default_factory=dict)
    """Orthanc's, for the eye: they come back with its index."""
    schema_version: int = SCHEMA_VERSION

    def text(self) -> bytes:
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def of(cls, text: bytes, expected_sha256: str | None) -> Self:
        """Read a manifest and see that it is the one its snapshot was made with.

        Raises:
            BackupRefused: it is another one, incomplete, or of a newer version of pacsops.
        """
        if expected_sha256 is None or hashlib.sha256(text).hexdigest() != expected_sha256:
            raise BackupRefused(
                "this is half a backup: its manifest is not the one it was made with",
                hint="`orthanc backup list` shows the others",
            )
        try:
            said = json.loads(text)
            newer = said["schema_version"] > SCHEMA_VERSION
            unknown = sorted(set(said["migrations"]) - {migration.name for migration in migrations()})
            if newer or unknown:
                raise BackupRefused(
                    f"this backup was made by a newer version of pacsops ({said['version']})"
                    + (f", with migrations this one does not know: {', '.join(unknown)}" if unknown else ""),
                    hint=f"deploy pacsops {said['version']} or newer, then restore",
                )
            return cls(
                **{
                    **said,
                    "parts": tuple(said["parts"]),
                    "site_parts": tuple(said["site_parts"]),
                    "migrations": tuple(said["migrations"]),
                    "pacsops": Dump(**said["pacsops"]) if said["pacsops"] else None,
                    "orthanc": Dump(**said["orthanc"]) if said["orthanc"] else None,
                    "storage": Storage(**said["storage"]) if said["storage"] else None,
                }
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BackupRefused(
                f"this is half a backup: its manifest is incomplete ({error})",
                hint="`orthanc backup list` shows the others",
            ) from error
