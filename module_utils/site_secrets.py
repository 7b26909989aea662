"""Renewing the secrets of a site: each a file of the controller, its old value beside it until the site runs without.

A secret that is gone is made anew by whoever looks for it next (Ansible's password lookup). So renewing is one
rename, and what a run that was cut short left behind says by itself how far it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PREVIOUS = ".previous"
"""Ending of the file with a secret's old value."""


def renewable(folder: Path, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The secrets to put aside, and those an earlier run put aside and did not bring to an end.

    A secret without a file is neither: there is nothing old about it.
    """
    names = sorted(names)
    unfinished = [name for name in names if (folder / (name + PREVIOUS)).exists()]
    return [name for name in names if name not in unfinished and (folder / name).exists()], unfinished


def put_aside(folder: Path, names: Iterable[str]) -> None:
    """Each secret becomes its own previous one."""
    for name in names:
        (folder / name).rename(folder / (name + PREVIOUS))


def renewed(folder: Path, names: Iterable[str]) -> list[str]:
    """The secrets that were put aside and not yet settled."""
    return [name for name in sorted(names) if (folder / (name + PREVIOUS)).exists()]


def settle(folder: Path, names: Iterable[str]) -> None:
    """Remove the previous secrets."""
    for name in names:
        (folder / (name + PREVIOUS)).unlink(missing_ok=True)
