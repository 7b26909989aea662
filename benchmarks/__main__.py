"""Every figure, in minutes: `python -m benchmarks` from the checkout."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.support.postgres import PostgresServer

from benchmarks import backlog, claiming, deciding, delivering, planning, queue_peer, report, storing
from benchmarks.measure import Figure
from benchmarks.parts import server_versions

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
JSON = ROOT / "build" / "bench.json"


def main() -> None:
    signal.signal(signal.SIGTERM, _unwind)
    started = time.monotonic()
    with PostgresServer(fsync=True) as postgres:
        figures: list[Figure] = []
        for part in (delivering, planning, claiming, backlog, deciding, storing):
            print(f"{time.monotonic() - started:4.0f} s  {part.__name__} …", file=sys.stderr, flush=True)
            figures += part.measure(postgres)
        machine = report.machine(*server_versions(postgres), queue_peer.NAME)
    JSON.parent.mkdir(exist_ok=True)
    JSON.write_text(report.as_json(figures), encoding="utf-8")
    PAGE.write_text(report.with_measured(PAGE.read_text(encoding="utf-8"), figures, machine), encoding="utf-8")
    report.show(figures)
    print(f"{JSON.relative_to(ROOT)} and {PAGE.relative_to(ROOT)} are written.")


def _unwind(number: int, frame: FrameType | None) -> None:
    """SIGTERM leaves nothing running either."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
