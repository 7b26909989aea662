"""The delivery core once more, in Python and in memory: what PostgreSQL is compared with.

Time is a counter that ticks once a transaction, as the database's clock does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from pacsops.delivery.claims import Claim
from pacsops.delivery.model import OUTAGE, PERMANENT, ErrorClass, Status

FAILURES_TO_OPEN = 3
SUCCESSES_TO_CLOSE = 2
IN_FLIGHT = (Status.SENDING, Status.SENT)
FAR_AWAY = 10**9


@dataclass
class ModelDelivery:
    id: int
    destination: str
    wanted: set[str]
    priority: int
    max_attempts: int
    due: int | None
    """Tick from which it may be claimed; FAR_AWAY: when time passes."""
    status: Status = Status.PENDING
    delivered: set[str] = field(default_factory=set)
    attempting: set[str] = field(default_factory=set)
    attempts: int = 0
    claim: Claim | None = None
    worker: str | None = None
    expired: bool = False
    error_class: ErrorClass | None = None
    first_failed: int | None = None
    attempt_started: int = 0

    def settle(self, status: Status, due: int | None = None) -> None:
        """Leave the hands of whoever held it."""
        self.status, self.due = status, due
        self.attempting, self.claim, self.worker, self.expired = set(), None, None, False


@dataclass
class ModelDestination:
    concurrency: int
    breaker: str = "closed"
    failures: int = 0
    drained: int = 0
    last_success: int | None = None
    last_claimed: int = -1


class Model:
    def __init__(self, concurrency: dict[str, int]) -> None:
        self.now = 0
        self.deliveries: dict[int, ModelDelivery] = {}
        self.destinations = {name: ModelDestination(limit) for name, limit in concurrency.items()}

    def tick(self) -> int:
        self.now += 1
        return self.now

    def held(self) -> list[ModelDelivery]:
        return [delivery for delivery in self.deliveries.values() if delivery.claim is not None]

    def grow(self, delivery: ModelDelivery, instances: Collection[str]) -> bool:
        if (delivery.status, delivery.error_class) == (Status.STUCK, ErrorClass.VANISHED):
            delivery.wanted = delivery.delivered | set(instances)
            self._start_over(delivery)
            return True
        if delivery.status in (Status.SKIPPED, Status.CANCELLED) or set(instances) <= delivery.wanted:
            return False
        delivery.wanted |= set(instances)
        if delivery.status is Status.SUCCESS:
            delivery.attempts = 0
            delivery.settle(Status.PENDING, self.now)
        return True

    def claimable(self, destination: str, most: int) -> list[int]:
        """Ids that a claim of this destination takes now, the most urgent first."""
        there = self.destinations[destination]
        if there.breaker == "open":
            return []
        mine = [found for found in self.deliveries.values() if found.destination == destination]
        room = there.concurrency - sum(found.status in IN_FLIGHT for found in mine)
        most = 1 if there.breaker == "draining" else most
        due = sorted(
            (found.priority, found.due, found.id) for found in mine if found.due is not None and found.due <= self.now
        )
        return [delivery_id for _, _, delivery_id in due[: max(0, min(room, most))]]

    def claimed(self, claim: Claim, worker: str) -> None:
        delivery = self.deliveries[claim.delivery_id]
        delivery.settle(Status.SENDING)
        delivery.attempting = delivery.wanted - delivery.delivered
        delivery.attempts += 1
        delivery.claim, delivery.worker = claim, worker
        delivery.attempt_started = self.now
        self.destinations[delivery.destination].last_claimed = self.now

    def finish(self, delivery: ModelDelivery) -> None:
        delivery.delivered |= delivery.attempting
        delivery.error_class, delivery.first_failed = None, None
        if delivery.delivered == delivery.wanted:
            delivery.settle(Status.SUCCESS)
        else:
            delivery.attempts = 0
            delivery.settle(Status.PENDING, self.now)
        there = self.destinations[delivery.destination]
        was, before = there.breaker, there.last_success
        there.failures, there.last_success = 0, self.now
        if was == "open":
            there.breaker, there.drained = "draining", 0
        elif was == "draining":
            there.drained += 1
            there.breaker = "closed" if there.drained >= SUCCESSES_TO_CLOSE else was
        if was != "closed":
            self._revive(delivery.destination, before)

    def fail(self, delivery: ModelDelivery, error_class: ErrorClass) -> None:
        exhausted = delivery.attempts >= delivery.max_attempts and error_class not in PERMANENT
        delivery.error_class = error_class
        delivery.first_failed = first = delivery.first_failed or self.now
        if exhausted or error_class in PERMANENT:
            delivery.settle(Status.STUCK)
        else:
            delivery.settle(Status.FAILED, FAR_AWAY)
        if error_class not in OUTAGE:
            return
        there = self.destinations[delivery.destination]
        there.failures += 1
        nothing_arrived = there.last_success is None or there.last_success < first
        if there.breaker != "closed" or there.failures >= FAILURES_TO_OPEN or (exhausted and nothing_arrived):
            there.breaker = "open"

    def lack(self, delivery: ModelDelivery, lacking: Collection[str]) -> Status:
        delivery.delivered -= set(lacking)
        delivery.error_class = ErrorClass.NOT_KEPT
        if delivery.attempts >= delivery.max_attempts:
            delivery.settle(Status.STUCK)
        else:
            delivery.settle(Status.PENDING, FAR_AWAY)
        return delivery.status

    def release(self, delivery: ModelDelivery, error_class: ErrorClass) -> None:
        delivery.attempts -= 1
        delivery.error_class = error_class
        delivery.settle(Status.PENDING, self.now)

    def answered(self, destination: str) -> bool:
        there = self.destinations[destination]
        if there.breaker != "open":
            return False
        there.failures = 0
        there.breaker, there.drained = "draining", 0
        self._revive(destination, there.last_success)
        return True

    def retry(self, delivery: ModelDelivery, *, force: bool) -> None:
        if force and delivery.status is Status.SUCCESS:
            delivery.delivered = set()
        self._start_over(delivery)

    def chosen(self, applies: Callable[[ModelDelivery], bool]) -> Iterator[ModelDelivery]:
        return (delivery for delivery in self.deliveries.values() if applies(delivery))

    def _start_over(self, delivery: ModelDelivery) -> None:
        delivery.attempts, delivery.first_failed = 0, None
        delivery.settle(Status.PENDING, self.now)

    def _revive(self, destination: str, last_success: int | None) -> None:
        for delivery in self.deliveries.values():
            if (
                (delivery.destination, delivery.status) == (destination, Status.STUCK)
                and delivery.error_class in OUTAGE
                and (last_success is None or last_success < delivery.attempt_started)
            ):
                self._start_over(delivery)
