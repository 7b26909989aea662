"""routes.yml is read again when it changes; an invalid file never replaces a good one."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from pacsops.delivery.versions import note_problems, note_routes, routes_in_force
from pacsops.errors import OrthancRefused, OrthancUnreachable
from pacsops.observe.logs import EventLog
from pacsops.router.site import Site
from pacsops.routes import RoutesInvalid, RouteTable, load_routes, read_routes, unknown_destinations
from pacsops.routes.document import MAX_BYTES

_LOG = EventLog("routing")
LOOK_SECONDS = 1.0
_WARNINGS_SECONDS = 5.0


class RoutesWatch:
    """Keeps `site.table` what routes.yml says. One thread calls `step`.

    A file is read when it looked the same twice, a second apart: an editor that is still writing is waited for.
    """

    def __init__(self, site: Site, path: Path) -> None:
        self._site = site
        self._path = path
        self._glimpsed: tuple[int, ...] | None = None
        self._read: tuple[int, ...] | None = None
        self._warned_at = 0.0

    def step(self) -> float:
        look = self._look()
        if look != self._read and (look == self._glimpsed or self._site.table is None):
            self._load()
            self._read = look
        elif self._site.table is not None and time.monotonic() >= self._warned_at:
            warnings = self._warnings(self._site.table)
            if warnings is not None:
                note_problems(self._site.database, hash_=self._site.table.hash, problems=warnings)
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
        note_routes(
            self._site.database,
            hash_=table.hash,
            text=table.text,
            accepted=True,
            problems=self._warnings(table) or (),
        )
        self._site.table = table
        self._site.feed_wake.ring()
        _LOG.info("config_reloaded", route_version=table.hash, routes=len(table.routes))

    def _reject(self, invalid: RoutesInvalid) -> None:
        problems = [problem.as_dict() for problem in invalid.problems]
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        except OSError:
            raw = b""
        note_routes(
            self._site.database,
            hash_=hashlib.sha256(raw).hexdigest(),
            text=raw.decode("utf-8", "replace"),
            accepted=False,
            problems=problems,
        )
        _LOG.error("config_rejected", problems=len(problems), error=str(invalid.problems[0]))
        if self._site.table is None:
            # After a restart the last good one stays in force too.
            in_force = routes_in_force(self._site.database)
            if in_force is not None:
                # A later version may be stricter: RoutesInvalid then is this duty's trouble, shown in `status`.
                self._site.table = load_routes(in_force.text)
                _LOG.warning("config_kept", route_version=in_force.hash, routes=len(self._site.table.routes))

    def _warnings(self, table: RouteTable) -> list[dict[str, Any]] | None:
        """What to mind: a destination not configured makes its deliveries wait, no more. None: not known now."""
        self._warned_at = time.monotonic() + _WARNINGS_SECONDS
        try:
            return [found.as_dict() for found in unknown_destinations(table, self._site.modalities().keys())]
        except (OrthancUnreachable, OrthancRefused):
            return None
