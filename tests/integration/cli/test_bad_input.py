"""What is mistyped, garbled or unreachable: a sentence and a hint, never a traceback, whichever the command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest
from tests.integration.cli.conftest import CommandLine, Site
from tests.support.network import free_port

from pacsops.cli.main import orthanc
from pacsops.settings import Settings

ABOUT_A_STUDY = (
    ("history",),
    ("routes", "explain"),
    ("retry",),
    ("skip", "--reason", "a test"),
    ("cancel", "--reason", "a test"),
    ("logs", "--no-follow", "--study"),
)
WITHOUT_A_SITE = {
    "help",
    "completion",
    "logs",
    "start",
    "stop",
    "restart",
    "backup",
    "restore",
    "import-destinations",
    "simulate",
    "inject-fault",
    "clear-faults",
    "reset-db",
}
"""They ask neither Orthanc nor PostgreSQL, or have tests of their own for that."""
NEEDS = {
    "history": ["ACC-1"],
    "send": ["ACC-1", "MODLINK", "--yes"],
    "retry": ["ACC-1"],
    "skip": ["ACC-1", "--reason", "a test"],
    "cancel": ["ACC-1", "--reason", "a test"],
    "add-destination": ["--name", "NEW", "--aet", "NEW", "--host", "127.0.0.1", "--port", "104", "--yes"],
    "remove-destination": ["MODLINK", "--yes"],
    "test-destination": ["MODLINK"],
}
COMMANDS = sorted(set(orthanc.list_commands(click.Context(orthanc))) - WITHOUT_A_SITE)


@pytest.fixture
def nowhere(site: Site, tmp_path: Path) -> CommandLine:
    """A site of which nothing answers."""
    env_file = tmp_path / "nowhere.env"
    values = {field.name: getattr(site.settings, field.name) for field in fields(Settings)}
    values |= {"orthanc_url": f"http://127.0.0.1:{free_port()}", "postgres_port": free_port()}
    values |= {"orthanc_password": "of-orthanc", "postgres_password": "of-postgres"}
    said = {name: value for name, value in values.items() if value is not None and name != "env_file"}
    env_file.write_text("".join(f"{name.upper()}={value}\n" for name, value in said.items()))
    return CommandLine(env_file)


@pytest.mark.parametrize("command", COMMANDS)
def test_where_nothing_answers_each_command_says_what_does_not(nowhere: CommandLine, command: str) -> None:
    done = nowhere(command, *NEEDS.get(command, []))

    assert done.exit_code in {0, 1, 2}
    said = done.stdout + done.stderr
    assert "of-orthanc" not in said
    assert "of-postgres" not in said
    if command not in {"version", "routes"}:
        assert "cannot reach" in said


@pytest.mark.parametrize("study", ["", " ", "%", "_", "NO-SUCH-STUDY", "Müller^Jörg", "'; --", "2.25.1\\*", "\udcff"])
@pytest.mark.parametrize("command", ABOUT_A_STUDY, ids=" ".join)
def test_a_name_that_names_nothing_is_told_as_such(
    site: Site, cli: CommandLine, command: tuple[str, ...], study: str
) -> None:
    """An empty one is what a script's variable leaves that was never set."""
    site.promise("without an accession number", accession="")
    site.promise("with another", accession="ACC-1")

    done = cli(*command, study)

    assert done.exit_code == 2, done.stdout + done.stderr
    assert "Error" in done.stderr
    assert "hint: " in done.stderr or "Usage: " in done.stderr


def test_names_as_dicom_writes_them_are_shown_whole_on_any_screen(site: Site, cli: CommandLine) -> None:
    site.refused("accents", patient="MÜLLER-ØSTERGÅRD^JÖRG^^Dr.=山田^太郎", accession="ACC-Ä")

    _, narrow = cli.on_terminal("show-stuck", columns=80)
    piped = cli.piped("show-stuck", LC_ALL="C.UTF-8").stdout
    of_ascii = cli.piped("show-stuck", LC_ALL="C", PYTHONIOENCODING="ascii")

    assert "MÜLLER-ØSTERGÅRD^JÖRG^^Dr.=山田^太郎" in piped
    assert "".join(narrow.split()).count("山田") == 1
    assert of_ascii.returncode == 0
    assert cli("history", "ACC-Ä").exit_code == 0


def test_a_reader_that_leaves_early_is_no_error(site: Site, cli: CommandLine) -> None:
    for number in range(40):
        site.promise(f"study {number}", accession=f"ACC-{number}")

    piped = f"{sys.executable} -m pacsops.cli.main show-pending --json | head -n 1"
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {piped}; true"],
        env={"ORTHANC_ENV": str(cli.env_file), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
