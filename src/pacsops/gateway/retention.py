"""What was delivered for good leaves the spool after a while.

A file is marked as removed first and then unlinked, both with the study's row held. So a file that stands under its
name is either the one that was marked, or came in anew after that one was gone: receivers never write over a file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from pacsops.database import Database
from pacsops.gateway import records
from pacsops.gateway.planning import Planner
from pacsops.gateway.reading import moment_of
from pacsops.gateway.spool import instance_path
from pacsops.observe.logs import EventLog

_LOG = EventLog("gateway")
EVERY_SECONDS: Final = 60.0
_PAGE: Final = 100


class Retention:
    """One thread calls `step`. `keep_days` of 0 keeps everything."""

    def __init__(self, database: Database, spool: Path, planner: Planner, *, keep_days: float) -> None:
        self._database = database
        self._spool = spool
        self._planner = planner
        self._keep_days = keep_days
        self._begun = False

    def step(self) -> float:
        """Remove what is due; the seconds until there may be more."""
        if not self._begun:
            self._finish()
            self._begun = True
        if not self._keep_days:
            return EVERY_SECONDS
        due = records.removable(self._database, keep_days=self._keep_days, most=_PAGE)
        removed = 0
        for study_uid in due:
            with self._database.transaction() as tx:
                records.lock(tx, study_uid)
                removed += records.remove(tx, study_uid, keep_days=self._keep_days)
            self._planner.forget(study_uid)
            self._unlink(study_uid)
        if removed:
            _LOG.info("files_removed", instances=removed, studies=len(due))
        return 0.0 if len(due) == _PAGE else EVERY_SECONDS

    def _finish(self) -> None:
        """What was marked when the gateway was last stopped, or killed."""
        for folder in self._spool.iterdir():
            if not folder.name.startswith(".") and folder.is_dir():
                self._unlink(folder.name)

    def _unlink(self, study_uid: str) -> None:
        with self._database.transaction() as tx:
            records.lock(tx, study_uid)
            for file, received_at in records.removed_files(tx, study_uid).items():
                path = instance_path(self._spool, file)
                with suppress(FileNotFoundError):
                    if moment_of(path.stat()) == received_at:
                        path.unlink()
        with suppress(OSError):  # not empty
            (self._spool / study_uid).rmdir()
