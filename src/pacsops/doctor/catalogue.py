"""Every check, in the order of a report."""

from __future__ import annotations

from collections.abc import Collection

from pacsops.doctor.check import Check
from pacsops.doctor.checks import (
    backup,
    clock,
    database,
    destinations,
    drills,
    gateway,
    orthanc,
    routing,
    services,
    site,
    storage,
)

CHECKS: tuple[Check, ...] = (
    site.settings,
    services.services,
    orthanc.orthanc,
    orthanc.dicom_port,
    routing.router,
    gateway.gateway,
    drills.gateway_faults,
    clock.clock,
    site.certificates,
    database.database,
    database.schema,
    database.durability,
    database.connections,
    database.database_size,
    storage.storage_writable,
    storage.storage_space,
    storage.storage_runway,
    storage.folders,
    gateway.gateway_spool,
    orthanc.orthanc_settings,
    destinations.destination_echo,
    gateway.gateway_destinations,
    destinations.destination_deliveries,
    destinations.stuck_by_outage,
    routing.routes,
    routing.routes_destinations,
    routing.routes_unused,
    routing.routes_shadowed,
    routing.stuck,
    routing.overdue,
    routing.waiting,
    routing.unverified,
    routing.unevaluated,
    backup.backup,
    backup.restore_verified,
    services.logs,
)

QUICK: tuple[Check, ...] = (
    orthanc.orthanc,
    database.database,
    database.schema,
    storage.storage_space,
    gateway.gateway_spool,
    routing.router,
    gateway.gateway,
    drills.gateway_faults,
    routing.stuck,
    routing.overdue,
    routing.unverified,
    routing.unevaluated,
    routing.routes,
    routing.routes_destinations,
    destinations.destination_deliveries,
)
"""Those that `orthanc status` judges by too: nothing that takes long, no C-ECHO."""


def chosen(only: Collection[str], *, host_only: bool = False) -> tuple[Check, ...]:
    """The checks of these ids (all of them for none); `host_only` leaves out what is the same from every host.

    Raises:
        KeyError: no check has one of the ids.
    """
    known = {each.id: each for each in CHECKS}
    wanted = {known[id_].id for id_ in only} or set(known)
    return tuple(each for each in CHECKS if each.id in wanted and not (host_only and each.scope == "site"))
