"""One claim on its way: instance after instance, each written down as it arrived, and how it ended.

An instance that the destination does not want stops no other. An association that breaks costs the instance that was
on its way, which is tried again with the next attempt; two in a row with nothing arrived in between end the attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque

from pacsops.database import Database
from pacsops.delivery import outcomes
from pacsops.delivery.claims import LEASE_SECONDS, Claim
from pacsops.delivery.model import ErrorClass
from pacsops.delivery.retry import Failure
from pacsops.delivery.telling import about, tell_failure
from pacsops.dimse import DimseError
from pacsops.errors import DatabaseUnreachable, PacsopsError, UnknownDestination
from pacsops.observe.logs import EventLog
from pacsops.sending.associations import Associations, Lane
from pacsops.sending.failures import failure_of, worst
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Gone, Outgoing, Outlet, Target

NOTED_AT_LEAST_EVERY = 50
"""Instances; see NOTED_SECONDS."""
NOTED_SECONDS = 0.5
"""How much of what arrived may be sent again after a crash."""
HELD_SECONDS = LEASE_SECONDS - 5
"""After the last sign of life that PostgreSQL took, we stop by ourselves: another may have the delivery soon."""
_MOST_SETBACKS = 2
_AFTER_INTERRUPTION_SECONDS = 1.0


class Attempt:
    """Sends one claim. `run` ends when its outcome is written, or when it is no longer ours to write."""

    def __init__(
        self, claim: Claim, outlet: Outlet, ledger: Ledger, associations: Associations, log: EventLog
    ) -> None:
        self.claim = claim
        self.lost = False
        self.concluding = False
        """Its end is being written: a claim that is not held any more may be one that has just ended."""
        self.alive_at = time.monotonic()
        """When the lease was known to be ours last."""
        self._outlet = outlet
        self._ledger = ledger
        self._associations = associations
        self._log = log
        self._queue: deque[Outgoing] = deque()
        self._arrived: list[str] = []
        """Not written down yet."""
        self._arrivals = asyncio.Event()
        self._noting = asyncio.Lock()
        self._loaded = 0
        """How many of the claim's instances were queued."""
        self._failed: dict[str, Failure] = {}
        """By id of the instance."""
        self._ended: Failure | None = None
        """What keeps all of the rest from being sent now."""
        self._setbacks = 0
        self._warnings: Counter[int] = Counter()
        self._since = time.monotonic()

    async def run(self) -> None:
        """Until it is over. Cancelled, it gives the claim back, unless that is lost."""
        noting = asyncio.create_task(self._keep_noting())
        try:
            await self._send_all()
        except asyncio.CancelledError:
            noting.cancel()
            if not self.lost:
                await self._give_back("the sending was stopped")
            raise
        except PacsopsError as error:
            # What is promised, or where it goes, cannot be found out: nothing about the destination.
            self._ended = Failure(self._outlet.trouble, str(error))
        finally:
            noting.cancel()
        if not self.lost:
            self.concluding = True
            await self._conclude()

    async def _send_all(self) -> None:
        try:
            target = await self._ledger.off_loop(lambda: self._outlet.target(self.claim.destination))
        except UnknownDestination as unknown:
            self._ended = Failure(ErrorClass.UNKNOWN_DESTINATION, str(unknown))
            return
        except DimseError as error:
            self._ended = failure_of(error, self._outlet.trouble)
            return
        while self._goes_on and self._loaded < len(self.claim.instances):
            await self._load()
            while self._goes_on and self._queue:
                await self._send_some(target)
            if self._goes_on:
                await self._note(insist=True)

    @property
    def _goes_on(self) -> bool:
        return self._ended is None and not self.lost

    async def _load(self) -> None:
        wanted = self.claim.instances[self._loaded :]
        items = await self._ledger.off_loop(lambda: self._outlet.items(wanted))
        self._loaded += len(wanted)
        self._queue.extend(items)
        for missing in set(wanted) - {item.id for item in items}:
            self._failed[missing] = Failure(ErrorClass.VANISHED, "nothing is known of an image any more")

    async def _send_some(self, target: Target) -> None:
        """As much as goes on one association."""
        try:
            lane = await self._associations.take(target, (item.context for item in self._queue))
        except DimseError as error:
            self._ended = failure_of(error, self._outlet.trouble)
            return
        turns = asyncio.Semaphore(lane.window)
        try:
            async with asyncio.TaskGroup() as group:
                # One more than can be sent at a time: the next instance is read while others are on their way.
                for _ in range(min(lane.window + 1, len(self._queue))):
                    group.create_task(self._store_in_turn(lane, turns))
        except BaseException:
            await self._associations.abort(lane)
            raise
        if self.lost:
            await self._associations.abort(lane)
        else:
            self._associations.give_back(lane)

    async def _store_in_turn(self, lane: Lane, turns: asyncio.Semaphore) -> None:
        while self._goes_on and self._queue and lane.association.ended is None:
            if time.monotonic() - self.alive_at > HELD_SECONDS:
                self._ended = Failure(self._outlet.trouble, "PostgreSQL was away for too long")
            elif self._queue[0].context in lane.proposed:
                await self._store(lane, turns, self._queue.popleft())
            else:
                return

    async def _store(self, lane: Lane, turns: asyncio.Semaphore, item: Outgoing) -> None:
        try:
            async with item.open() as content, turns:
                if not self._goes_on or lane.association.ended is not None:
                    self._queue.appendleft(item)
                    return
                answer = await lane.association.store(content)
        except Gone as gone:
            self._failed[item.id] = Failure(ErrorClass.VANISHED, str(gone))
        except DimseError as error:
            self._met(lane, item, error)
        except PacsopsError as error:
            self._ended = Failure(self._outlet.trouble, str(error))
        else:
            self._setbacks = 0
            lane.reused = False
            if answer.status:
                self._warnings[answer.status] += 1
            self._arrived.append(item.id)
            if len(self._arrived) >= NOTED_AT_LEAST_EVERY:
                self._arrivals.set()

    def _met(self, lane: Lane, item: Outgoing, error: DimseError) -> None:
        failure = failure_of(error, self._outlet.trouble, item.instance)
        if failure.error_class in (ErrorClass.OUT_OF_RESOURCES, ErrorClass.TIMEOUT):
            self._ended = failure
        elif lane.association.ended is None or failure.error_class is self._outlet.trouble:
            self._failed[item.id] = failure
        elif lane.reused:
            # It hung up while the association was idle: that is no word about this image.
            self._queue.appendleft(item)
        else:
            self._failed[item.id] = failure
            self._setbacks += 1
            if self._setbacks >= _MOST_SETBACKS:
                self._ended = failure

    async def _keep_noting(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NOTED_SECONDS):
                    await self._arrivals.wait()
            self._arrivals.clear()
            if self._arrived:
                with contextlib.suppress(DatabaseUnreachable):
                    await self._note(insist=False)

    async def _note(self, *, insist: bool) -> None:
        """Write down what arrived, and take in what the promise grew by."""
        write = self._ledger.insist if insist else self._ledger.do
        async with self._noting:
            arrived = self._arrived[:]
            claim = await write(outcomes.confirm, self.claim, arrived)
            del self._arrived[: len(arrived)]
            if claim is None:
                self.lose()
            else:
                self.claim = claim

    def lose(self) -> None:
        """Another has the delivery, or an operator took it back: what becomes of it is no longer ours to say."""
        if not self.lost:
            self.lost = True
            self._log.warning("claim_lost", delivery_id=self.claim.delivery_id, destination=self.claim.destination)

    async def _conclude(self) -> None:
        for status, images in sorted(self._warnings.items()):
            self._log.warning("send_warning", **about(self.claim), status=f"0x{status:04X}", instances=images)
        if self._ended is None and self._failed and await self._goes_without():
            self._failed.clear()
        if self._ended is None and not self._failed:
            await self._finish()
            return
        if self._arrived:
            await self._note(insist=True)
        if self.lost:
            return
        if self._ended is None:
            await self._fail(worst(list(self._failed.values()), len(self.claim.instances)))
        elif self._ended.error_class is ErrorClass.UNKNOWN_DESTINATION:
            if await self._ledger.insist(outcomes.not_configured, self.claim, self._ended):
                said = {"error": self._ended.reason, "error_class": self._ended.error_class.value}
                self._log.error("send_failed", **about(self.claim), **said)
        elif self._ended.error_class is self._outlet.trouble:
            await self._ledger.insist(self._release, self._ended.reason)
        else:
            await self._fail(self._ended)

    async def _goes_without(self) -> bool:
        """Whether all that failed was deleted on purpose, and is not promised any more; never if that were all."""
        gone = [one for one, failure in self._failed.items() if failure.error_class is ErrorClass.VANISHED]
        if not self._outlet.drops_what_is_gone or not len(gone) == len(self._failed) < len(self.claim.instances):
            return False
        await self._ledger.insist(outcomes.drop_vanished, self.claim, gone)
        self._log.warning("send_interrupted", **about(self.claim), error=f"{len(gone)} of its images were deleted")
        return True

    async def _finish(self) -> None:
        duration = round((time.monotonic() - self._since) * 1000)
        if await self._ledger.insist(outcomes.finish, self.claim, duration_ms=duration):
            said = {"instances": len(self.claim.instances), "duration_ms": duration}
            self._log.info("send_success", **about(self.claim), **said)

    async def _fail(self, failure: Failure) -> None:
        outcome = await self._ledger.insist(outcomes.fail, self.claim, failure)
        tell_failure(self._log, self.claim, failure, outcome)

    async def _give_back(self, why: str) -> None:
        """What did not arrive is to be sent by the next who comes. Without PostgreSQL the lease says so, later."""
        with contextlib.suppress(DatabaseUnreachable):
            await self._note(insist=False)
            if not self.lost:
                await self._ledger.do(self._release, why)

    def _release(self, database: Database, why: str) -> None:
        failure = Failure(self._outlet.trouble, why)
        if outcomes.release(database, self.claim, failure, wait=_AFTER_INTERRUPTION_SECONDS):
            self._log.warning("send_interrupted", **about(self.claim), error=why)
