"""What the parts of a site say of themselves, and what of it needs attention. Data only: `status` prints it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from pacsops.cli.destination_state import DestinationState, destination_states
from pacsops.cli.render import ago, count, deliveries, lasting, moment, now, size, studies
from pacsops.cli.rules import Rules, rules_in_force
from pacsops.cli.site import Site
from pacsops.delivery import desk
from pacsops.delivery.levels import Overdue
from pacsops.delivery.model import RoutesVersion, RoutingCounts
from pacsops.delivery.nightly import Reconciliation
from pacsops.delivery.verification import Unverified
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable, SchemaMismatch
from pacsops.orthanc import Modality, all_modalities
from pacsops.routes import RoutesInvalid, unknown_destinations
from pacsops.routes.durations import as_text

WINDOW = timedelta(hours=24)
_LITTLE_SPACE, _NO_SPACE = 0.10, 0.05  # of the file system; a CT study is 0.5 GB, Orthanc stops at zero

# libpq gives no SQLSTATE for a connection it did not get, only the server's words.
_REFUSED_LOGIN = re.compile(r"authentication failed|no pg_hba\.conf entry|(?:role|database) .* does not exist")

Severity = Literal["warning", "error"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Issue:
    """Something to look at, and the command to do so."""

    severity: Severity
    message: str
    hint: str


@dataclass(slots=True)
class Health:
    """Everything `orthanc status` knows. What could not be asked is None or empty; `issues` says why."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=dict)
    routing: RoutingCounts | None = None
    overdue: list[Overdue] = field(default_factory=list)
    unverified: list[Unverified] = field(default_factory=list)
    reconciled: Reconciliation | None = None
    """The last nightly one."""
    destinations: list[DestinationState] = field(default_factory=list)
    rules: Rules | None = None
    rejected: RoutesVersion | None = None
    """The newest routes.yml, when the router refused it."""
    issues: list[Issue] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 warnings, 2 errors."""
        severities = {issue.severity for issue in self.issues}
        return 2 if "error" in severities else 1 if severities else 0

    def error(self, message: str, hint: str) -> None:
        self.issues.append(Issue("error", message, hint))

    def warning(self, message: str, hint: str) -> None:
        self.issues.append(Issue("warning", message, hint))


def examine(site: Site) -> Health:
    """Ask Orthanc, PostgreSQL and the file system; nothing that takes long, no C-ECHO.

    Raises:
        SettingsError: the site's settings are missing or wrong.
    """
    health = Health()
    modalities = _ask_orthanc(site, health)
    answers = _ask_postgres(site, health)
    _look_at_disk(site, health)
    if answers:
        _look_at_router(site, health)
        _look_at_routing(site, health)
    _look_at_rules(site, health, modalities, answers=answers)
    _look_at_destinations(site, health, modalities, answers=answers)
    return health


def _ask_orthanc(site: Site, health: Health) -> dict[str, Modality] | None:
    try:
        system, milliseconds = _timed(site.orthanc.system)
        statistics = site.orthanc.statistics()
        modalities = all_modalities(site.orthanc)
    except OrthancUnreachable as error:
        health.services["orthanc"] = {"state": "down", "error": str(error)}
        health.error(
            f"{error}. Nothing is received or sent; deliveries are kept and go on when it is back.",
            "start Orthanc's service again and read its log; ORTHANC_URL in the .env says where it is expected",
        )
        return None
    except OrthancRefused as error:
        health.services["orthanc"] = {"state": "refused", "error": str(error)}
        health.error(
            f"{error}. It runs, but does not serve us: whether it receives and sends is not known.",
            error.hint or "Orthanc's log says more",
        )
        return None
    health.services["orthanc"] = {"state": "running", "version": system.get("Version"), "answers_ms": milliseconds}
    health.storage |= {"studies": statistics.studies, "instances": statistics.instances}
    health.storage["dicom_bytes"] = statistics.disk_bytes
    return modalities


def _ask_postgres(site: Site, health: Health) -> bool:
    """True: it answers, with the schema this version needs."""
    try:
        with site.any_db.transaction() as tx:
            row = tx.one(
                """
                SELECT current_setting('server_version') AS version, pg_postmaster_start_time() AS since,
                       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database
                         WHERE has_database_privilege(oid, 'CONNECT')) AS bytes
                """
            )
    except DatabaseUnreachable as error:
        if _REFUSED_LOGIN.search(str(error)):
            health.services["postgres"] = {"state": "refused", "error": str(error)}
            health.error(
                f"{error}. It runs, but does not serve us: how deliveries stand is not known.",
                "check POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB in the .env",
            )
            return False
        health.services["postgres"] = {"state": "down", "error": str(error)}
        health.error(
            f"{error}. Nothing is routed; what Orthanc holds is routed when it is back.",
            "start PostgreSQL's service again and read its log",
        )
        return False
    health.services["postgres"] = {"state": "running", "version": row["version"], "since": row["since"]}
    health.storage["database_bytes"] = row["bytes"]
    try:
        _ = site.db
    except SchemaMismatch as error:
        health.error(f"{error}.", error.hint or "`orthanc db-migrate`")
        return False
    return True


def _look_at_disk(site: Site, health: Health) -> None:
    folder = site.settings.dicom_storage_path
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return  # Orthanc's storage is on another host, or not for us to see
    health.storage |= {"path": str(folder), "free_bytes": usage.free, "total_bytes": usage.total}
    if usage.free < _LITTLE_SPACE * usage.total:
        report = health.error if usage.free < _NO_SPACE * usage.total else health.warning
        report(
            f"Only {size(usage.free)} of {size(usage.total)} are free for DICOM files ({folder}).",
            "extend the file system or delete old studies; Orthanc stops receiving when it is full",
        )


def _look_at_router(site: Site, health: Health) -> None:
    beat = desk.router_beat(site.db)
    if beat is None:
        health.services["router"] = {"state": "never ran"}
        health.error("No router has run yet: studies are received, none is sent.", "start the router's service")
        return
    health.services["router"] = {
        "state": "running" if beat.alive else "silent",
        "instance": beat.instance,
        "since": beat.started_at,
        "last_beat_at": beat.beat_at,
        "detail": dict(beat.detail),
    }
    if not beat.alive:
        health.error(
            f"The router ({beat.instance}) gave its last sign of life {ago(beat.beat_at)}: nothing is sent."
            " It catches up when it runs again.",
            "start the router's service again and read its log",
        )
        return
    held_up: dict[str, list[str]] = {}
    for duty, trouble in beat.detail.get("trouble", {}).items():
        held_up.setdefault(trouble, []).append(repr(duty))
    for trouble, duties in held_up.items():
        health.warning(
            f"The router cannot do its {'duty' if len(duties) == 1 else 'duties'} {', '.join(duties)}: {trouble}.",
            "it tries again by itself; read its log",
        )


def _look_at_routing(site: Site, health: Health) -> None:
    counts = health.routing = desk.counts(site.db, now() - WINDOW)
    if counts.stuck:
        verb = "needs" if counts.stuck_studies == 1 else "need"
        health.warning(
            f"{studies(counts.stuck_studies)} {verb} attention ({deliveries(counts.stuck)} stuck).",
            "`orthanc failures` says what is wrong, `orthanc show-stuck` names each",
        )
    health.overdue = desk.overdue(site.db)
    if health.overdue:
        late = sum(level.deliveries for level in health.overdue)
        worst = health.overdue[0]
        health.warning(
            f"{deliveries(late)} {'is' if late == 1 else 'are'} overdue, the longest by"
            f" {lasting(worst.late_seconds)}: {worst.route} to {worst.destination}"
            f" within {as_text(worst.deliver_within)}.",
            "`orthanc show-pending --overdue` says what each waits for",
        )
    health.reconciled = desk.last_reconciliation(site.db)
    health.unverified = desk.unverified(site.db)
    for group in health.unverified:
        health.warning(
            f"{deliveries(group.deliveries)} to {group.destination} could not be verified: {group.reason}.",
            f"`orthanc reconcile --destination {group.destination}` asks it again",
        )
    if counts.unevaluated:
        first = desk.unevaluated(site.db)[0]
        why = first.trouble or "not evaluated yet"
        health.warning(
            f"{studies(counts.unevaluated)} received, but no route can be asked: {why}.",
            f"`orthanc history {first.study_id[:13]}`, and the log of the router",
        )


def _look_at_rules(site: Site, health: Health, modalities: Mapping[str, Modality] | None, *, answers: bool) -> None:
    try:
        rules = health.rules = rules_in_force(site, database_answers=answers)
    except RoutesInvalid as error:
        known = "No routes are in force" if answers else "Which routes are in force is not known"
        health.error(f"{known}; {str(error).splitlines()[0].rstrip(':')}.", "`orthanc routes --validate`")
        rules = None
    if answers:
        newest = desk.newest_routes(site.db)
        if newest is not None and not newest.accepted:
            health.rejected = newest
            report = health.warning if rules and rules.since else health.error
            report(
                f"The routes.yml of {moment(newest.loaded_at)} was rejected"
                f" ({count(len(newest.problems), 'problem')}); "
                + ("the one before stays in force." if rules and rules.since else "none is in force."),
                "`orthanc routes --validate` lists them",
            )
    if rules is None or modalities is None:
        return
    for name in sorted({problem.message for problem in unknown_destinations(rules.table, modalities)}):
        health.warning(
            f"routes.yml: {name}; its deliveries wait until Orthanc knows it.",
            "`orthanc add-destination`, or correct routes.yml",
        )


def _look_at_destinations(
    site: Site, health: Health, modalities: Mapping[str, Modality] | None, *, answers: bool
) -> None:
    known = desk.destination_health(site.db) if answers else None
    health.destinations = destination_states(modalities, known, health.rules)
    for destination in health.destinations:
        issue = destination.issue
        if issue is not None:
            severity, message = issue
            health.issues.append(Issue(severity, message, destination.remedy))


def _timed(ask: Callable[[], _T]) -> tuple[_T, int]:
    started = time.monotonic()
    answer = ask()
    return answer, round((time.monotonic() - started) * 1000)


def for_how_long(since: datetime | None) -> str:
    """` (3d)`, or nothing."""
    return f" ({lasting((now() - since).total_seconds())})" if since else ""
