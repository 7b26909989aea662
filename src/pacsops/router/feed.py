"""Reading Orthanc's log of changes: the cursor moves in the transaction of what was planned from it.

The log forgets. A study still unstable when Orthanc stopped never becomes `StableStudy`: so every arriving instance
marks its study unsettled, and what stays unsettled is asked about by name. With some database plugins a lower number
appears after a higher one: so a window before the cursor is read again.
https://orthanc.uclouvain.be/book/users/rest.html#tracking-changes
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from pacsops.delivery import studies
from pacsops.delivery.planner import Planned
from pacsops.delivery.studies import Cursor, Evaluation
from pacsops.errors import DatabaseUnreachable, NotFoundInOrthanc
from pacsops.observe.logs import EventLog
from pacsops.orthanc import Change, StudyHeader, last_change
from pacsops.orthanc.changes import changes
from pacsops.router.evaluate import evaluate, identity, note_unreadable, touched_since
from pacsops.router.site import Site

_LOG = EventLog("routing")
POLL_SECONDS = 1.0
PAGE = 1000
OVERLAP = 100
LOOK_BACK_SECONDS = 24 * 3600.0
"""A router's first start routes what was last touched within this time before it, and nothing older."""
_TELL_OF_STUDIES = frozenset({"NewInstance", "NewSeries", "NewStudy", "StableStudy"})
SETTLING_SECONDS = 5.0
"""A study that is unsettled for longer is asked about by name."""


