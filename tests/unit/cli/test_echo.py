"""What an operator is told of a destination's answer, and of how it has been doing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from pacsops.cli import echo as echoes
from pacsops.delivery.model import DestinationHealth
from pacsops.doctor.destination_state import DestinationState
from pacsops.doctor.echo_meaning import meaning
from pacsops.orthanc import Echo, JobFailure, Modality
from pacsops.orthanc.failures import FailureKind

MODLINK = Modality(name="MODLINK", aet="MODLINK_AE", host="10.0.0.1", port=104)
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("outcome", "exit_code"),
    [
        (Echo(ok=True, milliseconds=1000, failure=None), 0),
        (Echo(ok=True, milliseconds=1001, failure=None), 1),
        (Echo(ok=False, milliseconds=3, failure=JobFailure("refused", "connection refused")), 2),
    ],
)
def test_the_exit_code_tells_answered_slow_and_silent(outcome: Echo, exit_code: int) -> None:
    document = echoes.as_document(outcome, MODLINK, "ORTHANC")

    assert document["exit_code"] == exit_code
    assert document["slow"] is (exit_code == 1)


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_every_kind_of_failure_has_a_meaning_and_a_next_step(kind: FailureKind) -> None:
    outcome = Echo(ok=False, milliseconds=3, failure=JobFailure(kind, "words"))
    said = meaning(outcome, MODLINK, "ORTHANC")

    assert said is not None
    assert all(said)
    assert "{" not in "".join(said)


def state(*, registered: bool | None = True, **values: Any) -> DestinationState:
    health = None
    if values:
        known: dict[str, Any] = dict.fromkeys(DestinationHealth.__dataclass_fields__)
        known |= {"destination": "MODLINK", "breaker": "closed", "max_concurrency": 2, "consecutive_failures": 0}
        health = DestinationHealth(**{**known, "waiting": 0, "stuck": 0, **values})
    return DestinationState("MODLINK", registered, MODLINK, health, ())


@pytest.mark.parametrize(
    ("destination", "name", "severity"),
    [
        (state(), "unused", None),
        (state(last_success_at=NOW), "reachable", None),
        (state(last_success_at=NOW, last_echo_ms=2300), "slow", "warning"),
        (state(last_failure_at=NOW, consecutive_failures=2, last_error="timeout"), "failing", "warning"),
        (state(last_failure_at=NOW, breaker="open", opened_at=NOW, open_reason="refused"), "down", "error"),
        (state(last_echo_at=NOW, breaker="draining", waiting=1), "recovering", None),
        (state(last_echo_at=NOW, breaker="draining"), "reachable", None),
        (state(stuck=3), "failing", None),
        (state(registered=False, breaker="open", last_failure_at=NOW), "not configured", None),
        (state(registered=False, last_failure_at=NOW, waiting=1), "not configured", "warning"),
        (state(registered=None, last_success_at=NOW), "reachable", None),
    ],
)
def test_a_destinations_state_follows_from_what_deliveries_met_there(
    destination: DestinationState, name: str, severity: str | None
) -> None:
    assert destination.state == name
    assert (destination.issue[0] if destination.issue else None) == severity
    assert destination.as_dict()["state"] == name
    assert destination.shown.split(" ", 1)[1].startswith(name)
