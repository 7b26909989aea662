"""A backup put back onto a host: files, then databases, then both compared.

Everything that can fail happens beside what is there: files in a folder of the storage's own disk, databases under
other names. Only then, by renaming, they take their places. What was there before is renamed too, never deleted,
unless it was empty.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacsops.backup import index, placing
from pacsops.backup.children import Children, exclusively, stoppable, unstoppable
from pacsops.backup.configuration import PARTS, BackupConfiguration
from pacsops.backup.contents import Part, Unpacked, parts_of
from pacsops.backup.postgres import Server, differences, live
from pacsops.backup.progress import Progress
from pacsops.backup.records import record, settle_restored
from pacsops.backup.restic import Repository
from pacsops.backup.room import require_room
from pacsops.backup.snapshots import StoredBackup, choose, stored_backups
from pacsops.backup.target import require_target, unplaced
from pacsops.database import Database
from pacsops.database.migrate import migrate
from pacsops.errors import BackupFailed, BackupRefused, DatabaseUnreachable
from pacsops.orthanc import Orthanc


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would put where; nothing has been changed yet."""

    backup: StoredBackup
    parts: dict[str, Part]
    """Those that this host takes."""
    inventory: Part | None
    """The part with the files' inventory, even where another host takes the files."""
    replaces: tuple[str, ...]
    """What is on the host and would be laid aside."""

    @property
    def rows(self) -> int | None:
        manifest = self.parts["database"].manifest if "database" in self.parts else None
        if manifest is None or manifest.pacsops is None or manifest.orthanc is None:
            return None
        return sum(manifest.pacsops.rows.values()) + sum(manifest.orthanc.rows.values())

    @property
    def files(self) -> int | None:
        storage = self.parts["files"].manifest.storage if "files" in self.parts else None
        return storage.files if storage else None

    @property
    def octets(self) -> int | None:
        storage = self.parts["files"].manifest.storage if "files" in self.parts else None
        return storage.octets if storage else None


@dataclass(slots=True)
class Restoration:
    """What a restore did."""

    backup_id: str
    parts: tuple[str, ...]
    restored_rows: int | None = None
    restored_files: int | None = None
    restored_octets: int | None = None
    seconds: float = 0.0
    rows_without_file: int | None = None
    """Images that Orthanc will name and not have. None: not compared."""
    files_without_row: int | None = None
    """Files that Orthanc will not know. None: not compared."""
    examples: tuple[str, ...] = ()
    laid_aside: list[str] = field(default_factory=list)
    """Where what was there before is now."""
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.rows_without_file


def plan_restore(
    configuration: BackupConfiguration, database: Database, orthanc: Orthanc, name: str, *, replace: bool
) -> RestorePlan:
    """Find the backup, and see that this host can take it.

    Raises:
        BackupRefused: no such backup, half of one, one of a newer version, services that run, a host that is not
            empty (unless `replace`), too little space.
    """
    children = Children()
    repository = Repository(configuration, children)
    backup = choose(stored_backups(repository), name)
    there = parts_of(repository, backup)
    lacking = sorted(configuration.parts - set(there))
    if lacking:
        raise BackupRefused(
            f"{backup.id} has nothing of this host's {', '.join(lacking)}",
            hint="was it made by a site whose hosts have a repository each? `orthanc backup list` shows the parts",
        )
    parts = {name: there[name] for name in PARTS if name in configuration.parts}
    replaces = require_target(configuration, database, orthanc, children, replace=replace)
    if "database" in parts and configuration.database is not None:
        version = parts["database"].manifest.postgres_version
        server, _ = live(configuration.database, children)
        if version // 10000 > server.version // 10000:
            raise BackupRefused(
                f"{backup.id} was made of PostgreSQL {version // 10000}, this host has {server.version // 10000}",
                hint="deploy the same or a newer PostgreSQL, then restore",
            )
    plan = RestorePlan(backup, parts, there.get("files"), replaces)
    require_room(_needs(configuration, plan))
    return plan


