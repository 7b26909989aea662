"""A site's metrics now: what Orthanc, PostgreSQL and this host's disks say, as far as they answer.

It asks no destination: the router and the gateway send each a C-ECHO a minute anyway, and write down what came of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacsops.database import Database
from pacsops.database.migrate import require_current
from pacsops.delivery import desk
from pacsops.delivery.heartbeat import GATEWAY, ROUTER, Beat
from pacsops.delivery.model import DestinationHealth
from pacsops.delivery.totals import Measures, Totals, count_for_good, latencies, measures, totals
from pacsops.errors import DatabaseUnreachable, OrthancRefused, OrthancUnreachable, PacsopsError, SchemaMismatch
from pacsops.observe import measured
from pacsops.observe.metrics import Metric, Sample
from pacsops.orthanc import Orthanc, all_modalities
from pacsops.settings import Settings

ORTHANC_TIMEOUT_SECONDS = 5.0
"""What takes longer is not waited for: the next look comes in a minute."""
_ATTEMPTS = {
    "sent": measured.SENT,
    "success": measured.SUCCESS,
    "failed": measured.FAILED,
    "stuck": measured.STUCK,
    "skipped": measured.SKIPPED,
}


@dataclass(slots=True)
class Collected:
    """What could be had. `missing`: orthanc, postgres → why nothing of it could."""

    samples: list[Sample] = field(default_factory=list)
    missing: dict[str, PacsopsError] = field(default_factory=dict)


def collect(settings: Settings, database: Database, orthanc: Orthanc) -> Collected:
    """Ask for everything once. Counts what is old enough for good, where the database takes writes."""
    found = Collected()
    known: frozenset[str] | None = None
    try:
        found.samples += _of_orthanc(orthanc)
        known = frozenset(all_modalities(orthanc))
    except (OrthancUnreachable, OrthancRefused) as error:
        found.missing["orthanc"] = error
    try:
        found.samples += _of_postgres(settings, database, known)
    except (DatabaseUnreachable, SchemaMismatch) as error:
        found.missing["postgres"] = error
    found.samples += _of_disks(settings)
    found.samples += [_up(service, service not in found.missing) for service in ("orthanc", "postgres")]
    return found


def _of_orthanc(orthanc: Orthanc) -> list[Sample]:
    statistics = orthanc.statistics()
    return [
        Sample(measured.STUDIES, statistics.studies),
        Sample(measured.STORAGE_SIZE, statistics.disk_bytes),
    ]


def _of_postgres(settings: Settings, database: Database, known: frozenset[str] | None) -> list[Sample]:
    """All or nothing: a list of what was had before PostgreSQL went away would look complete."""
    require_current(database)
    count_for_good(database)
    router, gateway = ROUTER.newest(database), GATEWAY.newest(database)
    has_gateway = gateway is not None or bool(settings.gateway_port)
    health = desk.destination_health(database)
    if known is not None:
        # What nobody knows any longer and nothing waits for is past, and shall alarm nobody.
        known |= frozenset(gateway.detail.get("destinations", {}) if gateway else ())
        known |= {name for name, each in health.items() if each.waiting or each.stuck}
        health = {name: each for name, each in health.items() if name in known}
    said = measures(database)
    return [
        *_of_counts(totals(database), health),
        *_of_latencies(latencies(database, measured.QUANTILES)),
        *_of_studies(database),
        *_of_levels(database),
        *_of_destinations(database, health),
        *_of_services(said, router, gateway, has_gateway=has_gateway),
        Sample(measured.DATABASE_SIZE, said.database_bytes),
        *_if_known(measured.BACKUP_AGE, said.backup_seconds),
        *_if_known(measured.VERIFIED_AGE, said.verified_seconds),
    ]


def _of_counts(counted: Totals, health: dict[str, DestinationHealth]) -> Iterator[Sample]:
    """Of a destination nothing was sent to yet, too: the first that is shall be seen as one more."""
    yield Sample(measured.RECEIVED, counted["received", ""])
    yield Sample(measured.MATCHED, counted["matched", ""])
    for name in sorted({destination for _, destination in counted if destination} | health.keys()):
        labels = {"destination": name}
        for what, metric in _ATTEMPTS.items():
            yield Sample(metric, counted[what, name], labels)
        yield Sample(measured.LATENCY_SUM, counted["latency_ms", name] / 1000, labels)
        yield Sample(measured.LATENCY_COUNT, counted["latency_count", name], labels)


def _of_latencies(milliseconds: dict[str, list[float]]) -> Iterator[Sample]:
    for name, values in milliseconds.items():
        for metric, value in zip(measured.LATENCY.values(), values, strict=True):
            yield Sample(metric, value / 1000, {"destination": name})


def _of_studies(database: Database) -> Iterator[Sample]:
    counts = desk.counts(database, datetime.now(UTC))
    yield Sample(measured.STUDIES_PENDING, counts.pending_studies)
    yield Sample(measured.STUDIES_STUCK, counts.stuck_studies)
    yield Sample(measured.STUDIES_UNEVALUATED, counts.unevaluated)
    yield Sample(measured.OLDEST_PENDING, max(0.0, counts.oldest_pending_seconds or 0.0))


def _of_levels(database: Database) -> Iterator[Sample]:
    levels = desk.overdue(database)
    yield Sample(measured.OVERDUE, sum(level.deliveries for level in levels))
    yield Sample(measured.LATEST, max((level.late_seconds for level in levels), default=0.0))
    for level in levels:
        labels = {"route": level.route, "destination": level.destination}
        yield Sample(measured.ROUTE_OVERDUE, level.deliveries, labels)
        yield Sample(measured.ROUTE_LATEST, level.late_seconds, labels)


def _of_destinations(database: Database, health: dict[str, DestinationHealth]) -> Iterator[Sample]:
    unverified = {group.destination: group.deliveries for group in desk.unverified(database)}
    for name, each in health.items():
        labels = {"destination": name}
        yield from (Sample(measured.DESTINATION_UP, up, labels) for up in _reachable(each))
        if each.last_echo_ms is not None:
            yield Sample(measured.DESTINATION_ECHO, each.last_echo_ms / 1000, labels)
        yield Sample(measured.DESTINATION_WAITING, each.waiting, labels)
        yield Sample(measured.DESTINATION_STUCK, each.stuck, labels)
        yield Sample(measured.DESTINATION_UNVERIFIED, unverified.get(name, 0), labels)


def _reachable(health: DestinationHealth) -> Iterator[int]:
    """Nothing of one that was never asked and never sent to."""
    if health.breaker == "open":
        yield 0
    elif health.last_echo_at is not None and health.last_echo_ms is None:
        yield int(health.last_success_at is not None and health.last_success_at > health.last_echo_at)
    elif health.last_echo_at or health.last_success_at or health.last_failure_at:
        yield 1


def _of_services(said: Measures, router: Beat | None, gateway: Beat | None, *, has_gateway: bool) -> Iterator[Sample]:
    yield _up("router", router is not None and router.alive)
    yield from _if_known(measured.LAST_SIGN, said.router_seconds, service="router")
    if has_gateway:
        yield _up("gateway", gateway is not None and gateway.alive)
        yield from _if_known(measured.LAST_SIGN, said.gateway_seconds, service="gateway")


def _of_disks(settings: Settings) -> Iterator[Sample]:
    yield from _free(measured.STORAGE_FREE, settings.dicom_storage_path)
    if settings.gateway_port:
        yield from _free(measured.SPOOL_FREE, settings.gateway_spool)


def _free(metric: Metric, folder: Path) -> Iterator[Sample]:
    try:
        yield Sample(metric, shutil.disk_usage(folder).free)
    except OSError:
        return  # it is on another host, or not for us to see


def _up(service: str, is_up: bool) -> Sample:
    return Sample(measured.UP, int(is_up), {"service": service})


def _if_known(metric: Metric, value: float | None, **labels: str) -> Iterator[Sample]:
    if value is not None:
        yield Sample(metric, max(0.0, value), labels)
