"""Sends what was promised of the gateway's studies: a thread with a loop of its own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pacsops import __version__
from pacsops.database import Database
from pacsops.delivery.heartbeat import GATEWAY
from pacsops.errors import DatabaseUnreachable
from pacsops.gateway.configuration import Configuration
from pacsops.gateway.destinations import SpoolOutlet, set_terms
from pacsops.gateway.probes import Probes
from pacsops.gateway.verify import Verifier
from pacsops.observe.logs import EventLog
from pacsops.sending.forwarding import Forwarding, Step
from pacsops.sending.ledger import Ledger
from pacsops.sending.thread import SendingThread
from pacsops.settings import Settings

_LOG = EventLog("gateway")
_BEAT_SECONDS = 5.0
_TERMS_SECONDS = 5.0


class Forwarder(SendingThread):
    """Besides sending: probes what is down, asks destinations for what they took, tells PostgreSQL on what terms
    gateway.yml sends to them, and that it is alive.

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
        outlet = SpoolOutlet(settings, database, configuration)
        super().__init__(outlet, database, self.worker, _LOG, self._further)
        self._spool_outlet = outlet
        self._configuration = configuration
        self._tell = tell
        self._aet = settings.gateway_aet
        self._set: Configuration | None = None

    def stop(self) -> None:
        """End associations, and give back what they were for."""
        super().stop()
        with suppress(DatabaseUnreachable):
            GATEWAY.withdraw(self._database, self.worker)

    def _further(self, forwarding: Forwarding, ledger: Ledger) -> Mapping[str, Step]:
        probes = Probes(self._configuration, self._spool_outlet, ledger, _LOG, forwarding.wake.set)
        verifier = Verifier(self._spool_outlet, ledger, _LOG)

        async def terms() -> float:
            configuration = self._configuration()
            if configuration != self._set:
                await ledger.do(set_terms, list(configuration.destinations.values()))
                self._set = configuration
            return _TERMS_SECONDS

        async def sign_of_life() -> float:
            await ledger.do(GATEWAY.beat, self.worker, self._detail())
            return _BEAT_SECONDS

        return {"probe": probes.step, "verify": verifier.step, "terms": terms, "beat": sign_of_life}

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
