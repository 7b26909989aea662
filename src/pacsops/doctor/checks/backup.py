"""When was the site last saved, and when was it last seen that it can be restored?

Reads `backup_run`: kind (backup, verify), started_at, finished_at, ok, detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pacsops.database.pool import Row
from pacsops.doctor.check import Section, check
from pacsops.doctor.finding import Figure, Finding, error, ok, warning
from pacsops.doctor.site import Site
from pacsops.words import ago, lasting, now

_NIGHTLY, _LATE = 36 * 3600.0, 7 * 86400.0
_MONTHLY = 35 * 86400.0


@check("backup", section=Section.BACKUP)
def backup(site: Site) -> Iterator[Finding]:
    """Whether a backup was made last night, and went well."""
    newest, succeeded = _runs(site, "backup")
    if newest is None:
        yield warning("No backup was ever made.", "`orthanc backup`, and a schedule for it")
        return
    if newest["ok"] is False:
        yield error(
            f"The backup of {ago(newest['started_at'])} failed.",
            "`orthanc backup` again: it says what is in the way",
            subject="last",
            started_at=newest["started_at"],
        )
    if succeeded is None:
        yield error("No backup ever went well.", "`orthanc backup`: it says what is in the way")
        return
    age = (now() - succeeded).total_seconds()
    figures = (Figure("backup_age", round(age), "s"),)
    if age <= _NIGHTLY:
        yield ok(f"the last backup is {lasting(age)} old", figures=figures, finished_at=succeeded)
        return
    report = error if age > _LATE else warning
    yield report(
        f"The last backup that went well is {lasting(age)} old.",
        "`orthanc backup`, and look at its schedule",
        figures=figures,
        finished_at=succeeded,
    )


@check("restore-verified", section=Section.BACKUP)
def restore_verified(site: Site) -> Iterator[Finding]:
    """Whether a backup was restored on trial in the last month."""
    newest, succeeded = _runs(site, "verify")
    if newest is not None and newest["ok"] is False:
        yield error(
            f"The trial restore of {ago(newest['started_at'])} failed: the backups may be worth nothing.",
            "`orthanc backup verify` again: it says what is in the way",
            subject="last",
            started_at=newest["started_at"],
        )
    if succeeded is None:
        yield warning(
            "No backup was ever restored on trial: whether they are any good is not known.",
            "`orthanc backup verify`, and a schedule for it",
        )
        return
    age = (now() - succeeded).total_seconds()
    figures = (Figure("verify_age", round(age), "s"),)
    if age <= _MONTHLY:
        yield ok(f"a backup was restored on trial {ago(succeeded)}", figures=figures, finished_at=succeeded)
        return
    yield warning(
        f"The last trial restore was {ago(succeeded)}.",
        "`orthanc backup verify`, and look at its schedule",
        figures=figures,
        finished_at=succeeded,
    )


def _runs(site: Site, kind: str) -> tuple[Row | None, datetime | None]:
    """The newest run that ended, and the end of the newest that went well."""
    with site.db.transaction() as tx:
        if tx.one("SELECT to_regclass('backup_run') IS NULL AS absent")["absent"]:
            return None, None
        newest = tx.one_or_none(
            "SELECT started_at, finished_at, ok FROM backup_run"
            " WHERE kind = %(kind)s AND finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1",
            kind=kind,
        )
        succeeded = tx.one("SELECT max(finished_at) AS at FROM backup_run WHERE kind = %(kind)s AND ok", kind=kind)[
            "at"
        ]
    return newest, succeeded
