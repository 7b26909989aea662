"""What follows a failed attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.delivery.model import OUTAGE, PERMANENT, ErrorClass
from pacsops.delivery.retry import Failure, Stuck, Wait, next_attempt
from pacsops.routes import Backoff, RetryPolicy

REFUSED = Failure(ErrorClass.REFUSED, "Connection refused")

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    backoff=st.sampled_from(Backoff),
    initial_delay=st.floats(0, 86_400),
)
failures = st.builds(Failure, st.sampled_from(ErrorClass), st.just("why"))
jitters = st.floats(-0.5, 0.5)


def test_no_error_class_is_both_an_outage_and_permanent() -> None:
    assert not OUTAGE & PERMANENT


@pytest.mark.parametrize("error_class", sorted(PERMANENT))
def test_a_permanent_failure_is_not_tried_again(error_class: ErrorClass) -> None:
    assert next_attempt(RetryPolicy(max_attempts=9), 1, Failure(error_class, "why"), 0.0) == Stuck(exhausted=False)


@pytest.mark.parametrize("error_class", sorted(set(ErrorClass) - PERMANENT))
def test_any_other_failure_is_tried_as_often_as_the_route_says(error_class: ErrorClass) -> None:
    policy = RetryPolicy(max_attempts=3)
    failure = Failure(error_class, "why")

    decisions = [next_attempt(policy, attempt, failure, 0.0) for attempt in (1, 2, 3, 4)]

    assert [type(decision) for decision in decisions] == [Wait, Wait, Stuck, Stuck]
    assert decisions[-1] == Stuck(exhausted=True)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff.CONSTANT, [60, 60, 60, 60]),
        (Backoff.LINEAR, [60, 120, 180, 240]),
        (Backoff.EXPONENTIAL, [60, 120, 240, 480]),
    ],
)
def test_waits_grow_as_the_route_says(backoff: Backoff, waits: list[float]) -> None:
    policy = RetryPolicy(max_attempts=9, backoff=backoff, initial_delay=60)

    assert [next_attempt(policy, n, REFUSED, 0.0) for n in (1, 2, 3, 4)] == [Wait(seconds) for seconds in waits]


def test_jitter_spreads_what_failed_together() -> None:
    policy = RetryPolicy(initial_delay=60)

    assert next_attempt(policy, 1, REFUSED, -0.5) == Wait(30)
    assert next_attempt(policy, 1, REFUSED, 0.5) == Wait(90)


@given(policies, st.integers(1, 2000), failures, jitters)
def test_every_attempt_leads_to_a_bounded_wait_or_to_a_person(
    policy: RetryPolicy, attempt: int, failure: Failure, jitter: float
) -> None:
    match next_attempt(policy, attempt, failure, jitter):
        case Wait(seconds):
            assert attempt < policy.max_attempts
            assert not failure.permanent
            assert 0 <= seconds <= 1.5 * max(policy.cap, policy.initial_delay)
        case Stuck(exhausted):
            assert exhausted is not failure.permanent
            assert failure.permanent or attempt >= policy.max_attempts
