from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.cli.parameters import Since, confirm


@pytest.mark.parametrize(
    ("text", "age"),
    [("90s", timedelta(seconds=90)), ("24h", timedelta(hours=24)), ("7d", timedelta(days=7)), ("2w", timedelta(14))],
)
def test_an_age_is_a_moment_that_long_ago(text: str, age: timedelta) -> None:
    before = datetime.now(UTC)
    since = Since().convert(text, None, None)

    assert before - age <= since <= datetime.now(UTC) - age


def test_a_date_is_its_first_moment_in_local_time() -> None:
    since = Since().convert("2026-02-03", None, None)

    assert since.tzinfo is not None
    assert since.replace(tzinfo=None) == datetime(2026, 2, 3)


@given(st.text())
def test_anything_else_is_a_usage_error_that_shows_how_to_say_it(text: str) -> None:
    try:
        since = Since().convert(text, None, None)
    except click.BadParameter as error:
        assert "24h" in error.message
    else:
        assert since.tzinfo is not None


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacsops.cli.parameters.someone_is_there", lambda: False)

    with pytest.raises(click.UsageError, match="--yes"):
        confirm("Remove it?", yes=False)
    assert confirm("Remove it?", yes=True)
