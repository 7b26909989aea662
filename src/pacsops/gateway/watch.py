"""gateway.yml in force: looked at as often as somebody asks, and the last good one stays."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import Configuration, load
from pacsops.observe.logs import EventLog

_LOG = EventLog("gateway")


class ConfigurationWatch:
    """Call it for the configuration in force. Before the first good file nobody may send, and there is nowhere to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._configuration = Configuration()
        self._seen: object = None
        self._digest = b""

    def __call__(self) -> Configuration:
        return self._configuration

    def look(self) -> bool:
        """Take up a changed file, log one that cannot be; whether another one is in force now."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        digest = self._content_digest()
        if digest is not None and digest == self._digest:
            return False
        self._digest = digest or b""
        try:
            configuration = load(self._path)
        except GatewayConfigurationError as error:
            _LOG.error("configuration_rejected", path=self._path, error=str(error))
            return False
        changed = configuration != self._configuration
        self._configuration = configuration
        _LOG.info("configuration_loaded", path=self._path)
        return changed

    def _stamp(self) -> object:
        try:
            found = self._path.stat()
        except OSError as error:
            return error.errno
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _content_digest(self) -> bytes | None:
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return None
