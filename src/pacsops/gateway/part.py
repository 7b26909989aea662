"""A file under reception."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from pacsops.gateway.spool import RECEIVING

_MOST_VIEWS: Final = 1024
"""IOV_MAX of Linux."""
_NUMBERS: Final = itertools.count(1)
_AHEAD: Final = 128 << 10
"""Bytes after which the kernel is told to begin writing: less is left for the fsync that an answer waits for."""
_BEGIN: Final = 2  # SYNC_FILE_RANGE_WRITE, sync_file_range(2)


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
        self._begun = 0

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
        if self.size - self._begun >= _AHEAD:
            _begin_writing(self.descriptor, self._begun, self.size - self._begun)
            self._begun = self.size

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self.path.unlink(missing_ok=True)


def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux' own; another system begins to write when it thinks fit."""
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast(Callable[[int, int, int, int], int], found)


_SYNC_FILE_RANGE: Final = _sync_file_range()


def _begin_writing(descriptor: int, offset: int, length: int) -> None:
    """A wish: whether the disk takes it is for the fsync to say."""
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(descriptor, offset, length, _BEGIN)


def _behind(views: list[memoryview], written: int) -> list[memoryview]:
    """What `written` bytes leave of the views."""
    for number, view in enumerate(views):
        if written < len(view):
            return [view[written:], *views[number + 1 :]]
        written -= len(view)
    return []
