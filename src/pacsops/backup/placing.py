"""How what was restored takes the place of what is there: by renaming, on the same disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pacsops.backup.contents import Part
from pacsops.backup.inventory import OURS, Entry, Totals, hashed
from pacsops.backup.postgres import Server
from pacsops.backup.progress import Progress
from pacsops.errors import BackupFailed

RESTORING = f"{OURS}restoring"
"""The folder in a storage that is filled before its files take their places."""


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """An empty folder for the block; what a killed run left in it is removed first."""
    remove(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """The folder with all that is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def root_of(folder: Path, part: Part) -> Path:
    """Where restic puts a storage below its target: under its whole former path."""
    assert part.manifest.storage is not None
    return folder / part.manifest.storage.path.lstrip("/")


def check_files(root: Path, entries: Iterable[Entry], sample: int, progress: Progress) -> Totals:
    """Every file of the inventory is there in its size; some `sample` of them, evenly spread, are read.

    Raises:
        BackupFailed: one is not; nothing has taken its place yet.
    """
    totals = Totals()
    every = 1
    for number, entry in enumerate(entries):
        path = root / entry.path
        right = path.is_file() and path.stat().st_size == entry.size
        read = number % every == 0
        if right and read:
            found = hashed(root, entry)
            right = found is not None and found.sha256 == entry.sha256
            # Twice as rare each time the sample is full: spread over an inventory of unknown length.
            every *= 2 if sample and (number // every) % sample == sample - 1 else 1
        if not right:
            raise BackupFailed(
                f"{entry.path} of the storage did not come back as it was stored",
                hint="what was on this host is as it was; `orthanc backup list` names other backups",
            )
        totals = totals.plus(entry, hashed=read)
        progress("Checking images", number + 1, 0)
    return totals


def give_to_owner_of(storage: Path, root: Path) -> None:
    """Everything below `root` belongs to whom the storage does: the account may have another number on this host."""
    if os.geteuid() != 0:
        return
    owner = storage.stat()
    for folder, _, files in os.walk(root):
        for each in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 (millions)
            os.lchown(each, owner.st_uid, owner.st_gid)


def place_files(source: Path, storage: Path, backup_id: str) -> list[str]:
    """The files of `source` become the storage's; where those are now that were there."""
    aside = storage / f"{OURS}before-{backup_id}"
    before = [path for path in storage.iterdir() if not path.name.startswith(OURS)]
    if before:
        aside.mkdir(mode=0o700, exist_ok=True)
        for path in before:
            path.rename(aside / path.name)
    if source.is_dir():  # a storage may be without files
        for path in sorted(source.iterdir()):
            path.rename(storage / path.name)
    return [str(aside)] if before else []


def place_databases(server: Server, restored: Mapping[str, str], backup_id: str, *, keep: bool) -> list[str]:
    """Each database takes the place of another: name of the place -> name under which it was restored.

    All of them at once, or none. With `keep`, the names under which those that were there stay.
    """
    asides = {name: f"{name}_before_{backup_id.replace('-', '_')}" for name in restored}
    for aside in asides.values():
        server.drop(aside)
    server.rename([*asides.items(), *((each, name) for name, each in restored.items())])
    if keep:
        return list(asides.values())
    for aside in asides.values():
        server.drop(aside)
    return []


def place_text(path: Path, content: bytes) -> Path | None:
    """A configuration file with this content, mode and owner as before; where the one that was there is now."""
    if not path.exists():
        path.write_bytes(content)
        return None
    if path.read_bytes() == content:
        return None
    aside, new = path.with_name(f"{path.name}.before-restore"), path.with_name(f"{path.name}.restoring")
    new.write_bytes(content)
    shutil.copystat(path, new)
    if os.geteuid() == 0:
        os.chown(new, path.stat().st_uid, path.stat().st_gid)
    path.rename(aside)
    new.rename(path)
    return aside
