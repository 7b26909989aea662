"""Whether the disks have room for what a run will write, asked before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from pacsops.errors import BackupRefused

_SPARE = 64 << 20  # octets that a filled disk keeps for everybody else


def require_room(needs: Iterable[tuple[Path, int, str]]) -> None:
    """Each need: a folder that may not exist yet, octets, and what they are for.

    Raises:
        BackupRefused: the disk of one of them has too little space for all that goes there.
    """
    by_disk: dict[int, list[tuple[Path, int, str]]] = {}
    for folder, octets, purpose in needs:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        by_disk.setdefault(there.stat().st_dev, []).append((there, octets, purpose))
    for wanted in by_disk.values():
        folder = wanted[0][0]
        free, needed = shutil.disk_usage(folder).free, sum(octets for _, octets, _ in wanted) + _SPARE
        if needed > free:
            what = ", ".join(f"{_megabytes(octets)} for {purpose}" for _, octets, purpose in wanted)
            raise BackupRefused(
                f"too little space on the disk of {folder}: {_megabytes(needed)} are needed ({what}),"
                f" {_megabytes(free)} are free",
                hint="make room there, or set backup_repository or backup_work to a larger disk; nothing was changed",
            )


def _megabytes(octets: int) -> str:
    return f"{octets / 1e6:,.0f} MB"
