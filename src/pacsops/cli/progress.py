"""How far something is that takes long: said on stderr after two seconds, and then once a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pacsops.cli.render import studies

_SILENT_SECONDS = 2.0


class Progress:
    """Called with how many studies are done and how many there are; `done` says what is done with them."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._speak_at = time.monotonic() + _SILENT_SECONDS

    def __call__(self, number: int, of: int) -> None:
        self.say(f"{number:,} of {studies(of)} {self._done}…")

    def say(self, words: str) -> None:
        """These words, if it is time."""
        if time.monotonic() >= self._speak_at:
            self._speak_at = time.monotonic() + 1
            click.echo(words, err=True)


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where that is a terminal; what it gives is called for each that is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(label, total=total)
        yield lambda: shown.advance(task)
