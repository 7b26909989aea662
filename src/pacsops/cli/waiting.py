"""Why a delivery that is not done yet waits (or is stuck), in an operator's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from pacsops.cli.render import count, moment, soon
from pacsops.delivery.model import Delivery, DestinationHealth, Status

_IN_FLIGHT = frozenset({Status.SENDING, Status.SENT})


def reasons(deliveries: Iterable[Delivery], health: Mapping[str, DestinationHealth], now: datetime) -> dict[int, str]:
    """By delivery number, why each waits. `deliveries` holds everything open at its destinations."""
    deliveries = list({delivery.id: delivery for delivery in deliveries}.values())
    busy = Counter(delivery.destination for delivery in deliveries if delivery.status in _IN_FLIGHT)
    return {
        delivery.id: _stuck(delivery)
        if delivery.status is Status.STUCK
        else _reason(delivery, health.get(delivery.destination), busy[delivery.destination], now)
        for delivery in deliveries
    }


def _reason(delivery: Delivery, health: DestinationHealth | None, in_flight: int, now: datetime) -> str:
    if delivery.status in _IN_FLIGHT:
        job = f", job {delivery.job_id}" if delivery.job_id else ""
        return f"being sent since {moment(delivery.updated_at)}{job}"
    if health is not None and health.breaker == "open":
        return _down(delivery.destination, health, now)
    due = delivery.next_retry_at
    if due is not None and due > now:
        return _not_yet(delivery, due, now)
    if health is not None and health.breaker == "draining":
        return f"{delivery.destination} is back, its backlog is sent bit by bit"
    if health is not None and in_flight >= health.max_concurrency:
        return f"in line: {delivery.destination} is sent {health.max_concurrency} at a time"
    return "due now"


def _stuck(delivery: Delivery) -> str:
    return f"stuck after {count(delivery.attempt_count, 'attempt')}: {delivery.last_error or 'no reason recorded'}"


def _not_yet(delivery: Delivery, due: datetime, now: datetime) -> str:
    reason = f": {delivery.last_error}" if delivery.last_error else ""
    if delivery.status is not Status.FAILED:
        return f"due {soon(due, now)}{reason}"
    return f"attempt {delivery.attempt_count + 1} of {delivery.max_attempts} {soon(due, now)}{reason}"


def _down(destination: str, health: DestinationHealth, now: datetime) -> str:
    since = f" since {moment(health.opened_at)}" if health.opened_at else ""
    why = f" ({health.open_reason})" if health.open_reason else ""
    asked = f", asked again {soon(health.next_probe_at, now)}" if health.next_probe_at else ""
    return f"{destination} is down{since}{why}{asked}"
