"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.routes.durations import as_text, seconds_of


@given(st.integers(1, 10**6))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert seconds_of(as_text(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "20", "0m", "-1m", "1.5h", "20 m", "20min", "20M", "1h30m", "99999999d", "٣m"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.parametrize(("seconds", "text"), [(60, "1m"), (90, "90s"), (5400, "90m"), (172_800, "2d")])
def test_the_largest_unit_that_fits_is_used(seconds: int, text: str) -> None:
    assert as_text(seconds) == text
