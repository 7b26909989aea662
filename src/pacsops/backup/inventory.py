"""The inventory of Orthanc's storage: every file with its digest, one a line, in the order of paths.

A line is `SHA-256 <tab> octets <tab> mtime in ns <tab> path`, the path relative and percent-encoded. Inventories are
read and written as streams: an archive has millions of files.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

from pacsops.backup.progress import Progress
from pacsops.errors import BackupFailed

OURS = ".pacsops-"
"""How folders begin that a restore makes at the top of a storage; no part of a backup."""

# Where Orthanc puts an attachment of this uuid.
_ATTACHMENT = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{4}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the storage."""

    path: str
    size: int
    modified: int
    """Nanoseconds since 1970."""
    sha256: str = ""

    @property
    def attachment(self) -> str | None:
        """The uuid, when it is an attachment of Orthanc's."""
        found = _ATTACHMENT.fullmatch(self.path)
        return found[3] if found else None

    def same_file(self, other: Entry) -> bool:
        return (self.size, self.modified) == (other.size, other.modified)

    def line(self) -> str:
        return f"{self.sha256}\t{self.size}\t{self.modified}\t{quote(self.path, errors='surrogateescape')}\n"


@dataclass(frozen=True, slots=True)
class Totals:
    """Of an inventory."""

    files: int = 0
    octets: int = 0
    hashed: int = 0
    """Files whose digest was not known from the inventory before."""

    def plus(self, entry: Entry, *, hashed: bool) -> Totals:
        return Totals(self.files + 1, self.octets + entry.size, self.hashed + hashed)


def attachment_path(uuid: str) -> str:
    """Where in a storage an attachment is."""
    return f"{uuid[:2]}/{uuid[2:4]}/{uuid}"


def walk(folder: Path, below: str = "") -> Iterator[Entry]:
    """Every regular file, without its digest, in the order of its path's parts.

    A file that is deleted meanwhile is left out, as if it had been deleted before.
    """
    try:
        found = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for each in found:
        path = f"{below}/{each.name}" if below else each.name
        if each.is_dir(follow_symlinks=False):
            if not (below == "" and each.name.startswith(OURS)):
                yield from walk(folder, path)
        elif each.is_file(follow_symlinks=False):
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(path, status.st_size, status.st_mtime_ns)


def read(lines: Iterable[str]) -> Iterator[Entry]:
    """An inventory as it was written.

    Raises:
        ValueError: a line is none.
    """
    for line in lines:
        sha256, size, modified, path = line.rstrip("\n").split("\t")
        yield Entry(unquote(path, errors="surrogateescape"), int(size), int(modified), sha256)


def known(files: Iterable[Entry], before: Iterable[Entry]) -> Iterator[Entry]:
    """`files` with the digests that `before` has of the same files; both in order, neither held in memory."""
    earlier = iter(before)
    last = next(earlier, None)
    for file in files:
        place = file.path.split("/")
        while last is not None and last.path.split("/") < place:
            last = next(earlier, None)
        if last is not None and last.path == file.path and last.same_file(file):
            yield last
        else:
            yield file


def new_octets(folder: Path, before: Iterable[Entry]) -> int:
    """How much of a storage an earlier inventory does not have."""
    return sum(file.size for file in known(walk(folder), before) if not file.sha256)


def write(
    folder: Path, before: Iterable[Entry], target: IO[str], progress: Progress, *, new: int, step: str
) -> Totals:
    """The inventory of a storage; files known from `before` by size and time are not read again.

    Args:
        new: octets to be read, for `progress`.

    Raises:
        BackupFailed: a file cannot be read.
    """
    totals, done = Totals(), 0
    for file in known(walk(folder), before):
        entry = file if file.sha256 else hashed(folder, file)
        if entry is None:
            continue
        target.write(entry.line())
        totals = totals.plus(entry, hashed=not file.sha256)
        if not file.sha256:
            done += entry.size
            progress(step, done, new)
    return totals


def hashed(folder: Path, file: Entry) -> Entry | None:
    """The file with its digest; None when it is gone.

    Raises:
        BackupFailed: it cannot be read.
    """
    try:
        with (folder / file.path).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            size = os.fstat(content.fileno()).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupFailed(
            f"{folder / file.path} cannot be read: {error.strerror}",
            hint="an image whose disk fails: the kernel's log says more (`journalctl -k`)",
        ) from error
    return Entry(file.path, size, file.modified, digest)
