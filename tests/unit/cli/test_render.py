"""What reaches a terminal, a pipe and a program that reads JSON."""

from __future__ import annotations

import io
import json
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsops.cli.render import Page, count, lasting, printable, size, write_json


@given(st.text())
def test_no_text_from_a_data_set_steers_the_terminal(text: str) -> None:
    shown = printable(text)

    assert len(shown) == len(text)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) <= 0x9F for character in shown)


def test_names_with_accents_and_carets_stay_as_they_are() -> None:
    assert printable("MÜLLER^JÖRG^^Dr.=山田^太郎") == "MÜLLER^JÖRG^^Dr.=山田^太郎"


def test_square_brackets_in_a_description_are_text_not_markup() -> None:
    out = io.StringIO()
    Page(out).line("[red]Knie[/red] :smile:")

    assert out.getvalue() == "  [red]Knie[/red] :smile:\n"


def test_a_pipe_gets_whole_identifiers_unwrapped_and_without_trailing_blanks() -> None:
    out = io.StringIO()
    page = Page(out)
    identifier = "6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715"
    page.records(("ID", "ERROR"), [(page.study(identifier), "no answer " * 40)], whole=("ID",))

    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].split()[0] == identifier
    assert all(line == line.rstrip() for line in lines)


@pytest.fixture
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages made here are on a terminal of 80 columns, without colours."""
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("eighty_columns")
def test_a_column_without_text_takes_no_room_from_its_neighbour() -> None:
    out = io.StringIO()
    rows = [
        ("MERCURE", "✅ reachable", "last success: 11s ago", ""),
        ("MODLINK", "– unused", "last success: never", ""),
    ]
    Page(out).table(("", "", "", ""), rows, indent=2)

    assert len(out.getvalue().splitlines()) == 2
    assert "last success: 11s ago" in out.getvalue()


@pytest.mark.usefixtures("eighty_columns")
def test_what_a_long_command_does_stands_below_it() -> None:
    out = io.StringIO()
    long = "orthanc routes explain 1abb5f0e-aefc --file /opt/orthanc/config/routes.yml"
    Page(out).actions([("orthanc status", "Is anything wrong?"), (long, "Why those of the file decide so")])

    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "ACTIONS:",
        "  orthanc status",
        "      Is anything wrong?",
        f"  {long}",
        "      Why those of the file decide so",
    ]


def test_a_tab_is_a_space() -> None:
    assert printable("\tIs the server running?") == " Is the server running?"


@pytest.mark.usefixtures("eighty_columns")
def test_a_narrow_terminal_gets_prose_below_its_row() -> None:
    out = io.StringIO()
    row = ("6b9e19d9-6209", "SYNTHETIC^" + "LONGNAME" * 6, "Leg Length", "LPCHTROUTER", "3x", "connection refused")
    Page(out).records(("ID", "PATIENT", "STUDY", "DEST", "FAILED", "ERROR"), [row], whole=("ID", "DEST", "FAILED"))

    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "6b9e19d9-6209" in lines[1]
    assert "LPCHTROUTER" in lines[1]
    assert lines[-1].strip() == "connection refused"


def test_json_says_its_version_and_gives_times_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime.fromisoformat("2026-02-03T11:30:15+01:00")
    write_json({"at": at, "date": date(2026, 2, 3), "name": "ÅSTRÖM^ÉLODIE\x9b31m"})

    text = capsys.readouterr().out
    assert json.loads(text) == {
        "schema_version": 1,
        "at": "2026-02-03T10:30:15Z",
        "date": "2026-02-03",
        "name": "ÅSTRÖM^ÉLODIE\x9b31m",
    }
    assert "ÅSTRÖM" in text
    assert "\x9b" not in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (90_000, "1d")]
)
def test_durations_are_said_in_their_largest_unit(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_sizes_and_counts_read_as_people_say_them() -> None:
    assert [size(999), size(450 * 10**9), size(1_500 * 10**9)] == ["999 B", "450 GB", "1.5 TB"]
    assert [count(1, "route"), count(2340, "study", "studies")] == ["1 route", "2,340 studies"]
