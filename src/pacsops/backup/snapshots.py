"""The backups in a repository: snapshots of one or several hosts that one identifier ties together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from pacsops.backup.configuration import PARTS, STAGING
from pacsops.backup.manifest import NAME, Manifest
from pacsops.backup.restic import Repository, Snapshot
from pacsops.errors import BackupRefused


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """One backup, as far as this repository has it."""

    id: str
    at: datetime
    """When its first snapshot was made."""
    snapshots: tuple[Snapshot, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in PARTS if self.snapshot_of(part) is not None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts that the site has and this backup has not: then it is half a backup."""
        wanted = {part for snapshot in self.snapshots for part in _words(snapshot, "of")}
        return tuple(part for part in PARTS if part in wanted - set(self.parts))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({snapshot.host for snapshot in self.snapshots}))

    @property
    def files(self) -> int | None:
        """Of Orthanc's storage; None without that part."""
        return _number(self.snapshot_of("files"), "files")

    @property
    def octets(self) -> int | None:
        """Of Orthanc's storage; None without that part."""
        return _number(self.snapshot_of("files"), "octets")

    def snapshot_of(self, part: str) -> Snapshot | None:
        """The newest one with this part."""
        found = [snapshot for snapshot in self.snapshots if part in _words(snapshot, "parts")]
        return found[-1] if found else None


def stored_backups(repository: Repository) -> list[StoredBackup]:
    """Newest first."""
    by_id: dict[str, list[Snapshot]] = {}
    for snapshot in repository.snapshots():
        if "id" in snapshot.tags:
            by_id.setdefault(snapshot.tags["id"], []).append(snapshot)
    backups = [StoredBackup(name, found[0].at, tuple(found)) for name, found in by_id.items()]
    return sorted(backups, key=lambda backup: backup.at, reverse=True)


def choose(backups: Sequence[StoredBackup], name: str) -> StoredBackup:
    """The backup of this identifier or its first characters; `latest` is the newest whole one.

    Raises:
        BackupRefused: none or several have it, or it is half a backup.
    """
    if name == "latest":
        whole = [backup for backup in backups if not backup.missing]
        if not whole:
            raise BackupRefused("there is no whole backup yet", hint="`orthanc backup` makes one")
        return whole[0]
    found = [backup for backup in backups if backup.id.startswith(name)]
    if len(found) != 1:
        raise BackupRefused(
            f"{'no backup is' if not found else f'{len(found)} backups are'} known by {name!r}",
            hint="`orthanc backup list` names them",
        )
    if found[0].missing:
        raise BackupRefused(
            f"{found[0].id} is half a backup: it lacks {', '.join(found[0].missing)}",
            hint="`orthanc backup list` shows the whole ones",
        )
    return found[0]


def staging_of(snapshot: Snapshot) -> str:
    """The folder of its dumps, inventory and manifest.

    Raises:
        BackupRefused: it has none.
    """
    for path in snapshot.paths:
        if PurePosixPath(path).name == STAGING:
            return path
    raise BackupRefused(
        "this is half a backup: its snapshot has no manifest", hint="`orthanc backup list` shows the others"
    )


def manifest_of(repository: Repository, snapshot: Snapshot) -> Manifest:
    """What a snapshot says of itself.

    Raises:
        BackupRefused: it is half a backup, or one of a newer version.
    """
    text = repository.read(snapshot.id, f"{staging_of(snapshot)}/{NAME}")
    return Manifest.of(text, snapshot.tags.get("manifest"))


def _words(snapshot: Snapshot, tag: str) -> list[str]:
    return [word for word in snapshot.tags.get(tag, "").split("+") if word]


def _number(snapshot: Snapshot | None, tag: str) -> int | None:
    text = snapshot.tags.get(tag, "") if snapshot else ""
    return int(text) if text.isdigit() else None
