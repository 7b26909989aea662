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


def test_a_narrow_terminal_gets_prose_below_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
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