def restore(
    configuration: BackupConfiguration, database: Database, orthanc: Orthanc, plan: RestorePlan, progress: Progress
) -> Restoration:
    """Carry a plan out.

    Raises:
        BackupRefused: the host is not as it was when planned; nothing was changed.
        BackupFailed: a step failed or was interrupted before anything took its place; the host is as it was.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    found = Restoration(plan.backup.id, tuple(plan.parts))
    with stoppable(), exclusively(configuration.work) as children:
        require_target(configuration, database, orthanc, children, replace=bool(plan.replaces))
        try:
            _Run(configuration, database, children, plan, progress, found).carry_out()
        except KeyboardInterrupt:
            raise BackupFailed(
                "the restore was interrupted; what was on this host is as it was",
                hint=f"`orthanc restore {plan.backup.id}` begins anew",
            ) from None
    found.seconds = round(time.monotonic() - clock, 1)
    detail = {key: value for key, value in asdict(found).items() if key != "examples"}
    try:
        record(database, "restore", started, ok=found.ok, detail=detail)
    except DatabaseUnreachable as error:
        found.warnings.append(f"not written down: {error}")
    return found


@dataclass(slots=True)
class _Run:
    configuration: BackupConfiguration
    database: Database
    children: Children
    plan: RestorePlan
    progress: Progress
    found: Restoration

    def carry_out(self) -> None:
        repository = Repository(self.configuration, self.children)
        with placing.beside(self.configuration.work / "restore") as folder:
            unpacked = Unpacked(repository, folder)
            with self._fetched_files(repository, unpacked), self._restored_databases(unpacked):
                routes = self._routes(repository)
                self._lay_configuration_aside(repository)
                self.progress("Putting everything in its place", 0, 0)
                with unstoppable():
                    self._place(routes)
        if "database" in self.plan.parts:
            # A backup of an older version has an older schema.
            migrate(self.database)
            manifest = self.plan.parts["database"].manifest
            settle_restored(self.database, manifest.id, manifest.created_at)

    @contextmanager
    def _fetched_files(self, repository: Repository, unpacked: Unpacked) -> Iterator[None]:
        """The storage's files, beside it on the same disk, each seen to be there; gone again after a failure."""
        storage = self.configuration.storage
        if "files" not in self.plan.parts or storage is None:
            yield
            return
        part = self.plan.parts["files"]
        assert part.manifest.storage is not None
        with placing.beside(storage / placing.RESTORING) as folder:
            self.progress("Restoring images", 0, 0)
            repository.restore(part.snapshot.id, [part.manifest.storage.path], folder)
            root = placing.root_of(folder, part)
            with unpacked.inventory(part) as entries:
                totals = placing.check_files(root, entries, self.configuration.sample, self.progress)
            placing.give_to_owner_of(storage, root)
            self.found.restored_files, self.found.restored_octets = totals.files, totals.octets
            yield

    @contextmanager
    def _restored_databases(self, unpacked: Unpacked) -> Iterator[None]:
        """Both databases under other names, counted and compared with the files; dropped after a failure."""
        if "database" not in self.plan.parts or self.configuration.database is None:
            yield
            return
        server, _ = live(self.configuration.database, self.children)
        names = {"pacsops": self.configuration.database.pacsops, "orthanc": self.configuration.database.orthanc}
        try:
            rows = 0
            for name, (path, dump) in unpacked.dumps(self.plan.parts["database"]).items():
                owner = server.owner(names[name])
                if owner is None:
                    raise BackupRefused(
                        f"PostgreSQL has no database {names[name]}",
                        hint="`ansible-playbook -i inventories/<site> site.yml`",
                    )
                self.progress(f"Restoring the database {names[name]}", 0, 0)
                server.make(unplaced(names[name]), owner)
                server.restore(path, unplaced(names[name]), owner)
                counted = server.counted(unplaced(names[name]))
                if different := differences(counted, dump.rows):
                    raise BackupFailed(
                        f"the restored database {names[name]} is not the one backed up:\n" + "\n".join(different[:5]),
                        hint="what was on this host is as it was; `orthanc backup list` names other backups",
                    )
                rows += sum(counted.values())
            self.found.restored_rows = rows
            self._compare(server, unplaced(names["orthanc"]), unpacked)
            yield
        finally:
            for name in names.values():
                server.drop(unplaced(name))

    def _compare(self, server: Server, database: str, unpacked: Unpacked) -> None:
        if self.plan.inventory is None:
            return
        self.progress("Comparing index and files", 0, 0)
        with unpacked.inventory(self.plan.inventory) as entries:
            uuids = (entry.attachment for entry in entries)
            compared = index.compare(server, database, (uuid for uuid in uuids if uuid), sample=0)
        if compared is not None:
            self.found.rows_without_file = compared.rows_without_file
            self.found.files_without_row = compared.files_without_row
            self.found.examples = compared.examples

    def _place(self, routes: bytes | None) -> None:
        """Everything takes its place by renaming; what could still fail first."""
        configuration, plan = self.configuration, self.plan
        if "database" in plan.parts and (part := configuration.database) is not None:
            server, _ = live(part, self.children)
            restored = {name: unplaced(name) for name in (part.pacsops, part.orthanc)}
            asides = placing.place_databases(server, restored, plan.backup.id, keep=bool(plan.replaces))
            self.found.laid_aside += [f"database {name}" for name in asides]
        if "files" in plan.parts and configuration.storage is not None:
            source = placing.root_of(configuration.storage / placing.RESTORING, plan.parts["files"])
            self.found.laid_aside += placing.place_files(source, configuration.storage, plan.backup.id)
        if routes is not None and configuration.routes is not None:
            aside = placing.place_text(configuration.routes, routes)
            self.found.laid_aside += [str(aside)] if aside else []

    def _routes(self, repository: Repository) -> bytes | None:
        """The backup's routes.yml, for a host that has one."""
        if "routes" not in self.plan.parts:
            return None
        part = self.plan.parts["routes"]
        if part.manifest.routes is None or part.manifest.routes not in part.snapshot.paths:
            self.found.warnings.append("the backup has no routes.yml")
            return None
        return repository.read(part.snapshot.id, part.manifest.routes)

    def _lay_configuration_aside(self, repository: Repository) -> None:
        """The configuration that the deployment made stays; the backup's is there to look at."""
        part = next(iter(self.plan.parts.values()))
        folder = self.configuration.work / f"configuration-{self.plan.backup.id}"
        placing.remove(folder)
        folder.mkdir(mode=0o700)
        repository.restore(part.snapshot.id, [part.manifest.config], folder)
        self.found.warnings.append(
            f"the configuration of this host is the deployment's; the backup's is in {folder}, to compare"
        )


def _needs(configuration: BackupConfiguration, plan: RestorePlan) -> list[tuple[Path, int, str]]:
    needs: list[tuple[Path, int, str]] = []
    if "database" in plan.parts:
        manifest = plan.parts["database"].manifest
        dumps = [dump for dump in (manifest.pacsops, manifest.orthanc) if dump is not None]
        needs.append((configuration.work, sum(dump.octets for dump in dumps), "the dumps"))
        needs.append((configuration.config, sum(dump.database_octets for dump in dumps), "the databases"))
    if configuration.storage is not None:
        needs.append((configuration.storage, plan.octets or 0, "the images"))
    return needs
