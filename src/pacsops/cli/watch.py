"""A page that is shown anew every few seconds, on a terminal."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pacsops.cli.render import Page

_HEADING_LINES = 2


def watch(look: Callable[[Page], int], *, every: float) -> int:
    """Print what `look` prints, in place, every so many seconds until Ctrl-C; the exit code of the last look.

    Raises:
        click.UsageError: there is no terminal to do it on.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    if not sys.stdout.isatty() or not console.is_terminal or console.is_dumb_terminal:
        raise click.UsageError("--watch needs a terminal; in a script ask again and again, with --json.")
    code: int | None = None
    try:
        # Never wider than the terminal is now: it may be resized in between.
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                page, code = _looked(look, console)
                page.append(f"\n{time.strftime('%H:%M:%S')}, every {every:g} s; Ctrl-C ends.", style="dim")
                live.update(_fitted(page, console.height), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return 130 if code is None else code


def _fitted(page: Text, height: int) -> Text:
    """What has room: the heading, and the end of the page, where the issues are."""
    lines = page.split("\n", allow_blank=True)
    if len(lines) < height:
        return page
    rest = height - _HEADING_LINES - 2
    return Text("\n").join([*lines[:_HEADING_LINES], Text("…", style="dim"), *lines[-rest:]])


def _looked(look: Callable[[Page], int], terminal: Console) -> tuple[Text, int]:
    """What `look` prints, with its colours, and its exit code."""
    written = io.StringIO()
    console = Console(
        file=written,
        force_terminal=True,
        color_system=terminal.color_system,  # type: ignore[arg-type]
        no_color=terminal.no_color,
        width=terminal.width,
        markup=False,
        emoji=False,
        highlight=False,
    )
    code = look(Page(console=console))
    return Text.from_ansi(written.getvalue()), code
