"""Every metric of a site. docs/monitoring.md has the same table; a test compares them.

None has a label whose values grow with the studies, and none could name a patient.
"""

from __future__ import annotations

from typing import Final

from pacsops.observe.metrics import Kind, Metric

_GIGABYTES = 1e-9
_MILLISECONDS = 1000
QUANTILES: Final = (0.5, 0.95, 0.99)
_ROUTING = "orthanc_routing_"
_LATENCY = "orthanc_routing_latency_seconds"
_LATENCY_HELP = (
    "Time from the promise of a delivery, or from when it was taken up again, until all of it had arrived; quantiles"
    " are of the last five minutes"
)


def _of_destination(name: str, kind: Kind, help_: str, graphite: str, scale: float = 1) -> Metric:
    return Metric(name=name, kind=kind, help=help_, labels=("destination",), graphite=graphite, scale=scale)


def _gauge(name: str, help_: str, graphite: str, scale: float = 1) -> Metric:
    return Metric(name=name, kind="gauge", help=help_, graphite=graphite, scale=scale)


def _attempts(what: str, help_: str) -> Metric:
    return _of_destination(f"{_ROUTING}{what}_total", "counter", help_, f"routing.{{destination}}.{what}")


UP: Final = Metric(
    name="orthanc_up",
    kind="gauge",
    help="1: orthanc and postgres answered, router and gateway gave a sign of life in the last 15 seconds; 0: not so",
    labels=("service",),
    graphite="up.{service}",
)
LAST_SIGN: Final = Metric(
    name="orthanc_last_sign_of_life_seconds",
    kind="gauge",
    help="Age of the last sign of life of the router, and of the gateway",
    labels=("service",),
    graphite="last_sign_of_life_seconds.{service}",
)

RECEIVED: Final = Metric(
    name=f"{_ROUTING}received_total", kind="counter", help="Studies received", graphite="routing.received"
)
MATCHED: Final = Metric(
    name=f"{_ROUTING}matched_total",
    kind="counter",
    help="Studies of which a route promised a delivery",
    graphite="routing.matched",
)
SENT: Final = _attempts("sent", "Attempts to send a delivery that were begun")
SUCCESS: Final = _attempts("success", "Attempts that arrived")
FAILED: Final = _attempts("failed", "Attempts that failed, the last ones of what is stuck among them")
STUCK: Final = _attempts("stuck", "Times a delivery got stuck")
SKIPPED: Final = _attempts("skipped", "Deliveries an operator skipped")

LATENCY: Final = {
    quantile: Metric(
        name=_LATENCY,
        kind="summary",
        help=_LATENCY_HELP,
        labels=("destination",),
        fixed={"quantile": f"{quantile:g}"},
        graphite=f"routing.{{destination}}.latency_ms.p{100 * quantile:.0f}",
        scale=_MILLISECONDS,
    )
    for quantile in QUANTILES
}
LATENCY_SUM: Final = Metric(
    name=f"{_LATENCY}_sum",
    kind="summary",
    help=_LATENCY_HELP,
    labels=("destination",),
    graphite="routing.{destination}.latency_ms.sum",
    scale=_MILLISECONDS,
    of=_LATENCY,
)
LATENCY_COUNT: Final = Metric(
    name=f"{_LATENCY}_count",
    kind="summary",
    help=_LATENCY_HELP,
    labels=("destination",),
    graphite="routing.{destination}.latency_ms.count",
    of=_LATENCY,
)

STUDIES: Final = _gauge("orthanc_studies", "Studies Orthanc holds", "studies.total")
STUDIES_PENDING: Final = _gauge(
    "orthanc_studies_pending", "Studies with deliveries that will proceed by themselves", "studies.pending"
)
STUDIES_STUCK: Final = _gauge("orthanc_studies_stuck", "Studies with deliveries that need somebody", "studies.stuck")
STUDIES_UNEVALUATED: Final = _gauge(
    "orthanc_studies_unevaluated", "Studies no route could be asked about", "studies.unevaluated"
)
OLDEST_PENDING: Final = _gauge(
    "orthanc_oldest_pending_seconds",
    "For how long the oldest pending delivery has been waiting; 0: none is",
    "studies.oldest_pending_seconds",
)

OVERDUE: Final = _gauge(
    "orthanc_deliveries_overdue",
    "Deliveries that are open for longer than their route's deliver_within",
    "deliveries.overdue",
)
LATEST: Final = _gauge(
    "orthanc_deliveries_overdue_longest_seconds",
    "By how much the latest of them is late; 0: none is",
    "deliveries.overdue_longest_seconds",
)
ROUTE_OVERDUE: Final = Metric(
    name="orthanc_route_overdue_deliveries",
    kind="gauge",
    help="The same for one route and destination; absent while none is late",
    labels=("route", "destination"),
    graphite="overdue.{route}.{destination}.deliveries",
)
ROUTE_LATEST: Final = Metric(
    name="orthanc_route_overdue_longest_seconds",
    kind="gauge",
    help="By how much its latest is late; absent while none is",
    labels=("route", "destination"),
    graphite="overdue.{route}.{destination}.longest_seconds",
)

DESTINATION_UP: Final = _of_destination(
    "orthanc_destination_up",
    "gauge",
    "1: reachable; 0: its breaker is open, or it did not answer the last C-ECHO and took nothing since",
    "destinations.{destination}.up",
)
DESTINATION_ECHO: Final = _of_destination(
    "orthanc_destination_echo_seconds",
    "gauge",
    "Time of its last C-ECHO; absent when that failed",
    "destinations.{destination}.echo_ms",
    _MILLISECONDS,
)
DESTINATION_WAITING: Final = _of_destination(
    "orthanc_destination_waiting_deliveries",
    "gauge",
    "Deliveries to it that will proceed by themselves",
    "destinations.{destination}.waiting",
)
DESTINATION_STUCK: Final = _of_destination(
    "orthanc_destination_stuck_deliveries",
    "gauge",
    "Deliveries to it that need somebody",
    "destinations.{destination}.stuck",
)
DESTINATION_UNVERIFIED: Final = _of_destination(
    "orthanc_destination_unverified_deliveries",
    "gauge",
    "Deliveries it took and could not be asked about",
    "destinations.{destination}.unverified",
)

STORAGE_SIZE: Final = _gauge(
    "orthanc_storage_size_bytes", "Size of the images Orthanc holds", "storage.size_gb", _GIGABYTES
)
STORAGE_FREE: Final = _gauge(
    "orthanc_storage_free_bytes",
    "Free where Orthanc keeps its images; absent where that folder cannot be seen",
    "storage.free_gb",
    _GIGABYTES,
)
SPOOL_FREE: Final = _gauge(
    "orthanc_spool_free_bytes",
    "Free where the gateway keeps what it received; absent where that folder cannot be seen",
    "storage.spool_free_gb",
    _GIGABYTES,
)
DATABASE_SIZE: Final = _gauge(
    "orthanc_database_size_bytes",
    "Size of the databases on PostgreSQL that pacsops may look at",
    "storage.database_gb",
    _GIGABYTES,
)
BACKUP_AGE: Final = _gauge(
    "orthanc_backup_age_seconds", "Age of the last backup that went well; absent before it", "backup.age_seconds"
)
VERIFIED_AGE: Final = _gauge(
    "orthanc_backup_verified_age_seconds",
    "Age of the last trial restore that went well; absent before it",
    "backup.verified_age_seconds",
)

ALL: Final = tuple(
    metric
    for each in list(vars().values())
    for metric in (each.values() if isinstance(each, dict) else (each,))
    if isinstance(metric, Metric)
)
