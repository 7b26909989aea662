"""How far a long step is: told to whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is done now, how many octets of it are, and how many there will be (0: nobody knows)."""

    def __call__(self, step: str, done: int, total: int, /) -> None: ...


def silent(_step: str, _done: int, _total: int, /) -> None:
    """Progress that nobody watches."""
