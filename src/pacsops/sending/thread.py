"""The sending of one outlet, in a thread with a loop of its own, for services that are made of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from pacsops.database import Database
from pacsops.observe.logs import EventLog
from pacsops.sending.forwarding import Forwarding, Step
from pacsops.sending.ledger import Ledger
from pacsops.sending.outlet import Outlet

_STOP_SECONDS = 15.0

Duties = Callable[[Forwarding, Ledger], Mapping[str, Step]]
"""What else the loop does again and again; called in the loop."""


class SendingThread:
    """`start` returns at once, `stop` within seconds: what is under way is given back, and sent by the next.

    Args:
        worker: name in claims, host:pid:random.
    """

    def __init__(
        self,
        outlet: Outlet,
        database: Database,
        worker: str,
        log: EventLog,
        duties: Duties = lambda forwarding, ledger: {},
    ) -> None:
        self._outlet = outlet
        self._database = database
        self._worker = worker
        self._log = log
        self._duties = duties
        self._running = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._forwarding: Forwarding | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="sending", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """End associations, and give back what they were for."""
        self._ring(self._stopping)
        self._thread.join(_STOP_SECONDS)

    def wake(self) -> None:
        """Something was planned: look now."""
        self._ring(self._forwarding.wake if self._forwarding else None)

    @property
    def in_flight(self) -> int:
        """Deliveries being sent."""
        return self._forwarding.in_flight if self._forwarding else 0

    @property
    def trouble(self) -> Mapping[str, str]:
        """What keeps it from its duties, by duty."""
        return dict(self._forwarding.trouble) if self._forwarding else {}

    def _ring(self, bell: asyncio.Event | None) -> None:
        if self._loop is not None and bell is not None:
            with suppress(RuntimeError):  # the loop is closed: it stopped already
                self._loop.call_soon_threadsafe(bell.set)

    async def _send(self) -> None:
        ledger = Ledger(self._database)
        stopping = asyncio.Event()
        forwarding = Forwarding(self._outlet, ledger, self._worker, self._log)
        self._loop, self._stopping, self._forwarding = asyncio.get_running_loop(), stopping, forwarding
        self._running.set()
        await forwarding.run(stopping, **self._duties(forwarding, ledger))
        ledger.close()
