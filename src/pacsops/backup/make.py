"""A backup made: the databases first, then the files, then both in one snapshot.

A row without its file would be a lost image; a file without its row is only space. So the index is dumped before
the storage is read, and pacsops' database before the index: the router catches up with a newer Orthanc.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pacsops.backup import inventory
from pacsops.backup.children import Children, exclusively, stoppable
from pacsops.backup.configuration import PARTS, BackupConfiguration
from pacsops.backup.manifest import NAME, Dump, Manifest, Storage
from pacsops.backup.postgres import Server, live, query
from pacsops.backup.progress import Progress
from pacsops.backup.records import noted
from pacsops.backup.restic import Repository, Stored, pattern
from pacsops.backup.room import require_room
from pacsops.database import Database
from pacsops.database.migrate import ledgers
from pacsops.errors import BackupFailed, BackupRefused, OrthancRefused, OrthancUnreachable
from pacsops.orthanc import Orthanc, all_modalities

_INVENTORY = "files.tsv"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made."""

    id: str
    host: str
    parts: tuple[str, ...]
    started_at: datetime
    seconds: float
    rows: int
    """In both databases."""
    files: int
    """In Orthanc's storage."""
    octets: int
    """Of those files."""
    added_octets: int
    """By which the repository grew."""
    repository: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """What a run reads: the site's database server if it is here, and how much is new in the storage."""

    server: Server | None
    dump_octets: Mapping[str, int]
    new_octets: int


def new_id(now: datetime) -> str:
    """An identifier that sorts by time and is typed in a few characters: 20260203-103015-3fa9."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def back_up(
    configuration: BackupConfiguration,
    database: Database,
    orthanc: Orthanc,
    progress: Progress,
    *,
    backup_id: str | None = None,
) -> Backup:
    """Back up what this host has; `backup_id` ties it to what other hosts back up.

    Raises:
        BackupRefused: nothing was begun: no repository, wrong password, too little space, another run.
        BackupFailed: a step failed or was interrupted. Earlier backups are whole.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    named = backup_id or new_id(started)
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", named):
        raise BackupRefused(f"{named!r} cannot name a backup", hint="letters, digits and `-`")
    with stoppable(), exclusively(configuration.work) as children:
        try:
            with noted(database, "backup", backup_id=named, parts=sorted(configuration.parts)) as note:
                repository = Repository(configuration, children)
                repository.there()
                source = _look(configuration, children)
                repository.make()
                with _staging(configuration.staging):
                    made = _gather(configuration, orthanc, source, named, progress)
                    paths, tags = _contents(configuration, made.manifest)
                    stored = repository.store(paths, tags, progress, without=_left_out(configuration))
                    _check_stored(repository, stored, configuration, made.manifest)
                    _remember(configuration)
                warnings = list(made.warnings)
                try:
                    progress("Removing what is no longer kept", 0, 0)
                    repository.forget("+".join(made.manifest.parts))
                except BackupFailed as error:
                    warnings.append(str(error))
                rows = sum(sum(dump.rows.values()) for dump in (made.manifest.pacsops, made.manifest.orthanc) if dump)
                storage = made.manifest.storage
                backup = Backup(
                    id=named,
                    host=made.manifest.host,
                    parts=made.manifest.parts,
                    started_at=started,
                    seconds=round(time.monotonic() - clock, 1),
                    rows=rows,
                    files=storage.files if storage else 0,
                    octets=storage.octets if storage else 0,
                    added_octets=stored.added_bytes,
                    repository=configuration.repository_shown,
                    warnings=tuple(warnings),
                )
                note.detail |= {key: value for key, value in asdict(backup).items() if key not in _NOT_NOTED}
            if note.unwritten:
                return Backup(**{**asdict(backup), "warnings": (*warnings, f"not written down: {note.unwritten}")})
            return backup
        except KeyboardInterrupt:
            raise BackupFailed(
                "the backup was interrupted; the repository is well and earlier backups are whole",
                hint="`orthanc backup` goes on from what was stored",
            ) from None


_NOT_NOTED = {"id", "host", "parts", "started_at"}


@dataclass(frozen=True, slots=True)
class _Gathered:
    manifest: Manifest
    warnings: tuple[str, ...]


def _look(configuration: BackupConfiguration, children: Children) -> _Source:
    """What will be read, and whether there is room for it."""
    server, dumps, new = None, {}, 0
    if (part := configuration.database) is not None:
        server, _ = live(part, children)
        dumps = {name: server.octets(name)[1] for name in (part.pacsops, part.orthanc)}
    if (storage := configuration.storage) is not None:
        if not storage.is_dir():
            raise BackupRefused(f"Orthanc's storage {storage} is not there", hint="is its disk mounted?")
        with _inventory_before(configuration) as before:
            new = inventory.new_octets(storage, before)
    needs = [(configuration.work, sum(dumps.values()), "dumps of the databases")]
    if (folder := configuration.repository_folder) is not None:
        needs.append((folder, sum(dumps.values()) + new, "what is new in the repository"))
    require_room(needs)
    return _Source(server, dumps, new)


