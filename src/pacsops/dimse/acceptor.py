"""Listens, lets in whom the policy lets in, and has their operations performed.

Source: PS3.8 7.1, 9.2
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pacsops.dimse.connection import Connection
from pacsops.dimse.errors import ConnectionLost, DimseError, rejection
from pacsops.dimse.handlers import Caller, Handlers
from pacsops.dimse.machine import Event
from pacsops.dimse.negotiation import LIMIT_EXCEEDED, Policy, accept, agreed, unacceptable
from pacsops.dimse.pdu import AssociateReject, AssociateRequest
from pacsops.dimse.performing import Performer
from pacsops.dimse.upper_layer import UpperLayer

_log = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_FAREWELL: Final = 1.0
"""Seconds peers have to close aborted associations when the acceptor ends."""
_BESIDES: Final = 2
"""Connections kept at most, as a multiple of associations: those to be rejected are read first."""


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    handlers: Handlers,
    policy: Policy,
    *,
    tls: ssl.SSLContext | None = None,
    reuse_port: bool = False,
) -> AsyncIterator[Acceptor]:
    """Accept associations until the context is left; those under way are aborted then.

    Args:
        port: 0 takes a free one, see `Acceptor.port`.
        reuse_port: several processes may listen on it, the kernel shares connections out (Linux). Limits of the
            policy then hold for each of them.

    Raises:
        OSError: the address is taken or not ours.
    """
    acceptor = Acceptor(handlers, policy)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Accepted(acceptor),
        host,
        port,
        ssl=tls,
        backlog=_BACKLOG,
        reuse_port=reuse_port or None,
        ssl_handshake_timeout=policy.artim if tls else None,
    )
    acceptor.port = server.sockets[0].getsockname()[1]
    try:
        yield acceptor
    finally:
        server.close()
        await acceptor.end()


class Acceptor:
    """Who is connected, and on which terms."""

    def __init__(self, handlers: Handlers, policy: Policy) -> None:
        self.port = 0
        self._handlers = handlers
        self._policy = policy
        self._connected: set[asyncio.Task[None]] = set()
        self._associated: Counter[str] = Counter()

    @property
    def associations(self) -> Counter[str]:
        """How many are open, by calling AE title."""
        return Counter(self._associated)

    def connected(self, connection: Connection) -> None:
        if len(self._connected) >= _BESIDES * self._policy.maximum_associations:
            connection.drop(DimseError("too many connections"))
            return
        task = asyncio.create_task(self._attend(connection))
        self._connected.add(task)
        task.add_done_callback(self._connected.discard)

    async def end(self) -> None:
        """Abort all associations."""
        tasks = list(self._connected)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _attend(self, connection: Connection) -> None:
        upper_layer = UpperLayer(connection, requestor=False, artim=self._policy.artim)
        request = None
        try:
            request = await upper_layer.indication()
            if request is not None:
                await self._answer(upper_layer, request, connection.address)
        except DimseError as error:
            # Whoever only looks whether the port is open, every ten seconds, is not worth a line.
            looked = request is None and isinstance(error, ConnectionLost)
            level = logging.DEBUG if looked else logging.INFO
            _log.log(level, "an association with %s ended: %s", connection.address, error)
        except asyncio.CancelledError:
            upper_layer.artim = min(upper_layer.artim, _FAREWELL)
            raise
        finally:
            upper_layer.abort()
            await upper_layer.linger()

    async def _answer(self, upper_layer: UpperLayer, request: AssociateRequest, address: str) -> None:
        refusal = unacceptable(request) or self._policy.admit(request, address) or self._full(request.calling_aet)
        if refusal is not None:
            said = rejection(refusal.result, refusal.source, refusal.reason)
            _log.warning("an association was rejected: %r from %s, %s", request.calling_aet, address, said)
            upper_layer.happen(Event.REJECT_RESPONSE, refusal)
            return
        acceptance = accept(request, self._policy)
        holds = agreed(request, acceptance, peer=request.user)
        self._associated[request.calling_aet] += 1
        try:
            upper_layer.happen(Event.ACCEPT_RESPONSE, acceptance)
            caller = Caller(request.calling_aet, address, request)
            await Performer(upper_layer, caller, holds, self._handlers, self._policy).run()
        finally:
            self._associated[request.calling_aet] -= 1
            self._associated += Counter()  # forgets who has none: callers choose their names

    def _full(self, calling_aet: str) -> AssociateReject | None:
        policy = self._policy
        if self._associated.total() >= policy.maximum_associations or self._associated[
            calling_aet
        ] >= policy.associations_of(calling_aet):
            return LIMIT_EXCEEDED
        return None


class _Accepted(Connection):
    """A connection that came from outside."""

    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__()
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._acceptor.connected(self)
