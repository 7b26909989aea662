"""A receiver's end of the hints: names of files that have just come, for whoever takes them up."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from pathlib import Path
from typing import Final

from pacsops.gateway.spool import HINTS

LARGEST_HINT: Final = 8192
"""Bytes of a datagram: some sixty names."""
_MOST_WAITING: Final = 10_000
"""Names; the oldest are forgotten then, and found by a scan."""
_AGAIN_SECONDS: Final = 0.05


class Teller:
    """Tells of files, from an event loop. To be closed.

    The kernel lets a few datagrams wait (net.unix.max_dgram_qlen, often 10): names that find no room there wait here,
    and go together. Each one lost would be an image that lies in the spool until the next scan.

    Raises:
        OSError: the spool cannot be opened.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # By the folder's descriptor: a socket's own path may have 107 characters only.
        self._address = f"/proc/self/fd/{self._spool}/{HINTS}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._later: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._socket.close()
        os.close(self._spool)

    def tell(self, file: str) -> None:
        """A file is there."""
        self._waiting.append(file.encode())
        if self._later is None:
            self._send()

    def _send(self) -> None:
        self._later = None
        while self._waiting:
            names = self._some()
            try:
                self._socket.sendto(b"\n".join(names), self._address)
            except BlockingIOError:
                self._waiting.extendleft(reversed(names))
                self._later = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._send)
                return
            except OSError:
                self._waiting.clear()  # nobody listens; who will, begins with a scan

    def _some(self) -> list[bytes]:
        names = [self._waiting.popleft()]
        room = LARGEST_HINT - len(names[0])
        while self._waiting and len(self._waiting[0]) < room:
            names.append(self._waiting.popleft())
            room -= len(names[-1]) + 1
        return names
