"""Receivers' hints: names of files that have just come, by datagrams to a socket in the spool. They may be lost."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pacsops.gateway.spool import HINTS, instance_path
from pacsops.gateway.telling import LARGEST_HINT
from pacsops.observe.logs import EventLog

_LOG = EventLog("gateway")
IDLE_SECONDS: Final = 0.5


class Hints:
    """The listening end. There is one a spool: a new one takes the place of what was there."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._beyond: list[str] = []
        """Names of the last datagram that were more than were asked for."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY)
        try:
            (spool / HINTS).unlink(missing_ok=True)
            # By the folder's descriptor: a socket's own path may have 107 characters only.
            self._socket.bind(f"/proc/self/fd/{folder}/{HINTS}")
            (spool / HINTS).chmod(0o600)
        except OSError as error:
            # Without hints images are found by scans: later, never not.
            _LOG.warning("no_hints", error=error.strerror)
        finally:
            os.close(folder)

    def gather(self, most: int, *, seconds: float) -> list[str]:
        """Names that came, each once: waits for the first, and then `seconds` for more of them."""
        names, self._beyond = dict.fromkeys(self._beyond), []
        until = time.monotonic() + (seconds if names else IDLE_SECONDS)
        while len(names) < most and (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                said = self._socket.recv(LARGEST_HINT)
            except TimeoutError:
                break
            if not names:
                until = time.monotonic() + seconds
            for name in said.split(b"\n"):
                with suppress(ValueError):  # whatever else somebody on this host sends
                    instance_path(self._spool, name.decode("ascii"))
                    names[name.decode("ascii")] = None
        found = list(names)
        self._beyond = found[most:]
        return found[:most]

    def close(self) -> None:
        self._socket.close()
        with suppress(OSError):
            (self._spool / HINTS).unlink()
