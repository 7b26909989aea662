"""An event loop without a network and a clock: both are in memory, so that runs are quick and repeat themselves.

Connections are `Wire`s. Where nothing is left to do, time leaps to the next timer: an hour of silence takes no time,
and where there is no timer either, somebody waits for ever, which is an error.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from pacsops.dimse.pdu import HEADER

SILENT: Final = 0x80
"""Of a mode: who has said everything stays connected and is silent. Otherwise the end of the connection follows."""
_BEAT: Final = 0.001
"""Seconds after each PDU: enough for whoever hears it to do all that can be done."""
_ADDRESS: Final = ("192.0.2.1", 104)


class WaitsForEver(Exception):
    """Nothing can happen any more, and somebody waits."""


class Wire(asyncio.Transport):
    """One end of a connection whose other end is a fuzzer."""

    def __init__(self, loop: MemoryLoop, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__({"peername": _ADDRESS})
        self._loop = loop
        self._protocol = protocol
        self._readable = asyncio.Event()
        self._readable.set()
        self.said = bytearray()
        """What was written."""
        self.closed = asyncio.Event()
        self._closing = False
        protocol.connection_made(self)

    async def hear(self, mode: int, content: bytes) -> None:
        """Have `content` come in: PDU by PDU (mode 0), all at once (1) or in pieces of `mode` bytes."""
        kind = mode & ~SILENT
        for piece in _pdus(content) if not kind else [content] if kind == 1 else _batched(content, kind):
            await self._bytes(piece)
            if not kind:
                await asyncio.sleep(_BEAT)
        if not mode & SILENT and not self._closing and not self._protocol.eof_received():
            self.close()

    async def _bytes(self, piece: bytes) -> None:
        while piece:
            await self._readable.wait()
            if self._closing:
                return
            room = memoryview(self._protocol.get_buffer(-1))
            taken = min(len(room), len(piece))
            room[:taken] = piece[:taken]
            self._protocol.buffer_updated(taken)
            piece = piece[taken:]

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing ever waits here."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self.said += data

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._readable.set()
            self._loop.call_soon(self._lost)

    abort = close

    def _lost(self) -> None:
        self._protocol.connection_lost(None)
        self.closed.set()


class MemoryLoop(asyncio.BaseEventLoop):
    """Servers hand out what they make connections with; connections come to nobody but who `wires` are read by."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self.accept: Callable[[], asyncio.BufferedProtocol] | None = None
        """Makes the protocol of a connection to the server that listens."""
        self.wires: list[Wire] = []
        """Connections that were asked for."""
        self.uncaught: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.uncaught.append(context))

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise WaitsForEver
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        self.accept = protocol_factory
        return _Server()

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", _ADDRESS)]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Nobody is there, and nobody is needed."""

    async def create_connection(self, protocol_factory: Any, *_: Any, sock: socket.socket, **__: Any) -> Any:  # type: ignore[override]
        sock.close()
        protocol = protocol_factory()
        self.wires.append(Wire(self, protocol))
        return self.wires[-1], protocol


class _Server:
    sockets: Final = [type("Socket", (), {"getsockname": lambda _: _ADDRESS})()]

    def close(self) -> None:
        """Nothing is open."""


def _pdus(content: bytes) -> list[bytes]:
    """Cut where PDUs end, as far as these say so."""
    pieces, at = [], 0
    while at < len(content):
        length = HEADER.unpack_from(content, at)[1] if len(content) - at >= HEADER.size else 0
        pieces.append(content[at : at + HEADER.size + length])
        at += len(pieces[-1])
    return pieces


def _batched(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]
