"""A TCP or TLS connection as the upper layer wants it: few large reads, few writes, no waiting for acknowledgements.

Nagle's algorithm against delayed acknowledgements costs some 40 ms an instance, hence TCP_NODELAY and TCP_QUICKACK.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from pacsops.dimse.errors import ConnectionLost, DimseError, PeerSilent, PeerUnreachable, TlsFailed

READ_BUFFER: Final = 256 << 10
"""Bytes read ahead of who consumes them, at most, unless one control PDU is longer."""
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux
_NAMELESS: Final = "the peer"


class Connection(asyncio.BufferedProtocol):
    """Bytes at hand are `view[start:end]`; whoever consumes them moves `start`.

    One task reads and any number write. What was consumed stays in place until the reader asks for more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self.view = memoryview(bytearray(READ_BUFFER))
        self.start = 0
        self.end = 0
        self.ended: DimseError | None = None
        """Why nothing comes any more."""
        self.lost: DimseError | None = None
        """Why nothing can be written any more either."""
        self.address = _NAMELESS
        """Address of the peer, as text."""
        self._reader: asyncio.Future[None] | None = None
        self._flushed: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._paused = False
        self._tls = False
        self._deadline = 0.0
        self._patience = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # `flush` ends when everything is gone, so that buffers that were written from may be used again. TLS, which
        # copies, pauses at the limit, TCP above it.
        self._tls = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=1 if self._tls else 0)
        self._socket = transport.get_extra_info("socket")
        self.address = address_of(transport)
        hasten(self._socket)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self.end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.end += nbytes
        self._acknowledge_at_once()
        if self.end == len(self.view) and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """A peer that has nothing more to say may still listen, over TCP."""
        self.ended = self.ended or _loss(None)
        _wake(self._reader)
        return not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or self.ended or _loss(exc)
        self.ended = self.ended or self.lost
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _wake(self._reader)
        _wake(self._flushed)
        _wake(self._closed)

    def pause_writing(self) -> None:
        self._flushed = self._loop.create_future()

    def resume_writing(self) -> None:
        _wake(self._flushed)
        self._flushed = None

    # the upper layer's side

    async def fill(self, need: int, seconds: float | None = None) -> None:
        """Wait until `need` bytes are at hand. What was consumed before may be overwritten from now on.

        Raises:
            PeerSilent: nothing came for `seconds`; the clock starts anew with every byte.
            ConnectionLost: it closed before.
        """
        if self.end - self.start >= need:
            return
        self._make_room(need)
        while self.end - self.start < need:
            if self.ended is not None:
                raise self.ended
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            self._reader = self._loop.create_future()
            if seconds is not None:
                self._expire(self._reader, seconds)
            try:
                await self._reader
            finally:
                self._reader = None
                self._deadline = 0.0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand bytes to the kernel, or to a queue for it.

        Raises:
            ConnectionLost: there is nobody to write to.
        """
        if self.lost is not None:
            raise self.lost
        assert self._transport is not None
        self._transport.write(data)
        self._acknowledge_at_once()

    async def flush(self, seconds: float | None = None) -> None:
        """Wait until the kernel has all that was written.

        Raises:
            PeerSilent: the peer did not take it within `seconds`.
            ConnectionLost: it closed before.
        """
        if self._flushed is not None:
            flushed = asyncio.shield(self._flushed)
            try:
                async with asyncio.timeout(seconds):
                    await flushed
            except TimeoutError:
                raise PeerSilent(f"the peer took nothing for {seconds:g} s") from None
        if self.lost is not None:
            raise self.lost

    async def discard(self) -> None:
        """Read and forget until the peer closes."""
        with contextlib.suppress(DimseError):
            while True:
                self.start = self.end
                await self.fill(1)

    def begin_close(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def drop(self, why: DimseError) -> None:
        """Close at once, whatever was written."""
        self.lost = self.lost or why
        self.ended = self.ended or why
        if self._transport is not None:
            self._transport.abort()

    async def close(self, seconds: float) -> None:
        """Close; what was written and not taken after `seconds` is lost."""
        assert self._transport is not None
        self._transport.close()
        await asyncio.wait([self._closed], timeout=seconds)
        self.drop(ConnectionLost("the connection was closed here"))

    def _acknowledge_at_once(self) -> None:
        """The kernel falls back to delayed acknowledgements by itself, after reads and after answers."""
        if _QUICKACK is not None and self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _make_room(self, need: int) -> None:
        """Space for `need` bytes from `start` on. Nobody else reads meanwhile, and asyncio fills synchronously."""
        held = self.end - self.start
        if need > len(self.view):
            larger = memoryview(bytearray(need))
            larger[:held] = self.view[self.start : self.end]
            self.view = larger
        elif held == 0:
            pass
        elif len(self.view) - self.start < need or self.end == len(self.view):
            self.view[:held] = bytes(self.view[self.start : self.end])
        else:
            return
        self.start, self.end = 0, held

    def _expire(self, reader: asyncio.Future[None], seconds: float) -> None:
        """One timer serves many waits: it looks at the deadline when it goes off, and goes on if that moved."""
        self._patience = seconds
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self._reader is None or self._reader.done() or not self._deadline:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)
        else:
            self._reader.set_exception(PeerSilent(f"nothing came from the peer for {self._patience:g} s"))


async def connect(host: str, port: int, tls: ssl.SSLContext | None, seconds: float) -> Connection:
    """Connect to the first address of `host` that answers.

    Raises:
        PeerUnreachable: an unknown name, no way there, or nothing listens.
        PeerSilent: no connection within `seconds`.
        TlsFailed: connected, but not over TLS.
    """
    loop = asyncio.get_running_loop()
    stage = f"{host} does not answer on port {port}"
    try:
        async with asyncio.timeout(seconds):
            raw = await _tcp(loop, host, port)
            stage = f"no answer to the TLS handshake within {seconds:g} s"
            try:
                _, connection = await loop.create_connection(
                    Connection, sock=raw, ssl=tls, server_hostname=host if tls else None
                )
            except BaseException:
                raw.close()
                raise
    except TimeoutError:
        raise PeerSilent(stage) from None
    except socket.gaierror:
        raise PeerUnreachable(f"host name {host} is unknown") from None
    except ConnectionRefusedError:
        raise PeerUnreachable(f"nothing listens on port {port} of {host}", refused=True) from None
    except OSError as error:
        if tls and stage.startswith("no answer"):
            raise TlsFailed(tls_trouble(error)) from error
        raise PeerUnreachable((error.strerror or str(error)).lower()) from error
    return connection


def address_of(transport: asyncio.BaseTransport) -> str:
    """Where the peer connects from, as text."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else _NAMELESS


def hasten(connection: socket.socket | None) -> None:
    """Send at once, acknowledge at once."""
    if connection is not None:
        with contextlib.suppress(OSError):  # a socket that is no TCP socket, or is closed already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if _QUICKACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def tls_trouble(error: Exception) -> str:
    """Why the two do not come to speak TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return f"no TLS with it: {reason or 'it hung up'}"


async def _tcp(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"host {host} has no address")
    for family, kind, protocol, _, address in addresses:
        raw = socket.socket(family, kind, protocol)
        raw.setblocking(False)
        try:
            await loop.sock_connect(raw, address)
        except OSError as error:
            raw.close()
            failure = error
        except BaseException:
            raw.close()
            raise
        else:
            return raw
    raise failure


def _loss(error: Exception | None) -> DimseError:
    if isinstance(error, ssl.SSLError):
        return TlsFailed(tls_trouble(error))
    if error is None:
        return ConnectionLost("the peer closed the connection")
    return ConnectionLost(f"the connection broke: {getattr(error, 'strerror', None) or error}")


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
