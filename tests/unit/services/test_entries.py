"""Every service's own way of writing a line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.services.entries import Line, understood
from pacsops.services.host import LogFormat

FORMATS: tuple[LogFormat, ...] = ("logfmt", "orthanc", "postgresql", "nginx", "text")


def test_our_own_lines_are_read_back_with_every_value() -> None:
    text = (
        "2026-02-03T10:30:47.120Z ERROR [routing] send_failed study_id=6b9e19d9 destination=MERCURE attempt=1"
        ' error="connection refused: \\"no\\" = no"'
    )
    entry, alone = understood(Line("router", text), "logfmt")

    assert alone
    assert entry.at == datetime(2026, 2, 3, 10, 30, 47, 120_000, UTC)
    assert (entry.level, entry.component, entry.event) == ("ERROR", "routing", "send_failed")
    assert entry.fields["error"] == 'connection refused: "no" = no'
    assert entry.fields["attempt"] == "1"
    assert entry.line == text


@pytest.mark.parametrize(
    ("text", "level", "component", "message"),
    [
        ("W1121 09:18:33.387545 main.cpp:1314] DICOM server listening", "WARN", "main.cpp", "DICOM server listening"),
        (
            "E1121 09:18:33.387545    DICOM-SERVER DicomServer.cpp:10] (dicom) Bad peer",
            "ERROR",
            "DicomServer.cpp",
            "(dicom) Bad peer",
        ),
        ("I1121 09:18:33.387545 HttpServer.cpp:1] (http) GET /x", "INFO", "HttpServer.cpp", "(http) GET /x"),
    ],
)
def test_orthancs_lines_of_older_and_newer_versions(text: str, level: str, component: str, message: str) -> None:
    entry, alone = understood(Line("orthanc", text), "orthanc")

    assert alone
    assert (entry.level, entry.component, entry.message) == (level, component, message)
    assert entry.at is not None
    assert entry.at.astimezone().strftime("%m%d %H:%M:%S") == "1121 09:18:33"
    assert entry.at < datetime.now(UTC) + timedelta(days=2), "the year it does not say is not in the future"


def test_the_runtimes_clock_wins_where_a_line_says_no_zone() -> None:
    at = datetime(2026, 11, 21, 8, 18, 33, tzinfo=UTC)

    assert understood(Line("orthanc", "W1121 09:18:33.387545 main.cpp:1] x", at), "orthanc")[0].at == at
    assert understood(Line("viewer", "2026/11/21 09:18:33 [warn] 7#7: x", at), "nginx")[0].at == at


def test_postgresqls_lines_with_and_without_a_session() -> None:
    plain, _ = understood(
        Line("postgres", "2026-11-21 09:23:14.777 UTC [2319] LOG:  checkpoint starting: time"), "postgresql"
    )
    session, _ = understood(
        Line("postgres", '2026-11-21 09:18:33.352 UTC [3935] orthanc@orthanc [unknown] ERROR:  no "pg_trgm"'),
        "postgresql",
    )

    assert (plain.level, plain.message) == ("INFO", "checkpoint starting: time")
    assert plain.at == datetime(2026, 11, 21, 9, 23, 14, 777_000, UTC)
    assert (session.level, session.component, session.message) == ("ERROR", "orthanc@orthanc", 'no "pg_trgm"')


def test_a_hint_belongs_to_the_error_before_it() -> None:
    prefix = "2026-11-21 09:18:33.352 UTC [3935] orthanc@orthanc [unknown] "
    error, _ = understood(Line("postgres", f"{prefix}ERROR:  no such extension"), "postgresql")
    hint, alone = understood(Line("postgres", f"{prefix}HINT:  Install it."), "postgresql")

    assert not alone
    assert (hint.after(error).level, hint.after(error).at) == ("ERROR", error.at)


def test_nginx_tells_errors_and_who_looked() -> None:
    error, _ = understood(Line("viewer", "2026/02/03 10:30:15 [error] 12#12: *1 connect() failed"), "nginx")
    access = (
        'time=2026-02-03T11:30:15+01:00 client=10.0.0.1 user="dr house" method=GET'
        ' path="/dicom-web/studies" status={} bytes=12 seconds=0.010'
    )
    looked, _ = understood(Line("viewer", access.format(200)), "nginx")
    failed, _ = understood(Line("viewer", access.format(502)), "nginx")

    assert (error.level, error.message) == ("ERROR", "*1 connect() failed")
    assert looked.at == datetime(2026, 2, 3, 10, 30, 15, tzinfo=UTC)
    assert (looked.level, looked.fields["user"]) == ("INFO", "dr house")
    assert failed.level == "ERROR"


def test_what_systemd_says_of_a_service_keeps_its_weight() -> None:
    line = Line("router", "pacsops-router.service: Main process exited, code=killed", level="WARN", by="systemd")
    entry, alone = understood(line, "logfmt")

    assert alone
    assert (entry.level, entry.component) == ("WARN", "systemd")


def test_a_traceback_is_an_error_of_its_own() -> None:
    entry, alone = understood(Line("router", "Traceback (most recent call last):"), "logfmt")

    assert (entry.level, alone) == ("ERROR", True)
    assert understood(Line("router", '  File "x.py", line 1'), "logfmt")[1] is False


def test_a_line_of_no_format_stays_as_it_is() -> None:
    entry, alone = understood(Line("modlink", "2026-11-21T09:19:04Z MODLINK listens"), "text")
    bare, bare_alone = understood(Line("modlink", "Segmentation fault"), "text")

    assert (entry.at, entry.message) == (datetime(2026, 11, 21, 9, 19, 4, tzinfo=UTC), "MODLINK listens")
    assert (alone, bare_alone) == (True, True)
    assert (bare.at, bare.line) == (None, "Segmentation fault")


@given(st.sampled_from(FORMATS), st.text())
def test_no_line_is_ever_lost(form: LogFormat, text: str) -> None:
    assert understood(Line("any", text), form)[0].line == text
