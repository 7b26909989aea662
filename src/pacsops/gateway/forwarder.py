"""Sends what was promised of the gateway's studies: a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pacsops import __version__
from pacsops.database import Database
from pacsops.errors import DatabaseUnreachable
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.destinations import SpoolOutlet, set_limits
from pacsops.gateway.heartbeat import beat, withdraw
from pacsops.gateway.probes import Probes
from pacsops.observe.logs import EventLog
from pacsops.sending.forwarding import Forwarding
from pacsops.sending.ledger import Ledger
from pacsops.settings import Settings

_LOG = EventLog("gateway")
_BEAT_SECONDS = 5.0
_LIMITS_SECONDS = 5.0
_STOP_SECONDS = 15.0


class Forwarder:
    """`start` returns at once, `stop` within seconds: what is under way is given back, and sent by the next.

    Args:
        configuration: gives the gateway.yml in force; called from several threads.
        tell: what else of the process `orthanc status` should know; `trouble` by duty is joined to its own.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        configuration: Callable[[], Configuration],
        tell: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._database = database
        self._configuration = configuration
        self._tell = tell
        self._aet = settings.gateway_aet
        self._outlet = SpoolOutlet(settings, database, configuration)
        self._limited: Configuration | None = None
        self._running = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._forwarding: Forwarding | None = None
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """End associations, and give back what they were for."""
        self._call(self._stopping)
        self._thread.join(_STOP_SECONDS)
        with suppress(DatabaseUnreachable):
            withdraw(self._database, self.worker)

    def wake(self) -> None:
        """Something was planned: look now."""
        self._call(self._forwarding.wake if self._forwarding else None)

    @property
    def in_flight(self) -> int:
        """Deliveries being sent."""
        return self._forwarding.in_flight if self._forwarding else 0

    @property
    def trouble(self) -> Mapping[str, str]:
        """What keeps it from its duties, by duty."""
        return dict(self._forwarding.trouble) if self._forwarding else {}

    def _call(self, bell: asyncio.Event | None) -> None:
        if self._loop is not None and bell is not None:
            with suppress(RuntimeError):  # the loop is closed: it stopped already
                self._loop.call_soon_threadsafe(bell.set)

    def _run(self) -> None:
        asyncio.run(self._forward())

    async def _forward(self) -> None:
        ledger = Ledger(self._database)
        stopping = asyncio.Event()
        forwarding = Forwarding(self._outlet, ledger, self.worker, _LOG)
        probes = Probes(self._configuration, self._outlet, ledger, _LOG, forwarding.wake.set)
        self._loop, self._stopping, self._forwarding = asyncio.get_running_loop(), stopping, forwarding
        self._running.set()

        async def limits() -> float:
            configuration = self._configuration()
            if configuration != self._limited:
                await ledger.do(set_limits, list(configuration.destinations.values()))
                self._limited = configuration
            return _LIMITS_SECONDS

        async def sign_of_life() -> float:
            await ledger.do(beat, self.worker, self._detail())
            return _BEAT_SECONDS

        await forwarding.run(stopping, probe=probes.step, limits=limits, beat=sign_of_life)
        ledger.close()

    def _detail(self) -> dict[str, Any]:
        told = dict(self._tell())
        destinations = {
            each.name: {"host": each.host, "port": each.port, "aet": each.aet, "tls": each.tls}
            for each in self._configuration().destinations.values()
        }
        return {
            "version": __version__,
            "in_flight": self.in_flight,
            "aet": self._aet,
            "destinations": destinations,
            **told,
            "trouble": {**told.get("trouble", {}), **self.trouble},
        }