def _gather(
    configuration: BackupConfiguration, orthanc: Orthanc, source: _Source, named: str, progress: Progress
) -> _Gathered:
    """Dumps, inventory and manifest in the staging folder."""
    staging, warnings = configuration.staging, []
    pacsops = index = storage = None
    migrations: tuple[str, ...] = ()
    postgres_version = 0
    modalities: dict[str, Any] = {}
    if source.server is not None and (part := configuration.database) is not None:
        postgres_version = source.server.version
        migrations = _applied(source.server, part.pacsops)
        pacsops = _dump(source, part.pacsops, staging / "pacsops.dump", progress)
        index = _dump(source, part.orthanc, staging / "orthanc.dump", progress)
    if configuration.storage is not None:
        storage = _take_inventory(configuration, configuration.storage, source.new_octets, progress)
        modalities, warning = _modalities(orthanc)
        warnings += [warning] if warning else []
    if index is not None and storage is not None:
        wanted = index.rows.get("public.attachedfiles", 0)
        if storage.files < wanted:
            warnings.append(
                f"Orthanc's index names {wanted:,} files and its storage has {storage.files:,};"
                " `orthanc backup verify` says which are missing"
            )
    manifest = Manifest(
        id=named,
        created_at=datetime.now(UTC).isoformat(),
        host=socket.gethostname(),
        version=version("pacsops"),
        parts=tuple(part for part in PARTS if part in configuration.parts),
        site_parts=tuple(part for part in PARTS if part in configuration.site_parts),
        staging=str(staging),
        config=str(configuration.config),
        migrations=migrations,
        postgres_version=postgres_version,
        pacsops=pacsops,
        orthanc=index,
        storage=storage,
        routes=str(configuration.routes) if configuration.routes else None,
        modalities=modalities,
    )
    (staging / NAME).write_bytes(manifest.text())
    return _Gathered(manifest, tuple(warnings))


def _dump(source: _Source, database: str, target: Path, progress: Progress) -> Dump:
    assert source.server is not None
    return source.server.dump(database, target, progress, source.dump_octets[database])


def _take_inventory(configuration: BackupConfiguration, storage: Path, new: int, progress: Progress) -> Storage:
    path = configuration.staging / _INVENTORY
    try:
        with _inventory_before(configuration) as before, path.open("x", encoding="ascii") as target:
            totals = inventory.write(storage, before, target, progress, new=new, step="Reading new images")
    except OSError as error:
        raise BackupFailed(
            f"the inventory could not be written to {path}: {error.strerror}", hint="nothing was stored"
        ) from error
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Storage(str(storage), totals.files, totals.octets, _INVENTORY, digest)


def _contents(configuration: BackupConfiguration, manifest: Manifest) -> tuple[list[Path], list[str]]:
    """What goes into the snapshot, and the tags that it is found by."""
    paths = [configuration.staging, configuration.config]
    paths += [path for path in (configuration.storage, configuration.routes) if path is not None and path.exists()]
    tags = [
        f"id:{manifest.id}",
        f"parts:{'+'.join(manifest.parts)}",
        f"of:{'+'.join(manifest.site_parts)}",
        f"manifest:{hashlib.sha256(manifest.text()).hexdigest()}",
    ]
    if manifest.storage is not None:
        tags += [f"files:{manifest.storage.files}", f"octets:{manifest.storage.octets}"]
    return paths, tags


def _left_out(configuration: BackupConfiguration) -> list[str]:
    """What a restore laid aside in the storage."""
    return [f"{pattern(str(configuration.storage))}/{inventory.OURS}*"] if configuration.storage else []


def _check_stored(
    repository: Repository, stored: Stored, configuration: BackupConfiguration, manifest: Manifest
) -> None:
    """The snapshot has what was there, and gives the manifest back.

    Raises:
        BackupFailed: files that exist could not be read, or the repository gives back something else.
    """
    lost = [said for said in stored.unreadable if os.path.lexists(said.split(": ")[0])]
    if lost:
        raise BackupFailed(
            f"the backup lacks {len(lost)} file(s) that could not be read:\n" + "\n".join(lost[:5]),
            hint="run it as root; `orthanc backup list` names the backups before it",
        )
    if repository.read(stored.snapshot, f"{configuration.staging}/{NAME}") != manifest.text():
        raise BackupFailed(
            "the repository does not give back what was stored", hint="restic check, with the repository's password"
        )


def _modalities(orthanc: Orthanc) -> tuple[dict[str, Any], str | None]:
    try:
        return {name: asdict(modality) for name, modality in all_modalities(orthanc).items()}, None
    except (OrthancUnreachable, OrthancRefused) as error:
        return {}, f"the list of modalities is not in the manifest, only in the index: {error}"


def _applied(server: Server, database: str) -> tuple[str, ...]:
    with server.session(database) as connection:
        statement = ledgers(lambda table: query(connection, f"SELECT to_regclass('{table}')")[0][0] is not None)
        return tuple(row[0] for row in query(connection, statement)) if statement else ()


@contextmanager
def _staging(folder: Path) -> Iterator[None]:
    """An empty folder for the block; what a killed run left in it is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _inventory_before(configuration: BackupConfiguration) -> Iterator[Iterator[inventory.Entry]]:
    """The inventory of the last backup; empty when there is none, or a garbled one."""
    path = configuration.work / _INVENTORY
    if not path.exists():
        yield iter(())
        return
    with path.open(encoding="ascii") as lines:
        yield _as_far_as_readable(inventory.read(lines))


def _as_far_as_readable(entries: Iterator[inventory.Entry]) -> Iterator[inventory.Entry]:
    try:
        yield from entries
    except ValueError:  # what it does not tell is read again
        return


def _remember(configuration: BackupConfiguration) -> None:
    """Keep the inventory for the next backup, which then reads new files only."""
    made = configuration.staging / _INVENTORY
    if made.exists():
        made.replace(configuration.work / _INVENTORY)
