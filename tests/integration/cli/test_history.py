"""The whole story of one study."""

from __future__ import annotations

import re

from rich.cells import cell_len
from tests.integration.cli.conftest import CommandLine, Site


def test_history_tells_the_story_in_order(site: Site, cli: CommandLine) -> None:
    stuck = site.refused(accession="ACC-1")
    cli("retry", stuck.study_id)
    site.succeed(stuck)
    shown = cli("history", "ACC-1").stdout

    told = ["RECEIVED", "CR_ROOM1", "MATCHED ROUTE", "SENDING TO MERCURE", "job-123", "FAILED", "status 0xC000"]
    told += ["STUCK", "RETRY ORDERED", "SENDING TO MERCURE", "job-124", "SUCCESS", "Took: 1.5s", "CURRENT STATE"]
    told += ["✅ SUCCESS", "2/2", "ACTIONS", "orthanc retry ACC-1 --force"]
    position = 0
    for words in told:
        position = shown.index(words, position) + len(words)


def test_history_as_json_holds_study_timeline_and_deliveries(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck(patient="MÜLLER^JÖRG")
    answer = cli.json("history", stuck.study_id)

    assert answer["study"]["study_id"] == stuck.study_id
    assert answer["study"]["patient_name"] == "MÜLLER^JÖRG"
    assert answer["timeline"][0]["event"] == "study_received"
    assert {"at", "event", "destination", "attempt", "detail"} <= answer["timeline"][0].keys()
    assert [delivery["status"] for delivery in answer["deliveries"]] == ["stuck"]


def test_the_prefix_a_terminal_shows_is_taken_back(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck()
    status, shown = cli.on_terminal("show-stuck", NO_COLOR="1")
    row = next(line for line in shown.splitlines() if "DOE^JOHN" in line)
    short = row.split()[0]

    assert status == 0
    assert len(short) >= 9
    assert stuck.study_id.startswith(short)
    assert stuck.study_id not in shown
    assert cli.json("history", short)["study"]["study_id"] == stuck.study_id


def test_suggested_commands_name_a_study_in_few_characters_and_never_ambiguously(
    site: Site, cli: CommandLine
) -> None:
    stuck = site.stuck(accession="4711")
    for said in ("4711", stuck.study_id, stuck.study_uid or ""):
        assert f"orthanc retry {stuck.study_id[:13]} " in cli("history", said).stdout


def test_pages_fit_80_columns_and_keep_their_colours_to_themselves(site: Site, cli: CommandLine) -> None:
    site.stuck("one", patient="A^" + "VERY^" * 20 + "LONG^NAME")
    site.stuck("two", to="A_DESTINATION_WITH_A_LONG_NAME")
    for arguments in (["show-stuck"], ["show-pending"], ["history", site.promise("three").study_id]):
        _, shown = cli.on_terminal(*arguments, columns=80, NO_COLOR="1")
        assert "\x1b[3" not in shown
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert max(map(cell_len, plain.splitlines())) <= 80


def test_a_terminal_gets_colours_and_a_pipe_none(site: Site, cli: CommandLine) -> None:
    stuck = site.stuck()

    assert "\x1b[" in cli.on_terminal("show-stuck")[1]
    piped = cli.piped("show-stuck", LC_ALL="C.UTF-8")
    assert "\x1b" not in piped.stdout
    assert stuck.study_id in piped.stdout
    assert piped.stderr == ""


def test_a_terminal_without_emoji_is_no_reason_to_fail(site: Site, cli: CommandLine) -> None:
    site.stuck(patient="DOE^JOHN")
    piped = cli.piped("show-stuck", PYTHONIOENCODING="ascii")

    assert piped.returncode == 0
    assert "DOE^JOHN" in piped.stdout
