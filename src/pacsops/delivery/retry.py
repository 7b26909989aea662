"""What follows a failed attempt: a decision, not a loop."""

from __future__ import annotations

from dataclasses import dataclass

from pacsops.delivery.model import OUTAGE, PERMANENT, ErrorClass
from pacsops.routes import RetryPolicy


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, in words for an operator."""

    error_class: ErrorClass
    reason: str
    dimse_status: int | None = None
    """What the destination answered (PS3.7 annex C), if it answered anything."""
    sop_class: str | None = None
    transfer_syntax: str | None = None
    """UIDs of the image it failed at, where that is known."""

    @property
    def permanent(self) -> bool:
        return self.error_class in PERMANENT

    @property
    def outage(self) -> bool:
        return self.error_class in OUTAGE


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """An operator's decision is needed, or the destination's return."""

    exhausted: bool
    """True: the attempts ran out. False: another attempt would end the same way."""


def next_attempt(policy: RetryPolicy, attempt: int, failure: Failure, jitter: float) -> Wait | Stuck:
    """What follows attempt number `attempt` (from 1). Pure; `jitter` in [-0.5, 0.5] comes from the caller."""
    if failure.permanent:
        return Stuck(exhausted=False)
    if attempt >= policy.max_attempts:
        return Stuck(exhausted=True)
    return Wait(seconds=policy.delay(attempt) * (1 + jitter))
