"""A line of the log is what a machine and a person can both read, and names no patient."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

from pacsops.observe.logs import EventLog, write_to


def _line(event: str = "send_failed", **fields: object) -> str:
    stream = io.StringIO()
    write_to(stream)
    EventLog("routing").error(event, **fields)
    return stream.getvalue()


def test_a_line_has_time_level_component_event_and_fields_in_order() -> None:
    line = _line(study_id="abc-123", destination="MERCURE", error="connection refused", attempt=1)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR \[routing\] send_failed study_id=abc-123 "
        r'destination=MERCURE error="connection refused" attempt=1\n',
        line,
    )


def test_what_could_name_a_patient_is_left_out() -> None:
    line = _line(study_id="abc", patient_name="DOE^JOHN", patient_id="4711", study_uid="1.2.3", accession_number="A1")

    assert line.endswith("send_failed study_id=abc\n")


def test_a_hostile_value_cannot_forge_a_line() -> None:
    line = _line(error='x"\n2026-01-01T00:00:00Z INFO  [routing] send_success\u2028 \x1b[2J')

    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\u2028" not in line


def test_what_is_not_known_is_not_said_and_moments_are_utc() -> None:
    assert _line(job_id=None, wait_seconds=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)).endswith(
        "send_failed wait_seconds=2026-01-02T03:04:05Z\n"
    )
