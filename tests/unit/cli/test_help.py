"""What every command owes its reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pacsops.cli.history import EVENTS, SIGNS
from pacsops.cli.main import orthanc
from pacsops.cli.reference import reference
from pacsops.cli.services import pacsops
from pacsops.delivery.model import Event, Status


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


EVERY_COMMAND = sorted(commands(orthanc))


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_help_starts_with_two_examples_that_run_the_command(command: tuple[str, ...]) -> None:
    lines = CliRunner().invoke(orthanc, [*command, "--help"]).output.splitlines()

    start = lines.index("  Examples:")
    examples = [line.strip() for line in lines[start + 1 : start + 3]]
    assert start == 4
    assert all(example.startswith(f"orthanc {' '.join(command)}") for example in examples)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_help_of_a_command_is_its_help_option(command: tuple[str, ...]) -> None:
    asked = CliRunner().invoke(orthanc, ["help", *command])
    option = CliRunner().invoke(orthanc, [*command, "--help"])

    assert asked.exit_code == 0
    assert asked.output.split("\n", 1)[1] == option.output.split("\n", 1)[1]


def test_the_overview_names_every_command_once_uncut() -> None:
    output = CliRunner().invoke(orthanc, ["--help"]).output
    listed = [line.split()[0] for line in output.splitlines() if line.startswith("  ") and "  " in line.strip()]

    assert [name for name in listed if name in orthanc.commands] == list(
        orthanc.list_commands(click.Context(orthanc))
    )
    assert set(orthanc.list_commands(click.Context(orthanc))) == set(orthanc.commands)
    assert "..." not in output.split("Health:")[1]


def test_the_reference_is_what_help_prints() -> None:
    """`make reference` writes it anew."""
    written = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")

    assert written == reference()
    for command in EVERY_COMMAND:
        assert f"### orthanc {' '.join(command)}\n" in written


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_option_is_explained(command: tuple[str, ...]) -> None:
    context = click.Context(orthanc)
    found: click.Command = orthanc
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    options = [each for each in found.get_params(context) if isinstance(each, click.Option)]

    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize("command", sorted(orthanc.commands))
def test_help_ends_with_exit_codes_and_where_to_read_on(command: str) -> None:
    output = CliRunner().invoke(orthanc, [command, "--help"]).output
    named = [other.strip().split()[1] for other in output.partition("See also:")[2].split(",") if other.strip()]

    assert "Exit code" in output
    assert set(named) <= set(orthanc.commands)


def test_help_for_no_command_says_where_to_look() -> None:
    result = CliRunner().invoke(orthanc, ["help", "strat"])

    assert result.exit_code == 2
    assert "orthanc help" in result.output


def test_help_needs_no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORTHANC_ENV", str(tmp_path / "absent"))

    assert CliRunner().invoke(orthanc, ["help"]).exit_code == 0
    assert CliRunner().invoke(orthanc, ["--version"]).exit_code == 0
    assert CliRunner().invoke(pacsops, ["router", "--help"]).exit_code == 0


def test_a_missing_settings_file_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORTHANC_ENV", str(tmp_path / "absent"))
    result = CliRunner().invoke(orthanc, ["show-stuck"])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: there is no settings file")
    assert "hint: " in result.stderr


def test_the_timeline_has_words_for_every_event_and_state() -> None:
    assert set(EVENTS) == set(Event)
    assert set(SIGNS) == set(Status)
