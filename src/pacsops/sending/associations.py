"""Associations with destinations, kept for a while after a delivery: the next one need not ask for its own."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pacsops.dimse import Association, Context, Terms, request_association
from pacsops.dimse.negotiation import MAXIMUM_CONTEXTS
from pacsops.sending.outlet import Target

IDLE_SECONDS = 5.0
"""How long one is kept for the next delivery."""
WINDOW = 16
"""Instances sent before their answers are waited for, where the peer agrees (PS3.7 D.3.3.3)."""
_FAREWELL_SECONDS = 2.0
TERMS = Terms(window=WINDOW)


@dataclass(eq=False, slots=True)
class Lane:
    """An association in the hand of one attempt, or idle."""

    target: Target
    association: Association
    proposed: frozenset[tuple[str, str]]
    """SOP class and transfer syntax of its contexts, accepted or not."""
    reused: bool = False
    """It was idle before: its peer may have hung up meanwhile without our knowing."""
    idle_since: float = field(default=0.0)

    @property
    def window(self) -> int:
        return min(self.association.agreed.window or WINDOW, WINDOW)


class Associations:
    """Those of one process. Only its loop calls it."""

    def __init__(self) -> None:
        self._idle: dict[Target, list[Lane]] = defaultdict(list)
        self._open: dict[Target, int] = defaultdict(int)
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self, target: Target, wanted: Iterable[tuple[str, str]]) -> Lane:
        """An association for instances that need these contexts: the first of them, and as many as there is room for.

        Raises:
            DimseError: there is none to be had.
            ValueError: the AE title of the destination is none.
        """
        pairs = list(dict.fromkeys(wanted))[:MAXIMUM_CONTEXTS]
        idle = self._idle[target]
        idle[:] = [lane for lane in idle if not self._over(lane)]
        for lane in idle:
            if lane.proposed.issuperset(pairs):
                idle.remove(lane)
                lane.reused = True
                return lane
        while idle and self._open[target] >= target.associations:
            await self._close(idle.pop(0))
        self._open[target] += 1
        try:
            association = await request_association(
                target.peer, target.calling_aet, [Context(sop_class, (syntax,)) for sop_class, syntax in pairs], TERMS
            )
        except BaseException:
            self._open[target] -= 1
            raise
        return Lane(target, association, frozenset(pairs))

    def give_back(self, lane: Lane) -> None:
        """The attempt is through with it."""
        if not self._over(lane):
            lane.idle_since = time.monotonic()
            self._idle[lane.target].append(lane)

    async def abort(self, lane: Lane) -> None:
        """It is not to be used any more, and what is under way on it not to be finished."""
        self._open[lane.target] -= 1
        await lane.association.abort()

    def sweep(self) -> None:
        """Release what was idle for too long."""
        eldest = time.monotonic() - IDLE_SECONDS
        for idle in self._idle.values():
            for lane in [lane for lane in idle if lane.idle_since <= eldest or lane.association.ended]:
                idle.remove(lane)
                self._later(lane)
        for target in [target for target, idle in self._idle.items() if not idle]:
            del self._idle[target]
        for target in [target for target, number in self._open.items() if not number]:
            del self._open[target]

    async def close(self) -> None:
        """Release all that are idle; peers that take their time are not waited for."""
        for idle in self._idle.values():
            for lane in idle:
                self._later(lane)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_FAREWELL_SECONDS)

    def _over(self, lane: Lane) -> bool:
        if lane.association.ended is None:
            return False
        self._later(lane)
        return True

    def _later(self, lane: Lane) -> None:
        """Close it while others go on: a peer may take its time to answer a release."""
        task = asyncio.create_task(self._close(lane))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, lane: Lane) -> None:
        self._open[lane.target] -= 1
        await lane.association.release()
