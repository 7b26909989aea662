"""Destinations are asked for what the gateway sent them; what follows is decided as for the router's deliveries."""

from __future__ import annotations

import asyncio

from pacsops.delivery import looks, verification
from pacsops.delivery.looks import Compared
from pacsops.delivery.model import Method
from pacsops.delivery.verification import Delivered
from pacsops.dimse.presence import Finder
from pacsops.errors import DestinationMute
from pacsops.gateway.presence import Index, identified
from pacsops.observe.logs import EventLog
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Outlet

STEP_SECONDS = 2.0


class Verifier:
    """`step` is one of the duties of the forwarder; a destination that takes long to answer holds up no other."""

    def __init__(self, outlet: Outlet, ledger: Ledger, log: EventLog) -> None:
        self._outlet = outlet
        self._ledger = ledger
        self._log = log
        self._turns = asyncio.Semaphore(verification.AT_ONCE)
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> float:
        ended = [name for name, task in self._asking.items() if task.done()]
        tasks = [self._asking.pop(name) for name in ended]
        for destination in await self._ledger.do(verification.due, self._outlet.source):
            if destination not in self._asking:
                self._asking[destination] = asyncio.create_task(self._ask(destination))
        for task in tasks:
            task.result()  # an error is the duty's to report; the others have been started again all the same
        return STEP_SECONDS

    async def _ask(self, destination: str) -> None:
        async with self._turns, Index(destination, self._outlet, self._ledger) as index:
            asking = Finder(index.find)
            for delivered in await self._ledger.do(
                verification.claim, destination, most=verification.BATCH, source=self._outlet.source
            ):
                await self._look(delivered, asking)

    async def _look(self, delivered: Delivered, asking: Finder) -> None:
        try:
            images, gone = await self._ledger.do(identified, delivered.instances)
            lacking = await asking.lacking(images)
            found = Compared(
                method=Method.FIND,
                held=len(images),
                gone=gone,
                lacking=[image.instance_id for image in lacking],
                told=asking.told,
            )
            await self._ledger.do(looks.conclude, self._log, delivered, found)
        except DestinationMute as mute:
            await self._ledger.do(looks.unanswered, self._log, delivered, mute)
