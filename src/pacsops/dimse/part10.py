"""DICOM files: where the data set of one begins, and what has to stand before it.

Source: PS3.10 7.1
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pacsops.dimse.errors import UnreadableFile
from pacsops.dimse.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from pacsops.dimse.items import text

_PREFIX = 132
_READ_AHEAD: Final = 4 << 10
_MAXIMUM_META: Final = 1 << 20
"""Bytes of file meta information read at most; a usual one has 200, one with private information a few thousand."""
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2s2xI")
_LONG_FORM: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX, _SOURCE_AET = 0x0002, 0x0003, 0x0010, 0x0016


@dataclass(frozen=True, slots=True)
class Instance:
    """What C-STORE says about an instance before its data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


class StoredInstance:
    """An instance in a DICOM file, open for sending; a context manager.

    Args:
        source: the file's path, or its content.

    Raises:
        UnreadableFile: no DICOM file, or it cannot be read.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._name = str(source) if isinstance(source, Path) else "the instance"
        self._content = source if isinstance(source, bytes) else b""
        self._descriptor = -1
        try:
            if isinstance(source, Path):
                self._descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
                size = os.fstat(self._descriptor).st_size
            else:
                size = len(source)
            self.instance, self.source_aet, self.offset = self._meta(size)
        except OSError as error:
            self.close()
            raise UnreadableFile(f"cannot read {self._name}: {error.strerror}") from error
        except UnreadableFile:
            self.close()
            raise
        self.length = size - self.offset
        """Bytes of the data set, from `offset` on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_into(self, views: list[memoryview], offset: int, *, wait: bool = True) -> int:
        """Fill `views` one after the other from `offset` of the file on; how many bytes that were.

        Args:
            wait: False takes only what is in memory already.

        Raises:
            BlockingIOError: with `wait` False, nothing of it is.
            UnreadableFile: the disk gave an error.
        """
        if self._descriptor < 0:
            at = offset
            for view in views:
                piece = self._content[at : at + len(view)]
                view[: len(piece)] = piece
                at += len(piece)
            return at - offset
        try:
            return os.preadv(self._descriptor, views, offset, 0 if wait else _NO_WAIT)
        except BlockingIOError:
            raise
        except OSError as error:
            if not wait:
                raise BlockingIOError from error  # a file system that does not know RWF_NOWAIT
            raise UnreadableFile(f"cannot read {self._name}: {error.strerror}") from error

    def _meta(self, size: int) -> tuple[Instance, str, int]:
        """What it is, who sent it (0002,0016; empty where that is not said), and where its data set begins."""
        head = self._head(min(size, _READ_AHEAD))
        if head[128:_PREFIX] != b"DICM":
            raise UnreadableFile(f"{self._name} is no DICOM file: DICM is missing at byte 128")
        found, end = _group_two(head)
        if end is None and size > len(head):
            head = self._head(min(size, _MAXIMUM_META))
            found, end = _group_two(head)
        if end is None:
            raise UnreadableFile(f"the file meta information of {self._name} has no end")
        try:
            instance = Instance(found[_SOP_CLASS], found[_SOP_INSTANCE], found[_TRANSFER_SYNTAX])
        except KeyError as missing:
            raise UnreadableFile(f"{self._name} lacks (0002,{missing.args[0]:04X})") from None
        return instance, found.get(_SOURCE_AET, ""), end

    def _head(self, size: int) -> bytes:
        if self._descriptor < 0:
            return self._content[:size]
        return os.pread(self._descriptor, size, 0)


def _group_two(head: bytes) -> tuple[dict[int, str], int | None]:
    """UIDs and sender among the file meta elements, and where these end; None when `head` ends before they do."""
    found: dict[int, str] = {}
    at = _PREFIX
    while at + _SHORT.size <= len(head):
        group, element, representation, length = _SHORT.unpack_from(head, at)
        if group != 2:
            return found, at
        value = at + _SHORT.size
        if representation in _LONG_FORM:
            if at + _LONG.size > len(head):
                return found, None
            length = _LONG.unpack_from(head, at)[3]
            value = at + _LONG.size
        at = value + length
        if element in (_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX, _SOURCE_AET):
            found[element] = text(head[value:at])
    return found, at if at == len(head) else None


def file_meta(instance: Instance, source_aet: str = "") -> bytes:
    """Preamble and file meta information for a data set kept as it came: all of it written by this package.

    Args:
        source_aet: who sent it (0002,0016).
    """
    elements = [
        _LONG.pack(2, 0x0001, b"OB", 2) + b"\0\1",
        _short(_SOP_CLASS, b"UI", instance.sop_class_uid),
        _short(_SOP_INSTANCE, b"UI", instance.sop_instance_uid),
        _short(_TRANSFER_SYNTAX, b"UI", instance.transfer_syntax_uid),
        _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _short(0x0013, b"SH", IMPLEMENTATION_VERSION),
    ]
    if source_aet:
        elements.append(_short(_SOURCE_AET, b"AE", source_aet))
    body = b"".join(elements)
    return bytes(128) + b"DICM" + _SHORT.pack(2, 0, b"UL", 4) + len(body).to_bytes(4, "little") + body


def _short(element: int, representation: bytes, value: str) -> bytes:
    content = value.encode("ascii")
    if len(content) % 2:
        content += b"\0" if representation == b"UI" else b" "
    return _SHORT.pack(2, element, representation, len(content)) + content


_NO_WAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
