"""Listens, lets in whom the policy lets in, and has their operations performed.

Source: PS3.8 7.1, 9.2
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final, Self

from pacsops.dimse.connection import Connection, address_of, tls_trouble
from pacsops.dimse.errors import ConnectionLost, DimseError, rejection
from pacsops.dimse.handlers import Caller, Handlers
from pacsops.dimse.machine import Event
from pacsops.dimse.negotiation import LIMIT_EXCEEDED, Policy, accept, agreed, unacceptable
from pacsops.dimse.pdu import AssociateReject, AssociateRequest
from pacsops.dimse.performing import Performer
from pacsops.dimse.upper_layer import UpperLayer

TlsContext = Callable[[], ssl.SSLContext]
"""Asked for each connection, so that a certificate is renewed without a new acceptor."""

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
    tls: TlsContext | None = None,
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
    async with Acceptor(handlers, policy) as acceptor:
        acceptor.port = await acceptor.listen(host, port, tls=tls, reuse_port=reuse_port)
        yield acceptor


class Acceptor:
    """Who is connected, and on which terms. As a context, it listens where it was told to until that is left."""

    def __init__(self, handlers: Handlers, policy: Policy) -> None:
        self.port = 0
        """Where `serve` has it listen."""
        self._servers: list[asyncio.Server] = []
        self._handlers = handlers
        self._policy = policy
        self._connected: set[asyncio.Task[None]] = set()
        self._associated: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    @property
    def associations(self) -> Counter[str]:
        """How many are open, by calling AE title."""
        return Counter(self._associated)

    async def listen(self, host: str, port: int, *, tls: TlsContext | None = None, reuse_port: bool = False) -> int:
        """Accept associations on a port besides; the policy's limits are of all ports together. Otherwise as `serve`.

        Returns:
            The port, which is another one than `port` where that is 0.

        Raises:
            OSError: the address is taken or not ours.
        """
        server = await asyncio.get_running_loop().create_server(
            lambda: _Accepted(self) if tls is None else _Secured(self, tls),
            host,
            port,
            backlog=_BACKLOG,
            reuse_port=reuse_port or None,
        )
        self._servers.append(server)
        taken: int = server.sockets[0].getsockname()[1]
        return taken

    def connected(self, connection: Connection) -> None:
        if self._crowded():
            connection.drop(DimseError("too many connections"))
        else:
            self._begin(self._attend(connection))

    def to_be_secured(self, transport: asyncio.Transport, tls: TlsContext) -> None:
        """A connection on which nothing was said yet."""
        if self._crowded():
            transport.abort()
        else:
            self._begin(self._secure(transport, tls))

    def _crowded(self) -> bool:
        return len(self._connected) >= _BESIDES * self._policy.maximum_associations

    def _begin(self, attending: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(attending)
        self._connected.add(task)
        task.add_done_callback(self._connected.discard)

    async def end(self) -> None:
        """Listen no more, and abort all associations."""
        for server in self._servers:
            server.close()
        tasks = list(self._connected)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _secure(self, transport: asyncio.Transport, tls: TlsContext) -> None:
        """The TLS handshake by ourselves: asyncio's own servers say nothing of those that fail.

        A task's first step comes before whatever is polled later: nothing is read before the handshake reads it.
        """
        connection = Connection()
        address = address_of(transport)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, connection, tls(), server_side=True, ssl_handshake_timeout=self._policy.artim
            )
        except OSError as error:
            level = logging.DEBUG if isinstance(error, ConnectionResetError) else logging.WARNING  # as in `_attend`
            _log.log(level, "a connection from %s was dropped: %s", address, tls_trouble(error))
            return
        if secured is not None:  # else it is gone already
            connection.connection_made(secured)
            await self._attend(connection)

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
            # By its text: whatever keeps log records would keep the error's frames, and what these hold open.
            _log.log(level, "an association with %s ended: %s", connection.address, str(error))
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


class _Secured(asyncio.Protocol):
    """A connection that came from outside, and is to speak TLS first."""

    def __init__(self, acceptor: Acceptor, tls: TlsContext) -> None:
        self._acceptor = acceptor
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._acceptor.to_be_secured(transport, self._tls)
