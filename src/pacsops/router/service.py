"""The router as a service: its duties, each in a loop of its own, until SIGTERM."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

from pacsops import __version__
from pacsops.database import Database
from pacsops.database.migrate import wait_until_current
from pacsops.delivery.heartbeat import ROUTER
from pacsops.delivery.loop import Loop
from pacsops.delivery.routes_watch import RoutesWatch
from pacsops.errors import DatabaseUnreachable
from pacsops.observe.logs import EventLog, write_to
from pacsops.orthanc import Orthanc
from pacsops.router.direct import OrthancOutlet
from pacsops.router.dispatcher import Dispatcher
from pacsops.router.feed import Feed
from pacsops.router.graphite import GraphitePush
from pacsops.router.nightly import Nightly
from pacsops.router.probes import Probes
from pacsops.router.reconcile import scan_when_due
from pacsops.router.site import Site
from pacsops.router.verify import Verifier
from pacsops.router.wake import WakeListener
from pacsops.routes import Source
from pacsops.sending.thread import SendingThread
from pacsops.settings import Settings

_LOG = EventLog("router")
_BEAT_SECONDS = 5.0
_STOP_SECONDS = 10.0


class Router:
    """All duties of one site's router. `start` returns at once, `stop` within seconds."""

    def __init__(self, settings: Settings) -> None:
        self.site = Site(
            Orthanc.of(settings),
            Database(settings, application="pacsops router"),
            canary_destinations=settings.canary_destinations,
        )
        self._settings = settings
        self._feed = Feed(self.site)
        self._dispatcher = Dispatcher(self.site)
        self._probes = Probes(self.site)
        self._verifier = Verifier(self.site)
        self._nightly = Nightly(self.site, settings.reconcile_at)
        watch = RoutesWatch(
            self.site.database,
            settings.routes_file,
            Source.ORTHANC,
            destinations=self.site.names_if_known,
            take=self.site.take_routes,
        )
        outlet = OrthancOutlet(self.site, settings)
        self._direct = SendingThread(outlet, self.site.database, self.site.worker, EventLog("routing"))
        self._loops = [
            Loop("routes", watch.step),
            Loop("feed", self._feed.step, self.site.feed_wake),
            Loop("settle", self._feed.settle),
            Loop("dispatch", self._dispatcher.step, self.site.dispatch_wake),
            Loop("probe", self._probes.step),
            Loop("verify", self._verifier.step),
            Loop("scan", lambda: scan_when_due(self.site)),
            Loop("reconcile", self._nightly.step),
            Loop("beat", self._beat),
        ]
        self._graphite = GraphitePush(settings, self.site.database) if settings.graphite_host else None
        if self._graphite is not None:
            self._loops.append(Loop("graphite", self._graphite.step))
        self._listener: WakeListener | None = None

    def start(self) -> None:
        """Start every duty.

        Raises:
            SettingsError: the port for Orthanc's hook is taken.
        """
        settings = self._settings
        if settings.router_wake_port:
            self._listener = WakeListener(settings.router_wake_host, settings.router_wake_port, self.site.feed_wake)
            self._listener.start()
        for loop in self._loops:
            loop.start()
        self._direct.start()
        _LOG.info("router_started", version=__version__, worker=self.site.worker, path=settings.routes_file)

    def stop(self) -> None:
        """End the steps under way and stop. Jobs go on inside Orthanc; the next router takes them over."""
        if self._listener is not None:
            self._listener.stop()
        for loop in self._loops:
            loop.stop()
        self._direct.stop()
        for loop in self._loops:
            loop.join(_STOP_SECONDS)
        self._probes.close()
        self._verifier.close()
        if self._graphite is not None:
            self._graphite.close()
        with suppress(DatabaseUnreachable):
            ROUTER.withdraw(self.site.database, self.site.worker)
        _LOG.info("router_stopped", worker=self.site.worker)

    def _beat(self) -> float:
        table = self.site.table
        detail = {
            "version": __version__,
            "route_version": table.hash if table else None,
            "routes": len(table.routes) if table else 0,
            "seq": self._feed.seq,
            "in_flight": self._dispatcher.in_flight + self._direct.in_flight,
            "trouble": {loop.name: loop.trouble for loop in self._loops if loop.trouble}
            | {f"direct {name}": words for name, words in self._direct.trouble.items()},
        }
        ROUTER.beat(self.site.database, self.site.worker, detail)
        return _BEAT_SECONDS


def run(settings: Settings) -> None:
    """Run the router in the foreground until SIGTERM or SIGINT.

    Raises:
        SchemaMismatch: the database is not migrated.
        SettingsError: the port for Orthanc's hook is taken.
    """
    write_to()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if not wait_until_current(
        Database(settings), stopping, lambda error: _LOG.error("waiting_for_database", error=str(error))
    ):
        return
    router = Router(settings)
    router.start()
    stopping.wait()
    router.stop()
