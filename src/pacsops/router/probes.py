"""C-ECHO: open breakers until they answer, and every destination a route names once a minute, for `orthanc status`.

Orthanc makes the association, so what is tested is what a delivery will use: its AE title, its address, its network.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pacsops.delivery import breaker
from pacsops.errors import UnknownDestination
from pacsops.observe.logs import EventLog
from pacsops.orthanc import echo
from pacsops.router.site import Site

_LOG = EventLog("routing")
ROUND_SECONDS = 60.0
ECHO_TIMEOUT_SECONDS = 5.0
AT_ONCE = 8


class Probes:
    """One thread calls `step`; the echoes of a step run beside each other: a silent destination delays no other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._round_at = 0.0
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="echo")

    def step(self) -> float:
        self._echo_all(breaker.claim_probes(self._site.database, self._site.modalities(), most=AT_ONCE))
        if time.monotonic() >= self._round_at:
            self._round_at = time.monotonic() + ROUND_SECONDS
            named = self._site.table.destinations if self._site.table else frozenset()
            self._echo_all(sorted(named & self._site.modalities().keys()))
        return 1.0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _echo_all(self, destinations: Sequence[str]) -> None:
        # list(): the first error of any echo is raised here, where the loop reports it.
        list(self._pool.map(self._echo, destinations))

    def _echo(self, destination: str) -> None:
        reason: str | None
        try:
            answer = echo(self._site.orthanc, destination, timeout=ECHO_TIMEOUT_SECONDS)
        except UnknownDestination as unknown:
            milliseconds, reason = None, str(unknown)
        else:
            milliseconds = answer.milliseconds if answer.ok else None
            reason = answer.failure.message if answer.failure else None
        if breaker.note_probe(self._site.database, destination, milliseconds=milliseconds, reason=reason):
            _LOG.info("destination_recovered", destination=destination, echo_ms=milliseconds)
            self._site.dispatch_wake.ring()
        elif milliseconds is None:
            _LOG.warning("destination_unreachable", destination=destination, error=reason)
        elif milliseconds > breaker.SLOW_ECHO_MS:
            _LOG.warning("destination_slow", destination=destination, echo_ms=milliseconds)
