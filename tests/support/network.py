"""Ports, deadlines and bad lines."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


def free_port() -> int:
    """A free TCP port below the range Linux takes outgoing connections from.

    A server that stops and starts again on its port must not find a stranger's outgoing connection there, which
    is what happens now and then to ports the kernel hands out for port 0. Of two that test at the same time each has
    a half: between the look here and the server's own bind the other could have it.
    """
    candidates = random.SystemRandom()
    half = 10_000 if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" else 0
    while True:
        port = candidates.randrange(12_000, 22_000) + half
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def eventually(probe: Callable[[], T], *, within: float = 30.0, what: str = "it") -> T:
    """The first true value of `probe`, asked every 20 ms for `within` seconds; else AssertionError."""
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {within:g} s (last: {value!r})"
        time.sleep(0.02)


class Wire:
    """A TCP connection's way to a port of 127.0.0.1, which can be slow, swallow everything, and be cut.

    Args:
        bytes_per_second: in the direction to that port; None is as quick as it goes. May be changed at any time.
    """

    def __init__(self, port: int, *, bytes_per_second: int | None = None) -> None:
        self.port = 0
        self.bytes_per_second = bytes_per_second
        self.swallows = False
        """What is sent in either direction does not arrive, now or later."""
        self._to = port
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Both ends of every connection find it reset."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink, source is near), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, slowly: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(self._rate(slowly) // 10 or 65536):
                if self.swallows:
                    continue
                sink.sendall(piece)
                if rate := self._rate(slowly):
                    time.sleep(len(piece) / rate)
            sink.shutdown(socket.SHUT_WR)

    def _rate(self, slowly: bool) -> int:
        return (slowly and self.bytes_per_second) or 0
