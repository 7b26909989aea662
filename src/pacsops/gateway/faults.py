"""Faults that are injected on purpose, for drills. There are none."""

from __future__ import annotations

from pathlib import Path


class Faults:
    """What is to go wrong at the moment.

    Args:
        allowed: whether drills may be held on this host at all.
    """

    def __init__(self, spool: Path, allowed: bool) -> None:
        self._spool = spool
        self._allowed = allowed

    def rejects(self) -> bool:
        """Whether every association is to be rejected."""
        return False

    def fails(self) -> bool:
        """Whether this instance is to be answered with a failure."""
        return False

    async def before_write(self) -> None:
        """Wait as long as writing is to be delayed.

        Raises:
            OSError: the disk is to be full.
        """
