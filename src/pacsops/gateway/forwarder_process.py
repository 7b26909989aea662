"""The gateway's process that reads what was received and sends it on."""

from __future__ import annotations

import signal
import threading

from pacsops.settings import Settings


def run(settings: Settings) -> None:
    """Wait for SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    stopping.wait()
