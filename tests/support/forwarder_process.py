"""A forwarder in a process of its own: `python -m tests.support.forwarder_process [LEASE_SECONDS]`, until SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading

from pacsops.database import Database
from pacsops.delivery import claims
from pacsops.gateway.configuration import load
from pacsops.gateway.forwarder import Forwarder
from pacsops.observe.logs import write_to
from pacsops.settings import Settings


def main() -> None:
    if len(sys.argv) > 1:
        claims.LEASE_SECONDS = float(sys.argv[1])
    write_to()
    settings = Settings.load()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    forwarder = Forwarder(settings, Database(settings), lambda: load(settings.gateway_file))
    forwarder.start()
    stopping.wait()
    forwarder.stop()


if __name__ == "__main__":
    main()
