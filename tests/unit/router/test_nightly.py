"""When the night's reconciliation is to be done."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.router.nightly import LATEST, night_of

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1))


@pytest.mark.parametrize(
    ("now", "at", "night"),
    [
        ("2026-02-03T02:29", "02:30", None),
        ("2026-02-03T02:30", "02:30", "2026-02-03"),
        ("2026-02-03T08:29", "02:30", "2026-02-03"),
        ("2026-02-03T08:31", "02:30", None),
        ("2026-02-03T23:45", "23:30", "2026-02-03"),
        ("2026-02-04T01:00", "23:30", "2026-02-03"),
    ],
)
def test_a_night_begins_at_its_hour_and_lasts_some_hours_past_midnight_too(
    now: str, at: str, night: str | None
) -> None:
    found = night_of(datetime.fromisoformat(now), time.fromisoformat(at))

    assert found == (date.fromisoformat(night) if night else None)


@given(moments, st.times())
def test_every_hour_of_the_clock_comes_once_a_day(now: datetime, at: time) -> None:
    begins = datetime.combine(now.date(), at)

    assert night_of(begins, at) == begins.date()
    assert night_of(begins + LATEST - timedelta(seconds=1), at) == begins.date()
    assert night_of(begins + LATEST, at) is None
