"""The last gateway.yml that was accepted, in the spool: a restart beside a broken one goes on with it.

Receivers and forwarder are several processes, and each keeps what it accepts: whole, under a name of its own first,
and durable before it takes the place of the one before. PostgreSQL has no part in it: receivers know none.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pacsops.gateway.configuration import Configuration, parse, read
from pacsops.gateway.durable import Folder
from pacsops.gateway.spool import LAST_GOOD, RECEIVING


@dataclass(frozen=True, slots=True)
class LastGood:
    """What was kept."""

    configuration: Configuration
    accepted_at: datetime
    """When it was first seen."""


def keep(spool: Path, text: str) -> datetime:
    """Make an accepted gateway.yml the last good one; since when it is.

    Raises:
        OSError: the one before still is.
    """
    path = spool / LAST_GOOD
    if not _says(path, text):
        _replace(path, text)
    # Also where it was there: who put it in place may not have come to this yet.
    Folder(spool).sync()
    return _written(path)


def last_good(spool: Path) -> LastGood | None:
    """What was kept; None: no gateway.yml was accepted yet.

    Raises:
        OSError: the spool is not for us to see.
        GatewayConfigurationError: it cannot be read, or a later version accepts less.
    """
    path = spool / LAST_GOOD
    try:
        accepted_at = _written(path)
    except FileNotFoundError:
        return None
    return LastGood(parse(read(path), str(path)), accepted_at)


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _replace(path: Path, text: str) -> None:
    receiving = path.parent / RECEIVING
    receiving.mkdir(mode=0o750, exist_ok=True)
    # There the next receiver removes what a killed process left.
    descriptor, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".part", dir=receiving)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
