"""Each delivery that waits says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pacsops.cli.waiting import reasons
from pacsops.delivery.model import Delivery, DestinationHealth, Status

NOW = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)


def a_delivery(**values: Any) -> Delivery:
    known: dict[str, Any] = dict.fromkeys(Delivery.__dataclass_fields__)
    known |= {
        "id": 1,
        "destination": "MODLINK",
        "status": Status.PENDING,
        "attempt_count": 0,
        "max_attempts": 3,
        "next_retry_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Delivery(**{**known, **values})


def health(**values: Any) -> dict[str, DestinationHealth]:
    known: dict[str, Any] = dict.fromkeys(DestinationHealth.__dataclass_fields__)
    known |= {"destination": "MODLINK", "breaker": "closed", "max_concurrency": 2, "consecutive_failures": 0}
    return {"MODLINK": DestinationHealth(**{**known, "waiting": 0, "stuck": 0, **values})}


DOWN = {"breaker": "open", "opened_at": NOW, "open_reason": "connection refused", "next_probe_at": NOW}


@pytest.mark.parametrize(
    ("delivery", "destination", "said"),
    [
        ({"status": Status.SENT, "job_id": "job-123"}, {}, "job job-123"),
        ({"status": Status.FAILED, "attempt_count": 1}, DOWN, "MODLINK is down since"),
        (
            {
                "status": Status.FAILED,
                "attempt_count": 1,
                "last_error": "timeout",
                "next_retry_at": NOW + timedelta(minutes=2, seconds=30),
            },
            {},
            "attempt 2 of 3 in 2m: timeout",
        ),
        ({"next_retry_at": NOW + timedelta(hours=1, seconds=30)}, {}, "due in 1h"),
        ({}, {"breaker": "draining"}, "backlog"),
        ({}, {}, "due now"),
    ],
)
def test_the_reason_names_what_is_waited_for(
    delivery: dict[str, Any], destination: dict[str, Any], said: str
) -> None:
    assert said in reasons([a_delivery(**delivery)], health(**destination), NOW)[1]


def test_what_is_in_line_behind_others_says_so() -> None:
    busy = [a_delivery(id=number, status=Status.SENDING) for number in (1, 2)]

    assert reasons([*busy, a_delivery(id=3)], health(), NOW)[3] == "in line: MODLINK is sent 2 at a time"


def test_a_destination_nobody_has_heard_of_is_no_error() -> None:
    assert reasons([a_delivery()], {}, NOW) == {1: "due now"}
