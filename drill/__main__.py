"""The drill: traffic and faults for a while, then quiet, then the reckoning."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import click

from drill.faults import FAULTS, Mischief
from drill.reckoning import Books, Reckoning, kinds
from drill.site import GATEWAY, Site
from pacsops.errors import DatabaseUnreachable

QUIET_SECONDS: Final = 180.0
"""Within which everything that was promised has to have arrived, or to be stuck."""
_FINAL_SECONDS: Final = 20.0
"""After which what is missing while nothing moves is missing for good."""
_TELL_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.05
_MOST_TOLD: Final = 20


@click.command(help=__doc__)
@click.option("--seconds", type=click.FloatRange(min=1), default=300, show_default=True, help="of traffic and faults")
@click.option("--seed", default="", help="of what is sent and what goes wrong; a new one each time unless given")
@click.option("--only", type=click.Choice(list(FAULTS)), multiple=True, help="this fault, not all; may be repeated")
@click.option("--json", "as_json", is_flag=True, help="the result as JSON on stdout; progress goes to stderr")
def main(seconds: float, seed: str, only: tuple[str, ...], as_json: bool) -> None:
    signal.signal(signal.SIGTERM, _unwind)
    sys.exit(run(seconds, seed or str(random.SystemRandom().randrange(10**6)), list(only or FAULTS), as_json=as_json))


def run(
    seconds: float, seed: str, faults: list[str], *, as_json: bool = False, program: Sequence[str] = GATEWAY
) -> int:
    """One drill; 0 when nothing was lost.

    Args:
        faults: names of those there may be.
        program: starts the gateway.
    """
    with Site(program) as site:
        _say(f"seed {seed}, {seconds:g} s of faults, in {site.folder}")
        books = Books(site)
        mischief = Mischief(site, random.Random(f"faults of {seed}"), faults)
        began = time.monotonic()
        _traffic(site, books, mischief, seed, seconds)
        found = _quiet(site, books)
        failed = bool(found.lost or found.false_successes or not found.settled or not found.accepted)
        site.keep_folder = failed
        report = _report(books, found, mischief, seed=seed, seconds=round(time.monotonic() - began, 1))
        _tell(found, report, as_json=as_json)
        if failed:
            _say(f"spool, ledger, journals and log are kept in {site.folder}")
    return int(failed)


def _traffic(site: Site, books: Books, mischief: Mischief, seed: str, seconds: float) -> None:
    scanner = site.start_scanner(seed)
    began = told = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        mischief.step()
        if scanner.poll() is not None:
            raise RuntimeError(f"the scanner ended by itself: {(site.folder / 'drill.log').read_text()[-2000:]}")
        if now >= told + _TELL_SECONDS:
            told = now
            counts = f"{len(books.entries())} accepted, {books.delivered()} delivered, {mischief.total} faults"
            _say(f"{now - began:4.0f} s  {counts}")
        time.sleep(_STEP_SECONDS)
    mischief.over()
    scanner.terminate()
    scanner.wait(timeout=60)


def _quiet(site: Site, books: Books) -> Reckoning:
    """What is there when everything runs again and nothing moves any more."""
    # Also a forwarder that lost its hints, or waits to be started again: an operator would restart the service.
    site.kill_gateway()
    site.start_gateway()
    _say("quiet: the gateway is started once more")
    deadline = time.monotonic() + QUIET_SECONDS
    moved = told = time.monotonic()
    before = None
    while True:
        with suppress(DatabaseUnreachable):
            found = books.reckon()
            if found.settled and not (found.lost or found.false_successes):
                return found
            if found != before:
                before, moved = found, time.monotonic()
            if time.monotonic() > min(deadline, moved + _FINAL_SECONDS if found.settled else deadline):
                return found
            if time.monotonic() >= told + _TELL_SECONDS:
                told = time.monotonic()
                counts = f"{found.unrecorded} to be recorded, {found.open} deliveries open, {len(found.lost)} missing"
                _say(f"        {counts}")
        time.sleep(0.5)


def _report(books: Books, found: Reckoning, mischief: Mischief, **said: Any) -> dict[str, Any]:
    sent = kinds(books.entries())
    return {
        "schema_version": 1,
        **said,
        "accepted": found.accepted,
        "late": sent["late"],
        "other_bytes": sent["twin"],
        "taken_by_peers": books.delivered(),
        "lost": found.lost,
        "false_successes": found.false_successes,
        "open": found.open,
        "unrecorded": found.unrecorded,
        "stuck": [
            {"destination": name, "reason": reason, "images": images}
            for (name, reason), images in sorted(found.stuck.items())
        ],
        "faults": dict(sorted(mischief.counts.items())),
    }


def _tell(found: Reckoning, report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for words in [*found.lost, *found.false_successes][:_MOST_TOLD]:
        print(words)
    for each in report["stuck"]:
        print(f"stuck: {each['images']} images for {each['destination']}: {each['reason']}")
    print(", ".join(f"{name} {count}x" for name, count in report["faults"].items()))
    print(f"{report['late']} came late, {report['other_bytes']} came again with other bytes")
    if not found.settled:
        print(f"after {QUIET_SECONDS:g} s {found.unrecorded} files are not recorded, {found.open} deliveries open")
    faults = sum(report["faults"].values())
    counts = f"{len(found.lost)} lost, {len(found.false_successes)} false Success, {faults} faults"
    print(f"{found.accepted} accepted, {counts}")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _unwind(number: int, _: FrameType | None) -> None:
    """SIGTERM leaves nothing running either."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
