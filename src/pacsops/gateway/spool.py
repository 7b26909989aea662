"""The spool: received images in a folder a study, and what its files are called.

::

    <spool>/<StudyInstanceUID>/<SOPInstanceUID>.dcm       an instance, complete and durable
    <spool>/<StudyInstanceUID>/<SOPInstanceUID>~2.dcm     the same SOPInstanceUID with another content
    <spool>/.receiving/<process id>-<number>.part         an instance on its way in
    <spool>/.gateway.yml                                  the last gateway.yml that was accepted

A name that does not begin with a dot never stands for anything unfinished. The spool is the gateway's write-ahead
log: PostgreSQL learns from it what was received.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

RECEIVING: Final = ".receiving"
LAST_GOOD: Final = ".gateway.yml"
HINTS: Final = ".ingest.sock"
"""A Unix datagram socket of whoever wants to hear of new files: a datagram has names below the spool, a line each.
Hints may be lost; the files are the truth."""

_UID: Final = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
_FILE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)*)/([0-9]+(?:\.[0-9]+)*)(?:~([2-9]|[1-9][0-9]+))?\.dcm")


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """An instance in the spool."""

    file: str
    """Its name below the spool."""
    size: int
    """Bytes of the file."""
    received_at: datetime
    """When its last byte was written."""


def is_uid(value: str) -> bool:
    """Whether it may become a name in the spool (PS3.5 9.1, but for leading zeros, which are seen in the field)."""
    return _UID.fullmatch(value) is not None


def file_name(study_uid: str, sop_instance_uid: str, number: int = 1) -> str:
    """A file's name below the spool; `number` counts the different contents of one SOPInstanceUID."""
    return f"{study_uid}/{sop_instance_uid}{f'~{number}' if number > 1 else ''}.dcm"


def instance_path(spool: Path, file: str) -> Path:
    """Where a file of the spool lies.

    Raises:
        ValueError: no name of a file in a spool.
    """
    if not _FILE.fullmatch(file):
        raise ValueError(f"{file!r} is no file of a spool")
    return spool / file


def files(spool: Path, changed_since: float | None = None) -> Iterator[SpooledFile]:
    """What the spool holds, by study; files that vanish meanwhile are passed over.

    Args:
        changed_since: only studies whose folders changed at or after this time (seconds, as `os.stat` gives them).

    Raises:
        OSError: the spool cannot be read.
    """
    with os.scandir(spool) as studies:
        for study in studies:
            if not is_uid(study.name):
                continue
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if changed_since is None or study.stat().st_mtime >= changed_since:
                    yield from _instances(study)


def _instances(study: os.DirEntry[str]) -> Iterator[SpooledFile]:
    with os.scandir(study.path) as instances:
        for instance in instances:
            file = f"{study.name}/{instance.name}"
            if _FILE.fullmatch(file):
                with contextlib.suppress(FileNotFoundError):
                    found = instance.stat(follow_symlinks=False)
                    yield SpooledFile(file, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def clear_leftovers(spool: Path) -> int:
    """Remove what processes that are gone had under reception; how many files that were.

    To be called by a receiver before it receives: what bears its own process id is another's, too.
    """
    removed = 0
    for part in (spool / RECEIVING).glob("*.part"):
        process = part.name.partition("-")[0]
        if process == str(os.getpid()) or not Path("/proc", process).exists():
            part.unlink(missing_ok=True)
            removed += 1
    return removed
