"""Every figure, in minutes: `python -m benchmarks` from the checkout; `python -m benchmarks receiving` shows some."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.support.postgres import PostgresServer

from benchmarks import (
    backlog,
    claiming,
    congestion,
    deciding,
    delivering,
    forwarding,
    planning,
    queue_peer,
    receiving,
    report,
)
from benchmarks.measure import Figure
from benchmarks.parts import server_versions

ROOT = Path(__file__).parents[1]
PARTS = (delivering, planning, claiming, backlog, deciding, receiving, forwarding, congestion)
PAGE = ROOT / "docs" / "performance.md"
JSON = ROOT / "build" / "bench.json"


def main() -> None:
    signal.signal(signal.SIGTERM, _unwind)
    parts = {part.__name__.rpartition(".")[2]: part for part in PARTS}
    wanted = sys.argv[1:] or list(parts)
    if unknown := set(wanted) - parts.keys():
        sys.exit(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    started = time.monotonic()
    with PostgresServer(fsync=True) as postgres:
        figures: list[Figure] = []
        for name in wanted:
            print(f"{time.monotonic() - started:4.0f} s  {name} …", file=sys.stderr, flush=True)
            figures += parts[name].measure(postgres)
        machine = report.machine(*server_versions(postgres), queue_peer.NAME)
    report.show(figures)
    if wanted != list(parts):
        return
    JSON.parent.mkdir(exist_ok=True)
    JSON.write_text(report.as_json(figures), encoding="utf-8")
    PAGE.write_text(report.with_measured(PAGE.read_text(encoding="utf-8"), figures, machine), encoding="utf-8")
    print(f"{JSON.relative_to(ROOT)} and {PAGE.relative_to(ROOT)} are written.")


def _unwind(number: int, frame: FrameType | None) -> None:
    """SIGTERM leaves nothing running either."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
