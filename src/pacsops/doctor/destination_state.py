"""How a destination stands: what Orthanc knows of it, what the deliveries met there, which routes use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pacsops.delivery.model import DestinationHealth
from pacsops.doctor.rules import Rules
from pacsops.orthanc import Modality
from pacsops.words import ago, deliveries, moment

SLOW_MS = 1000
"""A C-ECHO that takes longer is worth a warning."""

RIGHTS = ("store", "find", "move", "get")
"""What a destination may be let do besides C-ECHO."""

State = Literal["reachable", "slow", "failing", "down", "recovering", "unused", "not configured", "unknown"]

_SIGNS: Mapping[State, str] = {
    "reachable": "✅",
    "slow": "⚠",
    "failing": "⚠",
    "down": "❌",
    "recovering": "⏳",
    "unused": "–",
    "not configured": "❌",
    "unknown": "–",
}


@dataclass(frozen=True, slots=True)
class DestinationState:
    """One destination. `registered`: Orthanc or the gateway has it; None when Orthanc could not be asked."""

    name: str
    registered: bool | None
    modality: Modality | None
    health: DestinationHealth | None
    routes: tuple[str, ...]
    asked: bool = True
    """False: how deliveries went there could not be asked."""
    senders: tuple[str, ...] = ()
    """Who can send there: orthanc, gateway."""

    @property
    def state(self) -> State:
        health = self.health
        if self.registered is False or not self.asked:
            return "unknown" if self.registered is not False else "not configured"
        if health is None or not (health.last_success_at or health.last_failure_at or health.last_echo_at):
            return "failing" if health and health.stuck else "unused"
        if health.breaker == "open":
            return "down"
        if health.breaker == "draining" and health.waiting:
            return "recovering"
        if health.consecutive_failures:
            return "failing"
        return "slow" if (health.last_echo_ms or 0) > SLOW_MS else "reachable"

    @property
    def shown(self) -> str:
        """Sign and words for a table."""
        words: str = self.state
        health = self.health
        if self.state == "slow" and health and health.last_echo_ms:
            words = f"slow ({health.last_echo_ms / 1000:.1f}s)"
        elif self.state == "down" and health and health.opened_at:
            words = f"down since {moment(health.opened_at)}"
        elif self.state == "failing" and health:
            words = f"failing ({health.consecutive_failures}x)" if health.consecutive_failures else "failing"
        return f"{_SIGNS[self.state]} {words}"

    @property
    def owed(self) -> str:
        """`3 waiting, 1 stuck`, empty when nothing is open."""
        waiting, stuck = (self.health.waiting, self.health.stuck) if self.health else (0, 0)
        parts = (f"{waiting} waiting" if waiting else "", f"{stuck} stuck" if stuck else "")
        return ", ".join(part for part in parts if part)

    @property
    def last_success(self) -> str:
        if not self.asked:
            return "unknown"
        return ago(self.health.last_success_at) if self.health and self.health.last_success_at else "never"

    @property
    def remedy(self) -> str:
        """The command that helps with the issue."""
        if self.state == "not configured":
            return f"`orthanc add-destination --name {self.name}`, or `orthanc show-pending` and cancel what waits"
        return f"`orthanc test-destination {self.name}`"

    @property
    def issue(self) -> tuple[Literal["warning", "error"], str] | None:
        """What needs attention here, if anything."""
        health = self.health
        if health is None or self.state in ("unused", "reachable", "recovering", "unknown"):
            return None
        if self.state == "not configured":
            return self._missing(health.waiting + health.stuck)
        if self.state == "down":
            since = f" since {moment(health.opened_at)}" if health.opened_at else ""
            why = f" ({health.open_reason})" if health.open_reason else ""
            held_up = f"; {deliveries(health.waiting)} held up until it answers" if health.waiting else ""
            return "error", f"{self.name} is down{since}{why}{held_up}."
        if self.state == "failing":
            if not health.consecutive_failures:
                return None  # what it refuses is stuck, and told as such
            often = "once" if health.consecutive_failures == 1 else f"{health.consecutive_failures}x in a row"
            return "warning", f"{self.name} failed {often}: {health.last_error}."
        return "warning", f"{self.name} answers slowly ({health.last_echo_ms} ms)."

    def _missing(self, owed: int) -> tuple[Literal["warning"], str] | None:
        if self.routes or not owed:
            return None  # what routes name is told with the routes
        return (
            "warning",
            f"Orthanc does not know {self.name}; {deliveries(owed)} {'waits' if owed == 1 else 'wait'} for it.",
        )

    def as_dict(self) -> dict[str, Any]:
        modality, health = self.modality, self.health
        return {
            "name": self.name,
            "registered": self.registered,
            "senders": list(self.senders),
            "aet": modality.aet if modality else None,
            "host": modality.host if modality else None,
            "port": modality.port if modality else None,
            "tls": modality.use_dicom_tls if modality else None,
            "state": self.state,
            "breaker": health.breaker if health else None,
            "max_concurrency": health.max_concurrency if health else None,
            "verify": health.verify if health else "none",
            "gateway_verify": health.gateway_verify if health else "none",
            "transport": health.transport if health else "orthanc",
            "down_since": health.opened_at if health else None,
            "down_reason": health.open_reason if health else None,
            "last_success_at": health.last_success_at if health else None,
            "last_failure_at": health.last_failure_at if health else None,
            "last_error": health.last_error if health else None,
            "last_echo_at": health.last_echo_at if health else None,
            "last_echo_ms": health.last_echo_ms if health else None,
            "waiting": health.waiting if health else 0,
            "stuck": health.stuck if health else 0,
            "routes": list(self.routes),
        }


def destination_states(
    modalities: Mapping[str, Modality] | None,
    health: Mapping[str, DestinationHealth] | None,
    rules: Rules | None,
    gateway: Mapping[str, Modality],
    pools: Mapping[str, Collection[str]],
) -> list[DestinationState]:
    """Every destination that Orthanc, the gateway, an open delivery or a route in force knows, by name.

    What nobody knows any longer and nothing waits for is past: it is left out. What could not be asked is None.

    Args:
        gateway: the gateway's destinations.
        pools: the gateway's pools, each with its members: who names one names those.
    """
    asked, health = health is not None, health or {}
    used = rules.table.destinations - pools.keys() if rules else frozenset[str]()
    owed = {name for name, row in health.items() if row.waiting or row.stuck or modalities is None}
    return [
        DestinationState(
            name=name,
            registered=True if name in gateway else None if modalities is None else name in modalities,
            modality=(modalities or {}).get(name) or gateway.get(name),
            health=health.get(name),
            routes=rules.naming(name, *(pool for pool, members in pools.items() if name in members)) if rules else (),
            asked=asked,
            senders=(
                *(("orthanc",) if name in (modalities or {}) else ()),
                *(("gateway",) if name in gateway else ()),
            ),
        )
        for name in sorted({*(modalities or {}), *gateway, *owed, *used})
    ]


def address(modality: Modality) -> str:
    """`AET @ host:port`."""
    return f"{modality.aet} @ {modality.host}:{modality.port}{' (TLS)' if modality.use_dicom_tls else ''}"


def configuration(modality: Modality, concurrency: int | None = None) -> list[tuple[str, str]]:
    """Labels and values for a page."""
    values = asdict(modality)
    rights = ", ".join(right for right in ("echo", *RIGHTS) if values[f"allow_{right}"])
    rows = [
        ("Name", modality.name),
        ("AE Title", modality.aet),
        ("Host", modality.host),
        ("Port", str(modality.port)),
        *([("TLS", "yes")] if modality.use_dicom_tls else []),
        ("May ask for", rights or "nothing"),
    ]
    return [*rows, ("At once", deliveries(concurrency))] if concurrency else rows
