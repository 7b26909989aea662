"""A file under reception."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

from pacsops.gateway.spool import RECEIVING

_MOST_VIEWS: Final = 1024
"""IOV_MAX of Linux."""
_NUMBERS: Final = itertools.count(1)


class Part:
    """A new file below `.receiving`, open for writing; gone once it is closed, unless it has another name by then.

    Args:
        meta: preamble and file meta information, what it begins with.

    Raises:
        OSError: the disk does not take it.
    """

    def __init__(self, spool: Path, meta: bytes) -> None:
        self.meta_size = len(meta)
        self._meta: list[memoryview] = [memoryview(meta)]
        self.path = spool / RECEIVING / f"{os.getpid()}-{next(_NUMBERS)}.part"
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self.size = 0

    def write(self, views: list[memoryview]) -> None:
        """Append a piece of the data set; the first time, behind the file meta information.

        Raises:
            OSError: the disk does not take it.
        """
        if self._meta:
            views, self._meta = self._meta + views, []
        while views:
            batch = views[:_MOST_VIEWS]
            written = os.writev(self.descriptor, batch)
            self.size += written
            views = _behind(batch, written) + views[_MOST_VIEWS:]

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self.path.unlink(missing_ok=True)


def _behind(views: list[memoryview], written: int) -> list[memoryview]:
    """What `written` bytes leave of the views."""
    for number, view in enumerate(views):
        if written < len(view):
            return [view[written:], *views[number + 1 :]]
        written -= len(view)
    return []
