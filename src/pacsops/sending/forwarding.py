"""Claims, leases and rescue of those who send by themselves: one task of one loop for each claim."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pacsops.delivery import claims
from pacsops.delivery.claims import Claim
from pacsops.delivery.telling import about
from pacsops.errors import PacsopsError
from pacsops.observe.logs import EventLog
from pacsops.sending.associations import Associations
from pacsops.sending.attempt import Attempt
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Outlet

MOST_IN_FLIGHT = 64
LEASES_SECONDS = 5.0
IDLE_SECONDS = 1.0
_BUSY_SECONDS = claims.DRAIN_INTERVAL_SECONDS
_SWEEP_SECONDS = 1.0
_LONGEST_PAUSE = 5.0
_STOP_SECONDS = 5.0

Step = Callable[[], Awaitable[float]]


class Forwarding:
    """Sends everything due of one outlet. All of it runs in one loop.

    Args:
        worker: name in claims, host:pid:random.
    """

    def __init__(self, outlet: Outlet, ledger: Ledger, worker: str, log: EventLog) -> None:
        self.wake = asyncio.Event()
        """Set it when something was planned."""
        self.trouble: dict[str, str] = {}
        """What keeps a duty from being done, by duty, for `orthanc status`."""
        self._outlet = outlet
        self._ledger = ledger
        self._worker = worker
        self._log = log
        self._associations = Associations()
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._dead_workers: frozenset[str] | None = None

    @property
    def in_flight(self) -> int:
        return len(self._attempts)

    async def run(self, stopping: asyncio.Event, **duties: Step) -> None:
        """Until told to stop; then what is under way is given back.

        Args:
            duties: what else is to be done again and again: a step gives the seconds to wait before the next.
        """
        steps: dict[str, Step] = {"leases": self._leases, "sweep": self._sweep, **duties}
        bells = {"claim": self.wake, **{name: asyncio.Event() for name in steps}}
        steps["claim"] = self._claim
        loops = [asyncio.create_task(self._again(name, steps[name], bell, stopping)) for name, bell in bells.items()]
        await stopping.wait()
        for bell in bells.values():
            bell.set()
        # A claim under way is waited for: nobody would know of it for as long as its lease.
        await asyncio.wait(loops, timeout=_STOP_SECONDS)
        for task in [*loops, *self._attempts]:
            task.cancel()
        if self._attempts:
            await asyncio.wait(list(self._attempts), timeout=_STOP_SECONDS)
        await self._associations.close()

    async def _again(self, name: str, step: Step, bell: asyncio.Event, stopping: asyncio.Event) -> None:
        """An error is logged when it begins and when it ends, and costs a pause."""
        failures, since = 0, 0.0
        while not stopping.is_set():
            try:
                pause = await step()
                if failures:
                    self._log.info("duty_resumed", component=name, seconds=round(time.monotonic() - since, 1))
                failures = 0
                self.trouble.pop(name, None)
            except Exception as error:  # noqa: BLE001 (a duty that ends for good loses studies; it is logged and tried again)
                failures += 1
                since = since if failures > 1 else time.monotonic()
                words = str(error) if isinstance(error, PacsopsError) else type(error).__name__
                if self.trouble.get(name) != words:
                    self._log.error("duty_interrupted", component=name, error=words)
                self.trouble[name] = words
                pause = min(_LONGEST_PAUSE, 0.5 * 2 ** min(failures, 5))
            await _rung(bell, pause)

    async def _claim(self) -> float:
        await self._ledger.off_loop(self._outlet.ready)
        while (room := MOST_IN_FLIGHT - len(self._attempts)) > 0:
            alive_at = time.monotonic()
            claimed = await self._ledger.do(
                claims.claim,
                self._worker,
                source=self._outlet.source,
                transport=self._outlet.transport,
                most=room,
                starts=True,
            )
            for claim in claimed:
                self._begin(claim, alive_at)
            if not claimed:
                break
        return _BUSY_SECONDS if self._attempts else IDLE_SECONDS

    async def _leases(self) -> float:
        """Renew those we hold, then take over what others left: after an outage of PostgreSQL ours look left, too."""
        await self._keep()
        source = self._outlet.source
        if self._dead_workers is None:
            self._dead_workers = await self._ledger.do(claims.predecessors, self._worker, source=source)
        alive_at = time.monotonic()
        rescued = await self._ledger.do(
            claims.rescue,
            self._worker,
            dead_workers=self._dead_workers,
            source=source,
            transport=self._outlet.transport,
        )
        for claim in rescued:
            self._begin(claim, alive_at)
        return LEASES_SECONDS

    async def _keep(self) -> None:
        attempts = {attempt.claim.token: (task, attempt) for task, attempt in self._attempts.items()}
        if not attempts:
            return
        alive_at = time.monotonic()
        held = await self._ledger.do(claims.heartbeat, attempts.keys())
        for token, (task, attempt) in attempts.items():
            if token in held:
                attempt.alive_at = alive_at
            elif not attempt.concluding:
                attempt.lose()
                task.cancel()

    def _begin(self, claim: Claim, alive_at: float) -> None:
        attempt = Attempt(claim, self._outlet, self._ledger, self._associations, self._log)
        attempt.alive_at = alive_at
        task = asyncio.create_task(attempt.run())
        self._attempts[task] = attempt
        task.add_done_callback(self._over)
        self._log.info("send_started", **about(claim), instances=len(claim.instances))

    def _over(self, task: asyncio.Task[None]) -> None:
        attempt = self._attempts.pop(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect: its lease runs out, and it is sent anew. Told by type only: words may hold what it worked on.
            self._log.error("send_broke", **about(attempt.claim), error=type(error).__name__)

    async def _sweep(self) -> float:
        self._associations.sweep()
        return _SWEEP_SECONDS


async def _rung(bell: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return
    bell.clear()
