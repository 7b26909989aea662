"""gateway.yml in force: looked at as often as somebody asks, and the last good one stays, over restarts too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import Configuration, parse, read
from pacsops.gateway.last_good import keep, last_good
from pacsops.observe.logs import EventLog

_LOG = EventLog("gateway")


class ConfigurationWatch:
    """Call it for the configuration in force. Before the first good file nobody may send, and there is nowhere to.

    Args:
        path: gateway.yml.
        spool: where the last good one is kept.
    """

    def __init__(self, path: Path, spool: Path) -> None:
        self._path = path
        self._spool = spool
        self._configuration = Configuration()
        self._accepted_at: datetime | None = None
        self._rejected: str | None = None
        self._seen: object = None
        self._text: str | None = None
        self._unkept: str | None = None
        self._trouble = ""

    def __call__(self) -> Configuration:
        return self._configuration

    def told(self) -> Mapping[str, Any]:
        """For `orthanc status`: since when what is in force was accepted, and what is wrong with the file."""
        return {"path": str(self._path), "accepted_at": self._accepted_at, "rejected": self._rejected}

    def look(self) -> bool:
        """Take up a changed file, log one that cannot be; whether another one is in force now. May wait for disks."""
        changed = self._look()
        if self._unkept is not None:
            self._keep(self._unkept)
        return changed

    def _look(self) -> bool:
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        before, self._text = self._text, None
        try:
            self._text = read(self._path)
            if self._text == before:
                return False
            configuration = parse(self._text, str(self._path))
        except GatewayConfigurationError as error:
            return self._reject(str(error))
        self._rejected = None
        self._unkept = self._text
        _LOG.info("configuration_loaded", path=self._path)
        return self._put_in_force(configuration, datetime.now(UTC))

    def _reject(self, why: str) -> bool:
        self._rejected = why
        _LOG.error("configuration_rejected", path=self._path, error=why)
        if self._accepted_at is not None:
            return False
        # After a restart the last good one stays in force too.
        try:
            kept = last_good(self._spool)
        except (OSError, GatewayConfigurationError) as error:
            _LOG.error("configuration_lost", path=self._spool, error=str(error))
            return False
        if kept is None:
            return False
        _LOG.warning("configuration_kept", path=self._path, since=kept.accepted_at)
        return self._put_in_force(kept.configuration, kept.accepted_at)

    def _put_in_force(self, configuration: Configuration, accepted_at: datetime) -> bool:
        changed = configuration != self._configuration
        self._configuration, self._accepted_at = configuration, accepted_at
        return changed

    def _keep(self, text: str) -> None:
        try:
            self._accepted_at = keep(self._spool, text)
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._trouble:
                _LOG.error("configuration_not_kept", path=self._spool, error=why)
            self._trouble = why
            return
        self._unkept, self._trouble = None, ""

    def _stamp(self) -> object:
        try:
            found = self._path.stat()
        except OSError as error:
            return error.errno
        return found.st_mtime_ns, found.st_size, found.st_ino
