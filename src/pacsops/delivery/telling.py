"""What the logs of those who send say about a delivery."""

from __future__ import annotations

from pacsops.delivery.claims import Claim
from pacsops.delivery.outcomes import Failed
from pacsops.delivery.retry import Failure, Wait
from pacsops.observe.logs import EventLog
from pacsops.routes import Source


def about(claim: Claim) -> dict[str, object]:
    """The fields of every line about an attempt."""
    return {
        # The gateway's studies are known by their StudyInstanceUID, which has no place in a log.
        **({"study_id": claim.study_id} if claim.source == Source.ORTHANC else {}),
        "delivery_id": claim.delivery_id,
        "route": claim.route,
        "destination": claim.destination,
        "attempt": claim.attempt,
    }


def tell_failure(log: EventLog, claim: Claim, failure: Failure, outcome: Failed) -> None:
    """What an attempt met, and what follows; nothing where the claim was lost."""
    if not outcome.held:
        return
    said = {
        **about(claim),
        "max_attempts": claim.policy.max_attempts,
        "error_class": failure.error_class.value,
        "error": failure.reason,
    }
    log.error("send_failed", **said)
    if isinstance(outcome.decision, Wait):
        log.warning("send_retry_scheduled", **about(claim), wait_seconds=round(outcome.decision.seconds, 1))
    else:
        log.error("study_stuck", **said)
