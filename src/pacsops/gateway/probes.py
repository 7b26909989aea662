"""C-ECHO to the destinations of gateway.yml: open breakers until they answer, and every one once a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from pacsops.delivery import breaker
from pacsops.dimse import DimseError, verification
from pacsops.errors import UnknownDestination
from pacsops.gateway.configuration import Configuration
from pacsops.observe.logs import EventLog
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Outlet

ROUND_SECONDS = 60.0
ECHO_TIMEOUT_SECONDS = 5.0
AT_ONCE = 8


class Probes:
    """`step` is one of the duties of the forwarder; the echoes of a step run beside each other.

    Args:
        recovered: called when a destination answers whose breaker was open.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        outlet: Outlet,
        ledger: Ledger,
        log: EventLog,
        recovered: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._outlet = outlet
        self._ledger = ledger
        self._log = log
        self._recovered = recovered
        self._round_at = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def step(self) -> float:
        known = self._configuration().destinations.keys()
        await self._echo_all(await self._ledger.do(breaker.claim_probes, known, most=AT_ONCE))
        if time.monotonic() >= self._round_at:
            self._round_at = time.monotonic() + ROUND_SECONDS
            await self._echo_all(sorted(known))
        return 1.0

    async def _echo_all(self, destinations: Iterable[str]) -> None:
        await asyncio.gather(*(self._echo(destination) for destination in destinations))

    async def _echo(self, destination: str) -> None:
        async with self._turns:
            milliseconds, reason = await self._ask(destination)
        came_back = await self._ledger.do(breaker.note_probe, destination, milliseconds=milliseconds, reason=reason)
        if came_back:
            self._log.info("destination_recovered", destination=destination, echo_ms=milliseconds)
            self._recovered()
        elif milliseconds is None:
            self._log.warning("destination_unreachable", destination=destination, error=reason)
        elif milliseconds > breaker.SLOW_ECHO_MS:
            self._log.warning("destination_slow", destination=destination, echo_ms=milliseconds)

    async def _ask(self, destination: str) -> tuple[int | None, str | None]:
        try:
            target = await self._ledger.off_loop(lambda: self._outlet.target(destination))
        except (UnknownDestination, DimseError) as error:
            return None, str(error)
        answer = await verification.ask(target.peer, target.calling_aet, ECHO_TIMEOUT_SECONDS)
        return (answer.milliseconds, None) if answer.ok else (None, answer.reason)
