"""docs/cli.md, written from the commands themselves: `make reference`.

Each command's page is what --help prints, so that neither says something else than the other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from pacsops.cli.main import Sections, orthanc

_WIDTH = 100  # columns, as --help has at most

_HEAD = """\
# The `orthanc` command

What `orthanc help <command>` prints, for reading in one go; written by `make reference`.

Data goes to stdout, progress, questions and hints to stderr. On a terminal pages are coloured (not with `NO_COLOR`)
and fit its width; in a pipe nothing is shortened. `--json` prints one object with its `schema_version`, of which keys
are added but never renamed; `orthanc logs` prints one a line.

| exit code | |
|---|---|
| 0 | healthy, or done |
| 1 | warnings, or nothing to do |
| 2 | errors: with `--json`, `{"error": {"kind", "message", "hint"}, "exit_code"}` |

"""


def reference() -> str:
    """The whole page."""
    assert isinstance(orthanc, Sections)
    root = click.Context(orthanc, info_name="orthanc", **orthanc.context_settings)
    parts = [_HEAD]
    for heading, commands in orthanc.sections.items():
        parts.append(f"## {heading}\n\n")
        for command in commands:
            for words, context in _with_subcommands(command, root):
                parts.append(f"### {words}\n\n```\n{context.get_help()}\n```\n\n")
    return "".join(parts).rstrip("\n") + "\n"


def _with_subcommands(command: click.Command, parent: click.Context) -> Iterator[tuple[str, click.Context]]:
    context = click.Context(
        command, info_name=command.name, parent=parent, max_content_width=_WIDTH, terminal_width=_WIDTH
    )
    yield context.command_path, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _with_subcommands(found, context)


if __name__ == "__main__":
    sys.stdout.write(reference())
