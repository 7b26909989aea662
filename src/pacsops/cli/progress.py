"""How far something is that takes long: said on stderr after two seconds, and then once a second."""

from __future__ import annotations

import time

import click

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
