"""A stored backup opened: its manifests, its dumps, its inventory, each seen to be what was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacsops.backup import inventory
from pacsops.backup.manifest import Dump, Manifest
from pacsops.backup.restic import Repository, Snapshot
from pacsops.backup.snapshots import StoredBackup, manifest_of
from pacsops.errors import BackupFailed, BackupRefused


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a backup: the snapshot that has it, and what that says of itself."""

    snapshot: Snapshot
    manifest: Manifest


def parts_of(repository: Repository, backup: StoredBackup) -> dict[str, Part]:
    """By name, those of the backup that this repository has.

    Raises:
        BackupRefused: it is half a backup, or one of a newer version.
    """
    manifests: dict[str, Manifest] = {}
    found = {}
    for name in backup.parts:
        snapshot = backup.snapshot_of(name)
        assert snapshot is not None
        if snapshot.id not in manifests:
            manifests[snapshot.id] = manifest_of(repository, snapshot)
        found[name] = Part(snapshot, manifests[snapshot.id])
    for name, part in found.items():
        if {"database": part.manifest.pacsops, "files": part.manifest.storage}.get(name, part) is None:
            raise BackupRefused(f"{backup.id} is half a backup: its manifest lacks the {name}")
    return found


class Unpacked:
    """Dumps and inventories of a backup in a folder."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._fetched: set[str] = set()

    def dumps(self, part: Part) -> Mapping[str, tuple[Path, Dump]]:
        """pacsops' and orthanc's, by those names.

        Raises:
            BackupFailed: one is not what was stored.
        """
        manifest = part.manifest
        assert manifest.pacsops is not None
        assert manifest.orthanc is not None
        found = {}
        for name, dump in (("pacsops", manifest.pacsops), ("orthanc", manifest.orthanc)):
            found[name] = (self._file(part, dump.file, dump.sha256), dump)
        return found

    @contextmanager
    def inventory(self, part: Part) -> Iterator[Iterator[inventory.Entry]]:
        """The files of the storage.

        Raises:
            BackupFailed: it is not what was stored.
        """
        storage = part.manifest.storage
        assert storage is not None
        with self._file(part, storage.inventory, storage.inventory_sha256).open(encoding="ascii") as lines:
            yield inventory.read(lines)

    def _file(self, part: Part, name: str, sha256: str) -> Path:
        root = self._folder / part.snapshot.id
        if part.snapshot.id not in self._fetched:
            self._repository.restore(part.snapshot.id, [part.manifest.staging], root)
            self._fetched.add(part.snapshot.id)
        path = root / part.manifest.staging.lstrip("/") / name
        try:
            with path.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except FileNotFoundError:
            found = "absent"
        if found != sha256:
            raise BackupFailed(
                f"backup {part.manifest.id} is damaged: {name} is {'absent' if found == 'absent' else 'another one'}",
                hint="`orthanc backup list` names the backups before it",
            )
        return path
