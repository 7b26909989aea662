"""The reconciliation scan: every study Orthanc holds against what was evaluated.

It finds what no change row told of: arrivals before the router's first start, studies of a restored database, and
whatever else the log of changes lost. Planning is idempotent, so a scan never sends anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pacsops.database import Database
from pacsops.delivery import studies
from pacsops.delivery.versions import routes_in_force
from pacsops.errors import DatabaseUnreachable, NotFoundInOrthanc, NothingToDo
from pacsops.observe.logs import EventLog
from pacsops.orthanc import Orthanc, StudyHeader
from pacsops.router.evaluate import evaluate, note_unreadable, touched_since
from pacsops.router.site import Site
from pacsops.routes import RouteTable, Source, load_routes

_LOG = EventLog("routing")
_PAGE = 500
SCAN_EVERY_SECONDS = 3600.0
_BETWEEN_PAGES_SECONDS = 0.05

Progress = Callable[[int, int], None]
"""Called with (studies scanned, studies Orthanc holds)."""


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What a scan found."""

    scanned: int
    planned: int
    """Deliveries promised or enlarged."""
    studies: list[str]
    """Orthanc ids of the studies that needed them."""
    unreadable: list[str]
    """Orthanc ids of studies that could not be evaluated now; the next scan tries again."""


class _Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


def reconcile(
    database: Database,
    orthanc: Orthanc,
    since: datetime | None,
    on_progress: Progress | None = None,
    *,
    apply: bool = True,
) -> ReconcileResult:
    """Scan by hand, with the routes in force: every study touched since a moment, however old the router is.

    Raises:
        NothingToDo: no routes.yml was ever accepted.
        OrthancUnreachable, DatabaseUnreachable: what was planned until then stays planned.
    """
    version = routes_in_force(database)
    if version is None:
        raise NothingToDo(
            "no routes.yml has been accepted yet",
            hint="`orthanc routes --validate` shows why; is the router running?",
        )
    table = load_routes(version.text).of(Source.ORTHANC)
    return scan(Site(orthanc, database), table, since, on_progress, apply=apply)


def scan(
    site: Site,
    table: RouteTable,
    since: datetime | None,
    on_progress: Progress | None = None,
    *,
    apply: bool = True,
) -> ReconcileResult:
    """One pass over all studies; those last touched before `since`, or evaluated as they are, are left alone.

    Without `apply` nothing is written: it is told what would be planned.
    """
    held = site.orthanc.statistics().studies if on_progress else 0
    scanned, planned, found, unreadable = 0, 0, [], []
    while True:
        page = site.orthanc.studies_page(since=scanned, limit=_PAGE)
        if not page:  # a short page is not the last: Orthanc leaves out what is deleted while it lists
            break
        for header in _changed(site.database, page, since):
            try:
                promised = _evaluate_and_plan(site, table, header.study_id, apply=apply)
            except NotFoundInOrthanc:
                continue
            except DatabaseUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 (whatever one study holds must not hold up the others)
                site.orthanc.system()  # unless it is Orthanc itself that does not answer
                if apply:
                    note_unreadable(site, header.study_id, error)
                unreadable.append(header.study_id)
                continue
            if promised:
                planned += promised
                found.append(header.study_id)
        scanned += len(page)
        if on_progress:
            on_progress(scanned, held)
        time.sleep(_BETWEEN_PAGES_SECONDS)  # receiving goes first
    if planned and apply:
        site.dispatch_wake.ring()
    return ReconcileResult(scanned, planned, found, unreadable)


def scan_when_due(site: Site) -> float:
    """The router's own scan: at its start, after a restored database, and every hour."""
    table = site.table
    if table is None or not studies.scan_is_due(site.database, every=SCAN_EVERY_SECONDS):
        return 2.0
    started = time.monotonic()
    result = scan(site, table, studies.routes_from(site.database))
    studies.scanned(site.database)
    _LOG.info(
        "scan_finished",
        scanned=result.scanned,
        planned=result.planned,
        studies=len(result.studies),
        seconds=round(time.monotonic() - started, 1),
    )
    return 2.0


def _changed(database: Database, page: list[StudyHeader], since: datetime | None) -> list[StudyHeader]:
    """Those of a page that are stable and not evaluated as they are now."""
    recent = [header for header in page if header.is_stable and touched_since(header, since)]
    known = studies.last_updates(database, [header.study_id for header in recent])
    return [header for header in recent if known.get(header.study_id) != header.last_update]


def _evaluate_and_plan(site: Site, table: RouteTable, study_id: str, *, apply: bool) -> int:
    seq = studies.arrival_seqs(site.database, [study_id]).get(study_id, 0)
    evaluation = evaluate(site, table, study_id, seq)
    with suppress(_Undone), site.database.transaction() as tx:
        made = studies.evaluated(tx, evaluation)
        if not apply:
            raise _Undone
    return len(made.new) + len(made.grown)
