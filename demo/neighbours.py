"""One simulated DICOM neighbour in the foreground: `python demo/neighbours.py MODLINK --config FILE`.

SCANNER sends studies when its button is pushed (scanner.py), MERCURE answers images with results (mercure.py),
every other name is a receiving system. All answer C-ECHO and keep what they receive. SIGTERM stops.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from mercure import Mercure
from network import Network, say
from reception import Reception
from scanner import Button


def main() -> None:
    """Run the named neighbour until SIGTERM or Ctrl-C."""
    arguments = _arguments()
    network = Network.read(arguments.config)
    neighbour = network.neighbours.get(arguments.name)
    if neighbour is None:
        raise SystemExit(f"{arguments.config} knows no {arguments.name}: {', '.join(network.neighbours)}")

    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())

    running: list[Reception | Mercure | Button] = []
    if neighbour.name == "MERCURE":
        mercure = Mercure(neighbour, network.orthanc)
        running = [mercure, Reception(neighbour, on_stored=mercure.notice)]
    elif neighbour.name == "SCANNER":
        running = [Button(neighbour, network.orthanc), Reception(neighbour)]
    else:
        running = [Reception(neighbour)]
    broken: list[threading.ExceptHookArgs] = []

    def stop_all(failure: threading.ExceptHookArgs) -> None:
        # A neighbour that lost a part must not look alive: stop, so that its supervisor starts it afresh.
        broken.append(failure)
        sys.__excepthook__(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
        asked_to_stop.set()

    threading.excepthook = stop_all
    for part in running:
        part.start()
    asked_to_stop.wait()
    for part in reversed(running):
        part.stop()
    say(neighbour, "stopped")
    if broken:
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One simulated DICOM neighbour, in the foreground.")
    parser.add_argument("name", help="SCANNER, MERCURE, or a receiving system of the configuration")
    parser.add_argument("--config", type=Path, required=True, help="the demo's neighbours.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
