"""A backup proved by restoring it: its databases into a throwaway PostgreSQL, a sample of its files into a folder."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pacsops.backup import index
from pacsops.backup.children import Children, exclusively, stoppable
from pacsops.backup.configuration import BackupConfiguration
from pacsops.backup.contents import Part, Unpacked, parts_of
from pacsops.backup.inventory import Entry, attachment_path
from pacsops.backup.postgres import Server, differences
from pacsops.backup.programs import Programs
from pacsops.backup.progress import Progress
from pacsops.backup.records import noted
from pacsops.backup.restic import Repository
from pacsops.backup.room import require_room
from pacsops.backup.snapshots import choose, stored_backups
from pacsops.backup.throwaway import throwaway_server
from pacsops.database import Database
from pacsops.errors import BackupFailed, BackupRefused

_BATCH = 1000  # files named on one command line


@dataclass(slots=True)
class Verification:
    """What restoring a backup showed."""

    backup_id: str
    parts: tuple[str, ...]
    restored_rows: int | None = None
    """Rows of both databases; None where this host cannot restore them."""
    restored_tables: int | None = None
    hashed_instances: int = 0
    """Files restored whose SHA-256 is the manifest's."""
    md5_instances: int = 0
    """Those whose MD5 is also the one in Orthanc's index."""
    seconds: float = 0.0
    database_seconds: float | None = None
    """Of restoring both databases: what a restore would take at least."""
    files_seconds: float | None = None
    """Of restoring `hashed_octets` from the repository."""
    hashed_octets: int = 0
    rows_without_file: int | None = None
    files_without_row: int | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    configuration: BackupConfiguration,
    database: Database,
    progress: Progress,
    *,
    name: str = "latest",
    sample: int | None = None,
) -> Verification:
    """Restore what this host can of a backup, compare, and throw it away.

    Raises:
        BackupRefused: there is no such backup, it is half one or a newer one, or too little space.
        BackupFailed: a step failed or was interrupted; the site and the repository are as they were.
    """
    started = time.monotonic()
    with stoppable(), exclusively(configuration.work) as children:
        try:
            with noted(database, "verify") as note:
                repository = Repository(configuration, children)
                backup = choose(stored_backups(repository), name)
                note.detail["backup_id"] = backup.id
                parts = parts_of(repository, backup)
                found = Verification(backup.id, backup.parts)
                with _throwaway_folder(configuration.work / "verify") as folder:
                    run = _Run(configuration, children, repository, parts, folder, progress, found)
                    run.check(configuration.sample if sample is None else sample)
                found.seconds = round(time.monotonic() - started, 1)
                note.ok = found.ok
                note.detail |= {**asdict(found), "problems": found.problems[:10]}
            if note.unwritten:
                found.warnings.append(f"not written down: {note.unwritten}")
            return found
        except KeyboardInterrupt:
            raise BackupFailed(
                "the verification was interrupted; the site and the repository are as they were",
                hint="`orthanc backup verify` begins anew",
            ) from None


