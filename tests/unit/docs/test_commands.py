"""Every command in the documentation, and in what the program itself suggests, exists with these options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from tests.support.messages import hints

from pacsops.cli.main import orthanc

CHECKOUT = Path(__file__).parents[3]
PAGES = sorted(
    path
    for folder in (
        "",
        "docs",
        "docs/operations",
        "molecule",
        *(f"roles/{each.name}" for each in CHECKOUT.glob("roles/*")),
    )
    for path in (CHECKOUT / folder).glob("*.md")
)
_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_TYPED = re.compile(r"^ *(?:[$#] )?(orthanc|ansible-playbook) (\S.*)$", re.MULTILINE)
_PROMPTED = re.compile(r"^ *\$ (orthanc|ansible-playbook) (\S.*)$", re.MULTILINE)
_MENTIONED = re.compile(r"`(?:sudo )?(orthanc|ansible-playbook)\s([^`]+)`")
_OPEN = re.compile(r"<[a-zA-Z][^<>]*>")
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<"}


def typed(text: str) -> Iterator[tuple[str, str]]:
    """Program and arguments of each line of a block that is a command."""
    for block in _BLOCK.findall(text):
        # What a console shows is told from what is typed there by the prompt.
        yield from (_PROMPTED if "```console" in block else _TYPED).findall(block)


def mentioned(text: str) -> Iterator[tuple[str, str]]:
    """Those between backticks in prose, which may leave out what they are about."""
    yield from _MENTIONED.findall(_BLOCK.sub("", text))


def words(arguments: str) -> list[str]:
    """As a shell splits them, up to a pipe or a comment; what is left open (`<study>`) is a word."""
    lexer = shlex.shlex(_OPEN.sub("open", " ".join(arguments.split())), posix=True, punctuation_chars=True)
    lexer.wordchars += "…:,@%^"
    found: list[str] = []
    for word in lexer:
        if word in _ENDS:
            break
        found.append(word)
    return found


def trouble(arguments: str, *, whole: bool) -> str | None:
    """What click dislikes about an `orthanc` command. `whole`: it has to name all it needs."""
    command: click.Command = orthanc
    # With its settings: click keeps a command's --help as the first context that asked made it.
    context = click.Context(orthanc, info_name="orthanc", resilient_parsing=True, **orthanc.context_settings)
    rest = words(arguments)
    if "..." in rest or rest[:1] in (["…"], ["open"]):
        return None  # about any command
    while isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        if found is None:
            if command.invoke_without_command:
                break
            return f"there is no command {rest[0]!r}"
        command, rest = found, rest[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    open_ended = "…" in rest
    try:
        given, left, _ = command.make_parser(context).parse_args(rest)
        for parameter in command.params:
            value = given.get(parameter.name or "")
            if parameter.required and whole and not open_ended and not isinstance(value, str | tuple | list):
                return f"{parameter.name} is missing"
            if isinstance(value, str) and value not in ("open", "…") and not _takes_a_file(parameter):
                parameter.type_cast_value(context, value)
    except click.ClickException as error:
        said = error.format_message()
        return None if said.endswith("requires an argument.") and not whole else said
    return f"{left} is too much" if set(left) - {"…"} and not isinstance(command, click.Group) else None


def _takes_a_file(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path | click.File)


def known_variables() -> set[str]:
    """What roles and playbooks take from the inventory or `-e`."""
    known: set[str] = set()
    for path in CHECKOUT.glob("roles/*/defaults/main.yml"):
        defaults: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) or {}
        known |= set(defaults)
    for path in CHECKOUT.glob("playbooks/*.yml"):
        known |= set(re.findall(r"\b[a-z]\w+\b", path.read_text("utf-8")))
    return known


def wrong_playbook(arguments: str) -> str | None:
    """What is not there of an `ansible-playbook` command."""
    rest = words(arguments)
    for position, word in enumerate(rest):
        if word.endswith(".yml") and rest[position - 1] not in ("-e", "--inventory", "-i"):
            if not (CHECKOUT / word).is_file():
                return f"there is no {word}"
        elif rest[position - 1 : position] == ["-e"]:
            name = word.partition("=")[0]
            if name not in known_variables():
                return f"nobody reads {name}"
    return None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_command_of_a_page_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    found = [(program, said, True) for program, said in typed(text)]
    found += [(program, said, False) for program, said in mentioned(text)]

    wrong = [
        (f"{program} {said}", what)
        for program, said, whole in found
        if (what := trouble(said, whole=whole) if program == "orthanc" else wrong_playbook(said))
    ]
    assert wrong == []


def test_every_command_that_the_program_suggests_exists() -> None:
    suggested = [
        (said, what)
        for text in hints()
        for program, said in mentioned(re.sub(r"\{\w*\}", "…", text))
        if program == "orthanc" and (what := trouble(said.replace("…", "open"), whole=False))
    ]

    assert suggested == []


def test_the_looking_sees_what_is_wrong() -> None:
    assert trouble("strat", whole=False) == "there is no command 'strat'"
    assert trouble("retry --everything", whole=False) is not None
    assert trouble("send ACC-1", whole=True) == "destination is missing"
    assert trouble("logs --since yesterday", whole=True) is not None
    assert wrong_playbook("-i inventories/<site> playbooks/undo.yml") == "there is no playbooks/undo.yml"
    assert wrong_playbook("-i inventories/<site> playbooks/restore.yml -e bakcup=latest") == "nobody reads bakcup"
