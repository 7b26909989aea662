"""Ports and deadlines."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def free_port() -> int:
    """A free TCP port below the range Linux takes outgoing connections from.

    A server that stops and starts again on its port must not find a stranger's outgoing connection there, which
    is what happens now and then to ports the kernel hands out for port 0.
    """
    candidates = random.SystemRandom()
    while True:
        port = candidates.randrange(12_000, 32_000)
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


def eventually(probe: Callable[[], T], *, within: float = 15.0, what: str = "it") -> T:
    """The first true value of `probe`, asked every 20 ms for `within` seconds; else AssertionError."""
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {within:g} s (last: {value!r})"
        time.sleep(0.02)
