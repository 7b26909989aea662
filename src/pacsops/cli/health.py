"""What the parts of a site say of themselves, and what of it needs attention. Data only: `status` prints it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pacsops.cli.render import lasting, now
from pacsops.cli.site import Site
from pacsops.delivery import desk
from pacsops.delivery.levels import Overdue
from pacsops.delivery.model import RoutesVersion, RoutingCounts
from pacsops.delivery.nightly import Reconciliation
from pacsops.delivery.verification import Unverified
from pacsops.doctor import QUICK, Examination, examine_in_turn
from pacsops.doctor import Site as Known
from pacsops.doctor.destination_state import DestinationState, destination_states
from pacsops.doctor.rules import Rules
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable
from pacsops.routes import RoutesInvalid

Severity = Literal["warning", "error"]


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


def examine(site: Site) -> Health:
    """Ask Orthanc, PostgreSQL and the file system; nothing that takes long, no C-ECHO.

    What needs attention is what those checks of `orthanc doctor` find that are quick.

    Raises:
        SettingsError: the site's settings are missing or wrong.
    """
    settings = site.settings
    known = Known(lambda: settings)
    try:
        health = Health()
        _ask_orthanc(known, health)
        _ask_postgres(known, health)
        _look_at_disk(known, health)
        _look_at_spool(known, health)
        if known.database_answers:
            _look_at_routing(known, health)
        health.rules = _rules(known)
        health.destinations = destination_states(
            known.modalities_if_known,
            known.destination_health if known.database_answers else None,
            health.rules,
            known.gateway_destinations,
            known.gateway_pools,
        )
        health.issues = _issues(examine_in_turn(known, QUICK))
    finally:
        known.close()
    return health


def _issues(examination: Examination) -> list[Issue]:
    """What is not well; what could not be looked at has its reason among them already."""
    return [
        Issue(finding.severity, finding.message, finding.recommendation or "")
        for _, finding in examination.findings
        if finding.severity != "ok" and finding.seen
    ]


def _ask_orthanc(site: Known, health: Health) -> None:
    try:
        answer, statistics = site.system, site.statistics
    except OrthancUnreachable as error:
        health.services["orthanc"] = {"state": "down", "error": str(error)}
        return
    except OrthancRefused as error:
        health.services["orthanc"] = {"state": "refused", "error": str(error)}
        return
    health.services["orthanc"] = {
        "state": "running",
        "version": answer.system.get("Version"),
        "answers_ms": answer.milliseconds,
    }
    health.storage |= {"studies": statistics.studies, "instances": statistics.instances}
    health.storage["dicom_bytes"] = statistics.disk_bytes


def _ask_postgres(site: Known, health: Health) -> None:
    try:
        answer = site.postgres
    except DatabaseUnreachable as error:
        state = "refused" if site.login_refused(error) else "down"
        health.services["postgres"] = {"state": state, "error": str(error)}
        return
    health.services["postgres"] = {"state": "running", "version": answer.version, "since": answer.since}
    health.storage["database_bytes"] = sum(answer.sizes.values())


def _look_at_disk(site: Known, health: Health) -> None:
    folder = site.settings.dicom_storage_path
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return  # Orthanc's storage is on another host, or not for us to see
    health.storage |= {"path": str(folder), "free_bytes": usage.free, "total_bytes": usage.total}


def _look_at_spool(site: Known, health: Health) -> None:
    if site.settings.gateway_port:
        with suppress(OSError):
            health.storage["spool_free_bytes"] = shutil.disk_usage(site.settings.gateway_spool).free


def _look_at_routing(site: Known, health: Health) -> None:
    health.routing = site.counts
    health.overdue = site.overdue
    health.unverified = site.unverified
    health.reconciled = desk.last_reconciliation(site.db)
    _look_at_gateway(site, health)
    newest = site.newest_routes
    health.rejected = newest if newest is not None and not newest.accepted else None
    beat = site.beat
    if beat is None:
        health.services["router"] = {"state": "never ran"}
        return
    health.services["router"] = {
        "state": "running" if beat.alive else "silent",
        "instance": beat.instance,
        "since": beat.started_at,
        "last_beat_at": beat.beat_at,
        "detail": dict(beat.detail),
    }


def _look_at_gateway(site: Known, health: Health) -> None:
    beat = site.gateway_beat
    if beat is None and not site.settings.gateway_port:
        return
    state = "never ran" if beat is None else "running" if beat.alive else "silent"
    health.services["gateway"] = {"state": state}
    if beat is not None:
        health.services["gateway"] |= {
            "instance": beat.instance,
            "since": beat.started_at,
            "last_beat_at": beat.beat_at,
            "detail": dict(beat.detail),
        }


def _rules(site: Known) -> Rules | None:
    try:
        return site.rules
    except RoutesInvalid:
        return None


def for_how_long(since: datetime | None) -> str:
    """` (3d)`, or nothing."""
    return f" ({lasting((now() - since).total_seconds())})" if since else ""
