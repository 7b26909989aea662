"""Whether a host can take a restore: its services stopped, and nothing on it that anybody would miss."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pacsops.backup.children import Children
from pacsops.backup.configuration import BackupConfiguration, DatabasePart
from pacsops.backup.inventory import walk
from pacsops.backup.postgres import Server, query
from pacsops.database import Database
from pacsops.errors import BackupRefused, OrthancRefused, OrthancUnreachable
from pacsops.orthanc import Orthanc

_PATIENCE_SECONDS = 5.0

# What is counted to tell an empty database: a site that was only deployed has none of these.
_SUBJECTS = {
    "routing_study": "studies of the router",
    "routing_state": "deliveries",
    "resources": "rows of the index",
}


def unplaced(database: str) -> str:
    """The name of a database while it is restored."""
    return f"{database}_restoring"


def require_target(
    configuration: BackupConfiguration, database: Database, orthanc: Orthanc, children: Children, *, replace: bool
) -> tuple[str, ...]:
    """What is on this host and would be laid aside.

    Raises:
        BackupRefused: services run; or there is something and `replace` is not said.
    """
    database.close()  # or we would find ourselves connected
    _require_stopped(configuration, orthanc, children)
    found = [*_in_storage(configuration.storage), *_in_databases(configuration.database, children)]
    if found and not replace:
        raise BackupRefused(
            f"this host is not empty: it has {', '.join(found)}",
            hint="restore into a host that was just deployed; --replace lays aside what is here",
        )
    return tuple(found)


def _require_stopped(configuration: BackupConfiguration, orthanc: Orthanc, children: Children) -> None:
    running = []
    if configuration.storage is not None or configuration.database is not None:
        try:
            orthanc.system()
            running.append("Orthanc")
        except OrthancRefused:  # it answers
            running.append("Orthanc")
        except OrthancUnreachable:
            pass
    if (part := configuration.database) is not None and not running:
        running = _connected(Server(part.host, part.port, children), (part.pacsops, part.orthanc))
    if running:
        raise BackupRefused(
            f"still running or connected: {', '.join(dict.fromkeys(running))}", hint=f"`{configuration.stop}`"
        )


def _connected(server: Server, databases: Sequence[str]) -> list[str]:
    """Who is, and stays: a session ends a moment after the service that was stopped."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = [who for name in databases for who in server.clients(name)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _in_storage(storage: Path | None) -> list[str]:
    if storage is None:
        return []
    if not storage.is_dir():
        raise BackupRefused(f"Orthanc's storage {storage} is not there", hint="is its disk mounted?")
    there = any(entry.attachment for entry in walk(storage))
    return [f"images in {storage}"] if there else []


def _in_databases(part: DatabasePart | None, children: Children) -> list[str]:
    if part is None:
        return []
    server = Server(part.host, part.port, children)
    found = []
    for database in (part.pacsops, part.orthanc):
        if server.owner(database) is None:
            raise BackupRefused(
                f"PostgreSQL has no database {database}", hint="`ansible-playbook -i inventories/<site> site.yml`"
            )
        with server.session(database) as connection:
            for table, subject in _SUBJECTS.items():
                if query(connection, "SELECT to_regclass(%s)", [table])[0][0] is None:
                    continue
                if query(connection, f"SELECT EXISTS (SELECT FROM {table})")[0][0]:  # noqa: S608 (our own words)
                    found.append(f"{subject} in the database {database}")
    return found