@dataclass(slots=True)
class _Run:
    configuration: BackupConfiguration
    children: Children
    repository: Repository
    parts: dict[str, Part]
    folder: Path
    progress: Progress
    found: Verification

    def check(self, sample: int) -> None:
        self._require_room()
        unpacked = Unpacked(self.repository, self.folder / "staging")
        attachments: Sequence[index.Attachment] | None = None
        if "database" in self.parts and self.configuration.database is not None:
            attachments = self._restore_databases(unpacked, sample)
        elif "files" not in self.parts:
            raise BackupRefused(
                "this host can restore nothing of this backup", hint="verify it on the database's host"
            )
        if "files" in self.parts:
            self._restore_files(unpacked, attachments, sample)

    def _require_room(self) -> None:
        needs = []
        if "database" in self.parts and self.configuration.database is not None:
            manifest = self.parts["database"].manifest
            dumps = [dump for dump in (manifest.pacsops, manifest.orthanc) if dump is not None]
            octets = sum(dump.octets + dump.database_octets for dump in dumps)
            needs.append((self.configuration.work, octets, "a throwaway PostgreSQL"))
        require_room(needs)

    def _restore_databases(self, unpacked: Unpacked, sample: int) -> Sequence[index.Attachment] | None:
        """Both databases, counted; a sample of the index, when the storage is in the backup."""
        assert self.configuration.database is not None
        part = self.parts["database"]
        self.progress("Fetching the dumps", 0, 0)
        dumps = unpacked.dumps(part)
        programs = Programs.matching(self.configuration.database, part.manifest.postgres_version)
        self.progress("Starting a throwaway PostgreSQL", 0, 0)
        with throwaway_server(programs, self.folder / "postgres", self.children) as server:
            began = time.monotonic()
            server.make_role("restored")
            counted: dict[str, dict[str, int]] = {}
            for name, (path, dump) in dumps.items():
                self.progress(f"Restoring the database {name}", 0, 0)
                server.make(name, "restored")
                server.restore(path, name, "restored")
                counted[name] = server.counted(name)
                self.found.problems += [f"{name}: {said}" for said in differences(counted[name], dump.rows)]
            self.found.database_seconds = round(time.monotonic() - began, 1)
            self.found.restored_rows = sum(sum(rows.values()) for rows in counted.values())
            self.found.restored_tables = sum(len(rows) for rows in counted.values())
            return self._compare(server, unpacked, sample) if "files" in self.parts else None

    def _compare(self, server: Server, unpacked: Unpacked, sample: int) -> Sequence[index.Attachment] | None:
        self.progress("Comparing index and files", 0, 0)
        with unpacked.inventory(self.parts["files"]) as entries:
            uuids = (entry.attachment for entry in entries)
            compared = index.compare(server, "orthanc", (uuid for uuid in uuids if uuid), sample=sample)
        if compared is None:
            return None
        self.found.rows_without_file = compared.rows_without_file
        self.found.files_without_row = compared.files_without_row
        if compared.rows_without_file:
            self.found.problems.append(
                f"{compared.rows_without_file:,} rows of Orthanc's index have no file, such as"
                f" {', '.join(compared.examples)}; of studies deleted during the backup, or lost before it"
            )
        return compared.sample

    def _restore_files(self, unpacked: Unpacked, attachments: Sequence[index.Attachment] | None, sample: int) -> None:
        part = self.parts["files"]
        storage = part.manifest.storage
        assert storage is not None
        by_path = {attachment_path(each.uuid): each for each in attachments} if attachments is not None else None
        with unpacked.inventory(part) as entries:
            wanted = _sampled(entries, sample) if by_path is None else [e for e in entries if e.path in by_path]
        target = self.folder / "files"
        began = time.monotonic()
        for start in range(0, len(wanted), _BATCH):
            self.progress("Restoring images", start, len(wanted))
            paths = [f"{storage.path}/{entry.path}" for entry in wanted[start : start + _BATCH]]
            self.repository.restore(part.snapshot.id, paths, target)
        self.found.files_seconds = round(time.monotonic() - began, 1)
        root = target / storage.path.lstrip("/")
        for entry in wanted:
            self._hash(root / entry.path, entry, by_path[entry.path] if by_path else None)

    def _hash(self, path: Path, entry: Entry, attachment: index.Attachment | None) -> None:
        if not path.is_file():
            self.found.problems.append(f"{entry.path} was not restored")
            return
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != entry.sha256:
                self.found.problems.append(f"{entry.path} is not what was backed up (SHA-256)")
                return
            self.found.hashed_instances += 1
            self.found.hashed_octets += entry.size
            if attachment is not None and attachment.md5:
                content.seek(0)
                if hashlib.file_digest(content, _md5).hexdigest() != attachment.md5:
                    self.found.problems.append(f"{entry.path} is not what Orthanc received (MD5 in its index)")
                    return
                self.found.md5_instances += 1


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _sampled(entries: Iterable[Entry], sample: int) -> list[Entry]:
    """So many attachments at random, each as likely as any other, in one pass (Vitter's algorithm R)."""
    chosen: list[Entry] = []
    for number, entry in enumerate(each for each in entries if each.attachment):
        if number < sample:
            chosen.append(entry)
        elif (place := random.randrange(number + 1)) < sample:  # noqa: S311 (no secret)
            chosen[place] = entry
    return chosen


@contextmanager
def _throwaway_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for the block; what a killed run left in it is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