class Feed:
    """The reader of one Orthanc. `step` reads one page; `settle` looks after what the log forgot."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.seq = 0
        """The newest change read, for `orthanc status`."""

    def step(self) -> float:
        """Read a page and plan from it; the seconds to wait before the next."""
        orthanc, database = self._site.orthanc, self._site.database
        at = studies.cursor(database)
        if at is None:
            end = self._end()
            studies.begin(database, end, look_back=LOOK_BACK_SECONDS)
            _LOG.info("feed_started", seq=end.seq)
            return 0.0
        page = changes(orthanc, since=max(0, at.seq - OVERLAP), limit=PAGE + OVERLAP)
        if self._replaced(at, page.rows):
            end = self._end()
            if studies.start_over(database, seen=at, at=end):
                _LOG.warning("database_restored", previous_seq=at.seq, seq=end.seq)
            self._seen.clear()
            return 0.0
        fresh = [change for change in page.rows if change.seq not in self._seen]
        if fresh:
            newest = max(fresh, key=lambda change: change.seq)
            self._take(fresh, at, Cursor(max(at.seq, newest.seq), _as_row(newest)))
            self._remember(fresh)
        self.seq = max([at.seq, *(change.seq for change in page.rows)])
        return POLL_SECONDS if page.done else 0.0

    def settle(self) -> float:
        """Evaluate studies whose `StableStudy` did not come, once Orthanc says they are stable."""
        site = self._site
        if site.table is None:
            return POLL_SECONDS
        waiting = studies.unsettled(site.database, older_than=SETTLING_SECONDS, most=50)
        # Read before the studies themselves: what arrives between the two leaves them unsettled.
        seqs = studies.arrival_seqs(site.database, waiting)
        headers = {header.study_id: header for header in site.orthanc.studies_of(waiting)} if waiting else {}
        for study_id in waiting:
            if study_id not in headers:
                self._gone(study_id)
            elif not headers[study_id].is_stable:
                studies.put_off(site.database, study_id, seconds=SETTLING_SECONDS)
            elif (evaluation := self._evaluate(study_id, seqs[study_id])) is not None:
                self._plan([evaluation])
        return 0.0 if len(waiting) == 50 else 2.0

    def _end(self) -> Cursor:
        last = last_change(self._site.orthanc)
        rows = changes(self._site.orthanc, since=max(0, last - 1), limit=1).rows
        return Cursor(last, _as_row(rows[0]) if rows and rows[0].seq == last else None)

    def _replaced(self, at: Cursor, rows: Sequence[Change]) -> bool:
        """Whether `at` was read from another database than the one that answers now.

        Rows of deleted resources are gone, so a missing row says nothing; another row of the same number, or a log
        that ends before the cursor, does.
        """
        for change in rows:
            if change.seq == at.seq and at.last_row is not None:
                return _as_row(change) != at.last_row
        if any(change.seq > at.seq for change in rows):
            return False
        end = changes(self._site.orthanc, since=at.seq, limit=1)
        if end.rows:
            return False
        # An empty page tells the log's counter, which deletions leave as it is. With ExtendedChanges it does not,
        # and the last row must do; the scan that follows when it was only deleted plans nothing.
        return (last_change(self._site.orthanc) if self._extended() else end.last) < at.seq

    def _extended(self) -> bool:
        capabilities = self._site.orthanc.system().get("Capabilities", {})
        return bool(capabilities.get("HasExtendedChanges"))

    def _take(self, fresh: Sequence[Change], at: Cursor, to: Cursor) -> None:
        """Plan from rows not taken before, and move the cursor from `at` to `to` with it."""
        database = self._site.database
        headers = self._studies_of(change for change in fresh if change.seq > at.seq)
        again = self._studies_of(change for change in fresh if change.seq <= at.seq)
        if again:
            # Rows from before the cursor, read after a restart or late to appear: what of them is known already, or
            # older than the router, is none of our business.
            since = studies.routes_from(database)
            known = studies.last_updates(database, [header.study_id for header in again])
            headers += [
                header
                for header in again
                if touched_since(header, since) and known.get(header.study_id) != header.last_update
            ]
        stable = {change.resource_id for change in fresh if change.type == "StableStudy"}
        # A study that grows again meanwhile becomes stable again, or is settled by name.
        ready = {header.study_id for header in headers if header.study_id in stable and header.is_stable}
        with database.transaction() as tx:
            # Known before it is looked into, so that what cannot be read is not lost.
            received = [header.study_id for header in headers if studies.arrived(tx, identity(header), to.seq)]
        for study_id in received:
            _LOG.info("study_received", study_id=study_id)
        evaluations = [made for study_id in sorted(ready) if (made := self._evaluate(study_id, to.seq)) is not None]
        self._plan(evaluations, advance_to=to)

    def _studies_of(self, rows: Iterable[Change]) -> list[StudyHeader]:
        touched = {change.resource_id for change in rows if change.type in _TELL_OF_STUDIES}
        return self._site.orthanc.studies_of(sorted(touched)) if touched else []

    def _plan(self, evaluations: Sequence[Evaluation], advance_to: Cursor | None = None) -> None:
        """Write evaluations down, with the cursor when they come from the log; then wake the dispatcher."""
        with self._site.database.transaction() as tx:
            planned = [studies.evaluated(tx, evaluation) for evaluation in evaluations]
            if advance_to is not None:
                studies.advance(tx, advance_to)
        self._tell(list(zip(evaluations, planned, strict=True)))

    def _evaluate(self, study_id: str, seq: int) -> Evaluation | None:
        """None: it is gone, or cannot be read or judged now and stays unsettled."""
        table = self._site.table
        if table is None:
            return None
        try:
            return evaluate(self._site, table, study_id, seq)
        except NotFoundInOrthanc:
            self._gone(study_id)
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 (whatever one study holds must not hold up the others)
            # Unless it is Orthanc itself that does not answer: that is everybody's trouble.
            self._site.orthanc.system()
            note_unreadable(self._site, study_id, error)
        return None

    def _gone(self, study_id: str) -> None:
        with self._site.database.transaction() as tx:
            studies.deleted(tx, study_id)

    def _tell(self, planned: Sequence[tuple[Evaluation, Planned]]) -> None:
        for evaluation, made in planned:
            study_id = evaluation.study.study_id
            if made.new or made.grown:
                _LOG.info(
                    "route_matched",
                    study_id=study_id,
                    route=",".join(evaluation.matched_routes),
                    instances=evaluation.instance_count,
                    planned=len(made.new),
                    grown=len(made.grown),
                )
            elif not evaluation.matched_routes:
                _LOG.debug("route_no_match", study_id=study_id)
        if any(made.new or made.grown for _, made in planned):
            self._site.dispatch_wake.ring()

    def _remember(self, rows: Iterable[Change]) -> None:
        for change in rows:
            self._seen[change.seq] = None
        while len(self._seen) > 10 * (PAGE + OVERLAP):
            self._seen.popitem(last=False)


def _as_row(change: Change) -> dict[str, Any]:
    return {"type": change.type, "resource": change.resource_id, "date": change.date}
