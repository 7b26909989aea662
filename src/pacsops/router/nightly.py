"""The nightly reconciliation: what was never routed is routed, what destinations lack is sent again."""

from __future__ import annotations

import time as clock
from datetime import date, datetime, time, timedelta

from pacsops.delivery import nightly, studies
from pacsops.observe.logs import EventLog
from pacsops.router.gaps import find_gaps, wanted
from pacsops.router.reconcile import scan
from pacsops.router.site import Site

_LOG = EventLog("routing")
LOOK_SECONDS = 30.0
LOOKS_BACK = timedelta(days=7)
LATEST = timedelta(hours=6)
"""After its hour; a router that starts later waits for the next night."""
_RENEW_SECONDS = 60.0


def night_of(now: datetime, at: time) -> date | None:
    """The night whose reconciliation is to be done now; None: it is not the hour. `now` is local time."""
    begins = datetime.combine(now.date(), at)
    if begins > now:
        begins -= timedelta(days=1)
    return begins.date() if now - begins < LATEST else None


class Nightly:
    """One thread calls `step`. `at` is the hour on this host's clock; None: never."""

    def __init__(self, site: Site, at: time | None) -> None:
        self._site = site
        self._at = at
        self._renew_at = 0.0

    def step(self) -> float:
        site = self._site
        night = night_of(datetime.now(), self._at) if self._at else None
        if night is None or site.table is None or not nightly.claim(site.database, night, site.worker):
            return LOOK_SECONDS
        started = clock.monotonic()
        since = datetime.now().astimezone() - LOOKS_BACK
        routes_from = studies.routes_from(site.database)
        found = scan(
            site, site.table, max(since, routes_from) if routes_from else since, lambda *_: self._renew(night)
        )
        gaps = find_gaps(site, wanted(site.database), since, on_progress=lambda *_: self._renew(night))
        told = [each.as_dict() for each in gaps]
        result = {
            "scanned": found.scanned,
            "planned": found.planned,
            **{
                key: sum(each[key] for each in told)
                for key in ("asked", "lacking", "images", "unanswered", "requested")
            },
            "seconds": round(clock.monotonic() - started),
            "destinations": told,
        }
        if nightly.finish(site.database, night, site.worker, result):
            _LOG.info(
                "reconciled", **{key: result[key] for key in ("scanned", "planned", "asked", "lacking", "seconds")}
            )
        return LOOK_SECONDS

    def _renew(self, night: date) -> None:
        if clock.monotonic() >= self._renew_at:
            nightly.renew(self._site.database, night, self._site.worker)
            self._renew_at = clock.monotonic() + _RENEW_SECONDS
