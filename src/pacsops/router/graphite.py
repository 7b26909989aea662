"""The site's metrics, told to Graphite once a minute.

Nothing is kept for later: what could not be told is missing there, and the next minute says how things are then.
"""

from __future__ import annotations

import socket
import time

from pacsops.database import Database
from pacsops.observe.logs import EventLog
from pacsops.observe.metrics import Sample, graphite
from pacsops.orthanc import Orthanc
from pacsops.router.metrics import ORTHANC_TIMEOUT_SECONDS, collect
from pacsops.settings import Settings

_LOG = EventLog("metrics")
PUSH_SECONDS = 60.0
_TIMEOUT_SECONDS = 5.0
"""To connect, and to take what it is told."""


class GraphitePush:
    """One thread calls `step`. A Graphite that is away is no trouble of the router's: it is told in the log, once."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        # Another than the one that sends: that waits for longer.
        self._orthanc = Orthanc.of(settings, timeout=ORTHANC_TIMEOUT_SECONDS)
        self._away_since: float | None = None

    def step(self) -> float:
        began = time.monotonic()
        self._tell(collect(self._settings, self._database, self._orthanc).samples)
        return max(0.0, PUSH_SECONDS - (time.monotonic() - began))

    def close(self) -> None:
        self._orthanc.close()

    def _tell(self, samples: list[Sample]) -> None:
        settings = self._settings
        text = graphite(samples, prefix=settings.graphite_prefix, at=int(time.time()))
        try:
            address = (settings.graphite_host, settings.graphite_port)
            with socket.create_connection(address, _TIMEOUT_SECONDS) as connection:
                connection.sendall(text.encode())
        # A host name that can be none is a UnicodeError, a port that can be none an OverflowError.
        except (OSError, UnicodeError, OverflowError) as error:
            if self._away_since is None:
                self._away_since = time.monotonic()
                _LOG.warning("graphite_away", error=str(error) or type(error).__name__)
            return
        if self._away_since is not None:
            _LOG.info("graphite_back", seconds=round(time.monotonic() - self._away_since))
            self._away_since = None
