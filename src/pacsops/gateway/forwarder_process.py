"""The gateway's second part: takes up what was received, plans, forwards, and clears what was delivered away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Mapping
from typing import Any

from pacsops import __version__
from pacsops.database import Database
from pacsops.database.migrate import wait_until_current
from pacsops.delivery.loop import Loop
from pacsops.delivery.routes_watch import RoutesWatch
from pacsops.gateway import workers
from pacsops.gateway.forwarder import Forwarder
from pacsops.gateway.ingest import Ingest
from pacsops.gateway.planning import Planner
from pacsops.gateway.retention import Retention
from pacsops.gateway.watch import ConfigurationWatch
from pacsops.observe.logs import EventLog
from pacsops.routes import RouteTable, Source
from pacsops.settings import Settings

_LOG = EventLog("gateway")
_SERVICE = "gateway"
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_WORKERS_SECONDS = 2.0


class ForwarderProcess:
    """Its duties, each in a thread of its own. `start` returns at once, `stop` within seconds.

    Raises:
        OSError: there is no spool.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings, application="pacsops gateway")
        self._configuration = ConfigurationWatch(settings.gateway_file, settings.gateway_spool)
        self._configuration.look()
        self._planner = Planner(settings.gateway_spool, self._configuration, canaries=settings.canary_destinations)
        self._forwarder = Forwarder(settings, self.database, self._configuration, self._told)
        self._ingest = Ingest(
            self.database,
            settings.gateway_spool,
            self._planner,
            stable_age=settings.gateway_stable_age,
            planned=self._forwarder.wake,
        )
        retention = Retention(
            self.database, settings.gateway_spool, self._planner, keep_days=settings.gateway_keep_days
        )
        watch = RoutesWatch(
            self.database, settings.routes_file, Source.GATEWAY, destinations=self._names, take=self._take
        )
        duties = {
            "configuration": self._look,
            "routes": watch.step,
            "ingest": self._ingest.step,
            "scan": self._ingest.scan,
            "settle": self._ingest.settle,
            "workers": self._reassign,
            "retention": retention.step,
        }
        self._loops = [Loop(name, step, service=_SERVICE) for name, step in duties.items()]

    def start(self) -> None:
        for loop in self._loops:
            loop.start()
        self._forwarder.start()
        _LOG.info("forwarder_started", version=__version__, path=self._settings.gateway_spool)

    def stop(self) -> None:
        """End the steps under way and stop; what is being sent is given back."""
        for loop in self._loops:
            loop.stop()
        self._forwarder.stop()
        for loop in self._loops:
            loop.join(_STOP_SECONDS)
        self._ingest.close()
        _LOG.info("forwarder_stopped")

    def _told(self) -> Mapping[str, Any]:
        """For `orthanc status`."""
        table = self._planner.table
        return {
            "route_version": table.hash if table else None,
            "complete": self._ingest.complete,
            "configuration": self._configuration.told(),
            "pools": {name: pool.members for name, pool in self._configuration().pools.items()},
            "trouble": {loop.name: loop.trouble for loop in self._loops if loop.trouble},
        }

    def _look(self) -> float:
        self._configuration.look()
        return _LOOK_SECONDS

    def _reassign(self) -> float:
        if workers.reassign(self.database, self._configuration()):
            self._forwarder.wake()
        return _WORKERS_SECONDS

    def _names(self) -> Collection[str]:
        return self._configuration().names

    def _take(self, table: RouteTable) -> None:
        self._planner.table = table


def run(settings: Settings) -> None:
    """Run in the foreground until SIGTERM or SIGINT.

    Raises:
        SchemaMismatch: the database is not migrated.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if not wait_until_current(
        Database(settings), stopping, lambda error: _LOG.error("waiting_for_database", error=str(error))
    ):
        return
    process = ForwarderProcess(settings)
    process.start()
    stopping.wait()
    process.stop()
