"""routes.yml is read again when it changes; an invalid file never replaces a good one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pacsops.database import Database
from pacsops.delivery.versions import note_problems, note_routes, routes_in_force
from pacsops.observe.logs import EventLog
from pacsops.routes import RoutesInvalid, RouteTable, Source, load_routes, read_routes, unknown_destinations
from pacsops.routes.document import MAX_BYTES

_LOG = EventLog("routing")
LOOK_SECONDS = 1.0
_WARNINGS_SECONDS = 5.0


class RoutesWatch:
    """Keeps a service's routes what routes.yml says. One thread calls `step`.

    A file is read when it looked the same twice, a second apart: an editor that is still writing is waited for. Each
    file met is written down, whichever service of the site met it first.

    Args:
        source: whose routes the service is about.
        destinations: what these may name; None: not known now.
        take: called with the routes of `source` whenever they changed.
    """

    def __init__(
        self,
        database: Database,
        path: Path,
        source: Source,
        *,
        destinations: Callable[[], Collection[str] | None],
        take: Callable[[RouteTable], None],
    ) -> None:
        self._database = database
        self._path = path
        self._source = source
        self._destinations = destinations
        self._take = take
        self._table: RouteTable | None = None
        self._glimpsed: tuple[int, ...] | None = None
        self._read: tuple[int, ...] | None = None
        self._warned_at = 0.0

    def step(self) -> float:
        look = self._look()
        if look != self._read and (look == self._glimpsed or self._table is None):
            self._load()
            self._read = look
        elif self._table is not None and time.monotonic() >= self._warned_at:
            warnings = self._warnings(self._table)
            if warnings is not None:
                note_problems(self._database, hash_=self._table.hash, source=self._source, problems=warnings)
        self._glimpsed = look
        return LOOK_SECONDS

    def _look(self) -> tuple[int, ...]:
        """What changes when the file does: the inode when an editor replaces it, the time when it writes in place."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _load(self) -> None:
        try:
            table = read_routes(self._path)
        except RoutesInvalid as invalid:
            self._reject(invalid)
            return
        mine = table.of(self._source)
        note_routes(
            self._database, hash_=table.hash, text=table.text, accepted=True, problems=self._warnings(mine) or ()
        )
        self._put_in_force(mine)
        _LOG.info("config_reloaded", route_version=table.hash, routes=len(table.routes))

    def _reject(self, invalid: RoutesInvalid) -> None:
        problems = [problem.as_dict() for problem in invalid.problems]
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        except OSError:
            raw = b""
        note_routes(
            self._database,
            hash_=hashlib.sha256(raw).hexdigest(),
            text=raw.decode("utf-8", "replace"),
            accepted=False,
            problems=problems,
        )
        _LOG.error("config_rejected", problems=len(problems), error=str(invalid.problems[0]))
        if self._table is None:
            # After a restart the last good one stays in force too.
            in_force = routes_in_force(self._database)
            if in_force is not None:
                # A later version may be stricter: RoutesInvalid then is this duty's trouble, shown in `status`.
                table = load_routes(in_force.text)
                self._put_in_force(table.of(self._source))
                _LOG.warning("config_kept", route_version=in_force.hash, routes=len(table.routes))

    def _put_in_force(self, table: RouteTable) -> None:
        self._table = table
        self._take(table)

    def _warnings(self, table: RouteTable) -> list[dict[str, Any]] | None:
        """What to mind: a destination not configured makes its deliveries wait, no more. None: not known now."""
        self._warned_at = time.monotonic() + _WARNINGS_SECONDS
        destinations = self._destinations()
        if destinations is None:
            return None
        return [{**found.as_dict(), "source": self._source} for found in unknown_destinations(table, destinations)]
