"""Who listens as Graphite's carbon does: TCP, a line a value."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Self

from tests.support.network import free_port


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    lines: list[str]


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.lines.extend(line.decode() for line in self.rfile)


class Graphite:
    """On a port of 127.0.0.1 that stays the same when it is stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.lines: list[str] = []
        """What it was told, line ends included."""
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Connection)
        self._server.lines = self.lines
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def values(self, path: str) -> list[tuple[float, int]]:
        """What a path was said to be, and when, in order."""
        split = (line.split(" ") for line in list(self.lines))
        return [(float(value), int(at)) for said, value, at in split if said == path]
