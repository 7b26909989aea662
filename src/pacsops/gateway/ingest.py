"""From the spool to PostgreSQL: each file is a row, and what routes promise of it, in one transaction.

Receivers answer Success once a file is in the spool, whether or not PostgreSQL runs. So the spool is the truth: hints
by a socket make ingest quick, scans of the folders make it complete. A file that is known already is nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from pacsops.database import Database, Transaction
from pacsops.delivery import studies
from pacsops.delivery.planner import Planned
from pacsops.errors import DatabaseUnreachable
from pacsops.gateway import records
from pacsops.gateway.hints import Hints
from pacsops.gateway.planning import Planner, identity_of
from pacsops.gateway.reading import moment_of, read
from pacsops.gateway.records import SOURCE, Known, Received, Unreadable
from pacsops.gateway.spool import files, instance_path
from pacsops.observe.logs import EventLog
from pacsops.routes import InstanceFacts

_LOG = EventLog("gateway")
BATCH: Final = 200
"""Files in one transaction, at most."""
GATHER_SECONDS: Final = 0.05
"""A transaction waits so long for more files."""
SCAN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0
_OVERLAP_SECONDS: Final = 5.0
"""Folders that changed so shortly before the last look are looked at once more: clocks of file systems are coarse."""
_PAGE: Final = 1000
_LOOK_AGAIN_SECONDS: Final = 60.0


class Ingest:
    """Takes files up. `step`, `scan` and `settle` are each called by one thread, again and again.

    Args:
        stable_age: seconds without a new image after which a series or a study is whole.
        planned: called when something is to be sent.
    """

    def __init__(
        self,
        database: Database,
        spool: Path,
        planner: Planner,
        *,
        stable_age: float,
        planned: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._spool = spool
        self._planner = planner
        self._stable_age = stable_age
        self._planned = planned
        self._hints = Hints(spool)
        self._waiting: list[str] = []
        self._scanned_at: float | None = None
        self.complete = False
        """Whether the spool was looked through since the start."""

    def close(self) -> None:
        self._hints.close()

    def step(self) -> float:
        """Take up what receivers have just told of."""
        if not self._waiting:
            self._waiting = self._hints.gather(BATCH, seconds=GATHER_SECONDS)
        if self._waiting:
            self.take(self._waiting)
            self._waiting = []
        return 0.0

    def scan(self) -> float:
        """Take up what no hint told of; the seconds until the next look.

        The first look goes through the whole spool, and through all that is written down of it: files without rows
        are taken up, rows without files are told of.
        """
        began = time.time()
        taken = self._look_through(self._scanned_at)
        if self._scanned_at is None:
            missing = self._compare()
            self.complete = True
            _LOG.info("spool_reconciled", instances=taken, lacking=missing, seconds=round(time.time() - began, 1))
        elif taken:
            _LOG.info("spool_scanned", instances=taken)
        self._scanned_at = began - _OVERLAP_SECONDS
        return SCAN_SECONDS

    def settle(self) -> float:
        """Ask the routes about what has stopped growing, and about what came while none were in force."""
        if not self.complete or self._planner.table is None:
            return SETTLE_SECONDS
        database = self._database
        quiet = records.quiet_studies(database, age=self._stable_age, most=50)
        unsettled = studies.unsettled(database, older_than=0.0, most=50, source=SOURCE)
        for study_uid in dict.fromkeys([*unsettled, *quiet]):
            try:
                with database.transaction() as tx:
                    records.lock(tx, study_uid)
                    made = self._planner.settle(tx, study_uid, age=self._stable_age)
            except DatabaseUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 (whatever one study holds must not hold up the others)
                self._unplannable(study_uid, error)
            else:
                self._tell([made])
        return 0.0 if len(quiet) == 50 else SETTLE_SECONDS

    def take(self, names: Sequence[str]) -> int:
        """Write files down and plan; how many were new. Names of files that are not there are passed over.

        Raises:
            DatabaseUnreachable: nothing was written, or all of it was: taking them up once more does no harm.
        """
        fresh, again = self._unknown(names)
        if again:
            self._found_again(again)
        found = [one for name in fresh if (one := self._read(name)) is not None]
        by_study: dict[str, list[Received | Unreadable]] = {}
        for one in found:
            by_study.setdefault(one.study_uid, []).append(one)
        try:
            return self._write(by_study)
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 (one file with what PostgreSQL does not take must not hold up others)
            if len(by_study) == 1:
                return self._write_singly(found, error)
        return sum(self.take([one.file for one in of_study]) for of_study in by_study.values())

    def _unknown(self, names: Sequence[str]) -> tuple[list[str], list[Known]]:
        """Files that have no row, and rows whose file had been missing."""
        names = list(dict.fromkeys(names))
        with self._database.transaction() as tx:
            known = records.known(tx, names)
        fresh = [name for name in names if name not in known or self._came_anew(name, known[name])]
        return fresh, [known[name] for name in names if name in known and known[name].missing]

    def _came_anew(self, name: str, known: Known) -> bool:
        """Whether a file stands where one was removed, that is not the one which is about to be removed."""
        if not known.removed:
            return False
        try:
            return moment_of(instance_path(self._spool, name).stat()) != known.received_at
        except OSError:
            return False

    def _read(self, name: str) -> Received | Unreadable | None:
        try:
            return read(self._spool, name, self._planner.keywords)
        except FileNotFoundError:
            return None
        except OSError as error:
            return Unreadable(name, name.split("/", 1)[0], f"the file cannot be read: {error.strerror}")

    def _write(self, by_study: dict[str, list[Received | Unreadable]], *, plan: bool = True) -> int:
        """One transaction for all of it, study by study in one order everywhere."""
        with self._database.transaction() as tx:
            new: list[str] = []
            rows = 0
            for study_uid, found in sorted(by_study.items()):
                received = [one for one in found if isinstance(one, Received)]
                self._know(tx, study_uid, received)
                for one in found:
                    if isinstance(one, Unreadable) and records.note_unreadable(tx, one):
                        _LOG.error("file_unreadable", error=one.reason)
                inserted = records.insert(tx, [self._planner.with_result(tx, one) for one in received])
                records.readable(tx, [one.file for one in received])
                if inserted:
                    newest = max(row["id"] for row in inserted)
                    studies.arrived(tx, identity_of(study_uid), newest)
                    rows += len(inserted)
                    new.append(study_uid)
                else:
                    records.tell_trouble(tx, study_uid)
            evaluations = [
                made for study_uid in new if plan and (made := self._planner.evaluate(tx, study_uid)) is not None
            ]
            planned = self._planner.write(tx, evaluations)
        if rows:
            _LOG.info("instances_recorded", instances=rows, studies=len(new))
        self._tell(planned)
        return rows

    def _know(self, tx: Transaction, study_uid: str, received: Sequence[Received]) -> None:
        """Have the study's row, and hold it."""
        if not records.lock(tx, study_uid):
            facts = [
                InstanceFacts(
                    "", one.series_uid, one.sender_aet, {k: v for k, v in one.tags.items() if v is not None}
                )
                for one in received[:1]
            ]
            studies.arrived(tx, identity_of(study_uid, facts), 0)
            records.lock(tx, study_uid)

    def _write_singly(self, found: Sequence[Received | Unreadable], error: Exception) -> int:
        """A study that cannot be written and planned as a whole: each of its files by itself, and planned later."""
        rows = 0
        for one in found:
            try:
                rows += self._write({one.study_uid: [one]}, plan=False)
            except DatabaseUnreachable:
                raise
            except Exception as refused:  # noqa: BLE001 (see `take`)
                reason = f"{type(refused).__name__} while it was written down"
                self._write({one.study_uid: [Unreadable(one.file, one.study_uid, reason)]}, plan=False)
        for study_uid in {one.study_uid for one in found}:
            self._unplannable(study_uid, error)
        return rows

    def _unplannable(self, study_uid: str, error: Exception) -> None:
        """What a study holds broke the planning: said once, and tried again in a while."""
        # By its type alone: its message may hold what it worked on.
        reason = f"{type(error).__name__} while it was evaluated"
        self._planner.forget(study_uid)
        if studies.unreadable(self._database, study_uid, reason, seconds=_LOOK_AGAIN_SECONDS, source=SOURCE):
            _LOG.error("study_unreadable", error=reason)

    def _found_again(self, known: Sequence[Known]) -> None:
        """Files that had been missing are in the spool again: what waits for them goes on."""
        for study_uid in sorted({one.study_uid for one in known}):
            with self._database.transaction() as tx:
                records.lock(tx, study_uid)
                records.found_again(tx, [one.id for one in known if one.study_uid == study_uid])
                records.tell_trouble(tx, study_uid)
                evaluation = self._planner.evaluate(tx, study_uid)
                planned = self._planner.write(tx, [evaluation] if evaluation is not None else [])
            self._tell(planned)

    def _look_through(self, changed_since: float | None) -> int:
        """Take up every file that is not known, of the folders that changed since then; how many."""
        taken = 0
        names = (one.file for one in files(self._spool, changed_since))
        while page := list(islice(names, _PAGE)):
            fresh, again = self._unknown(page)
            if again:
                self._found_again(again)
            taken += sum(self.take(fresh[at : at + BATCH]) for at in range(0, len(fresh), BATCH))
        return taken

    def _compare(self) -> int:
        """Rows without files are marked, unreadable files that are gone forgotten; how many rows."""
        gone = [name for name in records.unreadable_files(self._database) if not self._is_there(name)]
        for name in gone:
            with self._database.transaction() as tx:
                records.lock(tx, name.split("/", 1)[0])
                records.readable(tx, [name])
                records.tell_trouble(tx, name.split("/", 1)[0])
        missing, after = 0, 0
        while page := records.in_spool(self._database, after=after, most=_PAGE):
            after = page[-1]["id"]
            lacking = [row for row in page if not row["missing"] and not self._is_there(row["file"])]
            for study_uid in sorted({row["study_uid"] for row in lacking}):
                with self._database.transaction() as tx:
                    records.lock(tx, study_uid)
                    records.note_missing(tx, study_uid, [r["id"] for r in lacking if r["study_uid"] == study_uid])
            missing += len(lacking)
        if missing:
            _LOG.error("files_missing", instances=missing)
        return missing

    def _is_there(self, name: str) -> bool:
        return instance_path(self._spool, name).exists()

    def _tell(self, planned: Iterable[Planned]) -> None:
        made = list(planned)
        new, grown = sum(len(each.new) for each in made), sum(len(each.grown) for each in made)
        if new or grown:
            _LOG.info("deliveries_planned", planned=new, grown=grown)
            self._planned()
